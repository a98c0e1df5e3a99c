"""What weights learned from, carried on through generations of runs, and whom it names."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from braintumorseg.errors import InputError
from braintumorseg.model_card import read_card, write_card
from braintumorseg_training.card_markdown import card_markdown
from braintumorseg_training.config import Config
from braintumorseg_training.data import Split, pack_case
from braintumorseg_training.export import draft_card, export
from braintumorseg_training.lineage import Learned, Lineage, joined, learned_by_name, lineage_from, plain_lineage, same_patient
from braintumorseg_training.networks import build
from braintumorseg_training.run_split import learned_by, split_of_run
from braintumorseg_training.splits import read_split, refuse_shared_patients, write_splits
from braintumorseg_training.train import fit, load_checkpoint
from braintumorseg_training.transfer import begin_from, inherit, learned_from, lineage_of_card
from toys import make_toy_study

CONFIG = Config(channels=(8, 8), patch=(16, 16, 16), steps=1, warm_up=1, bf16=False, transplant=0.0)
ONE = Split(("case0",), ())


def quiet(line):
    pass


def run(packed, split, out, weights=None, say=quiet):
    split = inherit(split, weights, packed, say)
    config, start = begin_from(CONFIG, weights, out, quiet)
    return fit(config, packed, split, out, device="cpu", workers=0, say=quiet, start=start)


def made(folder, packed, out, **words):
    """(the .onnx, its card) of a run."""
    path = export(folder, packed, split_of_run(folder), out, "tiny", "1", **{"say": quiet, **words})
    return path, read_card(path.with_suffix(".json"))


def pack(folder, name, seed, cohort="other", patient="", shape=(36, 36, 36), labelled=True):
    """A case whose images and tumour are a function of the seed."""
    study = make_toy_study(shape)
    study = replace(study, volumes={role: volume.with_voxels(volume.voxels * (1 + 0.3 * np.random.default_rng(seed).random(shape)))
                                    for role, volume in study.volumes.items()})
    labels, half = np.zeros(shape, np.uint8), 4 + 2 * seed
    labels[tuple(slice(n // 2 - half, n // 2 + half) for n in shape)] = 2
    labels[tuple(slice(n // 2 - 3, n // 2 + 3) for n in shape)] = 3
    pack_case(name, cohort, study, study.reference.with_voxels(labels * labelled), draft_card(size_multiple=4), folder, patient=patient)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Weights of which nobody knows what they learned from."""
    path = tmp_path_factory.mktemp("plain") / "plain.pth"
    torch.save(build(CONFIG).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def child(plain, packed, tmp_path_factory):
    """A run of case0 that began from them."""
    out = tmp_path_factory.mktemp("child")
    run(packed, ONE, out, plain)
    return out


def test_that_a_start_is_unknown_is_remembered_by_checkpoint_best_weights_run_and_card(child, packed, tmp_path):
    assert split_of_run(child).inherited == Lineage(complete=False)
    assert json.loads((child / "split.json").read_text())["inherited"] == {"complete": False, "cases": []}
    for number, weights in enumerate((child / "checkpoint.pt", made(child, packed, tmp_path / "net")[0])):
        said = []
        grandchild = tmp_path / str(number)
        run(packed, Split(("case1",), ("case2",)), grandchild, weights, said.append)
        assert said[0].startswith(f"WARNING: what {weights.name} had learned from is not all known. If patients of the split's validation")
        assert learned_from(grandchild / "checkpoint.pt").complete is learned_from(grandchild / "best.pt").complete is False
        assert learned_from(grandchild / "checkpoint.pt").names == ("case1", "case0")       # and what is known is not forgotten
        card = made(grandchild, packed, tmp_path / "net")[1]
        assert "Started from weights of which not all training cases are known" in card.limits[-1]
        assert "What else the weights that it started from had learned from is not known." in card_markdown(card)


@pytest.mark.parametrize("kept", ["names", "nothing"])
def test_an_older_run_that_began_from_weights_does_not_know_them_all(child, packed, tmp_path, kept):
    split = json.loads((child / "split.json").read_text())
    (tmp_path / "config.json").write_text((child / "config.json").read_text())
    (tmp_path / "split.json").write_text(json.dumps({**split, "inherited": ["case3"]} if kept == "names" else
                                                    {key: split[key] for key in ("train", "validation")}))
    assert learned_by(tmp_path).complete is False
    assert learned_by(tmp_path).names == (("case0", "case3") if kept == "names" else ("case0",))
    saved = load_checkpoint(child / "checkpoint.pt")
    del saved["lineage"]
    torch.save(saved, tmp_path / "checkpoint.pt")
    assert learned_from(tmp_path / "checkpoint.pt") == Lineage((learned_by_name("case0"),), complete=False)
    del saved["learned_from"]
    (tmp_path / "config.json").unlink()                 # as an average of such runs, whose split alone names the cases
    torch.save(saved, tmp_path / "checkpoint.pt")
    assert learned_from(tmp_path / "checkpoint.pt").complete is False
    (tmp_path / "split.json").unlink()
    assert learned_from(tmp_path / "checkpoint.pt") is None
    card = read_card(export(tmp_path, packed, ONE, tmp_path / "net", "tiny", "1", say=quiet).with_suffix(".json"))
    assert card.training["lineage"]["complete"] is False
    torch.save({**saved, "learned_from": ["case0"], "config": {**saved["config"], "init": ""}}, tmp_path / "checkpoint.pt")
    assert learned_from(tmp_path / "checkpoint.pt").complete


def test_a_run_of_fresh_weights_knows_all_and_says_nothing_of_it(packed, tmp_path):
    run(packed, ONE, tmp_path / "run")
    assert learned_from(tmp_path / "run" / "checkpoint.pt").complete
    card = made(tmp_path / "run", packed, tmp_path / "net")[1]
    assert "not known" not in card_markdown(card)
    assert "lineage" not in card_markdown(card).lower()


def sites(tmp_path, **second):
    """Two hospitals' cases of one name, packed: in the first's folder sub-001 and sub-002, in the second's sub-001 with other images."""
    for number, name in enumerate(("sub-001", "sub-002")):
        pack(tmp_path / "first", name, number)
    pack(tmp_path / "second", "sub-001", 3, **second)
    pack(tmp_path / "second", "sub-003", 2)
    return tmp_path / "first", tmp_path / "second"


def test_another_hospitals_patient_of_the_same_name_is_another_patient_and_both_are_counted(tmp_path):
    first, second = sites(tmp_path)
    weights = run(first, Split(("sub-001", "sub-002"), ()), tmp_path / "a")
    run(second, Split(("sub-003",), ("sub-001",)), tmp_path / "held out", weights)
    run(second, Split(("sub-001", "sub-003"), ()), tmp_path / "trained", weights)
    assert made(tmp_path / "trained", second, tmp_path / "net")[1].training["trained_on"] == ["sub-001", "sub-003", "sub-001", "sub-002"]
    with pytest.raises(InputError, match="learned from sub-002: of patients in the split's validation"):      # its own cases are known by image
        run(first, Split(("sub-001",), ("sub-002",)), tmp_path / "again", tmp_path / "trained" / "checkpoint.pt")


def test_an_image_that_was_learned_from_is_known_whatever_its_case_is_called(tmp_path):
    pack(tmp_path / "first", "sub-001", 0)
    pack(tmp_path / "second", "renamed", 0)
    pack(tmp_path / "second", "sub-003", 1)
    weights = run(tmp_path / "first", Split(("sub-001",), ()), tmp_path / "a")
    with pytest.raises(InputError, match=r"learned from sub-001 \(whose patient is that of renamed\)") as refused:
        run(tmp_path / "second", Split(("sub-003",), ("renamed",)), tmp_path / "b", weights)
    assert "--table" not in str(refused.value)          # no table settles what the images say


def test_where_a_name_alone_is_known_it_counts_until_a_table_says_otherwise(tmp_path):
    first, second = sites(tmp_path)
    weights = run(first, Split(("sub-001", "sub-002"), ()), tmp_path / "a")
    saved = load_checkpoint(weights)
    del saved["lineage"]
    torch.save(saved, weights)                           # of an older version
    split = Split(("sub-003",), ("sub-001",))
    with pytest.raises(InputError, match="say so when they are packed: prepare --table"):
        run(second, split, tmp_path / "b", weights)
    pack(second, "sub-001", 3, patient="second hospital 1")
    run(second, split, tmp_path / "c", weights)


def test_names_of_published_data_sets_are_one_patients_whatever_was_packed(packed, tmp_path):
    pack(tmp_path, "BraTS2021_01480", 1, patient="mine")
    for known in (learned_by_name("BraTS2021_01480"), Learned("BraTS2021_01480", "BraTS-GLI-01480", "BraTS2021", ("0" * 16,), (50.0, 50.0, 50.0))):
        with pytest.raises(InputError, match=r"learned from BraTS2021_01480: .*split's validation") as refused:
            refuse_shared_patients(tmp_path, Split((), ("BraTS2021_01480",), inherited=Lineage((known,))))
        assert "--table" not in str(refused.value)


BEFORE = Learned("sub-001_ses-01", "sub-001", "other", ("a" * 16,), (1.0, 20.0, 5.0))


@pytest.mark.parametrize("other, namesake, same", [
    (Learned("sub-001_ses-02", "sub-001", "other", ("b" * 16,), (1.0, 9.0, 5.0)), None, True),                     # a later visit
    (Learned("sub-001_ses-02", "sub-001", "other", ("b" * 16,), (1.0, 9.0, 5.0)), ("c" * 16, (3.0, 60.0, 9.0)), False),   # of another hospital
    (Learned("sub-001_ses-01", "sub-001", "other", ("c" * 16,), (1.1, 19.5, 5.2)), ("c" * 16, (1.1, 19.5, 5.2)), True),   # packed at 2 mm
    (Learned("sub-001_ses-01", "sub-001", "other", ("c" * 16,), (0.0, 0.0, 0.0)), ("c" * 16, (0.0, 0.0, 0.0)), True),     # without labels
    (Learned("x", "y", "Oslo", ("a" * 16,), (9.0, 9.0, 9.0)), None, True)])                                          # an image in common
def test_who_a_case_is_of_is_told_by_images_then_by_what_bears_the_name(other, namesake, same):
    there = namesake and replace(BEFORE, images=(namesake[0],), ml=namesake[1])
    assert same_patient(BEFORE, other, there) is same


def test_cohorts_that_are_stated_tell_equal_names_apart():
    other = Learned("sub-001", "sub-001", "Oslo")
    assert same_patient(Learned("sub-001", "sub-001", "other"), other, None)
    assert same_patient(Learned("sub-001", "sub-001", "Oslo"), other, None)
    assert same_patient(Learned("sub-001", "sub-001", "unlabelled"), other, None)
    assert not same_patient(Learned("sub-001", "sub-001", "Bergen"), other, None)


def test_a_lineage_is_written_and_read_and_a_damaged_one_is_said(tmp_path):
    whole = Lineage((BEFORE, learned_by_name("case0")), False, {"Oslo": {"name": "Oslo's", "licence": "none"}}, ({"name": "old", "cases": 3},))
    assert lineage_from(json.loads(json.dumps(plain_lineage(whole)))) == whole
    split = Split(("a",), (), inherited=whole)
    assert read_split(write_splits([split], tmp_path / "split.json")[0]) == split
    (tmp_path / "split.json").write_text('{"train": [], "validation": [], "inherited": {"cases": [3]}}')
    with pytest.raises(InputError, match="inherited is not what a run writes"):
        read_split(tmp_path / "split.json")


def test_of_a_case_in_several_lineages_the_one_of_which_more_is_known_is_kept():
    bare = learned_by_name(BEFORE.name)
    assert joined([Lineage((bare,)), Lineage((BEFORE,), complete=False)]) == Lineage((BEFORE,), complete=False)
    elsewhere = replace(BEFORE, images=("b" * 16,))   # the same volumes: packed at another spacing, or somebody else's
    both, = joined([Lineage((BEFORE,)), Lineage((elsewhere,))]).cases
    assert both.images == (*BEFORE.images, *elsewhere.images)
    other = replace(BEFORE, images=("b" * 16,), ml=(9.0, 9.0, 9.0))
    assert joined([Lineage((BEFORE,)), Lineage((other,))]).names == (BEFORE.name, BEFORE.name)


def test_the_card_names_the_data_sets_of_all_generations_with_their_licences(packed, tmp_path):
    pack(tmp_path / "other", "P1", 1, cohort="Oslo")
    said = {"Oslo": {"name": "Oslo's gliomas", "licence": "CC BY 4.0", "citation": "Nordmann 2024"}}
    run(tmp_path / "other", Split(("P1",), ()), tmp_path / "a")
    network, _ = made(tmp_path / "a", tmp_path / "other", tmp_path / "net", words={"data_sets": said})
    run(packed, Split(("case1", "case2"), ()), tmp_path / "b", network)
    run(packed, Split(("case2",), ()), tmp_path / "c", tmp_path / "b" / "checkpoint.pt")
    lines = []
    card = made(tmp_path / "c", packed, tmp_path / "made", say=lines.append)[1]
    assert [(one["name"], one["licence"], one["cases"]) for one in card.training_data] == [
        ("RSNA-ASNR-MICCAI BraTS 2021", "CC BY 4.0", 2), ("Oslo's gliomas", "CC BY 4.0", 1)]
    assert card.training_data[1]["citation"] == "Nordmann 2024"
    assert not [line for line in lines if "WARNING" in line]
    (tmp_path / "d").mkdir()
    run(packed, ONE, tmp_path / "d", tmp_path / "c" / "checkpoint.pt")       # from a checkpoint whose card's words are not at hand
    said = []
    assert [(one["name"], one["cases"]) for one in made(tmp_path / "d", packed, tmp_path / "made", say=said.append)[1].training_data] == [
        ("RSNA-ASNR-MICCAI BraTS 2021", 3), ("Oslo's gliomas", 1)]


def test_where_the_data_of_the_weights_before_are_not_known_the_card_says_so(child, packed, tmp_path):
    said = []
    card = made(child, packed, tmp_path, say=said.append)[1]
    assert [(one["name"], one["licence"], one.get("cases")) for one in card.training_data] == [
        ("RSNA-ASNR-MICCAI BraTS 2021", "CC BY 4.0", 1), ("Data that is not known, of the weights that it started from", "not known", None)]
    assert any("it is not known from which data sets they had learned" in line for line in said)
    assert "gliomas" not in card.intended_use           # nor whom they had seen


def test_an_older_card_gives_its_made_up_cases_as_it_counts_them(packed, tmp_path):
    run(packed, ONE, tmp_path / "run")
    path, card = made(tmp_path / "run", packed, tmp_path)
    rows = ({"name": "RSNA-ASNR-MICCAI BraTS 2021", "licence": "CC BY 4.0", "citation": "", "cases": 2},
            {"name": "BrainTumorSeg phantoms (made up)", "licence": "MIT", "citation": "", "cases": 16})
    old = replace(card, training={"trained_on": ["BraTS2021_00001", "BraTS2021_00002"]}, training_data=rows)
    assert lineage_of_card(old).rows == rows[1:]         # the real ones are known by their names
    write_card(old, path.with_suffix(".json"))
    run(packed, ONE, tmp_path / "next", path)
    assert [(one["name"], one["cases"]) for one in made(tmp_path / "next", packed, tmp_path / "made")[1].training_data] == [
        ("RSNA-ASNR-MICCAI BraTS 2021", 3), ("BrainTumorSeg phantoms (made up), of the weights that it started from", 16)]
