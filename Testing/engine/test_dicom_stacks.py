"""Every hard input: split, refused with its reason, or read at the right place, and never a wrong geometry in silence."""

from copy import deepcopy

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from braintumorseg.io.dicom import read_stack, scan_dicom
from braintumorseg.volume import Volume
from dicom_toys import NAME, axis_orders, enhanced, oblique, refusal, same_place, save, scanned, slices_of_volume, toy_volume

# missing slice

def test_a_missing_slice_is_refused_and_the_gap_is_named(tmp_path):
    slices = slices_of_volume(toy_volume((4, 4, 20)))
    del slices[13]
    assert "1 slice is missing (after slice 13, 2x)" in refusal(scanned(tmp_path, slices))


def test_several_gaps_are_named(tmp_path):
    slices = slices_of_volume(toy_volume((4, 4, 20)))
    del slices[13:15], slices[4]
    assert "3 slices are missing (after slice 4, 2x, after slice 12, 3x)" in refusal(scanned(tmp_path, slices))


def test_a_missing_slice_is_made_up_from_its_neighbours_on_request(tmp_path):
    volume = toy_volume(turn=oblique())
    slices = slices_of_volume(volume)
    del slices[3]
    (stack,) = scanned(tmp_path, slices, fill_gaps=True).stacks
    found = read_stack(stack)
    assert found.grid.same_as(volume.grid, 1e-6) and stack.missing == (3,) and "1 missing slice made up" in stack.notes[0]
    assert np.allclose(found.voxels, volume.voxels)  # the voxels of the toy grow linearly


def test_slices_that_are_unevenly_apart_are_refused_even_on_request(tmp_path):
    slices = slices_of_volume(toy_volume())
    slices[3].ImagePositionPatient[2] += 0.9
    assert "after slice 3 the next lies 3.40 mm away, and 2.50 mm is usual" in refusal(scanned(tmp_path, slices, fill_gaps=True))


def test_a_slice_that_lies_beside_the_others_is_refused(tmp_path):
    slices = slices_of_volume(toy_volume())
    slices[3].ImagePositionPatient[0] += 3
    assert "3.00 mm from its place" in refusal(scanned(tmp_path, slices))


def test_every_second_slice_is_read_where_it_lies_with_a_note(tmp_path):
    volume = toy_volume()
    slices = slices_of_volume(volume, SpacingBetweenSlices=2.5)[::2]
    (stack,) = scanned(tmp_path, slices).stacks
    assert stack.grid.spacing_mm[2] == pytest.approx(5) and "says 2.50 mm" in stack.notes[0]
    assert np.array_equal(read_stack(stack).voxels, volume.voxels[:, :, ::2])


# same SOP twice

def test_a_slice_that_is_there_twice_is_read_once_with_a_note(tmp_path):
    volume = toy_volume()
    slices = slices_of_volume(volume)
    (stack,) = scanned(tmp_path, slices, slices[2:4]).stacks
    assert stack.notes == ("2 slices were there twice and are read once",)
    assert same_place(read_stack(stack), volume)


def test_a_truncated_copy_beside_a_whole_slice_does_no_harm_and_is_listed(tmp_path):
    volume = toy_volume()
    paths = save(slices_of_volume(volume), tmp_path)
    (tmp_path / "copy.dcm").write_bytes(paths[2].read_bytes()[:-40])
    scan = scan_dicom([tmp_path])
    assert same_place(read_stack(scan.stacks[0]), volume)
    assert [(one.what, one.damaged) for one in scan.left_aside] == [("copy.dcm", True)]


def test_one_object_in_two_places_is_refused(tmp_path):
    slices = slices_of_volume(toy_volume())
    moved = deepcopy(slices[2])
    moved.ImagePositionPatient[2] += 100
    assert "one object by their SOPInstanceUID and lie in two places" in refusal(scanned(tmp_path, [*slices, moved]))


# repeated positions, two echoes, 4-D

