import json

import numpy as np
import pytest
import torch

from braintumorseg.errors import InputError, MissingFile
from braintumorseg_training.cli import OWN_SPLIT
from braintumorseg_training.data import Patches, Split, load_cases, pack_folder, read_conventions, read_split
from braintumorseg_training.export import draft_card


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


def test_a_case_that_cannot_be_packed_is_refused_with_its_reason_and_the_others_go_on(toy_study, tmp_path):
    from braintumorseg.io.nifti import write_nifti

    for name, value in (("good", 3), ("old", 4)):
        (tmp_path / "cases" / name).mkdir(parents=True)
        for role, volume in toy_study.volumes.items():
            write_nifti(volume, tmp_path / "cases" / name / f"{role}.nii.gz")
        labels = np.zeros(toy_study.reference.shape, np.uint8)
        labels[20, 20, 20] = value
        write_nifti(toy_study.reference.with_voxels(labels), tmp_path / "cases" / name / "seg.nii.gz")
    (tmp_path / "cases" / "empty").mkdir()
    refused = pack_folder(tmp_path / "cases", tmp_path / "out", draft_card(), {}, "brats2023", lambda line: None)
    assert [line.split(":")[0] for line in refused] == ["empty", "old"]
    assert "brats2021" in refused[1]
    assert [path.stem for path in (tmp_path / "out").glob("*.npz")] == ["good"]
    assert not list((tmp_path / "out").glob(".*"))


def test_nothing_is_guessed_about_labels(tmp_path):
    (tmp_path / "cases" / "one").mkdir(parents=True)
    refused = pack_folder(tmp_path / "cases", tmp_path / "out", draft_card(), {}, None, lambda line: None)
    assert "--labels" in refused[0]


def test_an_empty_data_folder_and_a_case_that_is_not_packed_are_named(packed, tmp_path):
    with pytest.raises(MissingFile, match="no case folders"):
        pack_folder(tmp_path, tmp_path, draft_card(), {}, "brats2023", lambda line: None)
    with pytest.raises(MissingFile, match=r"nobody.*prepare"):
        load_cases(packed, ["case0", "nobody"])


def test_our_split_is_by_patient_and_complete(data_folder):
    split = read_split(OWN_SPLIT)
    assert len(split.train) == 19
    assert len(split.validation) == 5
    assert set(split.train) | set(split.validation) == {path.name for path in (data_folder / "cases").iterdir()}
    assert set(read_conventions(data_folder / "cases.csv")) == set(split.train) | set(split.validation)


def test_a_patient_on_both_sides_of_a_split_is_refused(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["a", "b"], "validation": ["b"]}))
    with pytest.raises(InputError, match="b in training and in validation"):
        read_split(path)
    assert Split(("a",), ("b",)).train == ("a",)
