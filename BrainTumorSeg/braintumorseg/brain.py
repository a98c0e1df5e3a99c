"""Where the brain is: recognise images that show the brain alone."""

from __future__ import annotations

import numpy as np

from .volume import Volume

__all__ = ["brain_only_mask", "is_brain_only"]

# A brain with its CSF measures 0.9 to 1.9 l; a head down to the chin 3 l and more.
LARGEST_BRAIN_ML = 2400.0
# Around a brain that was cut out there is empty space; a scan fills its field of view with noise.
LEAST_EMPTY = 0.05
# Resampling leaves faint ripples around a brain that was cut out: less than this share of the bright voxels is nothing.
FAINTEST = 0.005
ALIKE = 0.6  # share of the corners' voxels


def brain_only_mask(image: Volume) -> np.ndarray:
    """(I, J, K) bool: the voxels that clearly differ from the background, which is what most voxels in the corners share.

    Where they share nothing, as in the noise around a head, all voxels count.
    """
    ends = [np.unique([*range(min(3, n)), *range(max(0, n - 3), n)]) for n in image.shape]
    corners = image.voxels[np.ix_(*ends)].astype(np.float32)
    background = float(np.median(corners))
    faintest = FAINTEST * _bright(image.voxels[::2, ::2, ::2].astype(np.float32) - np.float32(background))
    if np.mean(np.abs(corners - background) <= faintest) < ALIKE:
        return np.ones(image.shape, bool)
    return (image.voxels > background + faintest) | (image.voxels < background - faintest)


def _bright(differences: np.ndarray) -> float:
    """What the brightest hundredth of the voxels that differ at all reaches; 0.0 when none does."""
    differences = np.abs(differences[differences != 0])
    return float(np.percentile(differences, 99)) if differences.size else 0.0


def is_brain_only(image: Volume) -> bool:
    """True when the image shows a brain that was cut out: empty space around it, and no more than a brain can measure."""
    mask = brain_only_mask(image)
    return bool(mask.mean() <= 1 - LEAST_EMPTY) and float(mask.sum()) * image.voxel_ml <= LARGEST_BRAIN_ML
