import sys
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from braintumorseg.errors import ResourceError
from braintumorseg.runtime import open_session
from braintumorseg_training.config import Config
from braintumorseg_training.export import write_onnx
from braintumorseg_training.networks import build
from braintumorseg_training.reduced_precision import kept_in_float, layers_by_work, quantise

INPUT = np.random.default_rng(0).normal(size=(4, 32, 32, 32)).astype(np.float32)
NETWORKS = pytest.mark.parametrize("network", ["unet", "attention_unet"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Name of a network -> (its .onnx, the same in 8 bits but for the first and the last layer), with fresh weights."""
    folder, done = tmp_path_factory.mktemp("reduced"), {}

    def make(name):
        if name not in done:
            torch.manual_seed(1)
            exact, quantised = folder / f"{name}.onnx", folder / f"{name}.int8.onnx"
            write_onnx(build(Config(network=name, channels=(16, 24, 32))).eval(), INPUT, exact)
            quantise(exact, [INPUT], kept_in_float(layers_by_work(exact, INPUT.shape), 0.0), quantised)
            done[name] = exact, quantised
        return done[name]

    return make


def by_definition(weights):
    """The probabilities of INPUT, each node computed as ONNX defines it: 8 bits are rounded to, and floats multiplied."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"]).run(None, {"channels": INPUT[None]})[0][0]


@NETWORKS
def test_8_bits_change_little(made, network):
    exact, quantised = map(by_definition, made(network))
    assert np.corrcoef(exact.ravel(), quantised.ravel())[0, 1] > 0.99
    assert exact.std() > 0.02


def test_8_bits_bear_channels_of_unlike_strength_that_count_alike(tmp_path):
    torch.manual_seed(1)
    network = build(Config(channels=(16, 24, 32))).eval()
    with torch.no_grad():
        for block in network.modules():
            if hasattr(block, "norm1"):
                factors = torch.logspace(-1, 1, len(block.norm1.weight))
                block.norm1.weight *= factors
                block.norm1.bias *= factors
                block.conv2.conv.weight /= factors[:, None, None, None]
    exact, quantised = tmp_path / "exact.onnx", tmp_path / "int8.onnx"
    write_onnx(network, INPUT, exact)
    quantise(exact, [INPUT], kept_in_float(layers_by_work(exact, INPUT.shape), 0.0), quantised)
    assert np.corrcoef(by_definition(exact).ravel(), by_definition(quantised).ravel())[0, 1] > 0.98


@NETWORKS
def test_openvino_computes_8_bits_as_onnx_defines_them(made, network):
    pytest.importorskip("openvino")
    _, quantised = made(network)
    exact = by_definition(quantised)
    off = open_session(quantised, "cpu", provider="openvino").run(INPUT) - exact
    assert np.sqrt(np.mean(off**2)) < 0.02 * exact.std()


@NETWORKS
def test_convolutions_take_8_bits_but_for_the_first_and_the_last(made, network):
    _, quantised = made(network)
    model = onnx.load(quantised)
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    read = [makers.get(node.input[0]) for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert len(read) - read.count("DequantizeLinear") == 2
    assert "Concat" not in read


def test_a_convolution_of_joined_features_that_stays_in_float_stays_whole(made, tmp_path):
    exact, _ = made("unet")
    layers = layers_by_work(exact, INPUT.shape)
    quantise(exact, [INPUT], {name for name, _ in layers[:-2]} | {layers[-1][0]}, tmp_path / "out.onnx")
    nodes = onnx.load(tmp_path / "out.onnx").graph.node
    assert {"Concat"} <= {node.op_type for node in nodes}
    assert sum(node.op_type in ("Conv", "ConvTranspose") for node in nodes) == len(layers)


def test_first_last_and_cheapest_layers_stay_in_float():
    layers = [("first", 1), ("large", 70), ("small", 4), ("middle", 24), ("last", 1)]
    kept = partial(kept_in_float, layers)
    assert kept(0.0) == {"first", "last"}
    assert kept(0.05) == {"first", "small", "last"}
    assert kept(0.30) == {"first", "small", "middle", "last"}


def test_the_work_of_a_layer_is_its_multiplications(toy_model):
    ((_, work),) = layers_by_work(toy_model.weights, (4, 8, 8, 8))
    assert work == 8**3 * 3 * 4


def test_int8_without_its_package_is_one_line(toy_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ResourceError, match=r"needs the package nncf.*pip install nncf"):
        quantise(toy_model.weights, [INPUT], (), tmp_path / "out.onnx")
    assert not any(tmp_path.iterdir())
