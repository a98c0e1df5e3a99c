"""`read_study`: files, folders and options together, and every contradiction between them."""

import numpy as np
import pytest

from braintumorseg.errors import BadImage, MissingFile, NotAnImage, UnclearRoles
from braintumorseg.io.nifti import write_nifti
from braintumorseg.read import read_study
from braintumorseg.volume import Volume


@pytest.fixture
def patient(tmp_path):
    """A folder with four sequences and a mask; the first voxel of each image is its own number."""
    folder = tmp_path / "Müller, Anna"
    folder.mkdir()
    ramp = np.arange(60, dtype=np.int16).reshape(3, 4, 5) * 20
    for number, name in enumerate(("t1", "t1ce", "t2", "flair"), start=1):
        voxels = ramp.copy()
        voxels[0, 0, 0] = number
        write_nifti(Volume(voxels, np.eye(4)), folder / f"P1_{name}.nii.gz")
    write_nifti(Volume((ramp > 600).astype(np.uint8), np.eye(4)), folder / "P1_seg.nii.gz")
    return folder


def numbers(study):
    return {role: int(volume.voxels[0, 0, 0]) for role, volume in study.volumes.items()}


def test_a_folder_gives_its_sequences_and_says_why(patient):
    study = read_study([patient])
    assert numbers(study) == {"t1": 1, "t1ce": 2, "t2": 3, "flair": 4}
    assert study.sources["t1ce"] == "file name ends in _t1ce"
    assert [(one.what, one.why) for one in study.left_out] == [("P1_seg.nii.gz", "its name says that it is a mask or a segmentation")]
    assert not any("Anna" in source for source in study.sources.values())


def test_files_give_the_same_as_their_folder(patient):
    assert numbers(read_study([str(patient / "P1_t2.nii.gz"), patient / "P1_t1.nii.gz"])) == {"t1": 1, "t2": 3}


def test_options_alone_are_enough(patient):
    study = read_study(t1=patient / "P1_t2.nii.gz", flair=str(patient / "P1_seg.nii.gz").replace("seg", "flair"))
    assert numbers(study) == {"t1": 3, "flair": 4}
    assert dict(study.sources) == {"t1": "given as --t1", "flair": "given as --flair"}


def test_an_option_wins_over_what_a_folder_suggests(patient):
    study = read_study([patient], t1ce=patient / "P1_t1.nii.gz")
    assert numbers(study) == {"t1ce": 1, "t2": 3, "flair": 4}
    assert study.sources["t1ce"] == "given as --t1ce"
    assert ("P1_t1ce.nii.gz", "another file has its role") in [(one.what, one.why) for one in study.left_out]


def test_an_option_settles_two_candidates(patient):
    (patient / "P1_flair.nii.gz").rename(patient / "again_t2.nii.gz")
    with pytest.raises(UnclearRoles, match="2 files may be t2"):
        read_study([patient])
    assert numbers(read_study([patient], t2=patient / "again_t2.nii.gz"))["t2"] == 4


def test_one_file_for_two_roles_is_refused_also_by_another_path(patient):
    link = patient.parent / "link.nii.gz"
    link.symlink_to(patient / "P1_t1.nii.gz")
    for other in (patient / "P1_t1.nii.gz", patient / ".." / patient.name / "P1_t1.nii.gz", link):
        with pytest.raises(UnclearRoles, match="--t1 and as --t2"):
            read_study(t1=patient / "P1_t1.nii.gz", t2=other)


def test_an_option_against_a_file_beside_it_is_refused(patient):
    with pytest.raises(UnclearRoles, match=r"P1_t2\.nii\.gz was given as --t1, and P1_t1\.nii\.gz is t1"):
        read_study([patient / "P1_t1.nii.gz"], t1=patient / "P1_t2.nii.gz")


def test_the_same_file_by_name_and_by_option_is_one_image(patient):
    study = read_study([patient / "P1_t1.nii.gz"], t1=patient / "P1_t1.nii.gz")
    assert dict(study.sources) == {"t1": "given as --t1"}


def test_a_mask_beside_an_option_is_left_out(patient):
    study = read_study([patient / "P1_seg.nii.gz"], t1=patient / "P1_t1.nii.gz")
    assert study.roles == ("t1",)
    assert [one.what for one in study.left_out] == ["P1_seg.nii.gz"]


def test_one_path_is_a_study_too(patient):
    assert numbers(read_study(str(patient))) == numbers(read_study(patient)) == {"t1": 1, "t1ce": 2, "t2": 3, "flair": 4}


@pytest.mark.parametrize("empty", [{"paths": [""]}, {"paths": ""}, {"t1": ""}])
def test_an_empty_path_is_not_the_folder_at_hand(patient, monkeypatch, empty):
    monkeypatch.chdir(patient)
    with pytest.raises(MissingFile, match=r"An empty path was given\. .*variable may be unset"):
        read_study(**empty)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000], ids=["zero", "long"])
def test_what_no_disk_can_hold_is_no_file(patient, path):
    for given in ({"paths": [path]}, {"paths": [patient], "t1": path}):
        with pytest.raises(MissingFile, match=r"zero byte|5000 characters"):
            read_study(**given)


def test_nothing_given_is_refused_with_the_options():
    with pytest.raises(UnclearRoles, match="--t1"):
        read_study()


def test_missing_files_folders_and_label_maps_are_refused(patient):
    with pytest.raises(MissingFile, match="nothing"):
        read_study([patient / "nothing.nii"])
    with pytest.raises(MissingFile, match="nothing"):
        read_study(t1=patient / "nothing.nii")
    with pytest.raises(NotAnImage, match="folder"):
        read_study(t1=patient)
    with pytest.raises(BadImage, match="label map"):
        read_study(t1=patient / "P1_seg.nii.gz")
