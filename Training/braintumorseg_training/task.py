"""What a network learns: the one thing in which runs of different networks differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from .lineage import Learned
from .splits import Split

__all__ = ["Task"]


@dataclass(frozen=True, eq=False)
class Task:
    """What the loop learns from. The loop is the same for every task.

    build: the network with fresh weights. What it draws in training (dropout) it draws from torch's global generator.
    stream: (first, count) -> the run's inputs and targets from number `first` on, each a function of its number alone.
    loss: (output, targets) -> scalar tensor.
    watch: (averaged network, device) -> score by name, 0..1; None where nothing is held out.
    scores: the names that `watch` gives.
    about: what is learned from, in a few words.
    measure: what the scores are, for a person.
    split: which cases are learned from and watched, for the run's folder; None where no split says it.
    learned: what the cases learned from are remembered by; () leaves the split's names.
    """

    build: Callable[[], torch.nn.Module]
    stream: Callable[[int, int], Dataset]
    loss: Callable
    watch: Callable[[torch.nn.Module, torch.device], dict[str, float]] | None
    scores: tuple[str, ...]
    about: str
    measure: str = "Dice"
    split: Split | None = None
    learned: tuple[Learned, ...] = ()
