"""A packed case as patches read it: only the box that is asked for, with grafts (other tissue set in) on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

__all__ = ["Brain", "Graft"]


@dataclass(frozen=True, eq=False)
class Graft:
    """Tissue set into a brain.

    low: (3,) its first voxel there.
    image: (C, i, j, k) float32, z-scored as the brain is.
    weight: (i, j, k) float32, 0..1, its share of each voxel.
    labels: (i, j, k) uint8, those that it brings where `labelled`.
    labelled: (i, j, k) bool.
    """

    low: np.ndarray
    image: torch.Tensor
    weight: torch.Tensor
    labels: torch.Tensor
    labelled: torch.Tensor


@dataclass(frozen=True, eq=False)
class Brain:
    """channels (C, I, J, K) float16, perhaps still on the disk; labels (I, J, K) uint8; grafts, the later over the earlier.

    sequences: those of the channels that boxes show, and that grafts bring; all of them by default. What is not shown is not read.
    """

    channels: np.ndarray
    labels: np.ndarray
    grafts: list[Graft] = field(default_factory=list)
    sequences: Sequence[int] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.labels.shape

    def box(self, low: np.ndarray, size: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (sequences, *size) float32 and labels (*size) uint8 from voxel `low` on; 0 outside the volume."""
        shown = range(len(self.channels)) if self.sequences is None else self.sequences
        image = torch.zeros(len(shown), *map(int, size))
        labels = torch.zeros(*map(int, size), dtype=torch.uint8)
        here, there = _overlap(low, size, np.zeros(3, int), np.array(self.shape))
        for sequence, number in zip(image, shown, strict=True):
            sequence[here] = torch.from_numpy(self.channels[(number, *there)])
        labels[here] = torch.from_numpy(self.labels[there])
        for graft in self.grafts:
            here, there = _overlap(low, size, graft.low, np.array(graft.labels.shape))
            spot = image[(slice(None), *here)]
            spot.lerp_(graft.image[(slice(None), *there)], graft.weight[there])
            labels[here] = torch.where(graft.labelled[there], graft.labels[there], labels[here])
        return image, labels


def _overlap(low, size, other_low, other_size) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where two boxes meet, as slices of the one and of the other; empty slices where they do not."""
    first = np.maximum(low, other_low)
    last = np.maximum(np.minimum(low + size, other_low + other_size), first)
    return tuple(tuple(slice(int(a), int(b)) for a, b in zip(first - start, last - start, strict=True)) for start in (low, other_low))
