"""DICOM-SEG on a small oblique series: read back by highdicom, placed by dcmqi, checked by dciodvfy."""

import dataclasses
import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from braintumorseg.errors import BadImage, GridMismatch, MissingFile, NotAnImage, OutputError
from braintumorseg.io import dicom_seg
from braintumorseg.io.dicom_grid import onto_grid, series_grid
from braintumorseg.io.dicom_seg import read_dicom_seg, write_dicom_seg
from braintumorseg.io.itk import from_itk
from braintumorseg.io.nrrd import read_nrrd
from braintumorseg.volume import Grid, Volume


@dataclasses.dataclass(frozen=True)
class Label:
    value: int
    name: str
    code: tuple[str, str, str]
    rgb: tuple[int, int, int]


TABLE = (Label(1, "NCR", ("6574001", "SCT", "Necrosis"), (216, 191, 216)),
         Label(2, "ED", ("79654002", "SCT", "Edema"), (140, 224, 228)),
         Label(3, "ET", ("C113842", "NCIt", "Enhancing Lesion"), (128, 174, 128)))
ABOUT = {"algorithm": "spine-2mm", "version": "0.1.0", "sha256": "ab" * 32}
COLUMNS, ROWS, SLICES, SPACING = 6, 5, 7, (0.7, 0.8, 2.5)  # spacing along a row, down a column, between slices: mm
FIRST = np.array([-20.0, -30.0, 40.0])        # LPS mm


def axes():
    """Unit vectors (LPS) along a row, down a column and between slices, turned about two axes."""
    a, b = np.deg2rad([17, -9])
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return (turn_z @ turn_x).T


def mr_series():
    """Seven slices of a valid MR series, not in the order of their positions."""
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    row, column, normal = axes()
    slices = []
    for k in (3, 0, 6, 1, 5, 2, 4):
        one = pydicom.Dataset()
        one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, generate_uid()
        for name, uid in uids.items():
            setattr(one, name, uid)
        one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = "Phantom^Ünï 脳", "P1", "19700101", "O"
        one.SpecificCharacterSet = "ISO_IR 192"
        one.StudyDate, one.StudyTime, one.StudyID, one.AccessionNumber = "20240102", "030405", "1", "A1"
        one.Modality, one.SeriesNumber, one.InstanceNumber = "MR", 4, k + 1
        one.Rows, one.Columns, one.PixelSpacing, one.SliceThickness = ROWS, COLUMNS, [SPACING[1], SPACING[0]], SPACING[2]
        one.ImageOrientationPatient = [f"{x:.12g}" for x in (*row, *column)]
        one.ImagePositionPatient = [f"{x:.12g}" for x in FIRST + normal * SPACING[2] * k]
        slices.append(one)
    return slices


def tumour(series):
    """4 voxels NCR, no ED, 3 ET, in two of the seven slices and different along every axis."""
    voxels = np.zeros((COLUMNS, ROWS, SLICES), np.uint8)
    voxels[2:4, 1:3, 3] = 1
    voxels[0, 0, 3] = 3
    voxels[1:3, 4, 4] = 3
    return Volume(voxels, series_grid(series).affine)


@pytest.fixture
def series():
    return mr_series()


