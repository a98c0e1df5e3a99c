"""The panel as a user works it, from an empty scene to a run: its own buttons, on the real scene, with the child played by the test."""

import numpy as np
import pytest
from fakes import FakeProcess
from made_up import make_labels, make_volume
from panel_case import finished


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


def test_a_run_goes_on_while_another_module_is_shown(case):
    case.choose(t1ce=make_volume())
    case.press_segment()
    case.widget.exit()
    case.finish(make_labels(), np.eye(4))
    case.widget.enter()
    assert case.panel.result.segmentation is not None


def test_the_panel_takes_up_where_a_saved_scene_left_off(case):
    node = finished(case)
    case.ui.deviceComboBox.setCurrentIndex(1)
    assert case.logic.getParameterNode().device == "cpu"
    case.widget._drop_parameters()
    case.widget._use_parameters()
    assert case.ui.resultSelector.currentNode() is node
    assert case.ui.deviceComboBox.currentText == "CPU"


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
