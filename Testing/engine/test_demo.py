"""The first thing a new user runs, whole: phantom, segmentation, DICOM-SEG, report."""

import json

import pydicom
import pytest

from braintumorseg.cli import main
from braintumorseg.io.dicom_seg import read_dicom_seg
from braintumorseg.io.readers import read_volume
from braintumorseg.metrics import dice
from braintumorseg.model_zoo import load_model


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    assert main(["demo", "--out", str(folder)]) == 0
    return folder


def test_the_demo_leaves_the_patient_and_every_result(demo):
    assert {path.name for path in (demo / "result").iterdir()} == {
        "overlay.png", "report.html", "report.json", "segmentation.dcm", "segmentation.nii.gz"}
    assert {path.name for path in (demo / "dicom").iterdir()} == {"t1", "t1ce", "t2", "flair"}
    assert json.loads((demo / "result" / "report.json").read_text(encoding="utf-8"))["model"]["name"] == "glioma"


def test_the_whole_tumour_is_found(demo):
    truth, found = read_volume(demo / "brain_only" / "truth.nii.gz"), read_volume(demo / "result" / "segmentation.nii.gz")
    assert found.grid.same_as(truth.grid)
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
