"""Several looks at one brain: with all its sequences, and with each of them withheld in turn.

The mean of the looks hangs less on what one scanner did to one sequence, and where they disagree the network is not to be believed. A single
pass shows less of that: its probabilities are nearly as sure of a wrong outline as of a right one (see `signs`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np

from .model_card import ModelCard
from .runtime import Session
from .tiling import predict

__all__ = ["TOLD", "expected_dice", "look_again", "looks_at", "sureness"]

# Regions whose expected Dice a report tells: that of the others had next to nothing to do with the true one (rank correlation 0.2, the whole
# tumour's 0.66, over 72 pairs of network and patient; Testing/benchmarks/results/thorough_other_hospitals.md).
TOLD = ("WT",)


def looks_at(channels: np.ndarray) -> list[int | None]:
    """What each look withholds of channels (C, I, J, K): None, nothing, and then the number of each sequence that is there, if there are several.

    A sequence that is missing is 0 everywhere, as `prepare` leaves it, and so is one that a look withholds.
    """
    there = [number for number, sequence in enumerate(channels) if sequence.any()]
    return [None, *(there if len(there) > 1 else ())]


def look_again(channels: np.ndarray, session: Session, card: ModelCard, *, progress: Callable[[float], None] = lambda done: None,
               cancel: threading.Event | None = None) -> tuple[np.ndarray, int, int]:
    """(mean probabilities (R, I, J, K) float32 over the looks at channels (C, I, J, K), forward passes of one look, looks).

    Raises what `predict` does. `progress` is told the share that is done.
    """
    looks = looks_at(channels)
    total, passes, seen = None, 1, channels.copy()
    for number, withheld in enumerate(looks):
        if withheld is not None:
            seen[withheld] = 0
        found, here = predict(seen, session, card.size_multiple, card.bytes_per_voxel, regions=len(card.regions),
                              progress=lambda done, number=number: progress((number + done) / len(looks)), cancel=cancel)
        if withheld is not None:
            seen[withheld] = channels[withheld]
        passes = max(passes, here)   # memory may run short half way
        total = found if total is None else np.add(total, found, out=total)
    total /= len(looks)
    return total, passes, len(looks)


def expected_dice(probabilities: np.ndarray, card: ModelCard) -> Mapping[str, float]:
    """Region -> the Dice that its outline will have with the truth if the probabilities (R, I, J, K) are true; regions without a voxel are left out.

    2 sum(p within) / (sum(p) + voxels within): the ratio of what overlap and sizes are expected to be.
    """
    found = {region: sureness(probability, card.post_processing.thresholds[region])
             for region, probability in zip(card.regions, probabilities, strict=True)}
    return {region: dice for region, dice in found.items() if dice is not None}


def sureness(probability: np.ndarray, threshold: float) -> float | None:
    """The expected Dice of one region, (I, J, K) probabilities outlined at `threshold`; None where nothing is."""
    within = probability >= threshold
    voxels = int(np.count_nonzero(within))
    return 2 * float(probability[within].sum(dtype=float)) / (float(probability.sum(dtype=float)) + voxels) if voxels else None
