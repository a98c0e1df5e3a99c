import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from braintumorseg import trial
from braintumorseg.errors import ModelError, ResourceError
from braintumorseg.model_zoo import load_model
from braintumorseg.trial import try_out


def network(folder, last="Sigmoid", channels=4, regions=3, bias=0.0, strides=1):
    """A convolution of `channels` to `regions` and an activation."""
    weight = numpy_helper.from_array(np.full((regions, channels, 1, 1, 1), 5, np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight", "bias"], ["y"], strides=[strides] * 3), helper.make_node(last, ["y"], ["p"])], "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, "i", "j", "k"])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, regions, None, None, None])],
        [weight, numpy_helper.from_array(np.full(regions, bias, np.float32), "bias")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), folder / "net.onnx")
    return folder / "net.onnx"


def test_a_network_that_answers_as_its_card_says_passes(tmp_path, toy_model):
    try_out(network(tmp_path), toy_model.card)
    brain = load_model("brain")
    try_out(brain.weights, brain.card)


@pytest.mark.parametrize("wrong, words", [
    ({"last": "Identity"}, "no probabilities"), ({"bias": np.nan}, "no number"), ({"regions": 2}, "2 x 64 x 64 x 64 numbers, and 3 regions"),
    ({"strides": 2}, "3 x 32 x 32 x 32 numbers"), ({"channels": 5}, "could not be run"), ({"last": "Unheard"}, "cannot be opened|could not be run"),
], ids=["logits", "NaN", "two regions", "half the size", "five inputs", "unknown operator"])
def test_a_network_that_does_not_is_refused(tmp_path, toy_model, wrong, words):
    with pytest.raises(ModelError, match=words):
        try_out(network(tmp_path, **wrong), toy_model.card)


def test_where_nothing_can_run_it_it_goes_untried(tmp_path, toy_model, monkeypatch):
    def refuses(*_):
        raise ResourceError("No ONNX Runtime is installed.")

    monkeypatch.setattr(trial, "Session", refuses)
    try_out(tmp_path / "net.onnx", toy_model.card)
