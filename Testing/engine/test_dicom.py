"""The facade: a folder scanned, its stacks read at the right place in the world."""

import threading
import warnings

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from braintumorseg.errors import BadImage, Cancelled, MissingFile, NotAnImage
from braintumorseg.io.dicom import is_dicom, read_stack, scan_dicom, stack_headers
from braintumorseg.io.dicom_grid import LPS_FROM_RAS, series_grid
from braintumorseg.io.itk import from_itk
from dicom_toys import NAME, axis_orders, enhanced, oblique, same_place, save, slices_of_volume, toy_volume


def test_a_series_comes_out_as_it_was_made(tmp_path):
    volume = toy_volume()
    save(slices_of_volume(volume), tmp_path)
    scan = scan_dicom([tmp_path])
    (stack,) = scan.stacks
    found = read_stack(stack)
    assert scan.left_aside == () and stack.notes == () and stack.shear_deg == 0
    assert found.voxels.dtype == np.int16 and np.array_equal(found.voxels, volume.voxels)
    assert found.grid.same_as(volume.grid, 1e-6) and found.grid.same_as(stack.grid, 0)


@pytest.mark.parametrize("turn", [None, oblique()], ids=["straight", "oblique"])
def test_a_study_saved_in_any_of_the_48_axis_orders_lies_at_the_same_place_in_the_world(tmp_path, turn):
    volume = toy_volume((4, 5, 3), turn=turn)
    for number, turned in enumerate(axis_orders(volume)):
        save(slices_of_volume(turned), tmp_path / str(number))
    stacks = scan_dicom([tmp_path]).stacks
    assert len(stacks) == 48
    assert all(same_place(read_stack(stack), volume) for stack in stacks)


def test_an_enhanced_file_in_any_of_the_48_axis_orders_lies_at_the_same_place_in_the_world(tmp_path):
    volume = toy_volume((4, 5, 3), turn=oblique())
    save([enhanced([turned]) for turned in axis_orders(volume)], tmp_path)
    stacks = scan_dicom([tmp_path]).stacks
    assert len(stacks) == 48
    assert all(same_place(read_stack(stack), volume) for stack in stacks)


def test_a_grid_is_the_one_that_the_headers_give(tmp_path):
    save(slices_of_volume(toy_volume(turn=oblique())), tmp_path)
    (stack,) = scan_dicom([tmp_path]).stacks
    assert stack.grid.same_as(series_grid(stack_headers(stack)), 0)


def test_the_grid_of_an_enhanced_file_is_the_one_that_its_header_gives(tmp_path):
    save(enhanced([toy_volume(turn=oblique())]), tmp_path)
    (stack,) = scan_dicom([tmp_path]).stacks
    assert stack.grid.same_as(series_grid(stack_headers(stack)), 0)


def test_simpleitk_and_highdicom_read_the_same_volume(tmp_path):
    paths = save(slices_of_volume(toy_volume(turn=oblique())), tmp_path)
    found = read_stack(scan_dicom([tmp_path]).stacks[0])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    assert same_place(found, from_itk(reader.Execute()))
    other = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in paths])
    affine = LPS_FROM_RAS @ other.affine[:, [2, 1, 0, 3]]
    assert same_place(found, type(found)(other.array.transpose(2, 1, 0), affine))


def test_a_real_siemens_series_is_read_as_simpleitk_reads_it(data_folder):
    folder = data_folder / "dicom" / "VS-SEG-001_T1ce_12slices"
    scan = scan_dicom([folder])
    (stack,) = scan.stacks
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    assert scan.left_aside == ()
    assert same_place(read_stack(stack), from_itk(reader.Execute()))
    assert stack.facts.manufacturer == "SIEMENS" and stack.facts.echo_ms == pytest.approx(2.97)


def test_real_segmentations_reports_and_ct_are_told_apart(data_folder):
    scan = scan_dicom([data_folder / "dicom"])
    assert sorted((stack.facts.modality, stack.grid.shape) for stack in scan.stacks) == [("CT", (512, 512, 3)), ("MR", (512, 512, 12))]
    assert {one.why: one.what for one in scan.left_aside}["a segmentation, not an image"] == "11 files"


def test_headers_come_in_slice_order_without_pixels(tmp_path):
    slices = slices_of_volume(toy_volume())
    save(slices[::-1], tmp_path)
    headers = stack_headers(scan_dicom([tmp_path]).stacks[0])
    assert [one.SOPInstanceUID for one in headers] == [one.SOPInstanceUID for one in slices]
    assert all("PixelData" not in one and one.PatientName == NAME for one in headers)


def test_an_enhanced_file_gives_one_header(tmp_path):
    save(enhanced([toy_volume()]), tmp_path)
    (header,) = stack_headers(scan_dicom([tmp_path]).stacks[0])
    assert header.NumberOfFrames == 8


def test_a_path_that_is_not_there_is_said(tmp_path):
    with pytest.raises(MissingFile, match="nowhere"):
        scan_dicom([tmp_path / "nowhere"])


def test_progress_grows_to_one_and_cancel_stops(tmp_path):
    save(slices_of_volume(toy_volume((4, 4, 60))), tmp_path)
    told = []
    scan_dicom([tmp_path], progress=told.append)
    assert told == sorted(told) and told[-1] == 1
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        scan_dicom([tmp_path], cancel=cancel)


def test_a_file_deleted_after_the_scan_is_named(tmp_path):
    paths = save(slices_of_volume(toy_volume()), tmp_path)
    (stack,) = scan_dicom([tmp_path]).stacks
    paths[3].unlink()
    with pytest.raises(NotAnImage, match=r"^0004\.dcm is not there"):
        read_stack(stack)


def test_a_series_moved_after_the_scan_is_refused(tmp_path):
    slices = slices_of_volume(toy_volume())
    save(slices, tmp_path)
    (stack,) = scan_dicom([tmp_path]).stacks
    for one in slices:
        one.ImagePositionPatient[0] += 5
    save(slices, tmp_path)
    with pytest.raises(BadImage, match="has changed"):
        read_stack(stack)


def test_odd_identity_is_neither_warned_about_nor_logged(tmp_path, caplog, recwarn, capfd):
    slices = slices_of_volume(toy_volume())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in slices:
            one.PatientBirthDate, one.StudyDate, one.PatientID = "SECRET born", "SECRET day", "SECRET" * 20
            one.SeriesInstanceUID = "SECRET.1"
        save(slices, tmp_path)
    caplog.clear(), recwarn.clear()
    (stack,) = scan_dicom([tmp_path]).stacks
    read_stack(stack)
    stack_headers(stack)
    told = caplog.text + "".join(str(one.message) for one in recwarn) + "".join(capfd.readouterr())
    assert told == ""


def test_the_name_of_a_file_says_nothing_of_its_format(tmp_path):
    paths = save(slices_of_volume(toy_volume()), tmp_path, "{:d}")
    (tmp_path / "picture.dcm").write_bytes(b"\x89PNG" + bytes(300))
    assert is_dicom(paths[0]) and not is_dicom(tmp_path / "picture.dcm") and not is_dicom(tmp_path / "none")
