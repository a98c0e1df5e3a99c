"""SEGs by other tools, held against dcmqi's segimage2itkimage, and what is no SEG."""

import copy

import numpy as np
import pydicom
import pytest

from braintumorseg.errors import BadImage, GridMismatch, MissingFile, NotAnImage
from braintumorseg.io.dicom_grid import onto_grid
from braintumorseg.io.dicom_seg import write_dicom_seg
from braintumorseg.io.dicom_seg_reader import read_dicom_seg, read_seg_labels
from braintumorseg.volume import Grid
from dicom_oracles import by_dcmqi
from seg_toys import ABOUT, TABLE, mr_series, save, tumour

# File below the real data's dicom folder -> the segments that dcmqi finds there.
REAL = {
    "SEG_dcmqi/liver.dcm": [1],
    "SEG_dcmqi/partial_overlaps.dcm": [1, 2, 3, 4, 5],
    "SEG_dcmqi/sparse-labelmap-noppv.dcm": [1],
    "SEG_dcmqi/sparse-labelmap-ppv5.dcm": [1],
    "SEG_dcmqi_sr/seg.dcm": [1],
    "SEG_highdicom/seg_image_ct_binary.dcm": [1],
    "SEG_highdicom/seg_image_ct_binary_fractional.dcm": [1],
    "SEG_highdicom/seg_image_ct_binary_overlap.dcm": [1, 2],
    "SEG_highdicom/seg_image_ct_binary_single_frame.dcm": [1],
    "SEG_highdicom/seg_image_ct_true_fractional.dcm": [1],
    "SEG_syngo/syngo.seg.dcm": [1],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Our own SEG: (path, labels)."""
    path = tmp_path_factory.mktemp("seg") / "seg.dcm"
    series = mr_series()
    labels = tumour(series)
    write_dicom_seg(labels, series, TABLE, path, **ABOUT)
    return path, labels


@pytest.mark.parametrize("name", REAL)
def test_a_seg_of_another_tool_is_what_dcmqi_makes_of_it(data_folder, tmp_path, name):
    path = data_folder / "dicom" / name
    found = read_dicom_seg(path)
    masks = by_dcmqi(path, tmp_path)
    assert sorted(masks) == REAL[name]
    expected = np.zeros(found.shape, np.uint8)
    for number, mask in sorted(masks.items()):
        if found.shape[2] == 1:  # of a lone frame dcmqi takes the slice distance for 1 mm: the pixels and their place are compared
            assert np.abs(mask.affine[:3, [0, 1, 3]] - found.affine[:3, [0, 1, 3]]).max() < 0.01
            there = mask.voxels
        else:
            there = onto_grid(mask, found.grid, name, part=True).voxels
        least = _least(path, number)
        expected[(there == number) if "labelmap" in name else (there >= least)] = number
    np.testing.assert_array_equal(found.voxels, expected)
    assert found.voxels.any()


def _least(path, number):
    """From which stored value on a voxel belongs to segment `number`: dcmqi writes a FRACTIONAL SEG's values, a BINARY one's number."""
    seg = pydicom.dcmread(path, stop_before_pixels=True)
    return seg.MaximumFractionalValue / 2 if seg.SegmentationType == "FRACTIONAL" else number


def test_every_real_seg_is_held_against_dcmqi(data_folder):
    segs = [file for file in (data_folder / "dicom").glob("SEG_*/*.dcm") if pydicom.dcmread(file, stop_before_pixels=True).Modality == "SEG"]
    assert {str(file.relative_to(data_folder / "dicom")) for file in segs} == set(REAL)


def test_the_grid_of_a_seg_alone_is_its_frames_on_the_voxels_of_the_series(written):
    path, labels = written
    alone = read_dicom_seg(path)
    assert alone.shape == (*labels.shape[:2], 2)
    np.testing.assert_array_equal(onto_grid(alone, labels.grid, "seg", part=True).voxels, np.array([0, 1, 9, 2])[labels.voxels])


def test_our_label_values_are_told_by_the_codes(written):
    path, labels = written
    np.testing.assert_array_equal(read_seg_labels(path, labels.grid).voxels, labels.voxels)


def changed(path, tmp_path, change):
    """A copy of the SEG at `path` with its data set changed."""
    seg = pydicom.dcmread(path)
    change(seg)
    seg.save_as(tmp_path / "changed.dcm")
    return tmp_path / "changed.dcm"


def put_code(segment, value, scheme):
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    kind.CodeValue, kind.CodingSchemeDesignator = value, scheme


def test_snomed_identifiers_of_old_and_the_non_enhancing_lesion_are_known(written, tmp_path):
    path, labels = written
    for value, scheme in (("M-54000", "SRT"), ("C81175", "NCIt")):
        other = changed(path, tmp_path, lambda seg, value=value, scheme=scheme: put_code(seg.SegmentSequence[0], value, scheme))
        np.testing.assert_array_equal(read_seg_labels(other, labels.grid).voxels, labels.voxels)


def test_segments_that_are_no_tumour_part_are_refused_by_number_and_meaning(written, data_folder, tmp_path):
    with pytest.raises(BadImage, match=r"segment 1 is Liver \(T-62000, SRT\), which is none of our labels"):
        read_seg_labels(data_folder / "dicom" / "SEG_dcmqi" / "liver.dcm")
    with pytest.raises(BadImage, match="segment 1 is of no coded type"):
        read_seg_labels(data_folder / "dicom" / "SEG_syngo" / "syngo.seg.dcm")


def test_of_two_fractional_segments_the_greater_share_wins(data_folder, tmp_path):
    def second_segment_too(seg):
        second = copy.deepcopy(seg.SegmentSequence[0])
        second.SegmentNumber = 2
        seg.SegmentSequence.append(second)
        frames = [copy.deepcopy(frame) for frame in seg.PerFrameFunctionalGroupsSequence]
        for frame in frames:
            frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 2
        seg.PerFrameFunctionalGroupsSequence.extend(frames)
        shares = np.zeros((2, seg.NumberOfFrames, seg.Rows, seg.Columns), np.uint8)
        shares[0, 0, 0, :4] = 0, 127, 128, 200
        shares[1, 0, 0, :4] = 128, 126, 128, 210
        seg.NumberOfFrames, seg.PixelData = 2 * seg.NumberOfFrames, shares.tobytes()

    source = data_folder / "dicom" / "SEG_highdicom" / "seg_image_ct_true_fractional.dcm"
    found = read_dicom_seg(changed(source, tmp_path, second_segment_too))
    row = found.voxels[:, 0, :]
    assert row[:4, row.any(axis=0)].ravel().tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize("stated", [1.25, 1.3, 5.0, -2.5])
def test_a_seg_that_states_a_wrong_slice_distance_lies_on_the_slices_of_its_reference(written, tmp_path, stated):
    path, labels = written

    def state(seg):
        seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = stated

    np.testing.assert_array_equal(read_dicom_seg(changed(path, tmp_path, state), labels.grid, TABLE).voxels, labels.voxels)


@pytest.mark.parametrize(("change", "words"), [
    (lambda seg: setattr(seg, "SegmentSequence", []), "describes no segment"),
    (lambda seg: delattr(seg, "PerFrameFunctionalGroupsSequence"), "does not say where its frames lie"),
    (lambda seg: setattr(seg, "PixelData", seg.PixelData[:2]), "cannot be decoded"),
    (lambda seg: setattr(seg, "SOPClassUID", pydicom.uid.MRImageStorage), "not a DICOM Segmentation"),
    (lambda seg: setattr(seg.SegmentSequence[1], "SegmentNumber", 300), "at most 255"),
    (lambda seg: setattr(seg.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0], "ImagePositionPatient", [0, 0, 0]), "tilted gantry"),
])
def test_a_seg_that_is_damaged_or_no_volume_is_refused_in_one_line(written, tmp_path, change, words):
    with pytest.raises((NotAnImage, BadImage), match=words) as caught:
        read_dicom_seg(changed(written[0], tmp_path, change))
    assert "\n" not in str(caught.value)


def test_what_stands_for_the_background_of_a_labelmap_is_no_segment(tmp_path):
    series = mr_series()
    labels = tumour(series)
    write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT, labelmap=True)
    for change in (lambda seg: setattr(seg, "PixelPaddingValue", 1), lambda seg: put_code(seg.SegmentSequence[1], "125040", "DCM")):
        other = changed(tmp_path / "seg.dcm", tmp_path, change)
        np.testing.assert_array_equal(read_dicom_seg(other, labels.grid).voxels, np.where(labels.voxels == 3, 2, 0))


def test_an_object_cut_short_is_refused(written, tmp_path):
    (tmp_path / "cut.dcm").write_bytes(written[0].read_bytes()[:-400])
    with pytest.raises(NotAnImage, match=r"cut\.dcm"):
        read_dicom_seg(tmp_path / "cut.dcm")


def test_what_is_no_seg_is_refused(written, tmp_path):
    (tmp_path / "text.dcm").write_text("hello")
    save(mr_series(), tmp_path)
    for name, error, words in (("nothing.dcm", MissingFile, "no file"), ("text.dcm", NotAnImage, "not a DICOM file"),
                               ("1.dcm", NotAnImage, "not a DICOM Segmentation")):
        with pytest.raises(error, match=words):
            read_dicom_seg(tmp_path / name, written[1].grid)


def test_a_seg_is_not_put_on_a_grid_where_it_does_not_lie(written):
    with pytest.raises(GridMismatch, match=r"seg\.dcm"):
        read_dicom_seg(written[0], Grid((6, 5, 7), np.eye(4)))
    with pytest.raises(GridMismatch, match=r"seg\.dcm"):
        read_dicom_seg(written[0], Grid((6, 5, 4), written[1].affine))


def test_a_seg_of_a_tilted_gantry_is_refused_on_any_reference(written, tmp_path):
    path, labels = written

    def lean(seg):
        frame = max(seg.PerFrameFunctionalGroupsSequence, key=lambda frame: frame.PlanePositionSequence[0].ImagePositionPatient[2])
        place = frame.PlanePositionSequence[0]
        down = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient[3:]
        place.ImagePositionPatient = [round(float(mm) + 0.2 * float(c), 6) for mm, c in zip(place.ImagePositionPatient, down, strict=True)]

    for reference in (None, labels.grid):
        with pytest.raises(NotAnImage, match="tilted gantry"):
            read_dicom_seg(changed(path, tmp_path, lean), reference, TABLE)


def test_an_unknown_segment_type_is_refused_by_name(written):
    with pytest.raises(BadImage, match=r"segment 2 is Enhancing Lesion \(C113842, NCIt\)"):
        read_dicom_seg(written[0], written[1].grid, TABLE[:2])
