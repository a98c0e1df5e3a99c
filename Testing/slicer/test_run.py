"""One press of Segment, with a child that the test plays: whatever happens, one outcome, and no file left behind."""

import errno
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeProcess
from made_up import AFFINES, Steps, affine_of, make_labels, make_report, make_transform, make_volume


class FakeEngine:
    chosen, removable = False, True

    def state(self):
        from BrainTumorSegLib.install import State

        return State("ready", "Ready")

    def command(self):
        return ["python", "-m", "braintumorseg"]

    def environment(self):
        return {"PYTHONPATH": "x"}


class Case:
    """A logic with a fake engine, a loop that the test turns, and a private place for temporary files."""

    def __init__(self):
        from BrainTumorSegLib.logic import Logic

        self.steps = Steps()
        self.logic = Logic(FakeEngine(), make_process=FakeProcess, later=self.steps)
        self.outcomes, self.progress = [], []

    def start(self, **nodes):
        run = self.logic.segment(nodes, on_progress=lambda *told: self.progress.append(told), on_finished=lambda *what: self.outcomes.append(what))
        self.steps.run()
        return run

    @property
    def options(self):
        """Option -> value of the command that was started."""
        arguments = list(FakeProcess.last.command[4:])
        return {arguments[i]: arguments[i + 1] for i in range(len(arguments) - 1) if arguments[i].startswith("--")}

    def finish(self, labels, affine, report=None):
        """The child writes its results and ends well."""
        from BrainTumorSegLib.label_file import write_labels

        out = Path(self.options["--out"])
        out.mkdir()
        write_labels(labels, affine, out / "segmentation.nii.gz")
        (out / "report.html").write_text("<html>report</html>", encoding="utf-8")
        self.end(0, result=report or make_report(labels, 0.001))

    def end(self, code, **message):
        FakeProcess.last.say(json.dumps(message).encode() + b"\n")
        FakeProcess.last.end(code, "" if code is not None else "crashed")
        self.steps.run()


