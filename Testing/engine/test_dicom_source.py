"""The series that results refer to: its slices in order, its frames, and what is wrong with headers in the wild."""

import numpy as np
import pydicom
import pytest
from pydicom import config

from braintumorseg.dicom_results import write_dicom_results
from braintumorseg.errors import BadImage, InputError
from braintumorseg.io.dicom import scan_dicom
from braintumorseg.io.dicom_grid import series_grid
from braintumorseg.io.dicom_seg import read_dicom_seg, write_dicom_seg
from braintumorseg.io.dicom_source import series_number, source_of_stack, source_series
from braintumorseg.measure import measure
from braintumorseg.segmentation import Provenance, Segmentation
from dicom_oracles import no_dciodvfy_error
from seg_toys import ABOUT, SLICES, TABLE, enhanced, image_of, mr_series, save, tilted, tumour


def test_slices_are_in_the_order_of_their_places_and_each_is_found():
    source = mr_series()
    series = source_series(source)
    assert [header.InstanceNumber for header in series.headers] == [1, 2, 3, 4, 5, 6, 7]
    assert series.grid.same_as(series_grid(source))
    assert not series.tilted
    assert [series.slice_of(k)[0].InstanceNumber for k in range(SLICES)] == [1, 2, 3, 4, 5, 6, 7]
    assert "PixelData" not in series.first and "PixelData" in source[0]


def test_frames_of_a_multi_frame_object_are_found_by_their_place():
    series = source_series([enhanced(echoes=2)], frames=range(8, 15))
    assert series.frames == (14, 13, 12, 11, 10, 9, 8)
    assert series.slice_of(0)[1] == 14
    with pytest.raises(BadImage, match="evenly spaced"):
        source_series([enhanced(echoes=2)])


def test_a_tilted_series_owns_no_slice_of_a_result():
    series = source_series(tilted())
    assert series.tilted
    assert series.slice_of(3) is None


def test_a_stack_of_the_reader_becomes_its_series(tmp_path):
    source = mr_series()
    save(source, tmp_path)
    stack, = scan_dicom([tmp_path]).stacks
    series = source_of_stack(stack)
    assert series.grid.same_as(stack.grid)
    assert {header.SOPInstanceUID for header in series.headers} == {one.SOPInstanceUID for one in source}


