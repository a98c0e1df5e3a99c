"""Signs, in what the network saw and what it answered, that its outline is not to be believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from .masks import bounding_box
from .midline import STEEP_DEG, middle_mm
from .model_card import ModelCard
from .preprocess import Prepared
from .thorough import sureness
from .volume import Grid, Volume

__all__ = ["LEAST_FLAIR_EDGE", "MOST_OPPOSITE", "doubts", "signs"]

# Limits, chosen on runs like those that Testing/benchmarks/results/doubts.md counts. Of outlines with a Dice of 0.75 or more from the right files at
# most 0.2 lay opposite tumour (0.29 of one tumour near the middle of a head tilted by 15 degrees), and FLAIR was at least 0.44 brighter; a network's
# sureness is its own, and its card says what is usual.
MOST_OPPOSITE = 0.3
LEAST_FLAIR_EDGE = 0.3
SURENESS_BELOW_USUAL = 0.02

_COARSE_MM = 2.0                   # voxels that are looked at: finer ones cost eight times as much and say the same
_INNER_MM, _GAP_MM, _OUTER_MM = 3.0, 1.0, 4.0


def signs(ready: Prepared, probabilities: np.ndarray, labels: Volume, card: ModelCard) -> dict[str, float]:
    """What may tell a wrong outline of the whole tumour, for one look or the mean of several; {} where no tumour was found.

    Args:
        ready: channels (C, I, J, K) and their grid, axes to the right, front and top.
        probabilities: (R, I, J, K) of the card's regions, on that grid.
        labels: what was decided, on any grid in the same world; islands that it leaves out are not judged.

    Returns: `sureness`, the Dice with the truth if the probabilities are true; `opposite`, the share of the tumour that lies opposite tumour,
    left for right about the middle of the brain, where enough of it is in view to have one and the axes are not steep; `flair_edge`, how much
    brighter FLAIR is in its outer 3 mm than from 1 to 4 mm outside, in standard deviations of the brain's FLAIR, where there is one.
    """
    probability, threshold = probabilities[card.regions.index("WT")], card.post_processing.thresholds["WT"]
    sure = sureness(probability, threshold)
    if sure is None or not labels.voxels.any():
        return {}
    every = tuple(slice(None, None, max(1, round(_COARSE_MM / mm))) for mm in ready.grid.spacing_mm)
    mm = [spacing * one.step for spacing, one in zip(ready.grid.spacing_mm, every, strict=True)]
    tumour = _kept(probability[every] >= threshold, ready.grid.affine @ np.diag([*(one.step for one in every), 1]), labels)
    found = {"sureness": sure}
    if not tumour.any():
        return found
    middle = _middle(ready.brain, ready.grid)
    if middle is not None:
        found["opposite"] = _opposite(tumour, middle / every[0].step)
    flair = ready.channels[card.roles.index("flair")][every] if "flair" in card.roles else None
    if flair is not None and flair.any():
        edge = _edge(tumour, flair, mm)
        if edge is not None:
            found["flair_edge"] = edge
    return found


def doubts(found: Mapping[str, float], looks: int, card: ModelCard | None) -> Iterator[tuple[str, str]]:
    """(stable code, one sentence with what to do) for each sign beyond its limit."""
    if found.get("opposite", 0.0) > MOST_OPPOSITE:
        yield "on_both_sides", (
            f"{found['opposite']:.0%} of the tumour lies just opposite tumour on the other side: a tumour that grows across the middle does so; "
            "otherwise it is rare in gliomas and usual where a network mistakes healthy brain or a sequence. Check both sides, and that each "
            "sequence is what it is taken for.")
    if found.get("flair_edge", np.inf) < LEAST_FLAIR_EDGE:
        yield "dark_in_flair", (
            "FLAIR is hardly brighter within the outline than just outside, and in gliomas it is: check that the FLAIR is one and lies on the other "
            "sequences, and whether the outline follows anything.")
    usual = card.metrics.get("sureness", {}).get("WT", {}).get("low") if card else None
    if looks == 1 and usual is not None and found.get("sureness", 1.0) < usual - SURENESS_BELOW_USUAL:
        yield "unsure", (
            f"The network is less sure of this tumour ({found['sureness']:.2f}) than it usually was in its validation ({usual:.2f} and more), as it "
            "is of healthy brain that it takes for tumour: check the outline slice by slice.")


def _kept(tumour: np.ndarray, affine: np.ndarray, labels: Volume) -> np.ndarray:
    """The voxels of `tumour` (I, J, K; bool, voxels to world by `affine`) where `labels` have some label."""
    places = np.argwhere(tumour)                                                                  # (N, 3)
    onto = np.linalg.inv(labels.affine) @ affine
    voxels = np.rint(places @ onto[:3, :3].T + onto[:3, 3]).astype(int)
    voxels = np.clip(voxels, 0, np.array(labels.shape) - 1)                                       # half a voxel beyond the outermost centres
    kept = np.zeros_like(tumour)
    kept[tuple(places.T)] = labels.voxels[tuple(voxels.T)] != 0
    return kept


def _middle(brain: np.ndarray, grid: Grid) -> float | None:
    """Where along I, in voxels, the middle of `brain` (I, J, K; bool, I to the right) lies half way from front to back and from top to bottom.

    None where I is so far from right that nothing is mirrored along it.
    """
    if grid.tilt_deg > STEEP_DEG:
        return None
    x, box = middle_mm(brain, grid), bounding_box(brain)
    if x is None or box is None:
        return None
    _, j, k = ((side.start + side.stop - 1) / 2 for side in box)
    along_i, along_j, along_k, first = grid.affine[0]
    return float((x - first - along_j * j - along_k * k) / along_i)


def _opposite(tumour: np.ndarray, middle: float) -> float:
    """Share of the voxels of `tumour` (I, J, K; bool) whose mirror image about `middle` along I is in it."""
    i, j, k = np.nonzero(tumour)
    mirrored = round(2 * middle) - i
    there = (mirrored >= 0) & (mirrored < len(tumour))
    return float(np.count_nonzero(tumour[mirrored[there], j[there], k[there]]) / len(i))


def _edge(tumour: np.ndarray, flair: np.ndarray, mm: list[float]) -> float | None:
    """Mean FLAIR just within `tumour` (I, J, K) less that just outside, in standard deviations of the brain; None where either shows no brain."""
    from scipy import ndimage

    box = bounding_box(tumour, margin=int(np.ceil(_OUTER_MM / min(mm))))
    spread = float(flair[flair != 0].std(dtype=float))
    tumour, flair = tumour[box], flair[box]
    seen = flair != 0
    inwards = ndimage.distance_transform_edt(np.pad(tumour, 1), sampling=mm)[1:-1, 1:-1, 1:-1]
    outwards = ndimage.distance_transform_edt(~tumour, sampling=mm)
    within = tumour & (inwards <= _INNER_MM) & seen
    around = (outwards > _GAP_MM) & (outwards <= _OUTER_MM) & seen
    if not (within.any() and around.any() and spread > 0):
        return None
    return float(flair[within].mean(dtype=float) - flair[around].mean(dtype=float)) / spread