@pytest.mark.parametrize("values", [dict(EchoTime=[10, 90]), dict(EchoNumbers=[1, 2]), dict(DiffusionBValue=[0.0, 1000.0]),
                                    dict(TemporalPositionIdentifier=[1, 2]), dict(AcquisitionNumber=[1, 2]), dict(TriggerTime=[0, 80]),
                                    dict(InversionTime=[900, 2500]), dict(ImageType=[["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]),
                                    dict(ImageType=[["ORIGINAL", "PRIMARY"], ["DERIVED", "SECONDARY", "SUBTRACTION"]])], ids=str)
def test_slices_at_one_place_are_split_by_what_differs(tmp_path, values):
    ((name, pair),) = values.items()
    volume = toy_volume(turn=oblique())
    other = Volume(volume.voxels + 1000, volume.affine)
    shared = dict(series=generate_uid(), study=generate_uid(), frame=generate_uid())
    first, second = (slices_of_volume(one, **shared, **{name: value}) for one, value in zip((volume, other), pair, strict=True))
    scan = scanned(tmp_path, [slice for both in zip(first, second, strict=True) for slice in both])
    assert len(scan.stacks) == 2 and scan.left_aside == ()
    for stack, truth in zip(sorted(scan.stacks, key=lambda stack: read_stack(stack).voxels[0, 0, 0]), (volume, other), strict=True):
        assert same_place(read_stack(stack), truth)


def test_diffusion_of_many_directions_is_split_by_direction(tmp_path):
    volume = toy_volume()
    shared = dict(series=generate_uid(), study=generate_uid(), frame=generate_uid(), DiffusionBValue=1000.0)
    series = [slices_of_volume(volume, **shared, DiffusionGradientOrientation=list(axis)) for axis in np.eye(3)]
    assert len(scanned(tmp_path, *series).stacks) == 3


def test_time_points_of_several_directions_are_split_by_both(tmp_path):
    volume = toy_volume()
    shared = dict(series=generate_uid(), study=generate_uid(), frame=generate_uid())
    series = [slices_of_volume(volume, **shared, TemporalPositionIdentifier=time, AcquisitionNumber=acquisition)
              for time in (1, 2) for acquisition in (1, 2)]
    assert len(scanned(tmp_path, *series).stacks) == 4


@pytest.mark.parametrize("private", [("SIEMENS MR HEADER", 0x0019, "IS", "1000"), ("GEMS_PARM_01", 0x0043, "IS", [1000001000, 8, 0, 0])], ids=str)
def test_the_vendors_private_b_value_splits_too(tmp_path, private):
    creator, group, vr, value = private
    volume = toy_volume()
    shared = dict(series=generate_uid(), study=generate_uid(), frame=generate_uid())
    plain, weighted = slices_of_volume(volume, **shared), slices_of_volume(volume, **shared)
    for one in weighted:
        one.private_block(group, creator, create=True).add_new(0x0C if group == 0x0019 else 0x39, vr, value)
    stacks = scanned(tmp_path, plain, weighted).stacks
    assert {stack.facts.b_value for stack in stacks} == {None, 1000}


def test_repeated_places_that_nothing_tells_apart_are_refused(tmp_path):
    shared = dict(series=generate_uid(), study=generate_uid(), frame=generate_uid())
    volume = toy_volume()
    assert "8 lie where another one lies, and nothing tells them apart" in refusal(
        scanned(tmp_path, slices_of_volume(volume, **shared), slices_of_volume(volume, **shared)))


# gantry tilt, shear

@pytest.mark.parametrize("turn", [np.diag([-1.0, -1, 1]), oblique()], ids=["straight", "oblique"])
def test_a_tilted_gantry_is_undone_and_its_angle_stated(tmp_path, turn):
    truth = toy_volume((12, 14, 6), (1.0, 1.0, 2.0), turn)
    sheared = np.array(truth.affine)
    sheared[:3, 2] += truth.affine[:3, 1] * 0.5  # half a voxel a slice
    slices = slices_of_volume(Volume(truth.voxels, sheared))
    (stack,) = scanned(tmp_path, slices).stacks
    found = read_stack(stack)
    assert stack.shear_deg == pytest.approx(np.degrees(np.arctan(0.25)), abs=0.01) and "tilted by 14.0 degrees" in stack.notes[0]
    axes = found.affine[:3, :3] / found.spacing_mm
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    # A point within the slices: the header's own arithmetic says which voxel was there.
    index = np.array([6, 8, 4])
    world = sheared[:3, :3] @ index + sheared[:3, 3]
    at = np.rint(np.linalg.inv(found.affine)[:3] @ [*world, 1]).astype(int)
    assert found.voxels[tuple(at)] == pytest.approx(truth.voxels[tuple(index)], abs=0.5)


def test_a_shear_that_no_gantry_makes_is_refused(tmp_path):
    volume = toy_volume()
    sheared = np.array(volume.affine)
    sheared[:3, 2] += volume.affine[:3, 0] * 4
    assert "which no gantry does" in refusal(scanned(tmp_path, slices_of_volume(Volume(volume.voxels, sheared))))


# mixed orientation, localizer, mixed matrix, thin

def test_a_localizer_in_the_same_series_is_split_off(tmp_path):
    volume = toy_volume()
    shared = dict(series=generate_uid(), study=generate_uid(), frame=generate_uid())
    sagittal = slices_of_volume(toy_volume((7, 6, 2), turn=np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]])), **shared)
    scan = scanned(tmp_path, slices_of_volume(volume, **shared), sagittal)
    assert same_place(read_stack(scan.stacks[0]), volume) and len(scan.stacks) == 1
    assert [(one.what, one.why, one.damaged) for one in scan.left_aside] == [
        ("series 4 (2 images)", "too few slices for a volume (2; 3 are needed)", False)]


