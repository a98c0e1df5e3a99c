"""Enhanced multi-frame files: read frame by frame, several stacks and time points in one file; and the mosaic that is refused."""

from copy import deepcopy

import highdicom
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from braintumorseg.io.dicom import read_stack, scan_dicom
from braintumorseg.io.dicom_enhanced import frames_of, is_enhanced, other_dimensions
from braintumorseg.io.dicom_grid import LPS_FROM_RAS
from braintumorseg.volume import Volume
from dicom_toys import axis_orders, enhanced, oblique, same_place, save, slices_of_volume, toy_volume


def item(**values) -> Dataset:
    one = Dataset()
    for name, value in values.items():
        setattr(one, name, value)
    return one


def test_a_file_with_two_stacks_is_two_volumes(tmp_path):
    """As Philips writes a survey: other readers crash on it or mix the stacks."""
    volume = toy_volume((5, 5, 5), (1.0, 1.0, 1.0))
    stacks = [one for number, one in enumerate(axis_orders(volume)) if number in (0, 17)]
    save(enhanced(stacks), tmp_path)
    scan = scan_dicom([tmp_path])
    assert len(scan.stacks) == 2 and scan.left_aside == ()
    assert all(same_place(read_stack(stack), volume) for stack in scan.stacks)
    assert [frame.index for frame in scan.stacks[1].frames] in ([5, 6, 7, 8, 9], [9, 8, 7, 6, 5])


def test_highdicom_reads_the_same_volume(tmp_path):
    dataset = enhanced([toy_volume(turn=oblique())])
    save(dataset, tmp_path)
    (stack,) = scan_dicom([tmp_path]).stacks
    other = highdicom.Image.from_dataset(deepcopy(dataset)).get_volume(apply_real_world_transform=False, apply_modality_transform=False)
    assert same_place(read_stack(stack), Volume(other.array.transpose(2, 1, 0), LPS_FROM_RAS @ other.affine[:, [2, 1, 0, 3]]))


def test_frames_in_any_order_are_put_in_place(tmp_path):
    volume = toy_volume(turn=oblique())
    dataset = enhanced([volume])
    order = [3, 0, 7, 2, 6, 1, 5, 4]
    frames = np.frombuffer(dataset.PixelData, "<u2").reshape(8, -1)[order]
    dataset.PixelData = frames.tobytes()
    dataset.PerFrameFunctionalGroupsSequence = Sequence([dataset.PerFrameFunctionalGroupsSequence[n] for n in order])
    save(dataset, tmp_path)
    assert same_place(read_stack(scan_dicom([tmp_path]).stacks[0]), volume)


@pytest.mark.parametrize("name", ["PixelMeasuresSequence", "PlaneOrientationSequence", "MREchoSequence"])
def test_a_group_may_be_shared_by_all_frames(tmp_path, name):
    volume = toy_volume(turn=oblique())
    dataset = enhanced([volume])
    dataset.SharedFunctionalGroupsSequence[0][name] = deepcopy(dataset.PerFrameFunctionalGroupsSequence[0][name])
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group[name]
    save(dataset, tmp_path)
    (stack,) = scan_dicom([tmp_path]).stacks
    assert same_place(read_stack(stack), volume) and stack.facts.echo_ms == 5


