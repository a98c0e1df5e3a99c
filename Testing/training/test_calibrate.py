import json
from dataclasses import replace

import numpy as np
import pytest

from braintumorseg.errors import InputError, MissingFile, ModelError
from braintumorseg.io.nifti import write_nifti
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.model_card import PostProcessing, read_card, write_card
from braintumorseg.preprocess import prepare
from braintumorseg_training.calibrate import best, calibrate, choose, gain, read_fold
from braintumorseg_training.case_folder import CaseFolder
from braintumorseg_training.case_table import CaseRow
from braintumorseg_training.cli import main
from braintumorseg_training.data import Split
from braintumorseg_training.lineage import Learned, Lineage, plain_lineage, remembered_digests
from braintumorseg_training.packing import digests_of
from toy_datasets import toy_case, write_msd
from toys import make_toy_study


def test_the_number_in_use_stays_when_it_is_as_good_as_the_best():
    assert best({0.3: 0.8, 0.5: 0.799, 0.7: 0.6}, now=0.5) == 0.5
    assert best({0.3: 0.8, 0.35: 0.801, 0.4: 0.8, 0.5: 0.7}, now=0.5) == 0.35     # the middle of a flat top
    assert best({}, now=0.5) == 0.5


def test_the_gain_is_told_by_cases_that_had_no_say():
    agreed = [{"WT": {0.4: 0.9, 0.5: 0.8}} for _ in range(4)]
    assert choose(agreed, "WT", 0.5) == 0.4
    assert gain(agreed, "WT", 0.5) == pytest.approx(0.1)
    lucky = [{"WT": {0.4: 1.0, 0.5: 0.5}}, {"WT": {0.4: 0.4, 0.5: 0.5}}, {"WT": {0.4: 0.4, 0.5: 0.5}}, {"WT": {}}]
    assert choose(lucky, "WT", 0.5) == 0.4         # one case alone pulls the mean over
    assert gain(lucky, "WT", 0.5) < 0              # and without it nothing is won
    assert gain(lucky[:1], "WT", 0.5) == 0


@pytest.fixture
def cases(tmp_path):
    """Three toy patients in whose FLAIR a cube of 27 voxels, away from the tumour, is as bright as it and no tumour in truth."""
    for name in ("a", "b", "c"):
        folder = tmp_path / "cases" / name
        folder.mkdir(parents=True)
        study = make_toy_study((32, 32, 32))
        flair = study.volumes["flair"].voxels.copy()
        flair[4:7, 15:18, 15:18] = 180
        for role, volume in study.volumes.items():
            write_nifti(volume.with_voxels(flair) if role == "flair" else volume, folder / f"{role}.nii.gz")
        labels = np.zeros((32, 32, 32), np.uint8)
        for label, half in ((ED, 7), (NCR, 5), (ET, 4)):
            labels[tuple(slice(16 - half, 16 + half) for _ in range(3))] = label
        write_nifti(study.reference.with_voxels(labels), folder / "seg.nii.gz")
    return tmp_path / "cases"


def run(toy_model, cases, out, held_out=("a", "b", "c"), fixed=(), **options):
    folder = cases if isinstance(cases, CaseFolder) else CaseFolder(cases, "brats2023")
    return calibrate([(toy_model.weights, Split((), held_out))], folder, out, fixed=Split((), fixed), say=lambda line: None, device="cpu", **options)


def test_an_island_that_no_truth_has_is_dropped_and_only_the_asked_card_is_written(toy_model, cases, tmp_path):
    before = toy_model.weights.with_suffix(".json").read_text()
    chosen = run(toy_model, cases, tmp_path / "out")
    assert chosen == replace(PostProcessing(), smallest_lesion_ml=chosen.smallest_lesion_ml)
    assert chosen.smallest_lesion_ml > 0.027
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"calibration.json", "calibration.md", "calibration.png"}
    found = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert found["numbers"]["smallest_lesion_ml"]["gain_on_cases_left_out"] > 0
    assert toy_model.weights.with_suffix(".json").read_text() == before
    card = tmp_path / "card.json"
    write_card(replace(toy_model.card, metrics={"dice": {}}), card)
    run(toy_model, cases, tmp_path / "out", cards=[card])
    assert read_card(card).post_processing == chosen
    assert read_card(card).metrics == {}
    assert "3 out-of-fold cases: a, b, c" in read_card(card).training["calibration"]


def test_the_decathlons_cases_are_calibrated_on_where_they_lie(toy_model, tmp_path):
    folder = write_msd(tmp_path / "msd", {name: toy_case(seed, (32, 32, 32)) for seed, name in enumerate("ab")})
    run(toy_model, CaseFolder(folder), tmp_path / "out", held_out=("a", "b"))
    assert set(json.loads((tmp_path / "out" / "calibration.json").read_text())["cases"]) == {"a", "b"}


