"""The optimiser and its rate over a run, both by name."""

from __future__ import annotations

import math

import torch

from .config import RunConfig

__all__ = ["build_optimiser", "learning_rate", "set_rate"]

USUAL_SIZE = 0.05   # root mean square of a trained, normed convolution's weights; the shipped network's are between 0.046 and 0.063
_SCALE = "step_scale"  # of a parameter group; kept in checkpoints with the optimiser


def build_optimiser(config: RunConfig, network: torch.nn.Module) -> torch.optim.Optimizer:
    """AdamW (Loshchilov 2019), or SGD with Nesterov momentum as in nnU-Net (Isensee 2021).

    Where norms follow, a weight's size means nothing and one rate fits all. Without them sizes are what the folding made them, down to a hundredth
    of what they were; there each tensor's steps are as large, beside its weights, as those of a normed network (Shazeer 2018, relative steps).
    """
    weights = list(network.parameters())
    if config.norm == "none":
        weights = [{"params": [weight], _SCALE: _step_scale(weight.detach())} for weight in weights]
    if config.optimiser == "sgd":
        return torch.optim.SGD(weights, lr=config.learning_rate, momentum=0.99, nesterov=True, weight_decay=config.weight_decay)
    return torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.99))


def _step_scale(weight: torch.Tensor) -> float:
    """Of the rate, for a tensor that begins so large: 1 for biases, which are as large as they were before the folding."""
    return min(1.0, float(weight.square().mean().sqrt()) / USUAL_SIZE) if weight.dim() > 1 else 1.0


def learning_rate(config: RunConfig, step: int) -> float:
    """The rate of step number `step`, from 0 on: linear growth over `warm_up` steps, and by the schedule's name

    - constant_then_linear: constant, then a linear fall to 0 over the last `decay_share`: a run can be lengthened up to its fall;
    - poly: (1 - step / steps) ^ 0.9, as in nnU-Net;
    - cosine: half a wave down to 0 (Loshchilov 2017, without restarts).
    """
    left = max(0.0, 1 - step / config.steps)
    warm = min(1.0, (step + 1) / max(1, config.warm_up))
    if config.schedule == "poly":
        return config.learning_rate * warm * left**0.9
    if config.schedule == "cosine":
        return config.learning_rate * warm * (1 - math.cos(math.pi * left)) / 2
    decay = max(1, int(config.steps * config.decay_share))
    return config.learning_rate * min(warm, max(0.0, (config.steps - step) / decay))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get(_SCALE, 1.0)
