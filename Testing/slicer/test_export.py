"""From a result to DICOM, through the engine's own verb and into the database; the list before it; the plain formats."""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from made_up import make_labels, make_report, make_volume

from dicom_toys import NAME, oblique, save, slices_of_volume, toy_volume

MODULE = Path(__file__).resolve().parents[2] / "BrainTumorSeg"


class RealEngine:
    chosen = True

    def state(self):
        from BrainTumorSegLib.install import State

        return State("ready", "Ready")

    def command(self):
        return [sys.executable, "-m", "braintumorseg"]

    def environment(self):
        return {**os.environ, "PYTHONPATH": str(MODULE)}


@pytest.fixture
def reference(host, tmp_path, monkeypatch):
    """A volume node of a DICOM series in the database, its slices the other way round than the engine would stack them."""
    import slicer
    from DICOMLib import DICOMUtils

    (tmp_path / "private").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "private"))
    series = toy_volume((12, 14, 10), (0.9, 1.1, 2.5), oblique())
    files = save(slices_of_volume(series), tmp_path / "dicom")
    slicer.dicomDatabase._clear()
    DICOMUtils.importDicom(str(tmp_path / "dicom"))
    affine = series.affine.copy()
    affine[:3, 3] += affine[:3, 2] * 9
    affine[:3, 2] *= -1
    node = make_volume(affine, (12, 14, 10), "T1ce")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(slicer.dicomDatabase.instanceForFile(str(file)) for file in files))
    yield node
    slicer.dicomDatabase._clear()
    assert list((tmp_path / "private").glob("braintumorseg-*")) == []


def make_result(reference, labels=None):
    from BrainTumorSegLib.mrml_segmentation import make_segmentation
    from BrainTumorSegLib.mrml_volumes import placed

    labels = make_labels() if labels is None else labels
    with placed(reference) as (_, placement):
        return make_segmentation(labels, placement, make_report(labels, 0.001), reference, "Tumour")


def export(host, result, path=None, sr=False):
    from BrainTumorSegLib.logic import Logic

    ended = []
    Logic(RealEngine()).export_dicom(result, path, lambda *what: ended.append(what), sr=sr)
    assert host.spin(until=lambda: bool(ended), seconds=120)
    return ended[0]


def test_a_series_in_the_database_is_recognised_by_its_files(reference):
    from BrainTumorSegLib import dicom

    assert len(dicom.files_of(reference)) == 10
    facts = dicom.facts_of(reference)
    assert facts.modality == "MR"
    assert facts.series_uid == dicom.series_uid_of(reference) != ""
    patient, study = dicom.identity_of(reference)
    assert patient
    assert study
    assert dicom.files_of(make_volume()) == []
    assert dicom.facts_of(make_volume()) is None
    assert dicom.identity_of(make_volume()) == ("", "")


def test_the_list_is_all_ticks_for_a_result_on_a_series_of_the_database(reference):
    from BrainTumorSegLib.export import preflight

    checks = preflight(make_result(reference))
    assert [check.ok for check in checks] == [True, True, True, None]
    assert "10 files" in checks[0].text
    assert not any("Ada" in check.text for check in checks)


def test_the_list_says_what_is_missing(reference):
    import slicer

    from BrainTumorSegLib.export import preflight

    result = make_result(reference)
    slicer.dicomDatabase._clear()
    assert any(check.ok is False and "Import them again" in check.text for check in preflight(result))
    assert any(check.ok is False and "empty" in check.text for check in preflight(make_result(reference, np.zeros((10, 14, 12), np.uint8))))
    result.GetSegmentation().AddEmptySegment("Cavity", "Cavity")
    assert any(check.ok is None and "Cavity" in check.text for check in preflight(result))
    foreign = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert [check.ok for check in preflight(foreign)] == [False]
    slicer.mrmlScene.RemoveNode(reference)
    assert any(check.ok is False and "no longer in the scene" in check.text for check in preflight(result))


def test_dicom_goes_through_the_engine_into_the_database_and_comes_back(host, reference, tmp_path):
    """highdicom reads what was written: every labelled voxel is where it was in the world."""
    import highdicom
    import slicer

    from BrainTumorSegLib import dicom

    outcome, exported = export(host, make_result(reference), tmp_path / "copy.dcm")
    assert outcome.ok, outcome
    assert exported.stored
    assert exported.segments == 3
    assert exported.paths == (tmp_path / "copy.dcm",)
    assert not exported.measured
    seg = highdicom.seg.segread(tmp_path / "copy.dcm")
    assert {one.SegmentAlgorithmType for one in seg.SegmentSequence} == {"AUTOMATIC"}
    assert slicer.dicomDatabase.fileForInstance(str(seg.SOPInstanceUID)) not in ("", str(tmp_path / "copy.dcm"))
    assert str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID) == dicom.series_uid_of(reference)
    found = seg.get_volume(combine_segments=True)
    world = np.diag([-1.0, -1, 1, 1]) @ found.affine
    places = np.argwhere(found.array > 0)
    ijk = np.linalg.inv(dicom_affine(reference)) @ world @ np.c_[places, np.ones(len(places))].T
    i, j, k = np.rint(ijk[:3]).astype(int)
    assert len(places) == 60
    assert np.array_equal(make_labels()[k, j, i], found.array[tuple(places.T)])


