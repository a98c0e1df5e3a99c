"""The DICOM results of a run: which files, which numbers, and what happens when the series cannot carry them."""

import errno
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from braintumorseg.dicom_results import write_dicom_results
from braintumorseg.errors import Cancelled, OutputError
from braintumorseg.io.dicom import read_stack, scan_dicom
from braintumorseg.io.dicom_grid import onto_grid
from braintumorseg.io.dicom_source import source_of_stack, source_series
from braintumorseg.measure import measure
from braintumorseg.model_zoo import load_model
from braintumorseg.quality import Flag
from braintumorseg.results import write_results
from braintumorseg.segmentation import Provenance, Segmentation
from braintumorseg.study import Study
from dicom_oracles import by_dcmqi, no_dciodvfy_error
from seg_toys import TABLE, image_of, mr_series, tumour


@pytest.fixture
def run():
    source = mr_series()
    labels = tumour(source)
    segmentation = Segmentation(labels, TABLE, Provenance("toy", "1.2", "ab" * 32, "CPUExecutionProvider", reference="t1ce"))
    image = image_of(source, labels.affine)
    return SimpleNamespace(source=source, segmentation=segmentation, study=Study({"t1ce": image}, {"t1ce": "made up"}), image=image)


def test_only_what_was_asked_for_is_written(run, tmp_path):
    (tmp_path / "a").mkdir()
    write_dicom_results(run.segmentation, measure(run.segmentation), run.source, tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["segmentation.dcm"]
    (tmp_path / "b").mkdir()
    found = write_dicom_results(run.segmentation, measure(run.segmentation), source_series(run.source), tmp_path / "b", sr=True, sc=True,
                                reference_volume=run.image)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["measurements.dcm", "overlay", "segmentation.dcm"]
    how = pydicom.dcmread(tmp_path / "b" / "segmentation.dcm").SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (how.AlgorithmName, how.AlgorithmVersion) == ("BrainTumorSeg toy", "1.2")
    told = found.to_json("s.dcm", "r.dcm", "c")
    assert json.loads(json.dumps(told)) == told
    assert [one["name"] for one in told["seg"]["segments"]] == ["NCR", "ET"]
    assert told["seg"]["left_out"] == ["ED"]
    assert told["sc"] == {"path": "c", "series_uid": found.sc.series_uid, "files": 7}


def test_the_objects_are_of_one_study_and_each_of_a_series_of_its_own(run, tmp_path):
    write_dicom_results(run.segmentation, measure(run.segmentation), run.source, tmp_path, sr=True, sc=True, reference_volume=run.image)
    objects = [pydicom.dcmread(path) for path in tmp_path.rglob("*.dcm")]
    assert {one.StudyInstanceUID for one in objects} == {run.source[0].StudyInstanceUID}
    assert {one.PatientName for one in objects} == {run.source[0].PatientName}
    series = {(one.SeriesInstanceUID, one.SeriesNumber, one.Modality) for one in objects}
    assert sorted((number, modality) for _, number, modality in series) == [(1004, "SEG"), (2004, "SR"), (3004, "OT")]


def test_with_nothing_found_there_is_a_report_alone(run, tmp_path):
    empty = Segmentation(run.segmentation.labels.with_voxels(np.zeros_like(run.segmentation.labels.voxels)), TABLE, run.segmentation.provenance)
    found = write_dicom_results(empty, measure(empty), run.source, tmp_path, sr=True, sc=True, reference_volume=run.image)
    assert [path.name for path in tmp_path.iterdir()] == ["measurements.dcm"]
    told = found.to_json("s.dcm", "r.dcm", "c")
    assert (told["seg"]["path"], told["sc"]["path"], told["sr"]["long_axis_mm"]) == (None, None, None)


def test_a_run_writes_them_beside_its_other_results(run, tmp_path):
    report = write_results(run.study, run.segmentation, load_model().card, tmp_path / "out", dicom_source=run.source, sr=True, sc=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "measurements.dcm", "overlay", "overlay.png", "report.html", "report.json", "segmentation.dcm", "segmentation.nii.gz"]
    assert "no_dicom_result" not in {flag["code"] for flag in report["flags"]}


def texts_of(sr):
    """All that a structured report says in words."""
    return {element.value for element in pydicom.dcmread(sr).iterall() if element.keyword == "TextValue"}


def test_a_runs_warnings_reach_every_one_of_them(run, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("braintumorseg.io.dicom_sc._warned", lambda warnings, *_: drawn.append(tuple(warnings)) or [])
    alone = replace(run.segmentation, provenance=replace(run.segmentation.provenance, missing=("t1", "t2", "flair")))
    report = write_results(run.study, alone, load_model().card, tmp_path / "out", dicom_source=run.source, sr=True, sc=True)
    warnings = tuple(flag["text"] for flag in report["flags"] if flag["severity"] == "warning")
    assert any("FLAIR is missing" in text for text in warnings)
    seg = pydicom.dcmread(tmp_path / "out" / "segmentation.dcm")
    assert seg.ContentDescription == f"Brain tumour parts; {len(warnings)} warnings: see report; research use only"
    assert set(drawn) == {warnings}
    assert set(warnings) <= texts_of(tmp_path / "out" / "measurements.dcm")


def test_what_is_estimated_without_t1ce_is_so_in_every_one_of_them(run, tmp_path):
    guessed = replace(run.segmentation, provenance=replace(run.segmentation.provenance, missing=("t1ce",)))
    found = write_dicom_results(guessed, measure(guessed), run.source, tmp_path, sr=True, sc=True, reference_volume=run.image,
                                flags=[Flag("missing_sequence", "warning", "T1ce is missing.")])
    assert all("without T1" in item.SegmentDescription for item in pydicom.dcmread(found.seg.path).SegmentSequence)
    assert "T1ce is missing." in texts_of(found.sr.path)
    for path in (found.seg.path, found.sr.path, found.sc.paths[0]):
        assert no_dciodvfy_error(path)


def test_a_series_that_cannot_carry_them_costs_the_dicom_results_and_a_flag_says_why(run, tmp_path):
    for one in run.source:
        del one.FrameOfReferenceUID
    report = write_results(run.study, run.segmentation, load_model().card, tmp_path / "out", dicom_source=run.source, sr=True, sc=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["overlay.png", "report.html", "report.json", "segmentation.nii.gz"]
    flag, = [flag for flag in report["flags"] if flag["code"] == "no_dicom_result"]
    assert "no FrameOfReferenceUID" in flag["text"]
    assert "Phantom" not in json.dumps(report)


def test_a_header_that_nobody_foresaw_costs_the_dicom_results_and_a_flag_names_the_kind_of_error(run, tmp_path):
    for one in run.source:
        one.SOPClassUID = "1.3.46.670589.11.0.0.12.1"  # a maker's own: highdicom does not know what it holds
    report = write_results(run.study, run.segmentation, load_model().card, tmp_path / "out", dicom_source=run.source, sr=True, sc=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["overlay.png", "report.html", "report.json", "segmentation.nii.gz"]
    flag, = [flag for flag in report["flags"] if flag["code"] == "no_dicom_result"]
    assert "KeyError" in flag["text"] and "1.3.46" not in flag["text"]
    with pytest.raises(OutputError, match="KeyError"):
        write_dicom_results(run.segmentation, measure(run.segmentation), run.source, tmp_path)


def test_a_stop_by_the_user_and_a_full_disk_stop_the_whole_run(run, tmp_path, monkeypatch):
    for error, raised in ((Cancelled("stopped"), Cancelled), (OSError(errno.ENOSPC, "full"), OutputError)):
        def stop(*_, error=error, **__):
            raise error

        monkeypatch.setattr("braintumorseg.dicom_results.write_dicom_seg", stop)
        with pytest.raises(raised):
            write_results(run.study, run.segmentation, load_model().card, tmp_path / "out", dicom_source=run.source)
        assert not (tmp_path / "out").exists()


def test_on_a_real_scanners_series_dciodvfy_finds_no_error_in_any_of_them(data_folder, tmp_path):
    stack, = scan_dicom([data_folder / "dicom" / "VS-SEG-001_T1ce_12slices"]).stacks
    image = read_stack(stack)
    voxels = np.zeros(image.shape, np.uint8)
    voxels[200:240, 260:300, 3:9] = 2
    voxels[210:230, 270:290, 4:7] = 3
    segmentation = Segmentation(image.with_voxels(voxels), load_model().card.labels, Provenance("toy", "1.2", "ab" * 32, ""))
    found = write_dicom_results(segmentation, measure(segmentation), source_of_stack(stack), tmp_path, sr=True, sc=True, reference_volume=image)
    for path in (found.seg.path, found.sr.path, found.sc.paths[0]):
        assert no_dciodvfy_error(path)
    mask = onto_grid(by_dcmqi(found.seg.path, tmp_path)[2], image.grid, "ET", part=True)
    np.testing.assert_array_equal(mask.voxels > 0, voxels == 3)
    assert found.sr.diameters.long.mm == pytest.approx(np.hypot(20, 19) * image.spacing_mm[0])   # from edge to edge of the pixels, not corners
