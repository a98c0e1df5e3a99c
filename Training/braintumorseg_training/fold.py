"""A network's norms folded into its convolutions: what each norm does to a typical case becomes a part of the weights before it.

Instance normalisation takes its mean and variance from the image at hand: all of it, so that the share of air around the brain, or the piece of the
head that a tile happens to hold, changes every feature. Batch normalisation takes them from the training data (Ioffe and Szegedy 2015) and is
then one scale and one shift a channel, which go into the convolution before it (Jacob 2018, "Quantization and training of neural networks for
efficient integer-arithmetic-only inference", section 3.2). Batch norm of one case is instance norm; so the mean statistics of the training cases
turn the one into the other, with no training. The network that comes out has no norms at all: each voxel depends on its surroundings alone.
Training goes on from there (`fit --init WEIGHTS --set norm=none`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from braintumorseg.errors import ModelError

from .config import RunConfig
from .data import load_cases
from .networks import build, normed_convolutions, without_norms
from .transfer import match_weights

__all__ = ["ENOUGH", "fold", "folded_start", "typical_images", "whole_image"]

ENOUGH = 0.99   # of a normed network's numbers: an export lacks the head of deep supervision, and nothing else may be a guess
_TYPICAL = 50   # cases whose mean statistics are those of all; each takes some seconds on a CPU
_SAY_EVERY = 10


def folded_start(config: RunConfig, found: dict[str, torch.Tensor], name: str, images: Callable[[], Iterable[torch.Tensor]],
                 say: Callable[[str], None], device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """The weights `found`, folded where they are a normed network's and the configuration wants none; as they are otherwise.

    Args:
        config: of the run that begins; a norm of "none" asks for folding.
        found: of `transfer.read_weights`.
        name: of their file, for people.
        images: the training cases, (1, C, I, J, K) each; called where they are needed (`typical_images`).
        device: what looks at them.

    Raises ModelError when norms are there and the rest of that network is not, or when norms are asked for and were folded away.
    """
    if config.network == "segresnet":    # whose norms cannot be folded
        return found
    normed, bare = (build(replace(config, norm=norm)) for norm in ("instance", "none"))
    before = match_weights(normed, found)
    norms, biases = set(normed.state_dict()) - set(bare.state_dict()), set(bare.state_dict()) - set(normed.state_dict())
    if config.norm == "instance":
        if norms.isdisjoint(before.fits) and biases <= set(match_weights(bare, found).fits):
            raise ModelError(f"{name} is of a network whose norms were folded into its convolutions, and this run would begin with random ones.",
                             "Set norm to none, or give the network that it was before.")
        return found
    if norms.isdisjoint(before.fits):
        return found
    if before.share < ENOUGH or not norms <= set(before.fits):
        raise ModelError(f"{name} gives {100 * before.share:.0f} % of the weights of the network whose norms are to be folded.",
                         "Give --init weights of the same network and channels, trained with norms; or set norm to instance.")
    normed.load_state_dict({**normed.state_dict(), **before.fits})
    folded = fold(normed.to(device), images(), say)
    return {key: value for key, value in folded.items() if key in biases or key in before.fits}


def fold(network: nn.Module, images: Iterable[torch.Tensor], say: Callable[[str], None] = lambda line: None) -> dict[str, torch.Tensor]:
    """`network`, changed in place to one without norms (`networks.without_norms`) that does to a typical image what it did; returns its state dict.

    Args:
        network: with a norm behind each convolution of its blocks, one group a channel.
        images: (1, C, I, J, K) each; whole cases, for air is a part of what their norms saw.

    Raises ModelError without images.
    """
    layers = list(normed_convolutions(network.eval()))
    seen = _statistics(network, [norm for *_, norm in layers], images)
    if not seen:
        raise ModelError("Folding norms needs images to take their statistics from, and there are none.", "Name training cases in the split.")
    with torch.no_grad():
        means, variances = ([torch.stack(of_layer).mean(0) for of_layer in zip(*kind, strict=True)] for kind in zip(*seen, strict=True))
        scales = [norm.weight * torch.rsqrt(variance + norm.eps) for (*_, norm), variance in zip(layers, variances, strict=True)]
        shifts = [norm.bias - mean * scale for (*_, norm), mean, scale in zip(layers, means, scales, strict=True)]
        without_norms(network)
        for (_, _, convolution, _), scale, shift in zip(layers, scales, shifts, strict=True):
            convolution.weight *= scale[:, None, None, None, None]
            convolution.bias.copy_(shift)
    say(f"{len(layers)} norms folded into the convolutions before them, with the statistics of {len(seen)} cases")
    return network.state_dict()


def _statistics(network: nn.Module, norms: list[nn.Module], images: Iterable[torch.Tensor]) -> list[tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """For each image: the means and the variances, (F,) each, of what came to each norm."""
    device = next(network.parameters()).device
    found: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]] = {}

    def look(norm: nn.Module, given: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(given[0], dim=(0, 2, 3, 4), correction=0)
        found[norm] = mean, variance

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    seen = []
    try:
        with torch.inference_mode():
            for image in images:
                network(image.to(device))
                seen.append(([found[norm][0] for norm in norms], [found[norm][1] for norm in norms]))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def typical_images(packed: Path, names: Sequence[str], config: RunConfig, say: Callable[[str], None]) -> Iterator[torch.Tensor]:
    """The whole images of these packed cases, (1, C, I, J, K) each; of many, those of some drawn by chance (config.seed). How far it is, is said.

    Raises MissingFile for a case that is not packed.
    """
    drawn = sorted(np.random.default_rng(config.seed).permutation(len(names))[:_TYPICAL])
    say(f"folding norms: looking at {len(drawn)} of {len(names)} training cases")
    for done, case in enumerate(load_cases(packed, [names[at] for at in drawn])):
        if done and done % _SAY_EVERY == 0:
            say(f"folding norms: {done} of {len(drawn)} cases seen")
        yield whole_image(case.channels, config.size_multiple)


def whole_image(channels: np.ndarray, multiple: int) -> torch.Tensor:
    """(C, I, J, K) as float32 (1, C, ...) with zeros behind, up to sides that are multiples of so many voxels."""
    pad = [n for side in reversed(channels.shape[1:]) for n in (0, -side % multiple)]
    return torch.nn.functional.pad(torch.from_numpy(np.array(channels)).float(), pad)[None]
