import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from braintumorseg_training.config import Config
from braintumorseg_training.equalise import equalise
from braintumorseg_training.export import write_onnx
from braintumorseg_training.networks import build
from braintumorseg_training.reduced_precision import widened

INPUT = np.random.default_rng(0).normal(size=(4, 32, 32, 32)).astype(np.float32)


def answers(model, *names):
    """The probabilities of INPUT, or the tensors of these names."""
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    asked.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    found = onnxruntime.InferenceSession(asked.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"channels": INPUT[None]})
    return found[1:] if names else found[0]


@pytest.fixture(params=["unet", "attention_unet"])
def uneven(request, tmp_path):
    """A fresh network whose norms make some channels a thousand times as strong as others."""
    torch.manual_seed(1)
    network = build(Config(network=request.param, channels=(16, 32, 64))).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.GroupNorm):
                module.weight *= torch.logspace(-1.5, 1.5, len(module.weight))
    write_onnx(network, INPUT, tmp_path / "network.onnx")
    return widened(tmp_path / "network.onnx")


def spread(model):
    """How many times as wide as the narrowest channel the widest is, at the median over the tensors that convolutions read behind a leaky ReLU."""
    read = [node.input[0] for node in model.graph.node if node.op_type == "Conv"]
    tensors = [node.output[0] for node in model.graph.node if node.op_type in ("LeakyRelu", "Relu") and node.output[0] in read]
    ranges = [np.abs(tensor).max(axis=(0, 2, 3, 4)) for tensor in answers(model, *tensors)]
    return np.median([one.max() / one.min() for one in ranges])


def test_channels_get_ranges_more_alike_and_the_answers_stay(uneven):
    before, wide = answers(uneven), spread(uneven)
    equalise(uneven, [INPUT])
    assert np.allclose(answers(uneven), before, atol=1e-4)
    assert before.std() > 0.01
    assert wide > 100
    assert spread(uneven) == pytest.approx(np.sqrt(wide), rel=0.1)


def test_what_several_layers_share_and_what_reads_joined_features_is_kept_apart():
    """Two branches of one convolution's weights, joined, and a channel that is dead."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 4, 1, 1, 1)).astype(np.float32) * np.array([1, 10, 100, 0], np.float32)[:, None, None, None, None]
    constants = {"shared": weights, "last": rng.normal(size=(1, 8, 1, 1, 1)).astype(np.float32)}
    nodes = [helper.make_node("Conv", ["channels", "shared"], ["a"]), helper.make_node("Relu", ["a"], ["a_on"]),
             helper.make_node("Conv", ["channels", "shared"], ["b"]), helper.make_node("Neg", ["b"], ["b_negative"]),
             helper.make_node("Conv", ["channels", "shared"], ["c"]),
             helper.make_node("Concat", ["a_on", "c"], ["both"], axis=1), helper.make_node("Conv", ["both", "last"], ["joined"]),
             helper.make_node("ReduceSum", ["b_negative"], ["sum"], keepdims=1), helper.make_node("Add", ["joined", "sum"], ["out"])]
    graph = helper.make_graph(nodes, "toy", [helper.make_tensor_value_info("channels", TensorProto.FLOAT, [1, 4, "I", "J", "K"])],
                              [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(values, name) for name, values in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    before = answers(model)
    equalise(model, [INPUT])
    assert np.allclose(answers(model), before, rtol=1e-4, atol=1e-4 * np.abs(before).max())
    a, b, c = answers(model, "a_on", "b", "c")
    for made in (a, c):
        ranges = np.abs(made).max(axis=(0, 2, 3, 4))
        assert ranges[2] / ranges[0] == pytest.approx(np.sqrt(np.abs(b[:, 2]).max() / np.abs(b[:, 0]).max()), rel=0.2)
        assert ranges[3] == 0
    assert np.abs(b).max(axis=(0, 2, 3, 4))[2] > 50 * np.abs(b).max(axis=(0, 2, 3, 4))[0], "a Neg stands behind it"
