"""The structured report on the made-up series: read by dcmqi, dcmtk and highdicom, checked by dciodvfy."""

import json
import subprocess
from types import SimpleNamespace

import highdicom
import numpy as np
import pydicom
import pytest

from braintumorseg.diameters import enhancing_diameters
from braintumorseg.io.dicom_seg import write_dicom_seg
from braintumorseg.io.dicom_source import source_series
from braintumorseg.io.dicom_sr import write_dicom_sr
from braintumorseg.measure import measure
from braintumorseg.quality import Flag
from braintumorseg.segmentation import Provenance, Segmentation
from braintumorseg.volume import Volume
from dicom_oracles import dcmqi_tool, debian_tool, no_dciodvfy_error
from seg_toys import ABOUT, SPACING, TABLE, axes, enhanced, mr_series, tilted, tumour

VOXEL_ML = np.prod(SPACING) / 1000


def write(folder, source, labels, about=ABOUT, missing=(), flags=()):
    """SEG and SR of `labels`: their paths, summaries and the SR as a data set."""
    series = source_series(source)
    measurements = measure(Segmentation(labels, TABLE, Provenance("a", "1", "b", "c")))
    seg = write_dicom_seg(labels, series, TABLE, folder / "seg.dcm", **about)
    summary = write_dicom_sr(labels, measurements, series, seg, TABLE, folder / "sr.dcm", missing=missing, flags=flags, **about)
    return SimpleNamespace(path=folder / "sr.dcm", seg=seg, summary=summary, sr=pydicom.dcmread(folder / "sr.dcm"), series=series)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    source = mr_series()
    return write(tmp_path_factory.mktemp("sr"), source, tumour(source))


def groups(path, folder):
    """The measurement groups that dcmqi's tid1500reader finds, by tracking identifier."""
    subprocess.run([dcmqi_tool("tid1500reader"), "--inputDICOM", path, "--outputMetadata", folder / "sr.json"], check=True, capture_output=True)
    return {group["TrackingIdentifier"]: group for group in json.loads((folder / "sr.json").read_text())["Measurements"]}


def test_dciodvfy_finds_no_error(written):
    assert no_dciodvfy_error(written.path)


def test_dcmqi_reads_each_segments_volume_and_which_segment_it_is_of(written, tmp_path):
    found = groups(written.path, tmp_path)
    for segment, code, voxels in zip(written.seg.segments, ("6574001", "C113842"), (4, 3), strict=True):
        group = found[segment.tracking_id]
        assert (group["ReferencedSegment"], group["segmentationSOPInstanceUID"]) == (segment.number, written.seg.sop_uid)
        assert group["TrackingUniqueIdentifier"] == segment.tracking_uid
        assert group["SourceSeriesForImageSegmentation"] == written.series.first.SeriesInstanceUID
        assert group["Finding"]["CodeValue"] == code
        assert group["measurementAlgorithmIdentification"]["AlgorithmParameters"] == [f"weights_sha256={ABOUT['sha256']}"]
        volume, = group["measurementItems"]
        assert (volume["quantity"]["CodeValue"], volume["units"]["CodeValue"]) == ("118565006", "ml")
        assert float(volume["value"]) == pytest.approx(voxels * VOXEL_ML, abs=5e-4)


def test_dcmqi_reads_the_regions_and_the_axes(written, tmp_path):
    found = groups(written.path, tmp_path)
    assert len(found) == 2 + 3 + 1
    for name, code, voxels in (("Whole tumour (necrosis, edema, enhancing)", "108369006", 7), ("Tumour core (necrosis, enhancing)", "108369006", 7),
                               ("Enhancing tumour", "C113842", 3)):
        assert found[name]["Finding"]["CodeValue"] == code
        assert float(found[name]["measurementItems"][0]["value"]) == pytest.approx(voxels * VOXEL_ML, abs=5e-4)
    long, short = found["Largest enhancing lesion, on one axial slice at S +50 mm (RANO, not measurable)"]["measurementItems"]
    assert (long["quantity"]["CodeValue"], float(long["value"])) == ("103339001", 1.4)      # two voxels of 0.7 x 0.8 mm in one row
    assert (short["quantity"]["CodeValue"], float(short["value"])) == ("103340004", 0.8)


