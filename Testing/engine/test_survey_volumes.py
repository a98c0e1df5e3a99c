"""Several volumes in one series and several studies with one number: which is taken, how each is named and chosen."""

import pytest
from pydicom import Dataset

from braintumorseg.errors import UnclearRoles
from braintumorseg.read import read_study
from braintumorseg.volume import Volume
from dicom_toys import enhanced, save, toy_volume
from series_toys import LATER, STUDY, T1, T2, numbers, series, several

DIXON = ("FAT", "WATER", "IN_PHASE", "OUT_PHASE")


def an_enhanced_dixon(folder):
    """One Enhanced file with a stack for each of DIXON, the first voxels 81, 82, 83, 84."""
    volume = toy_volume()
    volumes = []
    for place in range(4):
        voxels = volume.voxels.copy()
        voxels[0, 0, 0] = 81 + place
        volumes.append(Volume(voxels, volume.affine))
    dataset = enhanced(volumes, SeriesNumber=8, SeriesDescription="T1 mDIXON", RepetitionTime=5.6)
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        kind = Dataset()
        kind.FrameType = ["DERIVED", "PRIMARY", "DIXON", DIXON[number // volume.shape[2]]]
        group.MRImageFrameTypeSequence = [kind]
    return save(dataset, folder)[0]


@pytest.mark.parametrize("which", ["5", "S5"])
def test_of_a_double_echo_given_by_its_number_or_folder_the_echo_that_fits_is_taken(tmp_path, which):
    several(tmp_path, 5, "PD T2", {"EchoTime": 20.0, "EchoNumbers": 1}, {"EchoTime": 90.0, "EchoNumbers": 2}, RepetitionTime=3000.0)
    assert numbers(read_study([tmp_path], t2=which if which.isdigit() else tmp_path / which)) == {"t2": 52}


@pytest.mark.parametrize("which", ["8", "8.2", "file", "folder"])
def test_of_an_enhanced_dixon_file_the_water_is_taken_however_it_is_given(tmp_path, which):
    path = an_enhanced_dixon(tmp_path / "in")
    given = {"file": path, "folder": path.parent}.get(which, which)
    assert numbers(read_study([tmp_path / "in"], t1ce=given)) == {"t1ce": 82}
    if which in ("file", "folder"):
        assert numbers(read_study(t1ce=given)) == {"t1ce": 82}


def test_volumes_that_nothing_tells_apart_are_named_and_chosen_by_their_number(tmp_path):
    several(tmp_path, 7, "T1 KM", {"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, **T1)
    several(tmp_path, 9, "T2", {}, **T2)
    with pytest.raises(UnclearRoles, match=r"series 7\.1 may be t1ce; series 7\.2 may be t1ce"):
        read_study([tmp_path])
    for given in ("7", tmp_path / "S7"):
        with pytest.raises(UnclearRoles, match=r"holds 2 volumes \(series 7\.1, series 7\.2\).*--t1ce 7\.1"):
            read_study([tmp_path], t1ce=given)
    for place in (1, 2):
        assert numbers(read_study([tmp_path], t1ce=f"7.{place}")) == {"t1ce": 70 + place, "t2": 91}
    with pytest.raises(UnclearRoles, match=r"series 7\.3 is no DICOM series"):
        read_study([tmp_path], t1ce="7.3")


def test_the_numbers_of_volumes_do_not_hang_on_the_names_of_files(tmp_path):
    paths = several(tmp_path, 7, "T1 KM", {"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, **T1)
    for place, path in enumerate(reversed(paths)):
        path.rename(path.with_name(f"IM{place:03d}"))
    assert numbers(read_study([tmp_path], t1ce="7.2")) == {"t1ce": 72}


def test_a_series_number_is_looked_for_in_the_study_that_was_chosen(tmp_path):
    for study, first, date in ((STUDY, 10, "20200101"), (LATER, 20, "20210101")):
        for number, words in ((5, "T1 nativ"), (7, "unclear")):
            values = {"SeriesNumber": number, "AcquisitionDate": date, "StudyDate": date, **T1}
            series(tmp_path, first + number, words, study=study, minute=number, **values)
    assert numbers(read_study([tmp_path], study=2, t1ce="7")) == {"t1": 25, "t1ce": 27}
    assert numbers(read_study([tmp_path], study=1, t1ce="7")) == {"t1": 15, "t1ce": 17}
    with pytest.raises(UnclearRoles, match="2 studies"):
        read_study([tmp_path], t1ce="7")
    series(tmp_path, 30, "T2", study=STUDY, SeriesNumber=9, AcquisitionDate="20200101", **T2)
    with pytest.raises(UnclearRoles, match=r"--t2: series 9 .* not in study 2.*its folder"):
        read_study([tmp_path], study=2, t2="9")
    assert numbers(read_study([tmp_path], study=2, t1ce="7", t2=tmp_path / "S30")) == {"t1": 25, "t1ce": 27, "t2": 30}