def test_measurements_go_with_it_as_a_report_that_refers_to_the_segmentation(host, reference, tmp_path):
    import pydicom
    import slicer

    outcome, exported = export(host, make_result(reference), tmp_path / "copy.dcm", sr=True)
    assert outcome.ok, outcome
    assert exported.stored
    assert exported.measured
    assert exported.paths == (tmp_path / "copy.dcm", tmp_path / "copy_measurements.dcm")
    seg, sr = (pydicom.dcmread(path) for path in exported.paths)
    assert sr.Modality == "SR"
    assert seg.SOPInstanceUID in {item.ReferencedSOPInstanceUID for study in sr.CurrentRequestedProcedureEvidenceSequence
                                  for series in study.ReferencedSeriesSequence for item in series.ReferencedSOPSequence}
    for one in (seg, sr):
        assert slicer.dicomDatabase.fileForInstance(str(one.SOPInstanceUID)) != ""
    _, exported = export(host, make_result(reference), sr=True)
    assert exported.measured
    assert exported.paths == ()


def dicom_affine(node):
    from BrainTumorSegLib.mrml_volumes import local_matrix

    return local_matrix(node)


def test_after_editing_it_says_semiautomatic(host, reference, tmp_path):
    import pydicom
    import slicer

    result = make_result(reference)
    array = slicer.util.arrayFromSegmentBinaryLabelmap(result, "Edema", reference)
    array[0, 0, 0] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, result, "Edema", reference)
    outcome, _ = export(host, result, tmp_path / "edited.dcm")
    assert outcome.ok, outcome
    assert {one.SegmentAlgorithmType for one in pydicom.dcmread(tmp_path / "edited.dcm").SegmentSequence} == {"SEMIAUTOMATIC"}


def test_a_moved_volume_is_exported_where_its_series_lies(host, reference, tmp_path):
    import highdicom
    from made_up import affine_of, make_transform

    reference.SetAndObserveTransformNodeID(make_transform(affine_of(degrees=(0, 0, 30), origin=(50, 0, 0))).GetID())
    outcome, _ = export(host, make_result(reference), tmp_path / "moved.dcm")
    assert outcome.ok, outcome
    assert (highdicom.seg.segread(tmp_path / "moved.dcm").get_volume(combine_segments=True).array > 0).sum() == 60


def test_a_deformed_volume_is_named_as_the_reason_and_nothing_is_written(host, reference):
    from made_up import make_deformation

    from BrainTumorSegLib.mrml_segmentation import make_segmentation, reference_of
    from BrainTumorSegLib.mrml_volumes import placed

    reference.SetAndObserveTransformNodeID(make_deformation(1.0).GetID())
    with placed(reference) as (_, placement):
        labels = np.ones(placement.size[::-1], np.uint8)
        result = make_segmentation(labels, placement, make_report(labels, 0.001), reference, "Tumour")
    assert reference_of(result) is reference
    outcome, exported = export(host, result)
    assert exported is None
    assert outcome.error_kind == "NotReady"
    assert "T1ce lay under a deforming transform" in outcome.what
    assert "no longer in the scene" not in outcome.what


def test_a_result_whose_volume_was_moved_during_the_run_is_exported_where_its_series_lies(host, reference, tmp_path):
    import nibabel
    from made_up import affine_of, make_transform

    from BrainTumorSegLib.export import write_nifti
    from BrainTumorSegLib.mrml_segmentation import make_segmentation
    from BrainTumorSegLib.mrml_volumes import placed, placement_now

    with placed(reference) as (_, placement):
        pass
    reference.SetAndObserveTransformNodeID(make_transform(affine_of(origin=(30, 0, 0))).GetID())
    result = make_segmentation(make_labels(), placement_now(reference, placement), make_report(make_labels(), 0.001), reference, "Tumour")
    write_nifti(result, tmp_path / "labels.nii.gz")
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / "labels.nii.gz").dataobj), make_labels().T)
    outcome, _ = export(host, result, tmp_path / "moved.dcm")
    assert outcome.ok, outcome


def test_what_is_not_ready_is_not_started(host, reference):
    outcome, exported = export(host, make_result(reference, np.zeros((10, 14, 12), np.uint8)))
    assert exported is None
    assert outcome.error_kind == "NotReady"
    assert "empty" in outcome.what


