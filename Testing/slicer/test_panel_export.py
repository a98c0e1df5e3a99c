"""The panel's ways out of a result: comparison and exports, and what is said of them."""

import numpy as np
from made_up import make_labels
from panel_case import finished
from test_mrml_outlines import add

from BrainTumorSegLib.process import Outcome


def test_two_segmentations_are_compared_with_two_clicks(case):
    first = finished(case)
    second = finished(case)
    assert first is not second
    assert case.ui.compareButton.enabled
    case.ui.compareButton.click()
    table = case.ui.comparisonTableView.mrmlTableNode()
    assert table.GetCellText(0, 4) == "1"
    assert table.GetColumnName(1) != table.GetColumnName(2)


def test_one_segmentation_is_not_compared_with_itself(case):
    node = finished(case)
    case.ui.compareSecondSelector.setCurrentNode(node)
    assert not case.ui.compareButton.enabled


def test_the_export_list_says_why_dicom_is_not_possible(case):
    finished(case)
    case.ui.exportCollapsibleButton.collapsed = False
    assert "not loaded from Slicer's DICOM database" in case.shown("preflightLabel")
    assert "AUTOMATIC" in case.shown("preflightLabel")
    assert not case.ui.exportDicomButton.enabled
    assert case.ui.exportNiftiButton.enabled


def test_nifti_and_seg_nrrd_are_saved(case, tmp_path):
    import nibabel

    finished(case)
    case.ui.exportCollapsibleButton.collapsed = False
    case.host.dialogs.expect_file(tmp_path / "tumour")
    case.ui.exportNiftiButton.click()
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / "tumour.nii.gz").dataobj), make_labels().T)
    case.host.dialogs.expect_file(tmp_path / "tumour.seg.nrrd")
    case.ui.exportNrrdButton.click()
    assert b"Enhancing Lesion" in (tmp_path / "tumour.seg.nrrd").read_bytes()[:20000]
    assert "Saved tumour.seg.nrrd" in case.shown("exportMessage")
    case.host.dialogs.expect_file("")  # the user closes the dialog
    case.ui.exportNiftiButton.click()


def test_a_failed_export_has_a_report_without_the_files_name(case, tmp_path):
    import qt

    finished(case)
    case.ui.exportCollapsibleButton.collapsed = False
    case.host.dialogs.expect_file(tmp_path / "no such folder" / "DOE.seg.nrrd")
    case.ui.exportNrrdButton.click()
    case.ui.copyExportErrorButton.click()
    report = qt.QApplication.clipboard().text()
    assert "FileError" in report
    assert "DOE" not in report
    case.host.dialogs.expect_file(tmp_path / "tumour.nii.gz")
    case.ui.exportNiftiButton.click()
    assert case.ui.copyExportErrorButton.isHidden()


def test_a_dicom_export_that_the_engine_fails_has_a_report(case):
    import qt

    case.panel.export._exported(Outcome(error_kind="NotReady", what="DOE JOHN was not loaded from DICOM."), None)
    assert case.ui.copyExportErrorButton.isHidden(), "nothing broke"
    case.panel.export._exported(Outcome(error_kind="EngineFailed", what="x", stderr="Traceback"), None)
    case.ui.copyExportErrorButton.click()
    assert "Traceback" in qt.QApplication.clipboard().text()


def test_measurements_are_written_where_the_box_is_ticked_and_told(case, monkeypatch):
    from BrainTumorSegLib.export import Exported

    asked = []
    finished(case)
    monkeypatch.setattr(case.panel.export._logic, "export_dicom", lambda *what, sr: asked.append(sr))
    for ticked in (False, True):
        case.ui.exportMeasurementsCheckBox.checked = ticked
        case.panel.export._export_dicom(None)
    assert asked == [False, True]
    case.panel.export._exported(Outcome(), Exported((), True, 3, measured=True))
    assert "Wrote 3 segments and their measurements." in case.shown("exportMessage")


def test_what_is_not_in_the_file_is_said_when_it_is_saved(case, tmp_path):
    from BrainTumorSegLib.export import Exported

    node = finished(case)
    add(node, "New lesion", (0, 0, slice(0, 4)))
    case.ui.exportCollapsibleButton.collapsed = False
    assert "Not exported, for the model's table has no code for them: New lesion" in case.shown("preflightLabel")
    assert "SEMIAUTOMATIC" in case.shown("preflightLabel")
    case.host.dialogs.expect_file(tmp_path / "tumour.nii.gz")
    case.ui.exportNiftiButton.click()
    assert "Saved tumour.nii.gz. Not in it, for they are none of the network's labels: New lesion." in case.shown("exportMessage")
    case.host.dialogs.expect_file(tmp_path / "tumour.seg.nrrd")
    case.ui.exportNrrdButton.click()
    assert case.shown("exportMessage") == "Saved tumour.seg.nrrd.", "it holds every segment"
    exported = Exported((), True, 3)
    case.panel.export._exported(Outcome(), exported)
    assert "Not in it, for they are none of the network's labels: New lesion." in case.shown("exportMessage")
