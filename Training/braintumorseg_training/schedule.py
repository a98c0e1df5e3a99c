"""The optimiser and its rate over a run, both by name."""

from __future__ import annotations

import math

import torch

from .config import RunConfig

__all__ = ["build_optimiser", "learning_rate", "set_rate"]


def build_optimiser(config: RunConfig, network: torch.nn.Module) -> torch.optim.Optimizer:
    """AdamW (Loshchilov 2019), or SGD with Nesterov momentum as in nnU-Net (Isensee 2021)."""
    if config.optimiser == "sgd":
        return torch.optim.SGD(network.parameters(), lr=config.learning_rate, momentum=0.99, nesterov=True, weight_decay=config.weight_decay)
    return torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.99))


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
        group["lr"] = rate
