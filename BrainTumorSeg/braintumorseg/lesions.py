"""Lesion-wise agreement as the BraTS 2023 challenge scored it for gliomas, one region at a time.

Definition (rachitsaluja/BraTS-2023-Metrics on GitHub, parameters BraTS-GLI):
1. Truth lesions: the truth dilated by 3 voxels (three steps of the 18-neighbourhood) falls into components (26-connected);
   the true voxels inside one of them are one lesion, however many pieces they are.
2. Found lesions: the 26-connected components of what was found, not dilated and of any size.
3. Every found lesion that touches a dilated truth lesion belongs to it (one may belong to several). A truth lesion's Dice
   and HD95 compare it with all the found lesions that belong to it, together.
4. Truth lesions of 50 mm³ or less (50 voxels at 1 mm) do not count; found lesions that belong to them are not false either.
5. A truth lesion without a found one scores Dice 0 and HD95 374 mm, a found lesion that belongs to none likewise.
6. The case's value is the mean over counted truth lesions and false found ones; with none of either Dice is 1 and HD95 0.

The 2024 and later scorers differ: name the year beside every number. The definition is made for 1 mm voxels; on other
grids the dilation stays 3 voxels, as in the scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .masks import bounding_box, pieces
from .metrics import surface_distances

__all__ = ["LESION_DEFINITION", "PENALTY_MM", "LesionScores", "lesion_wise"]

LESION_DEFINITION = "BraTS 2023"
DILATION_VOXELS = 3
IGNORED_MM3 = 50.0
PENALTY_MM = 374.0  # the diagonal of a BraTS volume, 240 x 240 x 155 mm, rounded up


@dataclass(frozen=True)
class LesionScores:
    """Lesion-wise `dice` (0..1) and `hd95_mm` of one region of one case, and the counts behind them.

    `truth` counts the truth lesions above the ignored size, `found` all found lesions, `matched` the counted truth lesions
    that at least one found lesion touches, `false_found` the found lesions that touch no truth lesion of any size.
    """

    dice: float
    hd95_mm: float
    truth: int
    found: int
    matched: int
    false_found: int

    @property
    def missed(self) -> int:
        return self.truth - self.matched

    @property
    def f1(self) -> float:
        """Harmonic mean of lesion precision and recall, 0..1; 1.0 when there is no lesion to find and none false."""
        cases = 2 * self.matched + self.missed + self.false_found
        return 2 * self.matched / cases if cases else 1.0


def lesion_wise(truth: np.ndarray, found: np.ndarray, spacing_mm: Sequence[float]) -> LesionScores:
    """BraTS 2023 lesion-wise scores of two (I, J, K) bool masks on one grid of `spacing_mm`; both empty: Dice 1, HD95 0."""
    box = bounding_box(truth | found, margin=DILATION_VOXELS)
    if box is None:
        return LesionScores(1.0, 0.0, 0, 0, 0, 0)
    truth, found = truth[box], found[box]
    zones, truth_lesions, truth_count = _truth_lesions(truth)  # (I, J, K) int, (I, J, K) int
    found_lesions, found_count = pieces(found)            # (I, J, K) int
    touching = _overlaps(zones, found_lesions, truth_count, found_count)         # (truth, found) voxels
    shared = _overlaps(truth_lesions, found_lesions, truth_count, found_count)   # (truth, found) voxels
    truth_size = np.bincount(truth_lesions.ravel(), minlength=truth_count + 1)[1:]  # (truth,) voxels
    found_size = np.bincount(found_lesions.ravel(), minlength=found_count + 1)[1:]  # (found,) voxels

    counted = np.flatnonzero(truth_size * float(np.prod(spacing_mm)) > IGNORED_MM3)
    dices, distances = [], []
    for lesion in counted:
        partners = touching[[lesion]].indices
        dices.append(2 * shared[[lesion]].sum() / (truth_size[lesion] + found_size[partners].sum()))
        distances.append(_hd95(truth_lesions, lesion, found_lesions, partners, spacing_mm))
    matched = int((touching[counted].sum(axis=1) > 0).sum())
    false_found = int((touching.sum(axis=0) == 0).sum())
    scored = len(counted) + false_found
    return LesionScores(
        dice=float(sum(dices) / scored) if scored else 1.0,
        hd95_mm=float((sum(distances) + PENALTY_MM * false_found) / scored) if scored else 0.0,
        truth=len(counted), found=found_count, matched=matched, false_found=false_found)


def _truth_lesions(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """(the dilated zones numbered from 1, the truth's own voxels with the number of their zone, how many)."""
    from scipy import ndimage

    box = bounding_box(truth, margin=DILATION_VOXELS)
    zones = np.zeros(truth.shape, np.int32)
    if box is None:
        return zones, zones, 0
    near = ndimage.generate_binary_structure(3, 2)
    zones[box], count = pieces(ndimage.binary_dilation(truth[box], near, iterations=DILATION_VOXELS))
    return zones, zones * truth, count


def _overlaps(rows: np.ndarray, columns: np.ndarray, row_count: int, column_count: int):
    """Sparse (row_count, column_count): how many voxels carry both numbers; 0 is nobody's number."""
    from scipy.sparse import coo_array

    both = (rows > 0) & (columns > 0)
    pairs = (rows[both] - 1, columns[both] - 1)
    # Sparse, because noise in place of a segmentation has a hundred thousand components.
    return coo_array((np.ones(len(pairs[0]), np.int64), pairs), shape=(row_count, column_count)).tocsr()


def _hd95(truth_lesions: np.ndarray, lesion: int, found_lesions: np.ndarray, partners: np.ndarray,
          spacing_mm: Sequence[float]) -> float:
    """HD95 in mm of one truth lesion and the found lesions that belong to it; the penalty when there are none."""
    if not len(partners):
        return PENALTY_MM
    return surface_distances(truth_lesions == lesion + 1, np.isin(found_lesions, partners + 1), spacing_mm).hd95_mm