@pytest.fixture
def labels(series):
    return tumour(series)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A SEG written once for the tests that only look at it: its path, its source, its labels and the summary."""
    path = tmp_path_factory.mktemp("seg") / "seg.dcm"
    source = mr_series()
    volume = tumour(source)
    return SimpleNamespace(path=path, series=source, labels=volume,
                           summary=write_dicom_seg(volume, source, TABLE, path, **ABOUT), seg=pydicom.dcmread(path))


def test_the_series_grid_is_where_dicom_puts_the_pixels(series):
    grid = series_grid(series)
    row, column, normal = axes()
    assert grid.shape == (COLUMNS, ROWS, SLICES)
    lps = FIRST + row * 5 * SPACING[0] + column * 2 * SPACING[1] + normal * 6 * SPACING[2]
    np.testing.assert_allclose(grid.affine @ [5, 2, 6, 1], [-lps[0], -lps[1], lps[2], 1], atol=1e-9)


def test_a_real_series_lies_where_itk_puts_it(data_folder):
    folder = data_folder / "dicom" / "VS-SEG-001_T1ce_12slices"
    grid = series_grid([pydicom.dcmread(file, stop_before_pixels=True) for file in folder.glob("*.dcm")])
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    assert grid.same_as(from_itk(image).grid, 1e-4)


def test_labels_are_read_back_as_they_were(written):
    back = read_dicom_seg(written.path, written.labels.grid, TABLE)
    np.testing.assert_array_equal(back.voxels, written.labels.voxels)
    assert back.voxels.dtype == np.uint8
    assert list(written.path.parent.iterdir()) == [written.path]
    assert written.summary.path == written.path


def test_segments_are_numbered_without_gaps_and_empty_ones_left_out(written):
    assert [(s.number, s.value, s.name, s.voxels) for s in written.summary.segments] == [(1, 1, "NCR", 4), (2, 3, "ET", 3)]
    assert written.summary.left_out == ("ED",)
    numbers = read_dicom_seg(written.path, written.labels.grid)  # without a table
    assert set(np.unique(numbers.voxels)) == {0, 1, 2}


def test_axes_in_any_order_and_direction_give_the_same_file(series, labels, tmp_path):
    turned = Volume(labels.voxels[::-1, :, ::-1].transpose(2, 0, 1),
                    labels.affine @ np.array([[0, -1, 0, COLUMNS - 1], [0, 0, 1, 0], [-1, 0, 0, SLICES - 1], [0, 0, 0, 1]]))
    for name, volume in (("turned", turned), ("canonical", labels.canonical())):
        write_dicom_seg(volume, series, TABLE, tmp_path / name, **ABOUT)
        np.testing.assert_array_equal(read_dicom_seg(tmp_path / name, labels.grid, TABLE).voxels, labels.voxels)
        np.testing.assert_array_equal(read_dicom_seg(tmp_path / name, volume.grid, TABLE).voxels, volume.voxels)


def test_highdicom_finds_every_voxel_at_its_place(written):
    found = highdicom.seg.Segmentation.from_dataset(written.seg).get_volume(combine_segments=True)
    indices = np.argwhere(found.array)
    lps = indices @ found.affine[:3, :3].T + found.affine[:3, 3]
    voxels = np.linalg.inv(written.labels.affine) @ np.vstack([(lps * (-1, -1, 1)).T, np.ones(len(lps))])
    i, j, k = np.rint(voxels[:3]).astype(int)
    np.testing.assert_allclose(voxels[:3], [i, j, k], atol=1e-5)
    np.testing.assert_array_equal(written.labels.voxels[i, j, k], np.array([0, 1, 3])[found.array[tuple(indices.T)]])
    assert len(indices) == 7


def test_dcmqi_finds_every_voxel_at_its_place(written, tmp_path):
    pytest.importorskip("dcmqi", reason="dcmqi is not installed (pip install dcmqi)")
    tool = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent)) or shutil.which("segimage2itkimage")
    subprocess.run([tool, "--inputDICOM", written.path, "--outputDirectory", tmp_path, "-t", "nrrd"],
                   check=True, capture_output=True)
    meta = json.loads((tmp_path / "meta.json").read_text())
    for number, (value, name, code) in enumerate([(1, "NCR", "6574001"), (3, "ET", "C113842")], start=1):
        about = meta["segmentAttributes"][number - 1][0]
        assert (about["SegmentLabel"], about["SegmentedPropertyTypeCodeSequence"]["CodeValue"]) == (name, code)
        mask = onto_grid(read_nrrd(tmp_path / f"{number}.nrrd"), written.labels.grid, name, part=True)
        np.testing.assert_array_equal(mask.voxels > 0, written.labels.voxels == value)


def test_dciodvfy_finds_no_error(written):
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    said = subprocess.run(["dciodvfy", written.path], capture_output=True, text=True, check=False)
    assert "Error" not in said.stderr
    assert "Segmentation" in said.stderr


def test_the_header_says_what_who_and_how(written):
    seg = written.seg
    assert (seg.Modality, seg.SegmentationType, seg.file_meta.TransferSyntaxUID) == ("SEG", "BINARY", ExplicitVRLittleEndian)
    assert seg.SeriesNumber == 1004
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == written.series[0].SeriesInstanceUID
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == SLICES
    assert {item.SegmentAlgorithmType for item in seg.SegmentSequence} == {"AUTOMATIC"}
    ncr, et = seg.SegmentSequence
    assert (ncr.SegmentNumber, ncr.SegmentLabel, et.SegmentNumber, et.SegmentLabel) == (1, "NCR", 2, "ET")
    kind = et.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == ("C113842", "NCIt", "Enhancing Lesion")
    assert et.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert et.AnatomicRegionSequence[0].CodeValue == "12738006"
    how = et.SegmentationAlgorithmIdentificationSequence[0]
    assert (how.AlgorithmName, how.AlgorithmVersion) == ("spine-2mm", "0.1.0")
    assert how.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
    assert "ab" * 32 in how.AlgorithmParameters
    assert (seg.PatientName, seg.PatientID, seg.StudyInstanceUID) == ("Phantom^Ünï 脳", "P1", written.series[0].StudyInstanceUID)


def test_the_tracking_identity_returned_is_that_in_the_file(written):
    in_file = [(item.TrackingID, item.TrackingUID) for item in written.seg.SegmentSequence]
    assert [(s.tracking_id, s.tracking_uid) for s in written.summary.segments] == in_file
    assert len({uid for _, uid in in_file}) == 2
    assert (written.summary.series_uid, written.summary.sop_uid) == (written.seg.SeriesInstanceUID, written.seg.SOPInstanceUID)


def test_colours_are_those_of_the_table(written):
    for item, label in zip(written.seg.SegmentSequence, (TABLE[0], TABLE[2]), strict=True):
        rgb = highdicom.color.CIELabColor.from_dicom_value(item.RecommendedDisplayCIELabValue).to_rgb()
        np.testing.assert_allclose(rgb, label.rgb, atol=2)


def test_nobody_prints_the_patients_name(series, labels, tmp_path):
    for one in series:
        one.PatientName = "SINGLE-NAME"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT)


def test_missing_patient_and_study_attributes_become_empty(series, labels, tmp_path):
    for one in series:
        for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                     "AccessionNumber", "SeriesNumber", "SpecificCharacterSet"):
            delattr(one, name)
    write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert not seg.PatientID and not seg.StudyDate and "AccessionNumber" in seg
    assert "PatientID" not in series[0]  # the source is left as it was


def test_no_tumour_writes_no_file(series, labels, tmp_path):
    summary = write_dicom_seg(labels.with_voxels(np.zeros_like(labels.voxels)), series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    assert (summary.path, summary.segments, summary.left_out) == (None, (), ("NCR", "ED", "ET"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["moved", "shorter", "turned"])
def test_labels_on_another_grid_are_refused(series, labels, tmp_path, where):
    shift = np.eye(4)
    if where == "moved":
        shift[:3, 3] = 0.3
    if where == "turned":
        shift[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    other = Volume(labels.voxels[:, :, :-1] if where == "shorter" else labels.voxels, shift @ labels.affine)
    with pytest.raises(GridMismatch, match=r"The result is 6 x 5 x"):
        write_dicom_seg(other, series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_a_label_that_the_table_lacks_is_a_mistake_of_the_caller(series, labels, tmp_path):
    with pytest.raises(ValueError, match="not in the table of 1, 2"):
        write_dicom_seg(labels, series, TABLE[:2], tmp_path / "seg.dcm", **ABOUT)


def test_a_file_that_reads_back_wrong_never_gets_its_name(series, labels, tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_seg, "read_dicom_seg", lambda *_: labels.with_voxels(labels.voxels[::-1]))
    with pytest.raises(OutputError, match="did not read back"):
        write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("change", "words"), [
    (lambda s: s.pop(1), "evenly spaced"),                                             # a slice in the middle is missing
    (lambda s: s.append(s[0]), "evenly spaced"),                                       # a slice is there twice
    (lambda s: setattr(s[0], "Rows", 9), "differ in Rows"),
    (lambda s: setattr(s[0], "ImageOrientationPatient", [1, 0, 0, 0, 1, 0]), "differ in ImageOrientationPatient"),
    (lambda s: delattr(s[2], "ImagePositionPatient"), "no ImagePositionPatient"),
    (lambda s: delattr(s[2], "FrameOfReferenceUID"), "no FrameOfReferenceUID"),
])
def test_a_series_that_cannot_carry_a_seg_is_refused(series, labels, tmp_path, change, words):
    s = sorted(series, key=lambda one: one.InstanceNumber)
    change(s)
    with pytest.raises(BadImage, match=words):
        write_dicom_seg(labels, s, TABLE, tmp_path / "seg.dcm", **ABOUT)


def test_what_is_no_seg_is_refused(series, labels, tmp_path):
    (tmp_path / "text.dcm").write_text("hello")
    series[0].file_meta = pydicom.dataset.FileMetaDataset()
    series[0].file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    series[0].save_as(tmp_path / "image.dcm", enforce_file_format=True)
    for name, error, words in (("nothing.dcm", MissingFile, "no file"), ("text.dcm", NotAnImage, "not a DICOM file"),
                               ("image.dcm", NotAnImage, "not a DICOM Segmentation")):
        with pytest.raises(error, match=words):
            read_dicom_seg(tmp_path / name, labels.grid)


def test_a_seg_is_not_put_on_a_grid_where_it_does_not_lie(written):
    with pytest.raises(GridMismatch, match=r"seg\.dcm"):
        read_dicom_seg(written.path, Grid((6, 5, 7), np.eye(4)))
    with pytest.raises(GridMismatch, match=r"seg\.dcm"):
        read_dicom_seg(written.path, Grid((6, 5, 4), written.labels.affine))


def test_an_unknown_segment_type_is_refused_by_name(written):
    with pytest.raises(BadImage, match=r"ET is Enhancing Lesion \(C113842, NCIt\)"):
        read_dicom_seg(written.path, written.labels.grid, TABLE[:2])


def test_a_seg_by_dcmqi_is_read(data_folder):
    path = data_folder / "dicom" / "SEG_dcmqi" / "liver.dcm"
    found = highdicom.seg.segread(path).get_volume(combine_segments=True)
    affine = np.diag([-1, -1, 1, 1]) @ found.affine[:, [2, 1, 0, 3]]
    back = read_dicom_seg(path, Grid(found.spatial_shape[::-1], affine))
    np.testing.assert_array_equal(back.voxels, found.array.transpose(2, 1, 0))
    assert back.voxels.any()
