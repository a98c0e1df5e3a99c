"""The panel with a result: tables, parts, edits, comparison and exports."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_up import make_labels
from panel_case import finished

from BrainTumorSegLib.process import Outcome


def test_a_result_is_shown_with_volumes_flags_and_where_it_came_from(case):
    node = finished(case)
    assert case.ui.resultSelector.currentNode() is node
    assert not case.ui.resultCollapsibleButton.collapsed
    table = case.ui.volumesTableView.mrmlTableNode()
    assert [table.GetCellText(row, 2) for row in range(3)] == ["0.06", "0.003", "0.001"]
    assert table.GetUseColumnTitleAsColumnHeader()
    assert case.ui.volumesTableView.model().rowCount() == 6
    assert "T2 is missing" in case.shown("flagsLabel")
    assert "glioma 0.1.0 on CPU" in case.shown("provenanceLabel")
    assert "Not edited" in case.shown("provenanceLabel")
    assert [box.text for box in case.panel.result._boxes] == ["Necrosis", "Edema", "Enhancing Lesion"]
    assert "The last run used: CPU" in case.shown("deviceMessage")
    assert case.ui.compareFirstSelector.currentNode() is node


def test_parts_and_opacity_follow_the_panel(case):
    from BrainTumorSegLib.mrml_segmentation import shown_labels

    node = finished(case)
    case.ui.coreButton.click()
    assert shown_labels(node) == (1, 3)
    case.panel.result._boxes[1].click()
    assert shown_labels(node) == (1, 2, 3)
    case.ui.opacitySlider.value = 0.2
    assert node.GetDisplayNode().GetOpacity2DFill() == pytest.approx(0.2)


def test_after_editing_the_volumes_are_measured_anew_and_it_says_edited(case):
    import slicer

    node = finished(case)
    reference = node.GetNodeReference("referenceImageGeometryRef")
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Edema", reference)
    array[0, 0, :4] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, "Edema", reference)
    case.ui.recomputeButton.click()
    assert case.ui.volumesTableView.mrmlTableNode().GetCellText(0, 2) == "0.064"
    assert "edited" in case.shown("provenanceLabel")
    assert "Not edited" not in case.shown("provenanceLabel")


def test_an_edit_in_another_module_is_said_when_the_panel_is_opened_again(case):
    import slicer

    node = finished(case)
    case.ui.exportCollapsibleButton.collapsed = False
    case.widget.exit()
    node.GetSegmentation().RemoveSegment("Necrosis")
    case.widget.enter()
    assert "Not edited" not in case.shown("provenanceLabel")
    assert "The outlines were edited" in case.shown("provenanceLabel")
    assert "SEMIAUTOMATIC" in case.shown("preflightLabel")
    slicer.mrmlScene.RemoveNode(node)
    case.widget.exit()
    case.widget.enter()
    assert case.panel.result.segmentation is None


def test_the_table_goes_to_the_clipboard_and_to_a_file(case, tmp_path):
    import qt

    finished(case)
    case.ui.copyTableButton.click()
    assert "Whole tumour (WT)\tregion\t0.06" in qt.QApplication.clipboard().text()
    case.host.dialogs.expect_file(tmp_path / "table.csv")
    case.ui.saveTableButton.click()
    assert "Whole tumour (WT),region,0.06" in (tmp_path / "table.csv").read_text(encoding="utf-8")
    case.host.dialogs.expect_file(tmp_path / "no such folder" / "table.csv")
    case.ui.saveTableButton.click()
    assert "could not be read or written" in case.shown("resultMessage")


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


def test_closing_the_scene_with_a_result_empties_the_panel(case):
    finished(case)
    case.host.new_scene()
    assert case.ui.volumesTableView.mrmlTableNode() is None
    assert case.panel.result._boxes == []
    assert case.ui.resultCollapsibleButton.collapsed


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


def test_edit_opens_segment_editor_with_the_right_segment(case, monkeypatch):
    import types

    import slicer

    node = finished(case)
    told = {}
    editor = types.SimpleNamespace(setSegmentationNode=lambda one: told.update(node=one), setSourceVolumeNode=lambda one: told.update(volume=one),
                                   setCurrentSegmentID=lambda one: told.update(segment=one))
    widget = types.SimpleNamespace(self=lambda: types.SimpleNamespace(editor=editor))
    monkeypatch.setattr(slicer.modules, "segmenteditor", types.SimpleNamespace(widgetRepresentation=lambda: widget), raising=False)
    case.ui.editButton.click()
    assert case.host.selected_module == "SegmentEditor"
    assert told["node"] is node
    assert told["volume"].GetName() == "T1ce"
    assert told["segment"] == "Enhancing Lesion"


def test_the_report_is_opened_from_a_private_folder(case, monkeypatch):
    import qt

    opened = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(Path(url.toLocalFile())))
    finished(case)
    case.ui.showReportButton.click()
    assert opened[0].read_text(encoding="utf-8") == "<html>report</html>"


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


def test_json_of_a_long_report_survives_the_scene(case):
    """Attributes are written into the scene's XML: quotes, umlauts and semicolons must come back."""
    text = 'He said: "größer; 5 < 6"\n'
    node = finished(case, flags=[{"code": "x", "severity": "warning", "text": text}])
    assert json.loads(node.GetAttribute("BrainTumorSeg.Report"))["flags"][0]["text"] == text
