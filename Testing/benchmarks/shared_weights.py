"""The shipped network for peers that run torch: our class with the weights of the .onnx file, in the form that nnU-Net's plans name."""

from __future__ import annotations

from pathlib import Path

import torch

from braintumorseg.model_zoo import load_model
from braintumorseg_training.config import Config
from braintumorseg_training.networks import ResidualUNet, build


class SharedNetwork(ResidualUNet):
    """nnU-Net builds the class that its plans.json names with these keywords."""

    def __init__(self, input_channels: int, num_classes: int, channels: list[int], deep_supervision: bool = False):
        super().__init__(tuple(channels), input_channels, num_classes)


def channels() -> tuple[int, ...]:
    """Features at each level of the shipped network, from its card."""
    return tuple(load_model().card.training["recipe"]["channels"])


def weights_of(onnx_file: Path) -> dict[str, torch.Tensor]:
    """The state dict in an exported network, float32. The head that only training uses is not exported: zeros stand for it."""
    import onnx
    from onnx import numpy_helper

    state = build(Config(channels=channels())).state_dict()
    graph = onnx.load(onnx_file).graph
    found = {tensor.name.removeprefix("network.").removesuffix("_half"): torch.from_numpy(numpy_helper.to_array(tensor).copy()).float()
             for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity":  # of two tensors with the same numbers torch writes one, and this for the other
            one, other = (name.removeprefix("network.") for name in (node.input[0], node.output[0]))
            if one in found:
                found[other] = found[one]
    missing = [name for name in state if name not in found and not name.startswith("side_head.")]
    if missing:
        raise SystemExit(f"{onnx_file.name} lacks the weights {', '.join(missing[:3])}: was it exported by another version?")
    return {name: found.get(name, torch.zeros_like(tensor)) for name, tensor in state.items()}


def shipped() -> ResidualUNet:
    """The shipped network, ready to run."""
    network = build(Config(channels=channels()))
    network.load_state_dict(weights_of(load_model().weights))
    return network.eval()