def test_a_folder_that_takes_nothing_is_said(host, reference, tmp_path):
    outcome, exported = export(host, make_result(reference), tmp_path / "no such folder" / "seg.dcm")
    assert exported is None
    assert outcome.error_kind == "FileError"
    assert NAME.split("^")[0] not in outcome.what


def test_nifti_lies_on_the_reference_and_a_failed_write_leaves_nothing(host, reference, tmp_path):
    import nibabel

    from BrainTumorSegLib.export import write_nifti

    write_nifti(make_result(reference), tmp_path / "labels.nii.gz")
    image = nibabel.load(tmp_path / "labels.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), make_labels().T)
    assert np.abs(image.affine - dicom_affine(reference)).max() < 1e-5
    with pytest.raises(OSError):
        write_nifti(make_result(reference), tmp_path / "nowhere" / "labels.nii.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dicom", "labels.nii.gz", "private"]


def harden(node, affine):
    """As a transform that is hardened onto a volume leaves it: the link to its DICOM files stays."""
    from made_up import make_transform

    node.SetAndObserveTransformNodeID(make_transform(affine).GetID())
    node.HardenTransform()
    assert node.GetAttribute("DICOM.instanceUIDs")


def test_a_volume_that_was_moved_for_good_is_told_before_the_export_with_how_far(host, reference):
    from made_up import affine_of

    from BrainTumorSegLib.export import preflight

    harden(reference, affine_of(origin=(0, 3, 4)))
    moved = preflight(make_result(reference))[0]
    assert moved.ok is False
    assert "T1ce was moved or resampled after it was loaded" in moved.text
    assert "lies up to 5.0 mm away" in moved.text
    assert "Load the series again" in moved.text
    outcome, exported = export(host, make_result(reference))
    assert exported is None
    assert outcome.error_kind == "NotReady"
    harden(reference, affine_of(origin=(0, -3, -4)))
    assert preflight(make_result(reference))[0].ok, "back where it was"


@pytest.mark.parametrize("slices", [slice(0, 7), slice(0, 10, 2)], ids=["cropped", "resampled"])
def test_a_volume_that_was_cropped_or_resampled_is_told_before_the_export(reference, slices):
    import slicer

    from BrainTumorSegLib.export import preflight

    voxels = slicer.util.arrayFromVolume(reference)[slices].copy()
    slicer.util.updateVolumeFromArray(reference, voxels)
    check = preflight(make_result(reference, np.ones(voxels.shape, np.uint8)))[0]
    assert check.ok is False
    assert f"cropped or resampled after it was loaded (12 x 14 x {len(voxels)} voxels; its series has 12 x 14 x 10)" in check.text


def test_a_series_whose_headers_say_no_place_is_left_to_the_engine(reference, tmp_path):
    from BrainTumorSegLib import dicom
    from BrainTumorSegLib.dicom_place import departure

    for number in range(10):
        (tmp_path / f"{number}.dcm").write_bytes(b"no header")
    files = [tmp_path / f"{number}.dcm" for number in range(10)]
    assert departure(reference, files) == ""
    assert departure(reference, dicom.files_of(reference)[::-1]) == ""


def test_what_the_engine_says_of_two_grids_ends_with_what_can_be_done_in_slicer(host, reference, monkeypatch):
    from made_up import affine_of

    from BrainTumorSegLib import export as module

    harden(reference, affine_of(degrees=(0, 0, 3), origin=(0, 0, 7)))
    monkeypatch.setattr(module, "departure", lambda volume, files: "")
    outcome, exported = export(host, make_result(reference))
    assert exported is None
    assert "mm apart" in outcome.what, outcome
    assert "--" not in outcome.what + outcome.fix
    assert "Load the series again" in outcome.fix


def test_a_piece_that_was_split_off_is_in_the_files_and_a_copy_of_a_result_can_be_exported(host, reference, tmp_path):
    import nibabel
    import pydicom
    from test_mrml_outlines import add, edit
    from test_mrml_segmentation import clone

    from BrainTumorSegLib.export import write_nifti
    from BrainTumorSegLib.mrml_segmentation import reference_of

    copy = clone(make_result(reference))
    assert reference_of(copy) is reference
    edit(copy, "Edema", lambda array: array.__setitem__((5, slice(4, 8), slice(2, 7)), 0))
    add(copy, "Edema_2", (5, slice(4, 8), slice(2, 7)))
    write_nifti(copy, tmp_path / "labels.nii.gz")
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / "labels.nii.gz").dataobj), make_labels().T)
    outcome, exported = export(host, copy, tmp_path / "copy.dcm")
    assert outcome.ok, outcome
    assert exported.segments == 3
    assert {one.SegmentAlgorithmType for one in pydicom.dcmread(tmp_path / "copy.dcm").SegmentSequence} == {"SEMIAUTOMATIC"}
