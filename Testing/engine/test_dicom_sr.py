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
from braintumorseg.segmentation import Provenance, Segmentation
from braintumorseg.volume import Volume
from dicom_oracles import dcmqi_tool, debian_tool, no_dciodvfy_error
from seg_toys import ABOUT, SPACING, TABLE, axes, enhanced, mr_series, tilted, tumour

VOXEL_ML = np.prod(SPACING) / 1000


def write(folder, source, labels, about=ABOUT, missing=()):
    """SEG and SR of `labels`: their paths, summaries and the SR as a data set."""
    series = source_series(source)
    measurements = measure(Segmentation(labels, TABLE, Provenance("a", "1", "b", "c")))
    seg = write_dicom_seg(labels, series, TABLE, folder / "seg.dcm", **about)
    summary = write_dicom_sr(labels, measurements, series, seg, TABLE, folder / "sr.dcm", missing=missing, **about)
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
    long, short = found["Largest enhancing lesion, on one axial slice at S 50 mm (RANO)"]["measurementItems"]
    # Two voxels of 0.7 x 0.8 mm in one row: the diagonal of 1.4 x 0.8 mm, and across it 0.8 / cos of its angle to the row.
    assert (long["quantity"]["CodeValue"], float(long["value"])) == ("103339001", pytest.approx(np.hypot(1.4, 0.8), abs=0.05))
    assert (short["quantity"]["CodeValue"], float(short["value"])) == ("103340004", pytest.approx(0.8 * np.hypot(1.4, 0.8) / 1.4, abs=0.05))


def test_the_ends_of_the_axes_lie_on_their_slice_of_the_source(written):
    report = highdicom.sr.srread(written.path)
    group, = [one for one in report.content.get_image_measurement_groups() if one.tracking_identifier.startswith("Largest")]
    long, short = group.get_measurements()
    for item, mm in ((long, np.hypot(1.4, 0.8)), (short, 0.8 * np.hypot(1.4, 0.8) / 1.4)):
        coordinates, = item.referenced_coordinates
        image = coordinates.ContentSequence[0].ReferencedSOPSequence[0]
        assert image.ReferencedSOPInstanceUID == written.series.headers[4].SOPInstanceUID  # the slice with the two voxels
        ends = coordinates.value                                                           # (column, row), corner of the first pixel at 0
        assert np.linalg.norm((ends[1] - ends[0]) * SPACING[:2]) == pytest.approx(mm, abs=1e-4)
        assert (ends[:, 0] >= 1 - 1e-6).all() and (ends[:, 0] <= 3 + 1e-6).all()           # columns 1 and 2
        assert (ends[:, 1] >= 4 - 1e-6).all() and (ends[:, 1] <= 5 + 1e-6).all()           # row 4


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


def test_under_a_tilted_gantry_the_lengths_stand_without_a_place(tmp_path):
    source = tilted()
    grid = source_series(source).grid
    upright = grid.affine.copy()
    upright[:3, 2] = axes()[2] * (-1, -1, 1) * SPACING[2]
    upright[:3, 3] = (grid.affine @ [0, 0, 3, 1])[:3] - 3 * upright[:3, 2]
    done = write(tmp_path, source, Volume(tumour(mr_series()).voxels, upright))
    assert no_dciodvfy_error(done.path)
    assert done.summary.diameters.long.mm == pytest.approx(np.hypot(1.4, 0.8))
    assert not [element for element in done.sr.iterall() if element.keyword == "GraphicData"]


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


def test_on_sagittal_images_the_axes_are_axial_and_refer_to_no_image(tmp_path):
    source = turned(np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]]), (0.7, 0.8, 1.0))
    labels = Volume(tumour(mr_series()).voxels, source_series(source).grid.affine)
    done = write(tmp_path, source, labels)
    assert no_dciodvfy_error(done.path)
    assert done.summary.diameters == enhancing_diameters(labels)
    # In the axial plane the two voxels, 0.7 mm each to the back, are 1 mm wide; S is 40 less 4 rows of 0.8 mm.
    assert done.summary.diameters.long.mm == pytest.approx(np.hypot(1.4, 1.0))
    assert "Largest enhancing lesion, on one axial slice at S 37 mm (RANO)" in groups(done.path, tmp_path)
    assert not [element for element in done.sr.iterall() if element.keyword == "GraphicData"]


def test_on_thick_coronal_images_the_axes_are_said_not_to_be_axial(tmp_path):
    source = turned(np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), (0.7, 0.8, 5.0))
    labels = Volume(tumour(mr_series()).voxels, source_series(source).grid.affine)
    done = write(tmp_path, source, labels)
    # The fifth slice: 30 mm to the front, less 4 of 5 mm to the back.
    name, = [name for name in groups(done.path, tmp_path) if name.startswith("Largest")]
    assert name == "Largest enhancing lesion, on one coronal slice at A 10 mm (RANO), not comparable with axial measurements"
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
