"""The whole way with a real child process and a network small enough to predict by hand."""

import tempfile

import numpy as np
import pytest
from made_up import AFFINES, affine_of, make_transform
from test_export import RealEngine

from toys import make_toy_study


@pytest.fixture
def logic(host, tmp_path, monkeypatch):
    from BrainTumorSegLib.logic import Logic

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    logic = Logic(RealEngine())
    yield logic
    logic.close()
    host.spin(until=lambda: not logic.runs, seconds=30)
    assert list(tmp_path.glob("braintumorseg-*")) == [], "a private folder was left behind"


def load(affine, moved=None):
    """The toy study of Testing/toys.py as nodes on a grid of the test's choice, role -> node."""
    import slicer

    nodes = {}
    for role, volume in make_toy_study().volumes.items():
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", role)
        slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(volume.voxels.T))
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
        if moved is not None:
            node.SetAndObserveTransformNodeID(make_transform(moved).GetID())
        nodes[role] = node
    return nodes


def segment(host, logic, nodes, model):
    from BrainTumorSegLib.run import Options

    ended = []
    logic.segment(nodes, Options(model=str(model.weights), device="cpu", registered=True), on_finished=lambda *what: ended.append(what))
    assert host.spin(until=lambda: bool(ended), seconds=120)
    return ended[0]


@pytest.mark.parametrize(("affine", "moved"), [
    (affine_of(flip=(-1, -1, 1)), None),
    (affine_of((1, 1, 1), (12, -7, 23), (1, -1, 1), (3, 5, -8)), affine_of(degrees=(0, 0, 90), origin=(30, 0, 0))),
], ids=["axial", "oblique, flipped, under a transform"])
def test_what_the_network_sees_is_where_it_is_in_the_volume(host, logic, toy_model, affine, moved):
    """The toy network's cubes come out in the voxels in which the toy study holds them, give or take the network's 1 mm grid."""
    from BrainTumorSegLib import mrml_segmentation as seg
    from BrainTumorSegLib.mrml_outlines import label_values, labels_on
    from BrainTumorSegLib.mrml_volumes import voxels, world_matrix

    nodes = load(affine, moved)
    outcome, result = segment(host, logic, nodes, toy_model)
    assert outcome.ok, outcome
    labels = labels_on(result, label_values(result))
    truth = voxels(nodes["flair"]) == 180
    overlap = 2 * (truth & (labels > 0)).sum() / (truth.sum() + (labels > 0).sum())
    assert overlap > (0.99 if moved is None else 0.85)
    assert np.abs(seg.placement_of(result).world - world_matrix(nodes["t1ce"])).max() < 1e-6
    assert seg.report_of(result)["provider"] in ("OpenVINO", "CPUExecutionProvider", "CUDAExecutionProvider")


def test_a_damaged_network_is_the_networks_fault(host, logic, toy_model, tmp_path):
    import shutil

    from BrainTumorSegLib.checks import field_of_error

    weights = tmp_path / "toy.onnx"
    weights.write_bytes(toy_model.weights.read_bytes()[:-7])
    shutil.copy(toy_model.weights.with_suffix(".json"), tmp_path)
    outcome, result = segment(host, logic, load(AFFINES["flipped"]), type("Model", (), {"weights": weights}))
    assert result is None
    assert field_of_error(outcome.error_kind, outcome.what) == "model"
    assert "SHA-256" in outcome.what


def test_a_run_that_is_cancelled_ends_soon_and_leaves_nothing(host, logic, toy_model):
    import slicer

    from BrainTumorSegLib.run import Options

    ended, told = [], []
    run = logic.segment(load(affine_of()), Options(model=str(toy_model.weights)), on_progress=lambda *what: told.append(what),
                        on_finished=lambda *what: ended.append(what))
    assert host.spin(until=lambda: run.state == "running", seconds=60)
    run.cancel()
    assert host.spin(until=lambda: bool(ended), seconds=60)
    assert ended[0][0].cancelled
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []


def test_images_that_no_network_reads_are_refused_at_their_field(host, logic, toy_model):
    import slicer

    from BrainTumorSegLib.checks import field_of_error

    nodes = load(affine_of())
    slicer.util.updateVolumeFromArray(nodes["t1ce"], np.full((36, 44, 40), 7, np.int16))
    outcome, _ = segment(host, logic, nodes, toy_model)
    assert outcome.error_kind == "BadImage"
    assert field_of_error(outcome.error_kind, outcome.what) == "t1ce"
    assert "constant" in outcome.what