@pytest.mark.parametrize("how", ["time", "dimension", "b value", "echo", "type"])
def test_frames_at_one_place_are_split_by_what_differs(tmp_path, how):
    volume = toy_volume()
    other = Volume(volume.voxels + 1000, volume.affine)
    dataset = enhanced([volume, other])
    if how == "dimension":
        dataset.DimensionIndexSequence.append(item(DimensionIndexPointer=0x00189306))
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        second = number // 8
        content = group.FrameContentSequence[0]
        content.StackID = "1"
        if how == "time":
            content.TemporalPositionIndex = second + 1
        elif how == "dimension":
            content.DimensionIndexValues = [1, number % 8 + 1, second + 1]
        elif how == "b value":
            group.MRDiffusionSequence = Sequence([item(DiffusionBValue=second * 1000.0)])
        elif how == "echo":
            group.MREchoSequence[0].EffectiveEchoTime = 10 + 80.0 * second
        else:
            group.MRImageFrameTypeSequence = Sequence([item(FrameType=["ORIGINAL", "PRIMARY", "MP"[second]])])
    save(dataset, tmp_path)
    scan = scan_dicom([tmp_path])
    assert len(scan.stacks) == 2 and scan.left_aside == ()
    found = sorted((read_stack(stack) for stack in scan.stacks), key=lambda one: one.voxels.max())
    assert same_place(found[0], volume) and same_place(found[1], other)


def test_a_scale_per_frame_is_applied(tmp_path):
    volume = toy_volume()
    dataset = enhanced([volume])
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.PixelValueTransformationSequence = Sequence([item(RescaleSlope=1 + number / 2, RescaleIntercept=0)])
    save(dataset, tmp_path)
    assert np.allclose(read_stack(scan_dicom([tmp_path]).stacks[0]).voxels, volume.voxels * (1 + np.arange(8) / 2))


def test_a_missing_frame_is_refused_like_a_missing_slice(tmp_path):
    dataset = enhanced([toy_volume()])
    del dataset.PerFrameFunctionalGroupsSequence[4]
    dataset.NumberOfFrames = 7
    dataset.PixelData = dataset.PixelData[:-84]
    save(dataset, tmp_path)
    (aside,) = scan_dicom([tmp_path]).left_aside
    assert "after slice 4, 2x" in aside.why


def test_frames_that_are_not_described_one_by_one_are_refused(tmp_path):
    dataset = enhanced([toy_volume()])
    del dataset.PerFrameFunctionalGroupsSequence[4]
    save(dataset, tmp_path)
    (aside,) = scan_dicom([tmp_path]).left_aside
    assert "8 frames that describes 7" in aside.why and aside.damaged


@pytest.mark.parametrize("cut", [200, 5000])
def test_a_truncated_enhanced_file_is_refused_and_named(tmp_path, cut):
    (path,) = save(enhanced([toy_volume((40, 40, 8))]), tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    (aside,) = scan_dicom([tmp_path]).left_aside
    assert "0001.dcm: cut short" in aside.why


def test_several_frames_without_functional_groups_are_refused(tmp_path):
    dataset = enhanced([toy_volume()])
    del dataset.PerFrameFunctionalGroupsSequence
    save(dataset, tmp_path)
    (aside,) = scan_dicom([tmp_path]).left_aside
    assert "without the places of the frames" in aside.why


def test_a_siemens_mosaic_is_refused_with_what_to_do(tmp_path):
    save(slices_of_volume(toy_volume(), ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]), tmp_path)
    (aside,) = scan_dicom([tmp_path]).left_aside
    assert "mosaic" in aside.why and "Enhanced" in aside.fix


def test_a_frames_header_is_that_of_a_single_image():
    frames = frames_of(enhanced([toy_volume()]))
    assert len(frames) == 8 and frames[2].ImagePositionPatient[2] == 16 and frames[2].PixelSpacing == [1.1, 0.9]
    assert frames[2].EchoTime == 5 and frames[2].InstanceNumber == 3 and not is_enhanced(frames[2])


def test_dimensions_that_are_no_place_and_no_time_are_told():
    dataset = enhanced([toy_volume()])
    assert other_dimensions(frames_of(dataset)[0]) == ()
    dataset.DimensionIndexSequence.append(item(DimensionIndexPointer=0x00189306))
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.FrameContentSequence[0].DimensionIndexValues = [1, 1, 7]
    assert other_dimensions(frames_of(dataset)[0]) == (7,)
    assert other_dimensions(slices_of_volume(toy_volume())[0]) == ()
