"""The panel as a user works it: its own buttons, on the real scene, with the child played by the test."""

import json
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeProcess
from made_up import Steps, make_labels, make_report, make_volume
from test_run import Case, FakeEngine

from BrainTumorSegLib.process import Outcome

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
        from BrainTumorSegLib.logic import Logic

        Logic.__init__(self.logic, FakeEngine(), make_process=FakeProcess, later=self.steps)  # the one before was closed
        self.logic.on_changed = self.panel.run.refresh
        for name in ("recogniseMessage", "runWarning", "modelWarning", "deviceMessage", "engineMessage", "exportMessage", "resultMessage"):
            getattr(self.ui, name).text = ""
            getattr(self.ui, name).visible = False
        for button in (self.ui.copyErrorButton, self.ui.copyEngineErrorButton, self.ui.copyExportErrorButton):
            button.visible = False
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


def test_files_that_arrive_one_by_one_fill_every_field(case):
    """Slicer's Add Data lets events run between two files."""
    for role in ("t1", "t1ce", "t2", "flair"):
        make_volume(name=f"Case_{role}")
        case.host.spin(seconds=0.05)
    assert {role: node.GetName() for role, node in case.panel.inputs.chosen.items()} == {r: f"Case_{r}" for r in ("t1", "t1ce", "t2", "flair")}


def test_volumes_that_come_in_a_batch_are_filled_in_when_it_ends(case):
    import slicer

    slicer.mrmlScene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    volume = make_volume(name="Case_t1ce")
    case.host.spin(seconds=0.05)
    slicer.mrmlScene.EndState(slicer.vtkMRMLScene.BatchProcessState)
    case.host.spin(seconds=0.05)
    assert case.panel.inputs.chosen == {"t1ce": volume}


def test_filling_stops_once_the_user_changed_a_field_or_started_a_run(case):
    first = make_volume(name="Case_t1ce")
    case.host.spin(seconds=0.05)
    assert case.panel.inputs.chosen == {"t1ce": first}
    case.press_segment()
    FakeProcess.last.end(130, "")
    make_volume(name="Case_t2")
    case.host.spin(seconds=0.05)
    assert case.panel.inputs.chosen == {"t1ce": first}
    case.choose()
    second = make_volume(name="Case_flair")
    case.host.spin(seconds=0.05)
    assert case.panel.inputs.chosen["flair"] is second  # an empty panel is filled anew
    case.ui.t1ceSelector.setCurrentNode(None)
    make_volume(name="Case_t1")
    case.host.spin(seconds=0.05)
    assert set(case.panel.inputs.chosen) == {"t2", "flair"}


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


@pytest.fixture
def engine_answers(case, monkeypatch):
    """The engine's answers to Recognise, one call a click, given when the test calls them."""
    calls = []
    monkeypatch.setattr(case.logic, "recognise_by_engine", lambda nodes, on_finished: calls.append(on_finished) or True)
    return calls


def test_the_engines_late_answer_does_not_undo_what_the_user_chose(case, engine_answers):
    from BrainTumorSegLib.recognise import Recognition

    a, b = make_volume(name="AX 3D"), make_volume(name="AX 3D +C")
    case.ui.recogniseButton.click()
    case.choose(t1=a, t1ce=b)
    engine_answers[0](Recognition({"t1": b.GetID(), "t1ce": a.GetID()}))
    assert case.panel.inputs.chosen == {"t1": a, "t1ce": b}


def test_only_the_answer_to_the_last_click_counts_and_none_after_a_run_was_started(case, engine_answers):
    from BrainTumorSegLib.recognise import Recognition

    volume = make_volume(name="Case_flair")
    for _ in range(2):
        case.ui.recogniseButton.click()
    engine_answers[0](Recognition({"t1": volume.GetID()}))
    assert case.panel.inputs.chosen == {"flair": volume}
    engine_answers[1](Recognition({"t2": volume.GetID()}))
    assert case.panel.inputs.chosen == {"t2": volume}
    case.ui.recogniseButton.click()
    case.press_segment()
    engine_answers[2](Recognition({"t1": volume.GetID()}))
    assert case.panel.inputs.chosen == {"flair": volume}
    FakeProcess.last.end(130, "")


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
    case.logic.install_engine = lambda *given: calls.append("repair") or types.SimpleNamespace(running=False)
    case.ui.repairButton.enabled = True
    case.choose(t1ce=make_volume())
    case.press_segment()
    case.ui.repairButton.click()
    assert "A run is going on" in case.shown("engineMessage")
    assert calls == []
    FakeProcess.last.end(130, "")
    case.ui.repairButton.click()
    assert calls == ["repair"]
    del case.logic.install_engine


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