def test_three_orientations_in_one_series_are_three_stacks(tmp_path):
    shared = dict(series=generate_uid(), study=generate_uid(), frame=generate_uid())
    volume = toy_volume((5, 5, 5), (1.0, 1.0, 1.0))
    turned = [one for one in axis_orders(volume) if one.affine[0, 2] or one.affine[1, 2] or one.affine[2, 2]][::16]
    scan = scanned(tmp_path, *(slices_of_volume(one, **shared) for one in turned))
    assert len(scan.stacks) == 3 and all(same_place(read_stack(stack), volume) for stack in scan.stacks)


def test_a_series_marked_as_localizer_is_left_aside(tmp_path):
    (aside,) = scanned(tmp_path, slices_of_volume(toy_volume(), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])).left_aside
    assert "localizer" in aside.why and not aside.damaged


def test_slices_of_another_matrix_are_split_off(tmp_path):
    shared = dict(series=generate_uid(), study=generate_uid(), frame=generate_uid())
    a, b = toy_volume((7, 6, 8)), toy_volume((9, 5, 4), origin=(0.0, 0, 0))
    scan = scanned(tmp_path, slices_of_volume(a, **shared), slices_of_volume(b, **shared))
    assert len(scan.stacks) == 2 and all(same_place(read_stack(stack), truth) for stack, truth in zip(scan.stacks, (a, b), strict=True))


# no position or orientation, zero spacing, absurd size

