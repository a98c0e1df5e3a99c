"""What a run was trained with, as its folder keeps it."""

from dataclasses import replace
from shutil import copytree

import pytest
import torch

from braintumorseg.errors import InputError, ModelError
from braintumorseg.model_card import read_card
from braintumorseg_training.data import Split, pack_case, read_split
from braintumorseg_training.export import draft_card, export
from braintumorseg_training.run_split import RUN_SPLIT, keep_split, refuse_another_split, refuse_untrained_split, split_of_run
from braintumorseg_training.train import fit, load_checkpoint
from toys import make_toy_study

SPLIT = Split(("case0", "case1"), ("case3",), "by hand", ("case2",))


def test_the_split_lies_in_the_runs_folder_before_the_first_step(packed, tiny, tmp_path):
    def look(line):
        if "of 2" in line:
            seen.append(read_split(tmp_path / "run" / RUN_SPLIT))

    seen = []
    fit(replace(tiny, steps=2), packed, SPLIT, tmp_path / "run", device="cpu", say=look)
    assert seen == [replace(SPLIT, made_up=())]


def test_a_run_is_taken_up_with_its_own_split_only_and_nothing_changes_when_it_is_refused(packed, tiny, tmp_path):
    fit(replace(tiny, steps=2), packed, SPLIT, tmp_path, device="cpu", say=lambda line: None)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for other, words in ((Split(("case0",), ("case3",)), "train lacks case1"),
                         (Split(("case1", "case0"), ("case3",)), "train has its cases in another order"),
                         (Split(SPLIT.train, ("case2",)), "validation lacks case3 and adds case2")):
        with pytest.raises(ModelError, match=rf"made with another split: {words}\. Give another --out"):
            fit(replace(tiny, steps=4), packed, other, tmp_path, device="cpu", say=lambda line: None)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    fit(replace(tiny, steps=3), packed, replace(SPLIT, test=(), reason="told otherwise"), tmp_path, device="cpu", say=lambda line: None)
    assert split_of_run(tmp_path) == replace(SPLIT, made_up=())


def test_a_run_of_before_is_taken_up_and_exported_as_ever(packed, tiny, tmp_path):
    fit(replace(tiny, steps=2), packed, SPLIT, tmp_path / "run", device="cpu", say=lambda line: None)
    (tmp_path / "run" / RUN_SPLIT).unlink()
    other = Split(("case0", "case2"), ())
    fit(replace(tiny, steps=3), packed, other, tmp_path / "run", device="cpu", say=lambda line: None)
    assert split_of_run(tmp_path / "run") is None                           # nobody knows with which it began
    path = export(tmp_path / "run", packed, other, tmp_path / "network", "tiny", "1", say=lambda line: None)
    assert read_card(path.with_suffix(".json")).training["trained_on"] == ["case0", "case2"]


def test_export_is_of_the_cases_that_were_trained_on(packed, tiny, tmp_path):
    fit(replace(tiny, steps=2), packed, SPLIT, tmp_path / "run", device="cpu", say=lambda line: None)
    with pytest.raises(ModelError, match=r"run was trained on other cases than the split says: train adds case2\. Leave --split out"):
        export(tmp_path / "run", packed, Split(("case0", "case1", "case2"), ()), tmp_path / "network", "tiny", "1", say=lambda line: None)
    assert not (tmp_path / "network").exists()
    refuse_untrained_split(tmp_path / "run", Split(("case1", "case0"), ("case2",)))   # in any order, and whatever is held out


def test_many_names_are_cut_short_and_a_damaged_file_is_said(tmp_path):
    keep_split(tmp_path, Split(tuple("abcdefg"), ()))
    with pytest.raises(ModelError, match="train lacks b, c, d and 3 more and adds z") as error:
        refuse_another_split(tmp_path, Split(("a", "z"), ()))
    assert "\n" not in str(error.value)
    (tmp_path / RUN_SPLIT).write_text("{")
    with pytest.raises(InputError, match=r"split\.json cannot be read"):
        split_of_run(tmp_path)


def with_phantoms(packed, folder, count):
    """A copy of the packed cases with made-up ones besides."""
    copytree(packed, folder)
    study = make_toy_study((36, 36, 36))
    for number in range(count):
        pack_case(f"phantom_{number}", "phantom", study, study.volumes["flair"].with_voxels(study.volumes["flair"].voxels > 1000),
                  draft_card(size_multiple=4), folder)
    return folder


