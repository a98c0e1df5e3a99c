"""DICOM-SEG on a small oblique series: read back by highdicom, placed by dcmqi, checked by dciodvfy."""

import json
import warnings
from types import SimpleNamespace

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import ExplicitVRLittleEndian

from braintumorseg.errors import BadImage, GridMismatch, OutputError
from braintumorseg.io import dicom_seg
from braintumorseg.io.dicom_grid import onto_grid, series_grid
from braintumorseg.io.dicom_seg import read_dicom_seg, write_dicom_seg
from braintumorseg.io.dicom_source import source_series
from braintumorseg.io.itk import from_itk
from braintumorseg.quality import Flag
from braintumorseg.volume import Volume
from dicom_oracles import by_dcmqi, no_dciodvfy_error
from seg_toys import ABOUT, COLUMNS, FIRST, ROWS, SLICES, SPACING, TABLE, axes, enhanced, mr_series, save, tilted, tumour


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
    masks = by_dcmqi(written.path, tmp_path)
    meta = json.loads((tmp_path / "meta.json").read_text())
    for number, (value, name, code) in enumerate([(1, "NCR", "6574001"), (3, "ET", "C113842")], start=1):
        about = meta["segmentAttributes"][number - 1][0]
        assert (about["SegmentLabel"], about["SegmentedPropertyTypeCodeSequence"]["CodeValue"]) == (name, code)
        mask = onto_grid(masks[number], written.labels.grid, name, part=True)
        np.testing.assert_array_equal(mask.voxels > 0, written.labels.voxels == value)


def test_dciodvfy_finds_no_error(written):
    assert no_dciodvfy_error(written.path)


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


def test_slices_whose_places_are_rounded_keep_them_digit_by_digit(labels, tmp_path):
    series = mr_series()
    for one in series:  # as scanners write them: hundredths of a millimetre, which makes the stack lean a little
        one.ImagePositionPatient = [f"{x:.2f}" for x in map(float, one.ImagePositionPatient)]
    write_dicom_seg(labels.with_voxels(labels.voxels), series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    frames = pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence
    places = {one.SOPInstanceUID: one.ImagePositionPatient for one in series}
    assert len(frames) == 3
    for frame in frames:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.SpatialLocationsPreserved == "YES"
        assert frame.PlanePositionSequence[0].ImagePositionPatient == places[source.ReferencedSOPInstanceUID]


@pytest.mark.parametrize(("echoes", "frames"), [(1, ()), (2, tuple(range(8, 15)))])
def test_a_multi_frame_source_is_referred_to_frame_by_frame(labels, tmp_path, echoes, frames):
    source = enhanced(echoes)
    write_dicom_seg(labels, source_series([source], frames), TABLE, tmp_path / "seg.dcm", **ABOUT)
    assert no_dciodvfy_error(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_dicom_seg(tmp_path / "seg.dcm", labels.grid, TABLE).voxels, labels.voxels)
    written = pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence
    referred = [frame.DerivationImageSequence[0].SourceImageSequence for frame in written]
    # slices 3 and 4 of seven, and the last slice is the first frame
    assert [[int(item.ReferencedFrameNumber) for item in items] for items in referred] == [[n + 7 * (echoes - 1)] for n in (4, 3, 4)]
    assert {item.ReferencedSOPInstanceUID for items in referred for item in items} == {source.SOPInstanceUID}


def test_under_a_tilted_gantry_the_result_keeps_its_own_upright_grid(tmp_path):
    series = tilted()
    leaning = series_grid(series)
    upright = leaning.affine.copy()  # what a reader resamples such a stack to, here through its middle slice
    upright[:3, 2] = axes()[2] * (-1, -1, 1) * SPACING[2]
    upright[:3, 3] = (leaning.affine @ [0, 0, 3, 1])[:3] - 3 * upright[:3, 2]
    labels = Volume(tumour(mr_series()).voxels, upright)
    write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    assert no_dciodvfy_error(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_dicom_seg(tmp_path / "seg.dcm", labels.grid, TABLE).voxels, labels.voxels)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert seg.FrameOfReferenceUID == series[0].FrameOfReferenceUID
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == series[0].SeriesInstanceUID
    for frame in seg.PerFrameFunctionalGroupsSequence:
        assert {item.SpatialLocationsPreserved for item in frame.DerivationImageSequence[0].SourceImageSequence} == {"NO"}
    for wrong in (labels.with_voxels(labels.voxels), Volume(labels.voxels, leaning.affine)):
        moved = Volume(wrong.voxels, np.eye(4)) if wrong.grid.same_as(labels.grid) else wrong
        with pytest.raises(GridMismatch, match="lean"):
            write_dicom_seg(moved, series, TABLE, tmp_path / "other.dcm", **ABOUT)


def test_a_labelmap_holds_the_same_voxels_for_highdicom_and_dcmqi(series, labels, tmp_path):
    path = tmp_path / "seg.dcm"
    summary = write_dicom_seg(labels, series, TABLE, path, **ABOUT, labelmap=True)
    seg = pydicom.dcmread(path)
    assert (seg.SegmentationType, len(summary.segments), seg.NumberOfFrames) == ("LABELMAP", 2, 2)
    np.testing.assert_array_equal(read_dicom_seg(path, labels.grid, TABLE).voxels, labels.voxels)
    found = highdicom.seg.segread(path).get_volume(combine_segments=True).array
    assert [np.count_nonzero(found == number) for number in (1, 2)] == [4, 3]
    only, = by_dcmqi(path, tmp_path).values()  # one map of segment numbers
    numbers = onto_grid(only, labels.grid, "map", part=True).voxels
    np.testing.assert_array_equal(np.array([0, 1, 3])[numbers], labels.voxels)


@pytest.mark.parametrize(("about", "how"), [({**ABOUT, "edited": True}, "SEMIAUTOMATIC"), (dict.fromkeys(ABOUT, ""), "MANUAL")])
def test_what_a_person_changed_or_drew_says_so(series, labels, tmp_path, about, how):
    write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **about)
    assert no_dciodvfy_error(tmp_path / "seg.dcm")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert {item.SegmentAlgorithmType for item in seg.SegmentSequence} == {how}
    assert all(("SegmentationAlgorithmIdentificationSequence" in item) == (how != "MANUAL") for item in seg.SegmentSequence)


