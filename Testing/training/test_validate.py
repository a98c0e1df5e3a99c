import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from braintumorseg.errors import InputError, MissingFile, ModelError, OutputError
from braintumorseg.io.nifti import write_nifti
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.model_card import read_card, write_card
from braintumorseg_training.card_metrics import require_same_recipe
from braintumorseg_training.case_folder import CaseFolder
from braintumorseg_training.case_table import CaseRow
from braintumorseg_training.compare import compare, read_groups
from braintumorseg_training.data import Split
from braintumorseg_training.lineage import Lineage, learned_here, plain_lineage
from braintumorseg_training.prepare import prepare_folder
from braintumorseg_training.validate import subset_names, validate
from toy_datasets import toy_case, write_brats, write_msd, write_nnunet
from toys import make_toy_study

SPLIT = Split(("t",), ("a", "TCIA_b"))


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Two toy patients: the truth of `a` is the network's answer less a slab; `TCIA_b` has no tumour in truth, though one is found."""
    folder = tmp_path_factory.mktemp("cases")
    for name in ("a", "TCIA_b", "t"):
        (folder / name).mkdir()
        study = make_toy_study((32, 32, 32))
        for role, volume in study.volumes.items():
            write_nifti(volume, folder / name / f"{role}.nii.gz")
        labels = np.zeros((32, 32, 32), np.uint8)
        if name != "TCIA_b":
            for label, half in ((ED, 7), (NCR, 5), (ET, 4)):
                labels[tuple(slice(16 - half, 16 + half) for _ in range(3))] = label
            labels[:12] = 0
        write_nifti(study.reference.with_voxels(labels), folder / name / "seg.nii.gz")
    return folder


@pytest.fixture
def network(toy_model, tmp_path):
    weights = tmp_path / "network" / "toy.onnx"
    weights.parent.mkdir()
    weights.write_bytes(toy_model.weights.read_bytes())
    write_card(replace(toy_model.card, training={"trained_on": ["t"], "steps": 5, "recipe": {"patch": [8], "seed": 1}}), weights.with_suffix(".json"))
    return weights


def run(network, cases, out, split=SPLIT, **options):
    said = []
    options = {"subsets": False, "write": False, "say": said.append, "device": "cpu", **options}
    folder = cases if isinstance(cases, CaseFolder) else CaseFolder(cases, "brats2023")
    return validate(network, folder, split, out, **options), said


def test_one_run_leaves_tables_and_pictures_that_the_report_shows(network, cases, tmp_path):
    found, said = run(network, cases, tmp_path / "out", subsets=True)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    report = (tmp_path / "out" / "report.md").read_text()
    pictures = {line.split("](")[1].rstrip(")") for line in report.splitlines() if line.startswith("![")}
    assert pictures == {"validation.png", "metrics.png", "worst_WT.png", "worst_TC.png", "worst_ET.png", "subsets.png"}
    assert pictures | {"validation.json", "validation.csv", "subsets.json", "worst_case", "toy.md"} <= written
    assert (tmp_path / "out" / "worst_case" / "report.html").is_file()
    assert "left" in said[0]
    with (tmp_path / "out" / "validation.csv").open() as file:
        assert {(row["case"], row["structure"]) for row in csv.DictReader(file)} >= {("a", "WT"), ("TCIA_b", "ET")}
    assert found.cohorts == {"a": "other", "TCIA_b": "TCIA"}


def test_scores_are_those_counted_by_hand(network, cases, tmp_path):
    found, _ = run(network, cases, tmp_path / "out", subsets=True)
    a, b = found.evaluation.results
    assert a.scores["WT"].dice == pytest.approx(2 * 11 / (11 + 14))   # 11 of the cube's 14 layers are in the truth, all are found
    assert b.scores["WT"].dice == 0
    plain = json.loads((tmp_path / "out" / "validation.json").read_text())
    assert plain["by_sequences"]["flair"]["a"]["WT"] == pytest.approx(0.88)
    assert plain["by_sequences"]["t1"]["a"]["WT"] < 0.88                # the toy network finds WT in FLAIR
    assert len(plain["by_sequences"]) == len(subset_names()) == 15