@pytest.fixture
def foreign(case):
    """The parameter node of a scene from another computer, which has another network and more GPUs."""
    parameters, boxes = case.logic.getParameterNode(), (case.ui.modelComboBox, case.ui.deviceComboBox)
    counts = [box.count for box in boxes]
    case.choose(t1ce=make_volume())
    parameters.model, parameters.device = "glioma-large", "cuda:1"
    yield parameters
    parameters.model, parameters.device = "glioma", "auto"
    for box, count in zip(boxes, counts, strict=True):
        while box.count > count:
            box.removeItem(box.count - 1)


def test_a_scene_from_another_computer_shows_its_network_and_device_until_others_are_chosen(case, foreign):
    model, device = case.ui.modelComboBox, case.ui.deviceComboBox
    assert model.currentText == "glioma-large (not on this computer)"
    assert device.currentText == "cuda:1 (not on this computer)"
    assert "glioma-large is not on this computer. Choose another." in case.shown("modelWarning")
    assert case.ui.modelInfo.toPlainText() == ""
    assert not case.ui.segmentButton.enabled
    model.setCurrentIndex(model.findData("glioma"))
    device.setCurrentIndex(device.findData("auto"))
    assert (foreign.model, foreign.device) == ("glioma", "auto")
    assert case.shown("modelWarning") == ""
    assert "glioma" in case.ui.modelInfo.toPlainText()
    assert case.ui.segmentButton.enabled


def test_a_gpu_that_is_found_after_the_scene_named_it_is_there_once(case, foreign):
    box = case.ui.deviceComboBox
    case.panel.run._add_gpus(["NVIDIA A2", "NVIDIA H100"])
    assert box.currentText == "1: NVIDIA H100"
    assert [box.itemData(index) for index in range(box.count)].count("cuda:1") == 1


def test_self_test_shows_the_device_that_was_really_used(case):
    started = {}
    case.logic.engine.self_test = lambda on_finished: started.update(call=on_finished) or types.SimpleNamespace(running=False)
    case.ui.engineCollapsibleButton.collapsed = False
    case.panel.engine.refresh()
    case.ui.selfTestButton.click()
    started["call"](Outcome(result={"session": {"model": "glioma", "provider": "CPUExecutionProvider", "seconds": 0.8}, "problems": []}))
    assert "really ran on CPU: 0.8 s" in case.shown("engineMessage")


def test_installing_asks_once_shows_progress_and_can_be_stopped(case):
    import qt

    real_engine(case)
    case.panel.engine.open_with("")
    case.host.dialogs.expect("220 MB", qt.QMessageBox.Cancel)
    FakeProcess.last = None
    case.ui.installButton.click()
    assert FakeProcess.last is None
    case.host.dialogs.expect("220 MB", qt.QMessageBox.Ok)
    case.ui.installButton.click()
    FakeProcess.last.say(b'{"step": "download", "done": 0.25, "eta_s": 20.0}\n')
    assert case.ui.engineProgressBar.value == 250
    assert case.ui.installButton.isHidden()
    case.ui.cancelInstallButton.click()
    assert FakeProcess.last.calls == ["start", "close_stdin"]
    FakeProcess.last.end(130, "")
    assert "goes on where it was" in case.shown("engineMessage")
    assert not case.ui.installButton.isHidden()


def real_engine(case, make_process=FakeProcess):
    """An installation as it really is, nothing in it yet, whose children the test plays."""
    from BrainTumorSegLib.install import Installation
    from BrainTumorSegLib.runtime_choice import RUNTIMES

    case.logic.engine = Installation(Path(tempfile.gettempdir()) / "engine", MODULE.parent, "python", python_version=(3, 12),
                                     runtime=RUNTIMES["cpu"], make_process=make_process)
    case.panel.engine.refresh()
    return case.logic.engine


def confirm(case, words, button):
    import qt

    case.host.dialogs.expect(words, qt.QMessageBox.Ok)
    button.click()