def test_the_ends_of_the_axes_lie_on_their_slice_of_the_source(written):
    report = highdicom.sr.srread(written.path)
    group, = [one for one in report.content.get_image_measurement_groups() if one.tracking_identifier.startswith("Largest")]
    long, short = group.get_measurements()
    for item, mm in ((long, 1.4), (short, 0.8)):
        coordinates, = item.referenced_coordinates
        image = coordinates.ContentSequence[0].ReferencedSOPSequence[0]
        assert image.ReferencedSOPInstanceUID == written.series.headers[4].SOPInstanceUID  # the slice with the two voxels
        ends = coordinates.value                                                           # (column, row), corner of the first pixel at 0
        assert np.linalg.norm((ends[1] - ends[0]) * SPACING[:2]) == pytest.approx(mm, abs=1e-4)
        assert (ends[:, 0] >= 1 - 1e-6).all() and (ends[:, 0] <= 3 + 1e-6).all()           # columns 1 and 2
        assert (ends[:, 1] >= 4 - 1e-6).all() and (ends[:, 1] <= 5 + 1e-6).all()           # row 4
    assert written.sr.SOPClassUID == pydicom.uid.ComprehensiveSRStorage                    # which more readers know than the 3-D one


def test_dcmtk_prints_it_without_a_complaint(written):
    said = subprocess.run([debian_tool("dsrdump", "dcmtk"), written.path], capture_output=True, check=False)
    assert said.returncode == 0
    assert b"Imaging Measurement Report" in said.stdout
    assert b"E:" not in said.stderr


def test_it_names_its_sources_as_evidence_and_keeps_the_patient(written):
    sr = written.sr
    assert (sr.Modality, sr.PatientName, sr.SeriesNumber) == ("SR", "Phantom^Ünï 脳", 2004)
    uids = {item.ReferencedSOPInstanceUID for study in sr.CurrentRequestedProcedureEvidenceSequence for series in study.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence}
    uids |= {item.ReferencedSOPInstanceUID for study in sr.get("PertinentOtherEvidenceSequence", ()) for series in study.ReferencedSeriesSequence
             for item in series.ReferencedSOPSequence}
    assert uids == {header.SOPInstanceUID for header in written.series.headers} | {written.seg.sop_uid}
    assert "research use only" in sr.SeriesDescription


def test_a_frame_of_a_multi_frame_source_is_named(tmp_path):
    source = enhanced()
    done = write(tmp_path, [source], tumour(mr_series()))
    assert no_dciodvfy_error(done.path)
    assert done.summary.diameters.slice == 4
    frames = {int(element.value) for element in done.sr.iterall() if element.keyword == "ReferencedFrameNumber"}
    assert frames == {3}  # slice 4 of 0..6, the last slice is frame 1


def lines_in_space(done) -> dict[str, np.ndarray]:
    """Name of the axis -> (2, 3) its ends in RAS mm, where they are points of the series' frame of reference."""
    report = highdicom.sr.srread(done.path)
    group, = [one for one in report.content.get_image_measurement_groups() if one.tracking_identifier.startswith("Largest")]
    found = {}
    for item in group.get_measurements():
        line, = item.referenced_coordinates
        assert isinstance(line, highdicom.sr.CoordinatesForMeasurement3D)
        assert line.frame_of_reference_uid == done.series.first.FrameOfReferenceUID
        found[item.name.meaning] = line.value * (-1, -1, 1)
    return found


def test_under_a_tilted_gantry_the_axes_are_lines_in_space(tmp_path):
    source = tilted()
    grid = source_series(source).grid
    upright = grid.affine.copy()
    upright[:3, 2] = axes()[2] * (-1, -1, 1) * SPACING[2]
    upright[:3, 3] = (grid.affine @ [0, 0, 3, 1])[:3] - 3 * upright[:3, 2]
    done = write(tmp_path, source, Volume(tumour(mr_series()).voxels, upright))
    assert no_dciodvfy_error(done.path)
    assert done.summary.diameters.long.mm == pytest.approx(1.4)
    # The two voxels (1, 4, 4) and (2, 4, 4): their outer edges' middles.
    assert np.allclose(sorted(lines_in_space(done)["Long Axis"] @ upright[:3, 0]),
                       sorted(np.array([upright @ [i, 4, 4, 1] for i in (0.5, 2.5)])[:, :3] @ upright[:3, 0]), atol=1e-3)


