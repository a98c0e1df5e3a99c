"""The shipped network for peers that run torch: our class with the weights of the .onnx file, in the form that nnU-Net's plans name."""

from __future__ import annotations

from pathlib import Path

import torch

from braintumorseg.model_zoo import load_model
from braintumorseg_training.config import Config
from braintumorseg_training.networks import ResidualUNet, build, without_norms
from braintumorseg_training.transfer import read_weights


class SharedNetwork(ResidualUNet):
    """nnU-Net builds the class that its plans.json names with these keywords."""

    def __init__(self, input_channels: int, num_classes: int, channels: list[int], norm: str = "instance", deep_supervision: bool = False):
        super().__init__(tuple(channels), input_channels, num_classes)
        if norm == "none":
            without_norms(self)


def sizes() -> dict[str, object]:
    """`channels` and `norm` of the shipped network, as a configuration has them, from its card."""
    recipe = load_model().card.training["recipe"]
    return {"channels": tuple(recipe["channels"]), "norm": recipe.get("norm", "instance")}


def weights_of(onnx_file: Path) -> dict[str, torch.Tensor]:
    """The state dict in an exported network, float32. The head that only training uses is not exported: zeros stand for it."""
    state = build(Config(**sizes())).state_dict()
    found = {name.removeprefix("network."): tensor for name, tensor in read_weights(onnx_file).items()}
    missing = [name for name in state if name not in found and not name.startswith("side_head.")]
    if missing:
        raise SystemExit(f"{onnx_file.name} lacks the weights {', '.join(missing[:3])}: was it exported by another version?")
    return {name: found.get(name, torch.zeros_like(tensor)) for name, tensor in state.items()}


def shipped() -> ResidualUNet:
    """The shipped network, ready to run."""
    network = build(Config(**sizes()))
    network.load_state_dict(weights_of(load_model().weights))
    return network.eval()


def exact_float32() -> None:
    """float32 as the engine's CUDA provider has it, for this process: by itself torch rounds a convolution's factors to 10 bits on newer cards."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True   # the fastest algorithm for the size, found in the run that does not count