def test_the_card_gets_spread_cohorts_and_subsets_and_a_page_for_people(network, cases, tmp_path):
    run(network, cases, tmp_path / "out", subsets=True, write=True)
    metrics = read_card(network.with_suffix(".json")).metrics
    assert (metrics["dice"]["WT"]["n"], metrics["dice"]["WT"]["worst_case"]) == (2, "TCIA_b")
    assert set(metrics["dice_by_cohort"]) == {"other", "TCIA"}
    assert metrics["dice_by_sequences"]["t1 + t1ce + t2 + flair"]["WT"] == pytest.approx(0.44)
    assert metrics["sureness"]["WT"]["n"] == 2
    assert 0 < metrics["sureness"]["WT"]["low"] <= metrics["sureness"]["WT"]["mean"] <= 1
    page = network.with_suffix(".md").read_text()
    for words in ("## Intended use", "## Limits", "## Training data", "| WT | 0.440 |", "t1ce + flair", "HD95 mm", "a, TCIA_b"):
        assert words in page


def test_numbers_of_cases_that_were_trained_on_say_so_and_stay_out_of_the_card(network, cases, tmp_path):
    found, said = run(network, cases, tmp_path / "out", part="train")
    assert found.trained_on == ("t",)
    assert not (tmp_path / "out" / "toy.md").exists()
    assert said[0].startswith("WARNING")
    assert "trained on 1 of these cases" in (tmp_path / "out" / "report.md").read_text()
    before = network.with_suffix(".json").read_text()
    with pytest.raises(ModelError, match="trained on"):
        run(network, cases, tmp_path / "again", part="train", write=True)
    with pytest.raises(ModelError, match="trained on"):   # a split that calls them held out does not make them so
        run(network, cases, tmp_path / "again", split=Split((), ("t",)), write=True)
    assert network.with_suffix(".json").read_text() == before
    assert not (tmp_path / "again").exists()


def test_another_case_of_a_patient_who_was_trained_on_is_not_held_out(network, cases, tmp_path):
    table = {"t": CaseRow(patient="P1"), "a": CaseRow(patient="P1"), "typo": CaseRow(patient="P2")}
    folder = CaseFolder(cases, "brats2023", table)
    found, said = run(network, folder, tmp_path / "out")
    assert said[0] == "Of the table's 3 rows 1 are of no case in the folder: typo."
    assert said[1].startswith("WARNING: 1 of these 2 cases, or others of their patients, were trained on")
    assert found.trained_on == ("a",)
    with pytest.raises(ModelError, match=r"1 of these cases \(a\), or others of their patients, were trained on"):
        run(network, folder, tmp_path / "again", write=True)


def test_images_that_were_trained_on_are_known_under_another_name(network, cases, tmp_path):
    card = read_card(network.with_suffix(".json"))
    write_msd(tmp_path / "old", {"p1": toy_case(0, (32, 32, 32))})
    prepare_folder(tmp_path / "old", tmp_path / "packed", card, say=lambda line: None)
    lineage = Lineage((replace(learned_here(tmp_path / "packed", "p1"), name="BraTS2021_00001", patient="BraTS-GLI-00001"),))
    write_card(replace(card, training={**card.training, "lineage": plain_lineage(lineage)}), network.with_suffix(".json"))
    new = write_msd(tmp_path / "new", {"BraTS20_Training_001": toy_case(0, (32, 32, 32)), "BraTS20_Training_002": toy_case(1, (32, 32, 32))})
    split = Split((), ("BraTS20_Training_001", "BraTS20_Training_002"))
    with pytest.raises(ModelError, match=r"1 of these cases \(BraTS20_Training_001\), or others of their patients, were trained on"):
        run(network, CaseFolder(new), tmp_path / "out", split, write=True)
    found, said = run(network, CaseFolder(new), tmp_path / "out", split)
    assert said[1].startswith("WARNING: 1 of these 2 cases")
    assert found.trained_on == ("BraTS20_Training_001",)