def test_a_run_is_not_taken_up_with_made_up_cases_that_it_did_not_begin_with(packed, tiny, tmp_path):
    two, three = with_phantoms(packed, tmp_path / "two", 2), with_phantoms(packed, tmp_path / "three", 3)
    fit(replace(tiny, steps=2), two, SPLIT, tmp_path / "run", device="cpu", say=lambda line: None)
    for folder, words in ((three, "adds phantom_2"), (packed, "lacks phantom_0, phantom_1")):
        with pytest.raises(ModelError, match=f"made with other made-up cases: made-up {words}\\. Give another --out, or a --data folder"):
            fit(replace(tiny, steps=4), folder, SPLIT, tmp_path / "run", device="cpu", say=lambda line: None)
    fit(replace(tiny, steps=3), two, SPLIT, tmp_path / "run", device="cpu", say=lambda line: None)


def test_the_card_counts_the_made_up_cases_of_the_run_whatever_lies_in_the_folder_since(packed, tiny, tmp_path):
    def counted(folder):
        path = export(tmp_path / "run", folder, split_of_run(tmp_path / "run") or SPLIT, tmp_path / "made", "tiny", "1", say=lambda line: None)
        return [one["cases"] for one in read_card(path.with_suffix(".json")).training_data]

    fit(replace(tiny, steps=1), with_phantoms(packed, tmp_path / "two", 2), SPLIT, tmp_path / "run", device="cpu", say=lambda line: None)
    three = with_phantoms(packed, tmp_path / "three", 3)
    assert counted(three) == counted(packed) == [2, 2]
    (tmp_path / "run" / RUN_SPLIT).write_text('{"train": ["case0", "case1"], "validation": []}')      # an older run, which kept no names
    assert (counted(three), counted(packed)) == ([2, 3], [2])


HELD_OUT = Split(("synthetic_000", "case0"), ("synthetic_002",))


def named_like_made_up(packed, folder):
    """A copy of the packed cases with three patients' cases whose names are those of made-up ones."""
    copytree(packed, folder)
    for number, shape in enumerate(((36, 36, 36), (40, 36, 36), (36, 40, 36))):
        study = make_toy_study(shape)
        pack_case(f"synthetic_00{number}", "other", study, study.volumes["flair"].with_voxels(study.volumes["flair"].voxels > 150),
                  draft_card(size_multiple=4), folder, origin="a folder")
    return folder


def test_a_held_out_case_is_not_learned_from_whatever_its_name_and_no_card_counts_it_as_made_up(packed, tiny, tmp_path):
    folder, said = named_like_made_up(packed, tmp_path / "packed"), []
    fit(replace(tiny, steps=1), folder, HELD_OUT, tmp_path / "run", device="cpu", say=said.append)
    assert said[0].startswith("2 cases (0 made up), ")
    assert split_of_run(tmp_path / "run").made_up == ()
    path = export(tmp_path / "run", folder, split_of_run(tmp_path / "run"), tmp_path / "made", "tiny", "1", say=said.append)
    card = read_card(path.with_suffix(".json"))
    assert {one["name"]: one["cases"] for one in card.training_data} == {"other": 1, "RSNA-ASNR-MICCAI BraTS 2021": 1}
    assert card.training["trained_on"] == ["synthetic_000", "case0"]


@pytest.mark.parametrize("kept", ["made_up", "nothing"])
def test_a_run_of_a_version_that_went_by_names_is_not_exported_as_if_it_had_held_out_what_it_learned_from(packed, tiny, tmp_path, kept):
    folder = named_like_made_up(packed, tmp_path / "packed")
    learned_from_all = Split(("synthetic_000", "case0", "synthetic_001", "synthetic_002"), ())
    fit(replace(tiny, steps=1), folder, learned_from_all, tmp_path / "run", device="cpu", say=lambda line: None)
    names = ("synthetic_000", "synthetic_001", "synthetic_002") if kept == "made_up" else None
    if names is None:
        saved = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
        torch.save({key: saved[key] for key in saved if key not in ("lineage", "learned_from")}, tmp_path / "run" / "checkpoint.pt")
    keep_split(tmp_path / "run", replace(HELD_OUT, made_up=names))
    with pytest.raises(ModelError, match=r"run was trained on synthetic_002, which its split holds out: an older version .*Train it again"):
        export(tmp_path / "run", folder, HELD_OUT, tmp_path / "made", "tiny", "1", say=lambda line: None)
    assert not (tmp_path / "made").exists()
    path = export(tmp_path / "run", folder, replace(HELD_OUT, validation=()), tmp_path / "made", "tiny", "1", say=lambda line: None)
    assert read_card(path.with_suffix(".json")).training["trained_on"] == ["synthetic_000", "case0", "synthetic_001", "synthetic_002"]