def test_where_slices_were_made_up_only_the_others_are_referred_to(tmp_path):
    source = sorted(mr_series(), key=lambda one: one.InstanceNumber)
    labels = tumour(source)                      # tumour in slices 3 and 4
    del source[1]
    save(source, tmp_path)
    stack, = scan_dicom([tmp_path], fill_gaps=True).stacks
    series = source_of_stack(stack)
    assert series.slots == (0, 2, 3, 4, 5, 6)
    assert series.slice_of(1) is None and series.slice_of(2)[0].InstanceNumber == 3
    write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    frames = pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence
    assert [frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID for frame in frames] == [
        source[k].SOPInstanceUID for k in (2, 3, 2)]
    found = labels.voxels.copy()
    found[0, 0, 1] = 1                           # in a slice that nobody acquired: the place alone says where it is
    write_dicom_seg(labels.with_voxels(found), series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    np.testing.assert_array_equal(read_dicom_seg(tmp_path / "seg.dcm", labels.grid, TABLE).voxels, found)
    assert no_dciodvfy_error(tmp_path / "seg.dcm")


def test_two_series_or_several_multi_frame_objects_are_refused():
    with pytest.raises(InputError, match="2 DICOM series"):
        source_series([*mr_series(), *mr_series()])
    one, other = enhanced(), enhanced()
    other.SeriesInstanceUID = one.SeriesInstanceUID
    with pytest.raises(BadImage, match="2 multi-frame objects"):
        source_series([one, other])


@pytest.mark.parametrize(("name", "value", "kept"), [
    ("PatientSex", "U", None), ("PatientSex", "male", None), ("StudyDate", "2024", None), ("StudyTime", "99", None), ("PatientBirthDate", "19", None),
    ("StudyTime", "0304", "0304"), ("PatientSex", "F", "F"),
    ("StudyDate", "2020.01.31", "20200131"), ("PatientBirthDate", "1960.01.01", "19600101"), ("StudyTime", "10:12:00", "101200"),  # as ACR-NEMA wrote
    ("StudyDate", "2020.13.01", None), ("StudyDate", "20200230", None), ("StudyDate", "20200101-20200102", None),
    ("StudyID", "x" * 17, None), ("StudyID", "x" * 16, "x" * 16), ("PatientAge", "45", None), ("PatientAge", "045Y", "045Y"),
    ("StudyDescription", "x" * 65, None), ("BodyPartExamined", "Kopf", None), ("BodyPartExamined", "X" * 17, None),
    ("PatientName", "x" * 65, None), ("ReferringPhysicianName", "x" * 65, None), ("ReferringPhysicianName", ["a", "b"], "a b"),
    ("PatientName", ["Hsu=³", ""], "Hsu=³"), ("PatientName", ["A", "B"], "A B"), ("StudyID", ["a", "b"], None),
    ("StudyDate", ["20200101"] * 2, None)])
def test_values_that_dicom_does_not_know_become_empty_in_every_object(tmp_path, name, value, kept):
    source = mr_series()
    for one in source:
        one[name] = pydicom.DataElement(name, pydicom.datadict.dictionary_VR(name), value, validation_mode=config.IGNORE)
    write_all(source, tmp_path)
    for path in sorted(tmp_path.rglob("*.dcm"))[:3]:
        expected = kept or ("BRAIN" if name == "BodyPartExamined" and path.name.startswith("overlay") else None)
        assert (pydicom.dcmread(path).get(name) or None) == expected
        assert no_dciodvfy_error(path)
    assert np.size(value) == source[0][name].VM and source[0][name].value  # the source is left as it was


def write_all(source, folder):
    """The SEG, the report and the pictures of a tumour in the series."""
    labels = tumour(source)
    found = Segmentation(labels, TABLE, Provenance("toy", "1.2", "ab" * 32, ""))
    return write_dicom_results(found, measure(found), source, folder, sr=True, sc=True, reference_volume=image_of(source, labels.affine))


@pytest.mark.parametrize(("name", "value"), [
    ("PatientID", "x" * 70), ("PatientID", ["a", "b"]), ("AccessionNumber", "x" * 20), ("AccessionNumber", ["a", "b"])])
def test_what_an_archive_files_objects_by_stays_as_the_archive_knows_it(tmp_path, name, value):
    source = mr_series()
    for one in source:
        one[name] = pydicom.DataElement(name, pydicom.datadict.dictionary_VR(name), value, validation_mode=config.IGNORE)
    write_all(source, tmp_path)
    assert [pydicom.dcmread(path)[name].value for path in sorted(tmp_path.rglob("*.dcm"))] == [value] * 9


def test_names_in_undeclared_big5_whose_second_bytes_are_backslashes_cost_no_result(tmp_path):
    source = mr_series()
    for one in source:
        del one.SpecificCharacterSet
        one.PatientName = "ABCDEFGH"
    save(source, tmp_path / "series")
    for file in (tmp_path / "series").iterdir():
        data = file.read_bytes()
        assert data.count(b"ABCDEFGH") == 1
        file.write_bytes(data.replace(b"ABCDEFGH", "Hsu=許".encode("big5").ljust(8)))
    (tmp_path / "out").mkdir()
    write_all([pydicom.dcmread(file) for file in (tmp_path / "series").iterdir()], tmp_path / "out")
    for path in sorted((tmp_path / "out").rglob("*.dcm"))[:3]:
        assert str(pydicom.dcmread(path).PatientName).startswith("Hsu=")
        assert no_dciodvfy_error(path)


def test_values_that_cannot_be_told_from_their_bytes_are_as_good_as_not_there(tmp_path):
    source = mr_series()
    for one in source:
        one.SeriesNumber, one.EchoTime = 12, "98.5"
    save(source, tmp_path)
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        assert data.count(b"DS\x04\x0098.5") == data.count(b"IS\x02\x0012") == 1
        file.write_bytes(data.replace(b"DS\x04\x0098.5", b"DS\x04\x009?.5").replace(b"IS\x02\x0012", b"IS\x02\x00x2"))
    read = [pydicom.dcmread(file) for file in tmp_path.iterdir()]
    write_dicom_seg(tumour(source), read, TABLE, tmp_path / "seg.dcm", **ABOUT)
    assert pydicom.dcmread(tmp_path / "seg.dcm").SeriesNumber == 1000
    assert no_dciodvfy_error(tmp_path / "seg.dcm")


def test_series_numbers_stay_away_from_the_scanners_and_within_what_dicom_allows():
    source = mr_series()
    for number, expected in ((4, 1004), (None, 1000), (2_147_483_000, 484_000)):
        for one in source:
            one.SeriesNumber = number
        assert series_number(source_series(source), "SEG") == expected
    assert len({series_number(source_series(source), kind) for kind in ("SEG", "SR", "SC")}) == 3


def test_grids_agree_however_the_slices_are_given():
    assert np.allclose(source_series([enhanced()]).grid.affine, source_series(mr_series()).grid.affine, atol=1e-9)
