"""The panel with a result: tables, parts, edits, and what the views show."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_up import make_labels, make_volume
from panel_case import finished
from test_mrml_outlines import add
from test_mrml_segmentation import clone


def test_a_result_is_shown_with_volumes_flags_and_where_it_came_from(case):
    node = finished(case)
    assert case.ui.resultSelector.currentNode() is node
    assert not case.ui.resultCollapsibleButton.collapsed
    table = case.ui.volumesTableView.mrmlTableNode()
    assert [table.GetCellText(row, 2) for row in range(3)] == ["0.06", "0", "0"]
    assert table.GetUseColumnTitleAsColumnHeader()
    assert case.ui.volumesTableView.model().rowCount() == 6
    assert [case.ui.volumesTableView.isColumnHidden(column) for column in range(3)] == [False, True, False]
    assert "T2 is missing" in case.shown("flagsLabel")
    assert "glioma 0.1.0 on CPU" in case.shown("provenanceLabel")
    assert "Not edited" in case.shown("provenanceLabel")
    assert [box.text for box in case.panel.result._boxes] == ["Necrosis", "Edema", "Enhancing Lesion"]
    assert "The last run used: CPU" in case.shown("deviceMessage")
    assert case.ui.compareFirstSelector.currentNode() is node


def test_long_names_leave_the_volumes_in_sight(case, monkeypatch):
    monkeypatch.setattr("BrainTumorSegLib.panel_result._WIDEST_NAME", 40)
    finished(case)
    assert case.ui.volumesTableView.columnWidth(0) == 40


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
    array[0, 0:4, 0:10] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, "Edema", reference)
    case.ui.recomputeButton.click()
    assert case.ui.volumesTableView.mrmlTableNode().GetCellText(0, 2) == "0.1"
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

    node, forty = finished(case), (0, slice(0, 4), slice(0, 10))
    case.leave()
    paint(node, forty)
    case.come_back()
    assert whole_tumour(case) == "0.1"
    assert "The outlines were edited" in case.shown("provenanceLabel")
    case.leave()
    paint(node, forty)  # undone
    case.come_back()
    assert whole_tumour(case) == "0.06"
    assert "Not edited" in case.shown("provenanceLabel")
    paint(node, forty)  # by a script, with the panel open
    case.ui.copyTableButton.click()
    assert "Whole tumour (WT)\tregion\t0.1" in qt.QApplication.clipboard().text()
    assert "The outlines were edited" in case.shown("provenanceLabel")


def test_a_table_that_was_deleted_is_made_anew_for_the_panel_the_clipboard_and_the_file(case, tmp_path):
    import qt
    import slicer

    from BrainTumorSegLib.mrml_tables import table_of

    node = finished(case)
    slicer.mrmlScene.RemoveNode(table_of(node))
    case.leave()
    case.come_back()
    assert whole_tumour(case) == "0.06"
    slicer.mrmlScene.RemoveNode(table_of(node))
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


def test_a_lesion_that_a_person_adds_has_a_row_of_its_own_and_is_said_not_to_count(case):
    node = finished(case, enhancing_mm={"long": 3.0, "short": 1.0}, enhancing_lesions_mm=[], sum_of_products_mm2=0)
    assert "RANO: no measurable lesion; the largest 3 x 1 mm" in case.shown("provenanceLabel")
    assert case.shown("othersMessage") == ""
    case.leave()
    add(node, "New lesion", (0, slice(0, 4), slice(0, 10)))
    case.come_back()
    table = case.ui.volumesTableView.mrmlTableNode()
    assert [table.GetCellText(6, column) for column in range(4)] == ["New lesion", "other", "0.04", "not counted in WT, TC and ET"]
    assert whole_tumour(case) == "0.06"
    assert table.GetCellText(2, 3) == "", "the diameters were those of the outlines before"
    assert "RANO" not in case.shown("provenanceLabel")
    assert "The outlines were edited" in case.shown("provenanceLabel")
    assert "New lesion" in case.shown("othersMessage")
    assert "Enhancing Lesion_2" in case.shown("othersMessage")
    segment = node.GetSegmentation().GetSegment(node.GetSegmentation().GetSegmentIDs()[-1])
    segment.SetName("Enhancing Lesion_2")
    case.ui.recomputeButton.click()
    assert whole_tumour(case) == "0.1"
    assert case.shown("othersMessage") == ""


def test_what_was_said_of_the_networks_outlines_is_said_to_be_about_them_after_an_edit(case, monkeypatch):
    import qt

    from BrainTumorSegLib.mrml_report import report_page_node

    opened = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(Path(url.toLocalFile()).read_text(encoding="utf-8")))
    node = finished(case)
    assert "edited" not in case.shown("flagsLabel")
    case.leave()
    paint(node, (0, slice(0, 4), slice(0, 10)))
    add(node, "New lesion", (9, slice(0, 4), slice(0, 10)))
    case.come_back()
    assert case.shown("flagsLabel").index("The outlines were edited since") < case.shown("flagsLabel").index("T2 is missing")
    report_page_node(node).SetText("<html><body class='x'><h1>Report</h1></body></html>")
    case.ui.showReportButton.click()
    assert opened[0].index("<body class='x'><p role=") < opened[0].index("The outlines were edited after this report was made") \
        < opened[0].index("Whole tumour (WT) 0.1 ml") < opened[0].index("New lesion 0.04 ml (not counted") < opened[0].index("<h1>Report")
    paint(node, (0, slice(0, 4), slice(0, 10)))
    node.GetSegmentation().RemoveSegment(node.GetSegmentation().GetSegmentIDs()[-1])
    case.ui.showReportButton.click()
    assert "edited" not in opened[1]


def test_a_copy_of_a_result_is_a_result(case, monkeypatch):
    import qt

    from BrainTumorSegLib.mrml_tables import table_of

    opened = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(Path(url.toLocalFile()).read_text(encoding="utf-8")))
    first = finished(case)
    copy = clone(first)
    case.ui.resultSelector.setCurrentNode(copy)
    assert whole_tumour(case) == "0.06"
    assert case.ui.volumesTableView.mrmlTableNode() is not table_of(first)
    case.ui.exportCollapsibleButton.collapsed = False
    assert "no longer in the scene" not in case.shown("preflightLabel")
    case.ui.showReportButton.click()
    assert opened == ["<html>report</html>"]
    paint(copy, (0, slice(0, 4), slice(0, 10)))
    case.ui.recomputeButton.click()
    case.ui.resultSelector.setCurrentNode(first)
    assert whole_tumour(case) == "0.06"
    assert "Not edited" in case.shown("provenanceLabel")


def left():
    import slicer

    return [node.GetName() for kind in ("vtkMRMLTableNode", "vtkMRMLTextNode") for node in slicer.util.getNodesByClass(kind)]


def test_a_result_that_is_deleted_takes_its_table_and_report_along_once_no_copy_needs_them(case):
    import slicer

    first, other = finished(case), finished(case)
    copy = clone(first)
    case.ui.resultSelector.setCurrentNode(other)
    slicer.mrmlScene.RemoveNode(first)
    assert sorted(left()) == ["T1ce tumour report", "T1ce tumour_1 report", "T1ce tumour_1 volumes"]
    case.ui.resultSelector.setCurrentNode(copy)
    assert "my copy volumes" in left()
    slicer.mrmlScene.RemoveNode(copy)
    assert left() == ["T1ce tumour_1 volumes", "T1ce tumour_1 report"]
    slicer.mrmlScene.StartState(slicer.mrmlScene.BatchProcessState)
    slicer.mrmlScene.RemoveNode(other)
    slicer.mrmlScene.EndState(slicer.mrmlScene.BatchProcessState)
    assert len(left()) == 2, "whoever removes nodes in a batch knows what they remove"


def test_tab_goes_from_the_button_above_the_parts_through_them(case, monkeypatch):
    """Boxes are made anew with each result, and Qt puts what is made last behind everything else."""
    import qt

    pairs, order = [], qt.QWidget.setTabOrder
    monkeypatch.setattr(qt.QWidget, "setTabOrder", lambda *pair: pairs.append([widget.text for widget in pair]) or order(*pair))
    finished(case)
    assert pairs[-3:] == [["Go to the tumour", "Necrosis"], ["Necrosis", "Edema"], ["Edema", "Enhancing Lesion"]]