def test_removed_is_said_only_when_it_is(case):
    (real_engine(case).folder / "packages-1").mkdir(parents=True)
    case.panel.engine.refresh()
    confirm(case, "Delete the engine", case.ui.removeButton)
    assert "Deleting" in case.shown("engineMessage")
    assert not case.ui.engineProgressBar.isHidden()
    assert case.ui.cancelInstallButton.isHidden()
    assert case.ui.installButton.isHidden()
    case.host.spin(seconds=0.05)
    assert "removed." not in case.shown("engineMessage")
    FakeProcess.last.say(b'{"result": {"files": 1}}\n')
    FakeProcess.last.end(0, "")
    assert "The engine was removed." in case.shown("engineMessage")
    assert not case.ui.installButton.isHidden()


def test_a_removal_that_failed_says_what_is_left_and_can_be_tried_again(case):
    folder = real_engine(case).folder
    (folder / "packages-1").mkdir(parents=True)
    case.panel.engine.refresh()
    confirm(case, "Delete the engine", case.ui.removeButton)
    error = {"kind": "NotRemoved", "what": f"1 MB are left in {folder}.", "fix": "Press Remove again."}
    FakeProcess.last.say(json.dumps({"error": error}).encode() + b"\n")
    FakeProcess.last.end(1, "")
    assert f"1 MB are left in {folder}. Press Remove again." in case.shown("engineMessage")
    assert case.ui.removeButton.enabled


class FailsAtOnce(FakeProcess):
    """As on Windows, where QProcess tells within start() that a program cannot be started."""

    def start(self, command, environment):
        self.end(None, "Access is denied")


def test_an_installer_that_cannot_start_leaves_the_section_usable(case):
    real_engine(case, FailsAtOnce)
    confirm(case, "220 MB", case.ui.installButton)
    assert "Access is denied" in case.shown("engineMessage")
    assert case.ui.cancelInstallButton.isHidden()
    assert not case.ui.installButton.isHidden()
    assert case.logic._upkeep == []


def test_what_happens_to_the_engine_outlives_a_scene_and_ends_with_the_panel(case):
    real_engine(case)
    confirm(case, "220 MB", case.ui.installButton)
    installation = FakeProcess.last
    case.logic.test_engine(lambda outcome: None)
    self_test = FakeProcess.last
    case.host.new_scene()
    assert (installation.calls, self_test.calls) == (["start"], ["start"])
    before = case.shown("engineMessage")
    case.logic.close()
    assert (installation.calls, self_test.calls) == (["start", "close_stdin"], ["start", "close_stdin"])
    installation.end(130, "")
    self_test.end(130, "")
    assert case.shown("engineMessage") == before, "the panel may be gone"
    case.panel.engine._job = None


def test_a_failed_installation_and_self_test_have_a_report_to_copy(case):
    import qt

    folder = real_engine(case).folder
    confirm(case, "220 MB", case.ui.installButton)
    assert case.ui.copyEngineErrorButton.isHidden()
    FakeProcess.last.complain(b"ERROR: pip said why\n")
    FakeProcess.last.say(json.dumps({"error": {"kind": "PipFailed", "what": f"{folder} failed.", "fix": "Copy the error report."}}).encode() + b"\n")
    FakeProcess.last.end(1, "")
    case.ui.copyEngineErrorButton.click()
    report = qt.QApplication.clipboard().text()
    assert "PipFailed" in report
    assert "pip said why" in report
    assert str(folder) not in report
    case.logic.engine.self_test = lambda ended: ended(Outcome(error_kind="EngineFailed", what="x")) or types.SimpleNamespace(running=False)
    case.ui.selfTestButton.enabled = True
    case.ui.selfTestButton.click()
    case.ui.copyEngineErrorButton.click()
    assert "EngineFailed" in qt.QApplication.clipboard().text()
    confirm(case, "220 MB", case.ui.installButton)
    assert case.ui.copyEngineErrorButton.isHidden(), "a new try starts clean"
    FakeProcess.last.end(130, "")


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


def test_what_is_loaded_later_or_after_a_click_is_not_mixed_in(case, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("BrainTumorSegLib.panel_inputs.time.monotonic", lambda: clock[0])

    def load(name, after):
        clock[0] += after
        node = make_volume(name=name)
        case.host.spin(seconds=0.05)
        return node

    first, second = load("A_flair", 0), load("A_t1", 5)
    assert case.panel.inputs.chosen == {"flair": first, "t1": second}
    load("B_t1ce", 60)       # perhaps another patient's
    case.panel.enter()
    assert case.panel.inputs.chosen == {"flair": first, "t1": second}
    case.panel.inputs.recognise()
    clicked = case.panel.inputs.chosen
    load("B_t2", 0)
    assert case.panel.inputs.chosen == clicked