def test_the_shipped_networks_card_says_whose_numbers_it_shows(network, cases, tmp_path, toy_model):
    shipped = tmp_path / "shipped.json"
    card = read_card(network.with_suffix(".json"))
    write_card(replace(card, sha256="b" * 64, training={**card.training, "trained_on": ["t", "a", "TCIA_b"],
                                                        "recipe": {"patch": [8], "seed": 2}}), shipped)
    run(network, cases, tmp_path / "out", write_of=shipped)
    metrics = read_card(shipped).metrics
    assert metrics["dice"]["WT"]["n"] == 2
    assert card.sha256 in metrics["split"]
    assert "on 3 cases, all of these 2 among them: it has no held-out numbers of its own" in metrics["split"]
    assert read_card(network.with_suffix(".json")).metrics == {}          # the measured one's card was not asked for


def test_a_shipped_network_that_learned_from_other_cases_of_the_patients_says_so(network, cases, tmp_path):
    shipped = tmp_path / "shipped.json"
    card = read_card(network.with_suffix(".json"))
    write_card(replace(card, training={**card.training, "trained_on": ["t", "a earlier"]}), shipped)
    table = {"a": CaseRow(patient="P1"), "a earlier": CaseRow(patient="P1")}
    run(network, CaseFolder(cases, "brats2023", table), tmp_path / "out", write_of=shipped)
    assert "on 2 cases, 1 of these 2 or others of their patients among them: it has no held-out" in read_card(shipped).metrics["split"]


def test_the_card_says_when_the_measured_network_began_from_other_weights(network, cases, tmp_path):
    card = read_card(network.with_suffix(".json"))
    for path, init, trained_on in ((network.with_suffix(".json"), "a.pt sha256 1", card.training["trained_on"]),
                                   (tmp_path / "shipped.json", "b.pt sha256 2", ["t", "a", "TCIA_b"])):
        write_card(replace(card, training={**card.training, "trained_on": trained_on, "recipe": {"patch": [8], "init": init}}), path)
    run(network, cases, tmp_path / "out", write_of=tmp_path / "shipped.json")
    write_card(card, network.with_suffix(".json"))
    assert "It began from the weights b.pt sha256 2, the measured one from a.pt sha256 1." in read_card(tmp_path / "shipped.json").metrics["split"]


@pytest.mark.parametrize("change, words", [
    ({"recipe": {"patch": [16], "seed": 1}}, "patch"), ({"steps": 6}, "steps taken"), ({"trained_on": ["a"]}, "Exchange the two"),
    ({"trained_on": None}, "does not say"), ({"patches_a_step": 2}, "patches a step"), ({"recipe": {"patch": [8], "batch": 2}}, "patches a step")])
def test_another_recipe_lends_no_numbers(network, cases, tmp_path, change, words):
    shipped = tmp_path / "shipped.json"
    card = read_card(network.with_suffix(".json"))
    training = {key: value for key, value in {**card.training, **change}.items() if value is not None}
    write_card(replace(card, training=training), shipped)
    with pytest.raises(ModelError, match=words):
        run(network, cases, tmp_path / "out", write_of=shipped)


@pytest.mark.parametrize("training", [{"patches_a_step": 4, "recipe": {"patch": [8], "batch": 2}},
                                      {"patches_a_step": 4, "recipe": {"patch": [8], "batch": 1, "accumulate": 2}},
                                      {"recipe": {"patch": [8], "batch": 2, "accumulate": 2}},
                                      {"recipe": {"patch": [8], "batch": 4, "uneven": 1.0}}])   # which an older version did not write
def test_as_many_patches_a_step_are_one_recipe_however_they_are_dealt_out(network, training):
    card = read_card(network.with_suffix(".json"))
    one, other = ({"trained_on": ["t"], **given} for given in ({"patches_a_step": 4, "recipe": {"patch": [8], "batch": 4}}, training))
    require_same_recipe(replace(card, training=one), replace(card, training=other))


