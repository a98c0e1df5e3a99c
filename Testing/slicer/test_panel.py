"""The panel as a user works it: its own buttons, on the real scene, with the child played by the test."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeProcess
from made_up import Steps, make_labels, make_report, make_volume
from test_run import Case, FakeEngine

MODULE = Path(__file__).resolve().parents[2] / "BrainTumorSeg" / "BrainTumorSeg.py"


class PanelCase(Case):
    """The widget with a logic whose children and loop the test plays."""

    def __init__(self, host):
        from BrainTumorSegLib.logic import Logic

        self.host, self.steps = host, Steps()
        self.outcomes, self.progress = [], []
        collaborators = {"engine": FakeEngine(), "make_process": FakeProcess, "later": self.steps}
        original = Logic.__init__
        Logic.__init__ = lambda logic, **_: original(logic, **collaborators)
        try:
            self.widget = host.panel(MODULE)
        finally:
            Logic.__init__ = original
        self.ui, self.panel, self.logic = self.widget.ui, self.widget.panel, self.widget.logic

    def fresh(self):
        """As it is when it was just opened on an empty scene."""
        self.host.new_scene()
        self.logic.engine = FakeEngine()
        for name in ("recogniseMessage", "runWarning", "modelWarning", "deviceMessage", "engineMessage", "exportMessage", "resultMessage"):
            getattr(self.ui, name).text = ""
            getattr(self.ui, name).visible = False
        self.ui.copyErrorButton.visible = False
        self.ui.exportCollapsibleButton.collapsed = True
        self.widget.enter()
        self.panel.engine.fold()

    def choose(self, **nodes):
        for role in ("t1", "t1ce", "t2", "flair"):
            getattr(self.ui, f"{role}Selector").setCurrentNode(nodes.get(role))

    def press_segment(self):
        self.ui.segmentButton.click()
        self.steps.run()

    def shown(self, label):
        """The text of a label, '' when it is hidden."""
        label = getattr(self.ui, label)
        return "" if label.isHidden() else label.text


@pytest.fixture(scope="session")
def opened(started_host):
    """The panel, opened once as in Slicer: PySide6 does not survive many of them in one process."""
    return PanelCase(started_host)


@pytest.fixture
def case(host, opened, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened.fresh()
    yield opened
    opened.logic.close()
    opened.steps.run()
    assert not opened.widget.busy
    assert list(tmp_path.glob("braintumorseg-*")) == [], "a private folder was left behind"


def finished(case, **report):
    """A run on a T1ce that ended well; returns the segmentation node."""
    reference = make_volume(name="T1ce")
    case.choose(t1ce=reference)
    case.press_segment()
    case.finish(make_labels(), np.eye(4), {**make_report(make_labels(), 0.001), **report})
    return case.panel.result.segmentation


def test_it_opens_quietly_and_says_what_is_missing(case, capfd):
    assert "No volume is chosen" in case.shown("inputsWarning")
    assert not case.ui.segmentButton.enabled
    assert "No volume is chosen" in case.ui.segmentButton.toolTip
    assert case.shown("runWarning") == ""
    assert case.ui.resultCollapsibleButton.collapsed
    assert case.ui.engineCollapsibleButton.collapsed
    assert "glioma" in case.ui.modelInfo.toPlainText()
    assert "Not a medical device" in case.ui.modelInfo.toPlainText()


def test_a_loaded_study_fills_the_fields_by_itself(case):
    for role in ("t1", "t1ce", "t2", "flair"):
        make_volume(name=f"Case_{role}")
    case.host.spin(seconds=0.1)
    assert {role: node.GetName() for role, node in case.panel.inputs.chosen.items()} == {r: f"Case_{r}" for r in ("t1", "t1ce", "t2", "flair")}
    assert case.ui.segmentButton.enabled


def test_what_the_user_chose_is_not_filled_over(case):
    first = make_volume(name="Mine")
    case.choose(t1ce=first)
    make_volume(name="Case_t1ce")
    case.host.spin(seconds=0.1)
    assert case.panel.inputs.chosen == {"t1ce": first}


def test_recognise_says_why_and_moves_a_wrong_choice(case):
    wrong = make_volume(name="Case_flair")
    case.choose(t1=wrong)
    case.ui.recogniseButton.click()
    assert case.panel.inputs.chosen == {"flair": wrong}
    assert "FLAIR: by its name" in case.shown("recogniseMessage")


def test_recognise_without_volumes_says_how_to_load_some(case):
    case.ui.recogniseButton.click()
    assert "Load a study first" in case.shown("recogniseMessage")


def test_the_same_volume_twice_has_a_message_at_its_field(case):
    volume = make_volume()
    case.choose(t1=volume, t1ce=volume)
    assert "same volume" in case.shown("t1Warning")
    assert not case.ui.segmentButton.enabled
    case.choose(t1=volume)
    assert case.shown("t1Warning") == ""
    assert case.ui.segmentButton.enabled


def test_segment_becomes_cancel_shows_progress_and_comes_back(case):
    case.choose(t1ce=make_volume())
    case.press_segment()
    assert case.ui.segmentButton.text == "Cancel"
    assert not case.ui.progressBar.isHidden()
    FakeProcess.last.say(b'{"step": "predict", "done": 0.42, "eta_s": 7.2}\n')
    assert case.ui.progressBar.value == 420
    assert case.shown("progressLabel") == "Segmenting, about 7 s left"
    case.ui.segmentButton.click()
    FakeProcess.last.end(130, "")
    assert case.ui.segmentButton.text == "Segment"
    assert case.ui.progressBar.isHidden()
    assert "cancelled" in case.shown("runWarning")


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


@pytest.mark.parametrize(("kind", "what", "label"), [
    ("ModelError", "The weights of glioma are not those its card describes.", "modelWarning"),
    ("BadImage", "t1ce is constant.", "t1ceWarning"),
    ("UnclearRoles", "One file was given twice.", "inputsWarning"),
    ("ResourceError", "This study needs more memory.", "deviceMessage"),
    ("OutputError", "The disk is full.", "runWarning"),
])
def test_a_failure_is_said_at_its_field_with_the_fix_and_can_be_copied(case, kind, what, label):
    import qt

    case.choose(t1ce=make_volume(name="DOE JOHN"))
    case.press_segment()
    FakeProcess.last.complain(b"Traceback: something\n")
    case.end(1, error={"kind": kind, "what": what, "fix": "Do this."})
    assert f"{what} Do this." in case.shown(label)
    assert case.shown("runWarning") != ""
    assert not case.ui.copyErrorButton.isHidden()
    case.ui.copyErrorButton.click()
    report = qt.QApplication.clipboard().text()
    assert kind in report
    assert "Traceback: something" in report
    assert "DOE" not in report
    case.press_segment()
    assert what not in case.shown(label)  # a new run starts with a clean panel
    FakeProcess.last.end(130, "")


def test_a_missing_engine_is_said_and_its_section_opened(case):
    from BrainTumorSegLib.install import State

    case.logic.engine.state = lambda: State("missing", "The engine is not installed yet. Press Install.")
    case.choose(t1ce=make_volume())
    FakeProcess.last = None
    case.press_segment()
    assert FakeProcess.last is None
    assert not case.ui.engineCollapsibleButton.collapsed
    assert "not installed" in case.shown("engineStateLabel")
    assert "section Engine" in case.shown("runWarning")
    assert not case.ui.installButton.isHidden()
    assert not case.ui.repairButton.enabled


def test_the_engine_is_not_exchanged_beneath_a_run(case):
    calls = []
    case.logic.engine.repair = lambda **options: calls.append("repair")
    case.ui.repairButton.enabled = True
    case.choose(t1ce=make_volume())
    case.press_segment()
    case.ui.repairButton.click()
    assert "A run is going on" in case.shown("engineMessage")
    assert calls == []
    FakeProcess.last.end(130, "")
    case.ui.repairButton.click()
    assert calls == ["repair"]


def test_a_second_run_can_be_queued(case):
    case.choose(t1ce=make_volume(name="First"))
    case.press_segment()
    running = FakeProcess.last
    case.choose(flair=make_volume(name="Second"))
    case.ui.queueButton.click()
    case.steps.run()
    assert case.shown("queueLabel") == "Waiting: Second"
    case.ui.segmentButton.click()  # cancels the first
    running.end(130, "")
    case.steps.run()
    assert case.ui.segmentButton.text == "Cancel"
    assert "start" in FakeProcess.last.calls
    case.ui.segmentButton.click()
    FakeProcess.last.end(130, "")
    assert case.ui.segmentButton.text == "Segment"


def test_closing_the_scene_in_the_middle_ends_the_run_and_leaves_an_empty_panel(case):
    case.choose(t1ce=make_volume())
    case.press_segment()
    case.host.new_scene()
    assert "close_stdin" in FakeProcess.last.calls
    FakeProcess.last.end(130, "")
    assert not case.widget.busy
    assert "No volume is chosen" in case.shown("inputsWarning")
    case.choose(t1ce=make_volume())
    assert case.ui.segmentButton.enabled


def test_closing_the_scene_with_a_result_empties_the_panel(case):
    finished(case)
    case.host.new_scene()
    assert case.ui.volumesTableView.mrmlTableNode() is None
    assert case.panel.result._boxes == []
    assert case.ui.resultCollapsibleButton.collapsed


def test_a_run_goes_on_while_another_module_is_shown(case):
    case.choose(t1ce=make_volume())
    case.press_segment()
    case.widget.exit()
    case.finish(make_labels(), np.eye(4))
    case.widget.enter()
    assert case.panel.result.segmentation is not None


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


def test_the_panel_takes_up_where_a_saved_scene_left_off(case):
    node = finished(case)
    case.ui.deviceComboBox.setCurrentIndex(1)
    assert case.logic.getParameterNode().device == "cpu"
    case.widget._drop_parameters()
    case.widget._use_parameters()
    assert case.ui.resultSelector.currentNode() is node
    assert case.ui.deviceComboBox.currentText == "CPU"


def test_a_network_that_needs_a_sequence_says_so_before_the_run(case):
    from dataclasses import replace

    models = case.panel.run._models
    before = dict(models)
    models["glioma"] = replace(models["glioma"], needs=("t1ce",))
    case.choose(flair=make_volume(name="FLAIR"))
    assert "not trained to do without T1ce" in case.shown("modelWarning")
    assert not case.ui.segmentButton.enabled
    case.choose(flair=make_volume(name="FLAIR"), t1ce=make_volume(name="T1ce"))
    assert case.shown("modelWarning") == ""
    assert case.ui.segmentButton.enabled
    models.update(before)


def test_gpus_can_be_chosen_one_by_one(case):
    box = case.ui.deviceComboBox
    texts = [box.itemText(index) for index in range(box.count)]
    case.panel.run._add_gpus(["NVIDIA A2", "NVIDIA H100"])
    box.setCurrentIndex(box.findData("cuda:1"))
    assert case.logic.getParameterNode().device == "cuda:1"
    case.choose(t1ce=make_volume())
    case.press_segment()
    assert case.options["--device"] == "cuda"
    assert FakeProcess.last.environment["CUDA_VISIBLE_DEVICES"] == "1"
    FakeProcess.last.end(130, "")
    for _ in range(2):
        box.removeItem(box.count - 1)
    assert [box.itemText(index) for index in range(box.count)] == texts


def test_self_test_shows_the_device_that_was_really_used(case):
    started = {}
    case.logic.engine.self_test = lambda on_finished: started.update(call=on_finished)
    from BrainTumorSegLib.process import Outcome

    case.ui.engineCollapsibleButton.collapsed = False
    case.panel.engine.refresh()
    case.ui.selfTestButton.click()
    started["call"](Outcome(result={"session": {"model": "glioma", "provider": "CPUExecutionProvider", "seconds": 0.8}, "problems": []}))
    assert "really ran on CPU: 0.8 s" in case.shown("engineMessage")


def test_installing_asks_once_shows_progress_and_can_be_stopped(case):
    import types

    import qt

    from BrainTumorSegLib.install import State
    from BrainTumorSegLib.process import Outcome

    engine, calls = case.logic.engine, {}
    engine.state = lambda: State("missing", "The engine is not installed yet. Press Install.")
    engine.question = "About 120 MB to download. Install them now?"
    engine.install = lambda **given: calls.update(given) or types.SimpleNamespace(cancel=lambda: calls.update(cancelled=True))
    case.panel.engine.open_with("")
    case.host.dialogs.expect("120 MB", qt.QMessageBox.Cancel)
    case.ui.installButton.click()
    assert calls == {}
    case.host.dialogs.expect("120 MB", qt.QMessageBox.Ok)
    case.ui.installButton.click()
    calls["on_progress"]("onnxruntime", 0.25, 20.0)
    assert case.ui.engineProgressBar.value == 250
    assert case.ui.installButton.isHidden()
    case.ui.cancelInstallButton.click()
    assert calls["cancelled"]
    calls["on_finished"](Outcome(cancelled=True))
    assert "goes on where it was" in case.shown("engineMessage")
    assert not case.ui.installButton.isHidden()


def test_json_of_a_long_report_survives_the_scene(case):
    """Attributes are written into the scene's XML: quotes, umlauts and semicolons must come back."""
    text = 'He said: "größer; 5 < 6"\n'
    node = finished(case, flags=[{"code": "x", "severity": "warning", "text": text}])
    assert json.loads(node.GetAttribute("BrainTumorSeg.Report"))["flags"][0]["text"] == text