@pytest.mark.parametrize(("warnings", "said"), [(0, "Brain tumour parts, found automatically; research use only"),
                                                (1, "Brain tumour parts; 1 warning: see report; research use only"),
                                                (99, "Brain tumour parts; 99 warnings: see report; research use only")])
def test_a_seg_says_that_there_are_warnings_in_the_64_letters_that_it_has(series, labels, tmp_path, warnings, said):
    flags = [Flag("coarse_slices", "info", "Slices are thick."), *[Flag("weak_sequences", "warning", "Do not rely on these volumes.")] * warnings]
    write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT, flags=flags)
    assert pydicom.dcmread(tmp_path / "seg.dcm").ContentDescription == said
    assert len(said) <= 64
    assert no_dciodvfy_error(tmp_path / "seg.dcm")


def test_segments_that_are_estimated_without_t1ce_say_so_and_others_do_not(series, labels, tmp_path):
    voxels = labels.voxels.copy()
    voxels[5, 2, 5] = 2
    for name, missing in (("guessed", ("t1ce",)), ("seen", ("t1", "flair"))):
        write_dicom_seg(labels.with_voxels(voxels), series, TABLE, tmp_path / f"{name}.dcm", **ABOUT, missing=missing)
    told = {item.SegmentLabel: item.get("SegmentDescription", "") for item in pydicom.dcmread(tmp_path / "guessed.dcm").SegmentSequence}
    assert {name: "stimated without T1" in text for name, text in told.items()} == {"NCR": True, "ED": False, "ET": True}
    assert no_dciodvfy_error(tmp_path / "guessed.dcm")
    assert not any("SegmentDescription" in item for item in pydicom.dcmread(tmp_path / "seen.dcm").SegmentSequence)


@pytest.mark.parametrize(("character_set", "name", "expected"), [
    ("ISO_IR 100", "Müller^Jörg", "ISO_IR 100"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎", ["", "ISO 2022 IR 87"]),
    (None, "Plain^Name", None), ("ISO_IR 999", "Plain^Name", None)])
def test_the_patients_name_keeps_its_letters_in_the_character_set_of_the_source(labels, tmp_path, character_set, name, expected):
    series = mr_series()
    for one in series:
        one.SpecificCharacterSet, one.PatientName = character_set if character_set != "ISO_IR 999" else None, name
        if not one.SpecificCharacterSet:
            del one.SpecificCharacterSet
    save(series, tmp_path / "series")
    read = [pydicom.dcmread(file) for file in (tmp_path / "series").iterdir()]
    for one in read if character_set == "ISO_IR 999" else ():
        one.SpecificCharacterSet = character_set
    write_dicom_seg(labels, read, TABLE, tmp_path / "seg.dcm", **ABOUT)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (seg.PatientName, seg.get("SpecificCharacterSet")) == (name, expected)
    assert no_dciodvfy_error(tmp_path / "seg.dcm")


def test_bytes_of_an_undeclared_character_set_are_kept_as_utf_8(labels, tmp_path):
    series = mr_series()
    for one in series:
        one.SpecificCharacterSet, one.PatientName = "ISO_IR 100", "Müller^Jörg"
    save(series, tmp_path / "series")
    for file in (tmp_path / "series").iterdir():  # the same bytes, no longer declared
        file.write_bytes(file.read_bytes().replace(b"ISO_IR 100", b"          "))
    write_dicom_seg(labels, [pydicom.dcmread(file) for file in (tmp_path / "series").iterdir()], TABLE, tmp_path / "seg.dcm", **ABOUT)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (seg.PatientName, seg.SpecificCharacterSet) == ("Müller^Jörg", "ISO_IR 192")
    assert no_dciodvfy_error(tmp_path / "seg.dcm")
