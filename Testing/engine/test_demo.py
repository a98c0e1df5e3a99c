"""The first thing a new user runs, whole: raw DICOM of a made-up head, segmentation, DICOM-SEG, report."""

import json

import pydicom
import pytest

from braintumorseg.cli import main
from braintumorseg.io.dicom_grid import onto_grid
from braintumorseg.io.dicom_seg_reader import read_dicom_seg
from braintumorseg.io.readers import read_volume
from braintumorseg.metrics import dice
from braintumorseg.model_zoo import load_model
from braintumorseg.phantom import make_registered
from braintumorseg.pipeline import segment


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    assert main(["demo", "--out", str(folder)]) == 0
    return folder


def test_the_demo_leaves_the_patient_and_every_result(demo):
    assert {path.name for path in (demo / "result").iterdir()} == {
        "overlay.png", "steps.png", "report.html", "report.json", "segmentation.dcm", "measurements.dcm", "segmentation.nii.gz"}
    assert {path.name for path in (demo / "dicom").iterdir()} == {"t1", "t1ce", "t2", "flair"}


def test_the_report_tells_how_each_series_was_recognised_aligned_and_where_the_brain_is(demo):
    report = json.loads((demo / "result" / "report.json").read_text(encoding="utf-8"))
    assert report["model"]["name"] == "glioma"
    assert set(report["sequences"]) == {"t1", "t1ce", "t2", "flair"}
    assert {text.split(":")[0] for text in report["alignment"].values()} == {"registered"}
    assert 1200 < report["brain"]["ml"] < 1800
    assert {"read", "align", "brain", "prepare", "predict"} <= set(report["seconds"])


def test_the_whole_tumour_is_found_in_raw_series_that_moved_against_each_other(demo):
    found = read_volume(demo / "result" / "segmentation.nii.gz")
    truth = onto_grid(read_volume(demo / "truth.nii.gz"), found.grid, "truth")
    assert dice(truth.voxels > 0, found.voxels > 0) >= 0.80


def test_the_whole_tumour_is_found_in_the_same_patient_registered_and_brain_only():
    study, truth = make_registered(0)
    found = segment(study, load_model(), registered=True).labels
    assert dice(truth.voxels > 0, found.voxels > 0) >= 0.85


def test_the_dicom_seg_holds_the_same_voxels_and_belongs_to_the_t1ce_series(demo):
    found = read_volume(demo / "result" / "segmentation.nii.gz")
    seg = pydicom.dcmread(demo / "result" / "segmentation.dcm")
    source = pydicom.dcmread(next((demo / "dicom" / "t1ce").iterdir()))
    assert seg.StudyInstanceUID == source.StudyInstanceUID
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert {segment.SegmentAlgorithmType for segment in seg.SegmentSequence} == {"AUTOMATIC"}
    back = read_dicom_seg(demo / "result" / "segmentation.dcm", found.grid, load_model().card.labels)
    assert (back.voxels == found.voxels).all()
