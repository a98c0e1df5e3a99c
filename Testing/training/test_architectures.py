from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from braintumorseg.model_zoo import load_model
from braintumorseg.runtime import open_session
from braintumorseg_training import export as exporting
from braintumorseg_training.architectures import ARCHITECTURES, _Gate
from braintumorseg_training.config import NETWORKS, Config, config_from
from braintumorseg_training.data import Split
from braintumorseg_training.networks import build
from braintumorseg_training.train import fit

SPLIT = Split(("case0", "case1"), ())
CHANNELS = {"resunet": (8, 12, 16), "unet": (8, 12, 16), "attention_unet": (8, 12, 16), "segresnet": (8, 16, 32, 64)}


def configured(name: str) -> Config:
    side = 2 * 2 ** len(CHANNELS[name])
    return Config(network=name, channels=CHANNELS[name], patch=(side,) * 3, steps=2, bf16=False)


def test_the_names_of_the_configuration_are_the_networks_there_are():
    assert set(NETWORKS) == set(ARCHITECTURES) == set(CHANNELS)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_trains_and_exports_like_torch_to_a_graph_without_interpolation_or_control_flow(name, packed, tmp_path):
    fit(configured(name), packed, SPLIT, tmp_path / "run", device="cpu", say=lambda line: None)
    said = []
    path = exporting.export(tmp_path / "run", packed, SPLIT, tmp_path / "out", "tiny", "1", say=said.append)   # refuses what differs
    assert "at most" in said[0]
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert operators & {"Resize", "Upsample", "If", "Loop", "Scan", "GridSample"} == set()
    assert "ConvTranspose" in operators
    assert load_model(path).card.training["recipe"]["network"] == name
    assert open_session(path, "cpu").run(np.zeros((4, 32, 16, 48), np.float32)).shape == (3, 32, 16, 48)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_answers_at_a_quarter_of_the_resolution_too_in_training(name):
    network = build(configured(name))
    x = torch.zeros(1, 4, 16, 32, 16)
    logits, side = network.train()(x)
    assert (logits.shape, side.shape) == ((1, 3, 16, 32, 16), (1, 3, 4, 8, 4))
    with torch.inference_mode():
        assert network.eval()(x).shape == (1, 3, 16, 32, 16)
    assert all(part in set(network.modules()) for part in network.encoder_modules())


def test_a_resunets_weights_have_the_names_and_shapes_of_the_embedded_networks():
    model = load_model("glioma")
    config = config_from(Config, model.card.training["recipe"])
    embedded = {tensor.name.removesuffix("_half"): tuple(tensor.dims) for tensor in onnx.load(model.weights).graph.initializer}
    wanted = {f"network.{name}": tuple(value.shape) for name, value in build(config).state_dict().items()
              if not name.startswith("side_head") and not name.endswith("norm3.bias")}   # the sum of two norms: equal to norm2's, stored once
    assert {"network.stem.weight", "network.first.conv1.conv.weight"} <= set(wanted)
    assert {name: embedded.get(name) for name in wanted} == wanted


def test_a_gate_weighs_each_voxel_between_nothing_and_all_of_it():
    torch.manual_seed(0)
    gate, features, below = _Gate(8), torch.randn(1, 8, 4, 4, 4), torch.randn(1, 8, 4, 4, 4)
    share = gate(features, below) / features
    torch.testing.assert_close(share, share[:, :1].expand_as(share))
    assert 0 < share.min() < share.max() < 1
    gate.weight.bias.data.fill_(-50.0)
    assert gate(features, below).abs().max() < 1e-6


def test_the_gates_leave_the_first_skip_as_it_is():
    network = build(configured("attention_unet"))
    features = torch.randn(1, 8, 4, 4, 4)
    assert network.skip(0, features, features) is features
    assert len(network.gates) == 1
    with pytest.raises(Exception, match="three channels"):
        replace(configured("attention_unet"), channels=(8, 8))
