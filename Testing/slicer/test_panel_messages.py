"""How long the panel's messages stand: not longer than the case, the run or the result that they are about."""

from fakes import FakeProcess
from made_up import make_volume
from panel_case import finished

from BrainTumorSegLib.process import Outcome


def test_nothing_that_was_said_of_a_case_outlives_its_scene(case):
    finished(case)
    for label in ("recogniseMessage", "exportMessage", "resultMessage", "compareMessage", "runWarning"):
        getattr(case.ui, label).text = "of the case before"
        getattr(case.ui, label).visible = True
    for button in (case.ui.copyErrorButton, case.ui.copyExportErrorButton):
        button.visible = True
    case.host.new_scene()
    assert [case.shown(label) for label in ("recogniseMessage", "exportMessage", "resultMessage", "compareMessage", "runWarning")] == [""] * 5
    assert case.ui.copyErrorButton.isHidden()
    assert case.ui.copyExportErrorButton.isHidden()


def test_what_ends_because_the_scene_was_closed_is_not_said_in_the_next(case):
    case.choose(t1ce=make_volume())
    case.press_segment()
    case.host.new_scene()
    FakeProcess.last.end(130, "")
    assert case.shown("runWarning") == ""
    case.panel.export._exported(Outcome(cancelled=True, what="The run was cancelled."), None)
    assert case.shown("exportMessage") == ""


def test_why_a_run_ended_is_said_until_another_volume_is_chosen(case):
    case.choose(t1ce=make_volume())
    case.press_segment()
    case.ui.segmentButton.click()
    FakeProcess.last.end(130, "")
    case.panel.refresh()
    assert "cancelled" in case.shown("runWarning")
    case.choose(t1ce=make_volume(name="of the next patient"))
    assert case.shown("runWarning") == ""
    case.press_segment()
    case.end(1, error={"kind": "OutputError", "what": "The disk is full.", "fix": ""})
    assert "full" in case.shown("runWarning")
    case.choose()
    assert case.shown("runWarning") == ""
    assert case.ui.copyErrorButton.isHidden()


def test_what_came_of_an_export_is_said_until_another_result_is_shown(case, tmp_path):
    first = finished(case)
    case.ui.exportCollapsibleButton.collapsed = False
    case.host.dialogs.expect_file(tmp_path / "tumour.nii.gz")
    case.ui.exportNiftiButton.click()
    case.panel.result.look_again()
    assert "Saved" in case.shown("exportMessage")
    finished(case)
    assert case.shown("exportMessage") == ""
    assert first is not case.panel.result.segmentation


def test_when_slicer_quits_in_the_middle_of_a_run_no_widget_is_touched(case):
    """They may be gone by then."""
    case.choose(t1ce=make_volume())
    case.press_segment()
    case.ui.segmentButton.click()
    case.logic.close()
    case.ui.segmentButton.text = case.ui.runWarning.text = case.ui.exportMessage.text = "as it was left"
    FakeProcess.last.end(None, "quit")
    case.panel.export._exported(Outcome(cancelled=True, what="The run was cancelled."), None)
    assert not case.widget.busy
    assert case.ui.segmentButton.text == case.ui.runWarning.text == case.ui.exportMessage.text == "as it was left"