def test_what_lacks_is_said_before_the_first_case(network, cases, tmp_path):
    with pytest.raises(InputError, match="no test cases"):
        run(network, cases, tmp_path / "out", part="test")
    with pytest.raises(MissingFile, match="lacks gone of the split"):
        run(network, cases, tmp_path / "out", split=Split((), ("a", "gone")))
    with pytest.raises(InputError, match="TCIA_b: its label convention is not declared"):
        run(network, CaseFolder(cases, table={"a": CaseRow("brats2023")}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def nested(folder, cases):
    for number, (name, case) in enumerate(cases.items()):
        write_brats(folder / ("HGG", "LGG")[number % 2] / name, case)
    return folder


@pytest.mark.parametrize("write, labels, cohort", [(write_msd, "", "MSD Task01"), (write_nnunet, "", "other"), (nested, "brats2021", "other")])
def test_cases_are_measured_where_prepare_found_them(network, tmp_path, write, labels, cohort):
    folder = write(tmp_path / "data", {name: toy_case(seed, (32, 32, 32)) for seed, name in enumerate(("p1", "p2", "p3"))})
    table = {"p3": CaseRow(cohort="Oslo")}
    found, _ = run(network, CaseFolder(folder, labels, table), tmp_path / "out", split=Split(("p1",), ("p2", "p3")))
    assert found.cases == ("p2", "p3")
    assert found.cohorts == {"p2": cohort, "p3": "Oslo"}
    assert found.evaluation.results[0].scores["WT"].truth_ml == pytest.approx(5.832)      # 18 voxels each way


def test_a_case_without_a_sequence_is_taken_when_asked_and_is_in_no_table_by_sequences(network, cases, tmp_path):
    from shutil import copytree

    copytree(cases, tmp_path / "cases")
    (tmp_path / "cases" / "TCIA_b" / "t1.nii.gz").unlink()
    with pytest.raises(MissingFile, match=r"TCIA_b: it lacks t1\..*--missing-ok"):
        run(network, tmp_path / "cases", tmp_path / "out")
    found, _ = run(network, CaseFolder(tmp_path / "cases", "brats2023", missing_ok=True), tmp_path / "out", subsets=True)
    assert found.cases == ("a", "TCIA_b")
    assert set(found.by_sequences["flair"]) == {"a"}
    report = (tmp_path / "out" / "report.md").read_text()
    assert "without t1 of TCIA_b" in report
    assert "WT over 1, TC over 1, ET over 0 cases" in report
    copytree(tmp_path / "out", tmp_path / "again")
    compare(read_groups([tmp_path / "out", tmp_path / "again"], []), tmp_path / "compared", say=lambda line: None)
    assert "by sequences" not in (tmp_path / "compared" / "compare.md").read_text()


def test_a_place_that_cannot_be_written_into_is_said_before_the_first_case(network, cases, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    said = []
    with pytest.raises(OutputError, match="file cannot be written into"):
        run(network, cases, tmp_path / "file", say=said.append)
    assert said == []


def test_a_damaged_case_costs_itself_and_the_card_only(network, cases, tmp_path):
    from shutil import copytree

    copytree(cases, tmp_path / "cases")
    (tmp_path / "cases" / "TCIA_b" / "t2.nii.gz").write_bytes(b"no image")
    before = network.with_suffix(".json").read_text()
    with pytest.raises(ModelError, match="1 of 2 cases"):
        run(network, tmp_path / "cases", tmp_path / "out", write=True)
    assert "TCIA_b: " in (tmp_path / "out" / "report.md").read_text()
    assert network.with_suffix(".json").read_text() == before


def test_everything_is_written_before_the_table_is_said(network, cases, tmp_path):
    """For whoever reads it may leave."""
    def say(line):
        if "left" not in line and not line.startswith("2/2"):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(network, cases, tmp_path / "out", write=True, say=say)
    assert {"validation.json", "validation.csv", "report.md", "worst_case"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert read_card(network.with_suffix(".json")).metrics["dice"]["WT"]["n"] == 2
    assert network.with_suffix(".md").is_file()