def test_cases_of_the_final_numbers_and_cases_that_were_learned_are_refused(toy_model, cases, tmp_path):
    with pytest.raises(ModelError, match="b must stay unseen"):
        run(toy_model, cases, tmp_path / "out", fixed=("b",))
    card = tmp_path / "card.json"
    write_card(replace(toy_model.card, training={"held_out": ["c"]}), card)
    with pytest.raises(ModelError, match="c must stay unseen"):
        run(toy_model, cases, tmp_path / "out", cards=[card])
    weights = tmp_path / "toy.onnx"
    weights.write_bytes(toy_model.weights.read_bytes())
    write_card(replace(toy_model.card, training={"trained_on": ["a"]}), weights.with_suffix(".json"))
    with pytest.raises(ModelError, match="was trained on a"):
        run(replace(toy_model, weights=weights), cases, tmp_path / "out")
    with pytest.raises(InputError, match="a: its label convention is not declared"):
        run(toy_model, CaseFolder(cases), tmp_path / "out")
    with pytest.raises(MissingFile, match="lacks d of the split"):
        run(toy_model, cases, tmp_path / "out", held_out=("a", "d"))
    with pytest.raises(InputError, match="no train cases"):
        run(toy_model, cases, tmp_path / "out", part="train")
    with pytest.raises(InputError, match=r"MODEL\.onnx=SPLIT\.json"):
        read_fold("fold0.onnx")
    assert not (tmp_path / "out").exists()


def test_another_case_of_a_patient_who_was_learned_from_or_is_held_out_is_refused(toy_model, cases, tmp_path):
    weights = tmp_path / "toy.onnx"
    weights.write_bytes(toy_model.weights.read_bytes())
    write_card(replace(toy_model.card, training={"trained_on": ["elsewhere"]}), weights.with_suffix(".json"))
    network = replace(toy_model, weights=weights)
    with pytest.raises(ModelError, match="was trained on b, or on others of the same patients"):
        run(network, CaseFolder(cases, "brats2023", {"b": CaseRow(patient="P1"), "elsewhere": CaseRow(patient="P1")}), tmp_path / "out")
    with pytest.raises(ModelError, match=r"c must stay unseen .*split --folds K --within SPLIT\.json"):
        run(network, CaseFolder(cases, "brats2023", {"c": CaseRow(patient="P2"), "later": CaseRow(patient="P2")}), tmp_path / "out", fixed=("later",))


def test_what_a_folds_own_split_tests_on_stays_unseen_too(toy_model, cases, tmp_path):
    folds = [(toy_model.weights, Split((), ("a", "b"))), (toy_model.weights, Split((), ("c",), test=("b",)))]
    with pytest.raises(ModelError, match="b must stay unseen"):
        calibrate(folds, CaseFolder(cases, "brats2023"), tmp_path / "out", fixed=Split((), ()), say=lambda line: None, device="cpu")


def test_the_verb_asks_for_the_split_of_the_final_numbers(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["calibrate", str(tmp_path), "--fold", "a.onnx=a.json", "--out", str(tmp_path / "out")])
    assert "required: --fixed" in capsys.readouterr().err


def test_images_that_were_learned_from_are_refused_under_another_name(toy_model, tmp_path):
    folder = CaseFolder(write_msd(tmp_path / "msd", {name: toy_case(seed, (32, 32, 32)) for seed, name in enumerate("ab")}))
    study, _ = folder.find("b")["b"].read()
    images = remembered_digests(digests_of(prepare(study, toy_model.card).channels.astype(np.float16)))
    lineage = Lineage((Learned("BraTS2021_00001", "BraTS-GLI-00001", "BraTS2021", images),))
    weights = tmp_path / "toy.onnx"
    weights.write_bytes(toy_model.weights.read_bytes())
    write_card(replace(toy_model.card, training={"lineage": plain_lineage(lineage)}), weights.with_suffix(".json"))
    with pytest.raises(ModelError, match="was trained on b, or on others"):
        run(replace(toy_model, weights=weights), folder, tmp_path / "out", held_out=("a", "b"))
    assert not (tmp_path / "out").exists()


def test_tables_and_cards_are_written_before_the_table_is_said(toy_model, cases, tmp_path):
    def say(line):
        if "suggested" in line:
            raise BrokenPipeError

    card = tmp_path / "card.json"
    write_card(toy_model.card, card)
    with pytest.raises(BrokenPipeError):
        calibrate([(toy_model.weights, Split((), ("a", "b", "c")))], CaseFolder(cases, "brats2023"), tmp_path / "out", fixed=Split((), ()), say=say,
                  cards=[card], device="cpu")
    assert "calibration" in read_card(card).training
    assert (tmp_path / "out" / "calibration.md").is_file()
