from dataclasses import replace

import numpy as np
import pytest
import torch

from braintumorseg.errors import MissingFile
from braintumorseg.study import Study
from braintumorseg_training.case_table import read_table
from braintumorseg_training.cli import OWN_SPLIT
from braintumorseg_training.data import PHANTOM, SYNTHETIC, Patches, Split, load_cases, load_made_up, pack_case, read_split
from braintumorseg_training.export import draft_card
from toys import make_toy_study


def test_a_packed_case_is_what_the_engines_preprocessing_made(packed):
    case = load_cases(packed, ["case0"])[0]
    assert case.channels.dtype == np.float16
    assert case.channels.shape[1:] == case.labels.shape
    assert np.bincount(case.labels.ravel()).tolist()[1:] == [10**3 - 8**3, 14**3 - 10**3, 8**3]
    assert all((case.labels[tuple(case.spots[value].T)] == value).all() for value in (1, 2, 3))


def test_patch_number_n_depends_on_the_seed_and_n_alone(packed, tiny):
    cases = load_cases(packed)
    whole, later = Patches(cases, tiny, first=0, count=10), Patches(cases, tiny, first=6, count=4)
    image, labels = whole[8]
    again, same = later[2]
    assert torch.equal(image, again)
    assert torch.equal(labels, same)
    assert not torch.equal(image, whole[7][0])
    assert image.shape == (4, 16, 16, 16)
    assert labels.shape == (16, 16, 16)


def test_lesions_are_made_fainter_where_that_is_asked_for_and_nowhere_else(packed, tiny, monkeypatch):
    cases, grafts, own, set_in = load_cases(packed), [], [], Patches._graft
    monkeypatch.setattr(Patches, "_graft", lambda self, brain, graft: grafts.append(graft) or set_in(self, brain, graft))
    monkeypatch.setattr("braintumorseg_training.data.fade", lambda brain, mirror, share: own.append(share))
    plain, heaviest = replace(tiny, transplant=1.0), {}
    for faint in (0.0, 1.0):
        grafts.clear()
        said = told(Patches(cases, replace(plain, faint=faint), 0, 24))
        assert any(what.endswith("fainter") for what in said) == (faint == 1)
        heaviest[faint] = max(float(graft.weight.max()) for graft in grafts if graft is not None)
    assert heaviest[0.0] > 0.95
    assert heaviest[1.0] <= 0.75         # FAINTER: a quarter or more of healthy tissue
    assert len(own) == 24
    assert 0.25 <= min(own) <= max(own) <= 0.6


def told(patches: Patches) -> list[str]:
    said = []
    for number in range(len(patches)):
        patches.look(number, lambda what, role="": said.append(what))
    return said


def test_a_case_that_is_not_packed_is_named(packed, tmp_path):
    with pytest.raises(MissingFile, match=r"nobody.*prepare"):
        load_cases(packed, ["case0", "nobody"])
    with pytest.raises(MissingFile, match="there is none"):
        load_cases(tmp_path)


def test_our_split_is_by_patient_and_complete(data_folder):
    split = read_split(OWN_SPLIT)
    assert len(split.train) == 19
    assert len(split.validation) == 5
    assert set(split.train) | set(split.validation) == {path.name for path in (data_folder / "cases").iterdir()}
    assert {name for name, row in read_table(data_folder / "cases.csv").items() if row.labels} == set(split.train) | set(split.validation)


def test_a_patch_is_handed_over_in_the_precision_that_the_network_computes_in(packed, tiny):
    cases = load_cases(packed, ["case0"])
    exact, _ = Patches(cases, tiny, 0, 1)[0]
    rounded, _ = Patches(cases, replace(tiny, bf16=True), 0, 1)[0]
    assert (exact.dtype, rounded.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(exact.bfloat16(), rounded)


def test_a_patch_of_fewer_sequences_is_the_same_patch_with_zeros_for_the_others(packed, tiny, monkeypatch):
    cases, config = load_cases(packed), replace(tiny, intensity=0.0, low_resolution=0.0, transplant=0.5)
    for no_uptake in (0.0, 1.0):     # made of T1 and T1ce, which the patch does not keep
        patches = Patches(cases, replace(config, no_uptake=no_uptake), 0, 8)
        monkeypatch.setattr("braintumorseg_training.data.drawn_sequences", lambda *_: [0, 1, 2, 3])
        all_four = [patches[number] for number in range(8)]
        monkeypatch.setattr("braintumorseg_training.data.drawn_sequences", lambda *_: [1, 3])
        for number, (whole, same) in enumerate(all_four):
            image, labels = patches[number]
            assert torch.equal(image[[1, 3]], whole[[1, 3]])
            assert torch.equal(labels, same)
            assert not image[[0, 2]].any()


def test_what_a_case_lacks_is_never_all_that_a_patch_keeps_nor_a_hole_in_a_graft(packed, tiny, tmp_path):
    shape = (40, 40, 40)
    study, labels = make_toy_study(shape), np.zeros(shape, np.uint8)
    labels[14:26, 14:26, 14:26] = 2
    only = Study({role: study.volumes[role] for role in ("t1ce", "flair")})
    pack_case("two", "BraTS2021", only, study.reference.with_voxels(labels), draft_card(size_multiple=4), tmp_path)
    lacking = load_cases(tmp_path)[0]
    assert lacking.there == (1, 3)
    assert load_cases(packed, ["case0"])[0].there == (0, 1, 2, 3)
    config = replace(tiny, all_sequences_share=0.0, patch=(32, 32, 32), transplant=0.0)
    kept = {tuple(Patches([lacking], config, number, 1)[0][0].flatten(1).any(1).tolist()) for number in range(20)}
    assert kept == {(False, True, False, False), (False, False, False, True)}
    patches, grafts = Patches([lacking, *load_cases(packed, ["case0"])], replace(config, transplant=1.0), 0, 40), set()
    for number in range(40):
        said = []
        patches.look(number, lambda what, role="", said=said: said.append(what))
        grafts |= {(said[0], what) for what in said if what.startswith("lesion of")}
    assert grafts == {("two", "lesion of two"), ("two", "lesion of case0"), ("case0", "lesion of case0")}


def test_made_up_cases_are_known_by_what_was_packed_and_not_by_their_names(tmp_path):
    study = make_toy_study((24, 24, 24))
    truth = study.reference.with_voxels(np.ones((24, 24, 24), np.uint8))
    for name, cohort, origin in (("synthetic_002", "other", "a folder"), ("phantom_7", "BraTS2021", ""), ("by a table", SYNTHETIC, "a folder"),
                                 ("phantom_10000", PHANTOM, ""), ("synthetic_one_0", SYNTHETIC, "")):
        pack_case(name, cohort, study, truth, draft_card(size_multiple=4), tmp_path, origin=origin)
    assert [case.name for case in load_made_up(tmp_path)] == ["phantom_10000", "synthetic_one_0"]
    assert [case.name for case in load_made_up(tmp_path, Split(("synthetic_002",), ("phantom_10000",)))] == ["synthetic_one_0"]
    assert load_made_up(tmp_path, Split(("phantom_10000",), (), test=("synthetic_one_0",))) == []