def test_with_nothing_found_the_volumes_are_zero_and_there_are_no_axes(tmp_path):
    source = mr_series()
    labels = tumour(source)
    done = write(tmp_path, source, labels.with_voxels(np.zeros_like(labels.voxels)))
    assert no_dciodvfy_error(done.path)
    assert done.summary.diameters is None
    values = [float(group["measurementItems"][0]["value"]) for group in groups(done.path, tmp_path).values()]
    assert values == [0.0, 0.0, 0.0]


def test_drawn_by_hand_names_no_algorithm(tmp_path):
    source = mr_series()
    done = write(tmp_path, source, tumour(source), dict.fromkeys(ABOUT, ""))
    assert no_dciodvfy_error(done.path)
    assert "Algorithm" not in str(done.sr)


def test_the_axes_are_those_of_diameters(written):
    labels = tumour(mr_series())
    assert written.summary.diameters == enhancing_diameters(labels)


def turned(direction: np.ndarray, spacing: tuple[float, float, float]) -> list:
    """The seven slices in another plane: unit vectors (LPS) along a row, down a column and from slice to slice."""
    row, column, normal = direction
    source = mr_series()
    for one in source:
        one.ImageOrientationPatient = [f"{x:.12g}" for x in (*row, *column)]
        one.ImagePositionPatient = [f"{x:.12g}" for x in np.array([-20.0, -30, 40]) + normal * spacing[2] * (one.InstanceNumber - 1)]
        one.PixelSpacing = [spacing[1], spacing[0]]
    return source


def test_on_sagittal_images_the_axes_are_axial_lines_in_space(tmp_path):
    source = turned(np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]]), (0.7, 0.8, 1.0))
    labels = Volume(tumour(mr_series()).voxels, source_series(source).grid.affine)
    done = write(tmp_path, source, labels)
    assert no_dciodvfy_error(done.path)
    assert done.summary.diameters == enhancing_diameters(labels)
    # In the axial plane the two voxels are 0.7 mm each to the back; S is 40 less 4 rows of 0.8 mm.
    assert done.summary.diameters.long.mm == pytest.approx(1.4)
    assert "Largest enhancing lesion, on one axial slice at S +37 mm (RANO, not measurable)" in groups(done.path, tmp_path)
    assert (done.sr.SOPClassUID, done.sr.Modality) == (pydicom.uid.Comprehensive3DSRStorage, "SR")
    for axis, ends in zip((done.summary.diameters.long, done.summary.diameters.short), lines_in_space(done).values(), strict=True):
        assert np.allclose(ends, done.summary.diameters.ends_mm(axis, labels.grid), atol=1e-3)
        assert np.allclose(ends[:, 2], 40 - 4 * 0.8)
        assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(axis.mm, abs=1e-3)
    assert b"E:" not in subprocess.run([debian_tool("dsrdump", "dcmtk"), done.path], capture_output=True, check=False).stderr


def test_on_thick_coronal_images_the_axes_are_said_not_to_be_axial(tmp_path):
    source = turned(np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), (0.7, 0.8, 5.0))
    labels = Volume(tumour(mr_series()).voxels, source_series(source).grid.affine)
    done = write(tmp_path, source, labels)
    # The fifth slice: 30 mm to the front, less 4 of 5 mm to the back.
    name, = [name for name in groups(done.path, tmp_path) if name.startswith("Largest")]
    assert name == "Largest enhancing lesion, on one coronal slice at A +10 mm (RANO, not measurable), not comparable with axial measurements"
    assert [element for element in done.sr.iterall() if element.keyword == "GraphicData"]


