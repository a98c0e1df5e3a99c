import numpy as np
import onnx
import pytest
import torch

from braintumorseg.errors import ModelError
from braintumorseg.model_zoo import load_model
from braintumorseg.runtime import open_session
from braintumorseg_training import export as exporting
from braintumorseg_training.data import Split
from braintumorseg_training.networks import build
from braintumorseg_training.train import fit

SPLIT = Split(("case0", "case1"), ())


@pytest.fixture(scope="module")
def run(packed, tmp_path_factory):
    from braintumorseg_training.config import Config

    out = tmp_path_factory.mktemp("run")
    fit(Config(channels=(8, 8), patch=(16, 16, 16), steps=2, bf16=False), packed, SPLIT, out, device="cpu", say=lambda line: None)
    return out


def test_an_exported_network_loads_in_the_engine_and_its_hash_fits(run, packed, tmp_path):
    path = exporting.export(run, packed, SPLIT, tmp_path, "tiny", "1.2.3", say=lambda line: None)
    model = load_model(path)
    assert model.card.version == "1.2.3"
    assert model.card.size_multiple == 4
    assert [(one["licence"], one["cases"]) for one in model.card.training_data] == [("CC BY 4.0", 2)]


def test_the_graph_takes_any_size_and_needs_no_resize_or_control_flow(run, packed, tmp_path):
    path = exporting.export(run, packed, SPLIT, tmp_path, "tiny", "1", say=lambda line: None)
    model = onnx.load(path)
    assert {node.op_type for node in model.graph.node} & {"Resize", "If", "Loop", "Scan"} == set()
    assert model.ir_version <= 10
    assert open_session(path, "cpu").run(np.zeros((4, 8, 12, 20), np.float32)).shape == (3, 8, 12, 20)


def test_weights_are_stored_in_half_precision(run, packed, tmp_path):
    model = onnx.load(exporting.export(run, packed, SPLIT, tmp_path, "tiny", "1", say=lambda line: None))
    large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) >= 100]
    assert large
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}


def test_a_network_that_differs_after_export_is_refused_and_leaves_nothing(run, packed, tmp_path, monkeypatch):
    def wrong(network, example, path):
        with torch.no_grad():
            next(network.parameters()).add_(0)
            other = build(exporting.Config(channels=(8, 8), patch=(16, 16, 16), seed=99))
        exporting_write(other, example, path)

    exporting_write = exporting.write_onnx
    monkeypatch.setattr(exporting, "write_onnx", wrong)
    with pytest.raises(ModelError, match="differ by"):
        exporting.export(run, packed, SPLIT, tmp_path, "tiny", "1", say=lambda line: None)
    assert not any(tmp_path.iterdir())