@pytest.fixture
def case(host, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    case = Case()
    yield case
    case.logic.close()
    assert list(tmp_path.glob("braintumorseg-*")) == [], "a private folder was left behind"


def segmentations():
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_volumes_are_handed_over_under_neutral_names(case):
    case.start(t1ce=make_volume(name="DOE JOHN T1ce"), flair=make_volume(name="DOE JOHN flair"))
    assert Path(case.options["--t1ce"]).name == "t1ce.nrrd"
    assert Path(case.options["--flair"]).name == "flair.nrrd"
    assert "DOE" not in " ".join(FakeProcess.last.command)
    assert case.options["--model"] == "glioma"
    assert case.options["--device"] == "auto"
    assert FakeProcess.last.command[3] == "segment"
    case.end(1, error={"kind": "BadImage", "what": "t1ce is constant.", "fix": "Check."})


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_result_becomes_nodes_on_the_grid_of_its_reference(case, affine):
    import slicer

    reference = make_volume(affine, name="T1ce")
    reference.SetAndObserveTransformNodeID(make_transform(affine_of(degrees=(0, 0, 20), origin=(5, 5, 5))).GetID())
    case.start(t1ce=reference, flair=make_volume(affine_of(), (20, 20, 20), "FLAIR"))
    from BrainTumorSegLib import mrml_segmentation as seg
    from BrainTumorSegLib.mrml_outlines import label_values, labels_on
    from BrainTumorSegLib.mrml_report import report_page_of
    from BrainTumorSegLib.mrml_tables import table_of
    from BrainTumorSegLib.mrml_volumes import world_matrix

    case.finish(make_labels(), world_matrix(reference))
    ((outcome, node),) = case.outcomes
    assert outcome.ok
    assert segmentations() == [node]
    assert node.GetName() == "T1ce tumour"
    assert np.array_equal(labels_on(node, label_values(node)), make_labels())
    assert np.abs(seg.placement_of(node).local - affine).max() < 1e-6
    assert table_of(node).GetCellText(0, 2) == "0.06"
    assert report_page_of(node) == "<html>report</html>"
    assert len(slicer.util.getNodesByClass("vtkMRMLTextNode")) == 1
    assert case.logic.runs == []
    assert [step for step, *_ in case.progress] == ["hand over", "show"]


def test_a_result_on_another_grid_is_refused(case):
    case.start(t1ce=make_volume())
    case.finish(make_labels(), affine_of(origin=(0, 0, 1)))
    ((outcome, node),) = case.outcomes
    assert node is None
    assert "not on the grid" in outcome.what
    assert segmentations() == []


def test_an_error_of_the_engine_arrives_with_its_fix(case):
    case.start(t1ce=make_volume())
    case.end(1, error={"kind": "ModelError", "what": "The weights are damaged.", "fix": "Install again."})
    ((outcome, node),) = case.outcomes
    assert (outcome.error_kind, outcome.what, outcome.fix, node) == ("ModelError", "The weights are damaged.", "Install again.", None)


def test_a_child_that_is_killed_is_said(case):
    case.start(t1ce=make_volume())
    FakeProcess.last.end(None, "crashed")
    ((outcome, _),) = case.outcomes
    assert outcome.error_kind == "EngineKilled"


def test_cancel_while_the_engine_runs(case):
    run = case.start(t1ce=make_volume())
    run.cancel()
    assert "close_stdin" in FakeProcess.last.calls
    assert case.outcomes == []  # it has not stopped yet
    FakeProcess.last.end(130, "")
    ((outcome, node),) = case.outcomes
    assert outcome.cancelled
    assert node is None


def test_cancel_while_the_images_are_handed_over(case):
    run = case.logic.segment({"t1ce": make_volume(), "flair": make_volume(name="b")}, on_finished=lambda *what: case.outcomes.append(what))
    case.steps.run(1)
    FakeProcess.last = None
    run.cancel()
    case.steps.run()
    assert FakeProcess.last is None  # never started
    assert case.outcomes[0][0].cancelled


def test_cancel_while_the_result_is_shown_leaves_nothing(case):
    import slicer

    run = case.start(t1ce=make_volume())
    turn, case.steps.run = case.steps.run, lambda *_: None
    case.finish(make_labels(), np.eye(4))
    turn(4)
    assert run.state == "showing"
    run.cancel()
    turn()
    assert case.outcomes[0][0].cancelled
    assert segmentations() == []
    assert slicer.util.getNodesByClass("vtkMRMLTextNode") == []


def test_the_scene_is_closed_while_the_engine_runs(case):
    import slicer

    case.start(t1ce=make_volume())
    slicer.mrmlScene.Clear(0)
    case.finish(make_labels(), np.eye(4))
    ((outcome, node),) = case.outcomes
    assert node is None
    assert not outcome.ok
    assert segmentations() == []


def test_the_reference_is_removed_while_the_engine_runs(case):
    import slicer

    reference = make_volume()
    case.start(t1ce=reference)
    slicer.mrmlScene.RemoveNode(reference)
    case.finish(make_labels(), np.eye(4))
    ((outcome, node),) = case.outcomes
    assert node is None
    assert "removed" in outcome.what
    assert outcome.fix == "Load the volume again and press Segment."


def test_a_second_run_waits_for_the_first(case):
    first = case.start(t1ce=make_volume())
    started = FakeProcess.last
    second = case.start(flair=make_volume(name="FLAIR"))
    assert second.state == "waiting"
    assert [run.label for run in case.logic.runs] == ["T1ce", "FLAIR"]
    assert FakeProcess.last is not started
    assert "start" not in FakeProcess.last.calls
    waiting = FakeProcess.last
    started.say(json.dumps({"error": {"kind": "BadImage", "what": "x", "fix": ""}}).encode() + b"\n")
    started.end(1, "")
    assert "start" in waiting.calls
    waiting.say(b'{"step": "read", "done": 0.1, "eta_s": null}\n')
    assert second.state == "running"
    assert first.state == "ended"
    waiting.end(130, "")


def test_cancel_all_stops_what_waits_before_what_runs(case):
    case.start(t1ce=make_volume())
    running = FakeProcess.last
    case.start(flair=make_volume(name="FLAIR"))
    case.logic.cancel_all()
    assert "start" not in FakeProcess.last.calls
    running.end(130, "")
    assert [outcome.cancelled for outcome, _ in case.outcomes] == [True, True]
    assert case.logic.runs == []


@pytest.mark.parametrize(("number", "kind", "fix"), [(errno.ENOSPC, "DiskFull", "Free some space"),
                                                     (errno.EACCES, "NoPermission", "folder of your own")])
def test_a_disk_that_takes_nothing_is_said(case, monkeypatch, number, kind, fix):
    from BrainTumorSegLib import run as module

    def write(node, path):
        path.write_bytes(b"half")
        yield 0.5
        raise OSError(number, "no")

    monkeypatch.setattr(module, "write_nrrd", write)
    case.start(t1ce=make_volume())
    ((outcome, node),) = case.outcomes
    assert node is None
    assert outcome.error_kind == kind
    assert fix in outcome.fix


def test_a_bad_choice_starts_nothing(case):
    volume = make_volume()
    with pytest.raises(ValueError, match="same volume"):
        case.logic.segment({"t1": volume, "t1ce": volume})
    assert case.logic.runs == []


def test_options_reach_the_engine(case):
    from BrainTumorSegLib.run import Options

    case.logic.segment({"t1ce": make_volume()}, Options(model="other", device="cpu", registered=True, brain_only=True, thorough=True))
    case.steps.run()
    assert case.options["--model"] == "other"
    assert case.options["--device"] == "cpu"
    assert {"--registered", "--stripped", "--thorough"} <= set(FakeProcess.last.command)
    FakeProcess.last.end(130, "")