def test_without_t1ce_there_are_no_axes_and_the_volumes_of_the_core_are_coded_as_estimates(written, tmp_path):
    source = mr_series()
    done = write(tmp_path, source, tumour(source), missing=("t1ce",))
    assert no_dciodvfy_error(done.path)
    assert done.summary.diameters is None
    estimates = {name: [item.get("derivationModifier", {}).get("CodeValue") for item in group["measurementItems"]]
                 for name, group in groups(done.path, tmp_path).items()}
    segments = {segment.tracking_id: ["414135002"] for segment in done.seg.segments}     # NCR and ET
    assert estimates == {**segments, "Whole tumour (necrosis, edema, enhancing)": [None],
                         "Tumour core (necrosis, enhancing), estimated without T1ce": ["414135002"],
                         "Enhancing tumour, estimated without T1ce": ["414135002"]}
    assert "414135002" not in str(written.sr)


def lesions(source, *boxes) -> Volume:
    """Enhancing boxes on a series of 7 slices with larger pixels: 60 x 50 of 1 x 1 mm."""
    for one in source:
        one.Rows, one.Columns, one.PixelSpacing = 50, 60, [1, 1]
    voxels = np.zeros((60, 50, 7), np.uint8)
    for box in boxes:
        voxels[box] = 3
    return Volume(voxels, source_series(source).grid.affine)


def test_every_measurable_lesion_has_its_axes_and_their_products_are_added_up(tmp_path):
    source = mr_series()
    labels = lesions(source, np.s_[2:22, 2:18, 2:5], np.s_[30:44, 2:15, 1:4], np.s_[50:55, 40:45, 1:4], np.s_[2:16, 30:44, 4])
    done = write(tmp_path, source, labels)
    assert no_dciodvfy_error(done.path)
    found = groups(done.path, tmp_path)
    axes = {name: [float(item["value"]) for item in group["measurementItems"]] for name, group in found.items() if "nhancing lesion" in name}
    named = [name.split(",")[0] for name in axes]
    assert named == ["Largest enhancing lesion", "Enhancing lesion 2", "Sum of products of 2 measurable enhancing lesions (RANO)"]
    (first, second), total = list(axes.values())[:2], list(axes.values())[2]   # neither the small box nor that on one slice
    assert total == [round(first[0] * first[1]) + round(second[0] * second[1])]
    assert found[list(axes)[2]]["measurementItems"][0]["units"]["CodeValue"] == "mm2"
    assert first[0] > second[0] > 14


def test_what_lies_across_gaps_says_so(tmp_path):
    source = mr_series()
    labels = lesions(source, np.s_[2:40, 2:40, 2:5])
    hollow = labels.voxels.copy()
    hollow[5:37, 5:37] = 0
    done = write(tmp_path, source, labels.with_voxels(hollow))
    assert [name for name in groups(done.path, tmp_path) if name.endswith("(RANO), across necrosis and gaps")]


def comments(done) -> list[str]:
    """The texts that a reader of the whole document gets."""
    return [element.value for element in done.sr.iterall() if element.keyword == "TextValue"]


def test_the_warnings_are_in_the_document_for_people_and_it_can_be_read_as_before(tmp_path):
    source = mr_series()
    flags = (Flag("touches_edge", "warning", "The tumour reaches the edge, \u2265 1 mm."), Flag("small", "info", "A note."))
    done = write(tmp_path, source, tumour(source), flags=flags)
    assert no_dciodvfy_error(done.path)
    assert len(groups(done.path, tmp_path)) == 6
    assert "The tumour reaches the edge, ? 1 mm." in comments(done)
    assert not [text for text in comments(done) if "note" in text or "No tumour" in text]
    shown = subprocess.run([debian_tool("dsrdump", "dcmtk"), done.path], capture_output=True, check=False)
    assert b"The tumour reaches the edge" in shown.stdout
    assert b"E:" not in shown.stderr
    assert "Qualitative Evaluations" not in str(write(tmp_path, source, tumour(source)).sr)


def test_an_empty_result_says_that_it_is_no_proof_of_absence_once(tmp_path):
    source = mr_series()
    labels = tumour(source)
    empty = labels.with_voxels(np.zeros_like(labels.voxels))
    assert [text for text in comments(write(tmp_path, source, empty)) if "no proof of absence" in text]
    done = write(tmp_path, source, empty, flags=(Flag("empty_result", "warning", "No tumour was found, so this is no proof of absence."),))
    assert len([text for text in comments(done) if "no proof of absence" in text]) == 1
    assert no_dciodvfy_error(done.path)
    assert len(groups(done.path, tmp_path)) == 3
