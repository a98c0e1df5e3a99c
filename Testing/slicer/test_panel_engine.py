"""The panel's section Engine, and the choice of network and device: its own buttons, with the child played by the test."""

import json
import tempfile
import types
from pathlib import Path

import pytest
from fakes import FakeProcess
from made_up import make_volume
from panel_case import MODULE

from BrainTumorSegLib.process import Outcome


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


def test_a_named_python_whose_self_test_failed_can_be_tested_again_but_not_repaired(case):
    from BrainTumorSegLib.install import State

    case.logic.engine.state, case.logic.engine.chosen = lambda: State("broken", "The Python named for the engine cannot run it."), True
    case.panel.engine.refresh()
    assert case.ui.selfTestButton.enabled
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


def test_what_a_self_test_said_goes_when_the_engine_is_no_longer_what_it_was(case):
    from BrainTumorSegLib.install import State

    case.panel.engine._tested(Outcome(result={"session": {"model": "glioma", "provider": "CPUExecutionProvider", "seconds": 2.0}}))
    case.panel.engine.refresh()
    assert "really ran on CPU" in case.shown("engineMessage")
    case.logic.engine.state = lambda: State("broken", "Parts of the engine's packages are gone. Press Repair.")
    case.panel.engine.refresh()
    assert case.shown("engineMessage") == ""
    assert "are gone" in case.ui.engineStateLabel.text


def test_why_the_engine_is_not_ready_is_said_once(case):
    from BrainTumorSegLib.install import State

    case.logic.engine.state = lambda: State("missing", "The engine is not installed yet. Press Install.")
    case.choose(t1ce=make_volume())
    case.press_segment()
    assert "not installed" in case.ui.engineStateLabel.text
    assert case.shown("engineMessage") == ""
