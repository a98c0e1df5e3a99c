"""The panel with a result: tables, parts, edits, and what the views show."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_up import make_labels, make_volume
from panel_case import finished


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
    from BrainTumorSegLib.mrml_display import shown_labels

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


def paint(node, voxels):
    """As Segment Editor does: `voxels` (an index of the (K, J, I) array) become oedema, or background again."""
    import slicer

    reference = node.GetNodeReference("referenceImageGeometryRef")
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Edema", reference)
    array[voxels] = 1 - array[voxels]
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, "Edema", reference)


def whole_tumour(case):
    return case.ui.volumesTableView.mrmlTableNode().GetCellText(0, 2)


def test_the_table_is_of_the_outlines_after_an_edit_and_after_its_undo(case):
    import qt

    node, four = finished(case), (0, 0, slice(0, 4))
    case.leave()
    paint(node, four)
    case.come_back()
    assert whole_tumour(case) == "0.064"
    assert "The outlines were edited" in case.shown("provenanceLabel")
    case.leave()
    paint(node, four)  # undone
    case.come_back()
    assert whole_tumour(case) == "0.06"
    assert "Not edited" in case.shown("provenanceLabel")
    paint(node, four)  # by a script, with the panel open
    case.ui.copyTableButton.click()
    assert "Whole tumour (WT)\tregion\t0.064" in qt.QApplication.clipboard().text()
    assert "The outlines were edited" in case.shown("provenanceLabel")


def test_a_table_that_was_deleted_is_made_anew_for_the_clipboard_and_the_file(case, tmp_path):
    import qt
    import slicer

    from BrainTumorSegLib.mrml_tables import table_of

    node = finished(case)
    slicer.mrmlScene.RemoveNode(table_of(node))
    case.leave()
    case.come_back()
    assert table_of(node) is None, "nobody asked for it"
    case.ui.copyTableButton.click()
    assert "Whole tumour (WT)\tregion\t0.06" in qt.QApplication.clipboard().text()
    slicer.mrmlScene.RemoveNode(table_of(node))
    case.host.dialogs.expect_file(tmp_path / "table.csv")
    case.ui.saveTableButton.click()
    assert "Whole tumour (WT),region,0.06" in (tmp_path / "table.csv").read_text(encoding="utf-8")


def test_the_boxes_follow_what_was_hidden_and_removed_in_another_module(case):
    from BrainTumorSegLib.mrml_display import shown_labels

    node = finished(case)
    case.leave()
    node.GetDisplayNode().SetSegmentVisibility("Edema", False)
    node.GetSegmentation().RemoveSegment("Necrosis")
    case.come_back()
    boxes = {box.text: box for box in case.panel.result._boxes}
    assert [(box.checked, box.enabled) for box in boxes.values()] == [(False, False), (False, True), (True, True)]
    case.ui.wholeTumourButton.click()
    assert [box.checked for box in boxes.values()] == [False, True, True]
    assert shown_labels(node) == (2, 3)
    case.leave()
    node.GetDisplayNode().SetVisibility(False)
    case.come_back()
    assert [box.checked for box in case.panel.result._boxes] == [False, False, False]
    case.ui.wholeTumourButton.click()
    assert node.GetDisplayNode().GetVisibility()


def visible(*nodes):
    return [bool(node.GetDisplayNode().GetVisibility()) for node in nodes]


def test_another_result_takes_the_place_of_the_one_before_and_choosing_that_brings_it_back(case):
    first = finished(case)
    second = finished(case)
    assert visible(first, second) == [False, True]
    case.ui.resultSelector.setCurrentNode(first)
    assert visible(first, second) == [True, False]
    assert [box.checked for box in case.panel.result._boxes] == [True] * 3


def test_a_result_that_comes_while_the_user_is_elsewhere_hides_the_one_before_when_they_are_back(case):
    first = finished(case)
    case.choose(t1ce=first.GetNodeReference("referenceImageGeometryRef"))
    case.press_segment()
    case.leave()
    case.finish(make_labels(), np.eye(4))
    second = case.panel.result.segmentation
    assert visible(first, second) == [True, True], "they may be painting on the first"
    case.come_back()
    assert visible(first, second) == [False, True]


def test_a_scene_is_shown_as_it_was_saved(case):
    first, second = finished(case), finished(case)
    first.GetDisplayNode().SetVisibility(True)  # both, on purpose
    case.widget._drop_parameters()
    case.widget._use_parameters()
    assert case.panel.result.segmentation is second
    assert visible(first, second) == [True, True]


def test_the_slices_go_to_a_new_result_but_not_under_the_hands_of_a_user_who_is_elsewhere(case):
    import slicer

    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    view.SetOrientation("Axial")
    backgrounds = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")

    def seen():
        return backgrounds.GetBackgroundVolumeID(), [view.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]

    before = seen()
    reference = make_volume(name="T1ce")
    case.choose(t1ce=reference)
    case.press_segment()
    case.leave()
    case.finish(make_labels(), np.eye(4))
    assert case.panel.result.segmentation is not None
    assert seen() == before
    case.come_back()
    case.ui.centreButton.click()
    assert seen() == (before[0], [4, 5, 4])
    view.GetSliceToRAS().SetElement(0, 3, -50)
    node = finished(case)
    assert seen() == (node.GetNodeReference("referenceImageGeometryRef").GetID(), [4, 5, 4])


def test_closing_the_scene_with_a_result_empties_the_panel(case):
    finished(case)
    case.host.new_scene()
    assert case.ui.volumesTableView.mrmlTableNode() is None
    assert case.panel.result._boxes == []
    assert case.ui.resultCollapsibleButton.collapsed


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


def test_json_of_a_long_report_survives_the_scene(case):
    """Attributes are written into the scene's XML: quotes, umlauts and semicolons must come back."""
    text = 'He said: "größer; 5 < 6"\n'
    node = finished(case, flags=[{"code": "x", "severity": "warning", "text": text}])
    assert json.loads(node.GetAttribute("BrainTumorSeg.Report"))["flags"][0]["text"] == text