@pytest.mark.parametrize("name", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
@pytest.mark.parametrize("which", [slice(None), slice(2, 3)], ids=["everywhere", "in one slice"])
def test_a_series_without_its_place_is_refused(tmp_path, name, which):
    slices = slices_of_volume(toy_volume())
    for one in slices[which]:
        del one[name]
    assert f"has no {name}" in refusal(scanned(tmp_path, slices))


@pytest.mark.parametrize("values", [dict(PixelSpacing=[0, 0]), dict(PixelSpacing=[-1, 1]), dict(ImageOrientationPatient=[0] * 6),
                                    dict(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), dict(ImagePositionPatient=[1e9, 0, 0])], ids=str)
def test_a_place_that_cannot_be_is_refused(tmp_path, values):
    scan = scanned(tmp_path, slices_of_volume(toy_volume(), **values))
    assert scan.stacks == () and scan.left_aside[0].damaged


def test_a_header_of_65535_squared_is_refused_before_any_memory_is_taken(tmp_path):
    assert "65535 x 65535 pixels" in refusal(scanned(tmp_path, slices_of_volume(toy_volume(), Rows=65535, Columns=65535)))


# jitter, contradictions

def test_orientations_that_jitter_by_3e_5_are_read(tmp_path):
    volume = toy_volume(turn=oblique())
    slices = slices_of_volume(volume)
    random = np.random.default_rng(0)
    for one in slices:
        jitter = random.uniform(-3e-5, 3e-5, 6)
        one.ImageOrientationPatient = [f"{float(c) + d:.9f}" for c, d in zip(one.ImageOrientationPatient, jitter, strict=True)]
    scan = scanned(tmp_path, slices)
    assert same_place(read_stack(scan.stacks[0]), volume) and scan.left_aside == ()


# several patients, studies, frames of reference

def test_patients_studies_and_frames_of_reference_are_kept_apart(tmp_path):
    volume, study = toy_volume(), generate_uid()
    series = [slices_of_volume(volume, "P1", study), slices_of_volume(volume, "P1", study), slices_of_volume(volume, "P2"),
              slices_of_volume(volume, "P1")]
    facts = [stack.facts for stack in scanned(tmp_path, *series).stacks]
    assert [facts[0].patient_key == one.patient_key for one in facts] == [True, True, False, True]
    assert [facts[0].study_uid == one.study_uid for one in facts] == [True, True, False, False]
    assert len({one.frame_of_reference_uid for one in facts}) == 4


def test_fewer_images_than_the_header_speaks_of_are_noted(tmp_path):
    (stack,) = scanned(tmp_path, slices_of_volume(toy_volume(), ImagesInAcquisition=12)).stacks
    assert stack.notes == ("the header speaks of 12 images, and 8 are here",)


def test_one_series_with_two_frames_of_reference_is_two_stacks(tmp_path):
    shared = dict(series=generate_uid(), study=generate_uid())
    volume = toy_volume()
    assert len(scanned(tmp_path, slices_of_volume(volume, **shared), slices_of_volume(volume, **shared)).stacks) == 2


def test_the_key_of_a_patient_is_no_identifier_and_changes_from_scan_to_scan(tmp_path):
    a = scanned(tmp_path, slices_of_volume(toy_volume())).stacks[0].facts.patient_key
    b = scan_dicom([tmp_path]).stacks[0].facts.patient_key
    assert a != b and "SECRET" not in a


# truncated, and what is told

@pytest.mark.parametrize("cut", [10, 40, 84, 90, 300], ids=lambda n: f"{n} bytes short")
def test_a_truncated_file_refuses_its_series_and_is_named(tmp_path, cut):
    paths = save(slices_of_volume(toy_volume()), tmp_path)
    paths[5].write_bytes(paths[5].read_bytes()[:-cut])
    assert "0006.dcm: cut short" in refusal(scan_dicom([tmp_path]))


def test_shortened_pixels_in_a_sound_file_refuse_the_series(tmp_path):
    slices = slices_of_volume(toy_volume())
    slices[5].PixelData = slices[5].PixelData[:-14]
    assert "0006.dcm: damaged: 84 bytes of pixels are promised, 70 are given" in refusal(scanned(tmp_path, slices))


def test_nothing_of_a_patient_is_in_any_message(tmp_path):
    """Each refusal of this file once more, in one folder."""
    series = [slices_of_volume(toy_volume(), f"P{number}") for number in range(8)]
    del series[0][3], series[1][0].ImagePositionPatient
    series[2][1].Rows = 65535
    series[3] = series[3][:2]
    series[4][0].PixelData = b"ab"
    for one in series[5]:
        one.PixelSpacing = [0, 0]
    series[6][0].ImageType = ["ORIGINAL", "PRIMARY", "MOSAIC"]
    broken = enhanced([toy_volume()])
    del broken.PerFrameFunctionalGroupsSequence[3:]
    save(broken, tmp_path)
    scan = scanned(tmp_path, *series)
    assert len(scan.left_aside) >= 8
    text = repr(scan.left_aside) + repr([stack.notes for stack in scan.stacks])
    secrets = {"SECRET", *NAME.split("^"), "19010203", str(tmp_path)}
    assert not {secret for secret in secrets if secret in text}


def test_the_real_series_with_a_slice_taken_out_is_refused(tmp_path, data_folder):
    paths = sorted((data_folder / "dicom" / "VS-SEG-001_T1ce_12slices").glob("*.dcm"))
    del paths[5]
    (aside,) = scan_dicom(paths).left_aside
    assert "after slice 5, 2x" in aside.why and aside.series_uid == pydicom.dcmread(paths[0]).SeriesInstanceUID
