"""What an image shows and what is empty space around it, and whether what it shows is a brain that was cut out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from .volume import Grid, Volume

__all__ = ["LARGEST_BRAIN_ML", "Background", "background_of", "brain_only_mask", "is_brain_only", "sections"]

# A brain with its CSF measures 0.9 to 1.9 l; a head down to the chin 3 l and more.
LARGEST_BRAIN_ML = 2400.0
# Past these it may be a head that is not all in view: 25 brains that were cut out measure at most 1731 ml and 166, 153 and 198 cm² in their
# largest section across these axes; heads 210 cm² and more in the last, from 7 cm below the vertex on.
ORDINARY_BRAIN_ML = 1800.0
ORDINARY_SECTION_CM2 = dict.fromkeys("RL", 190.0) | dict.fromkeys("AP", 165.0) | dict.fromkeys("SI", 205.0)
# What is shown, over the brain found in it: at most 1.11 in 97 images of brains that were cut out, 1.67 and more in 60 of heads.
MOST_OVER_BRAIN = 1.3
# Around a brain that was cut out there is empty space; a scan fills its field of view with noise.
LEAST_EMPTY = 0.05
# Resampling leaves faint ripples around a brain that was cut out: less than this share of the bright voxels is nothing.
FAINTEST = 0.005
ALIKE = 0.6  # share of the corners' voxels


@dataclass(frozen=True)
class Background:
    """The value of the empty space around what an image shows; what differs from it by at most `faintest` is empty, too."""

    value: float
    faintest: float

    def shown(self, voxels: np.ndarray) -> np.ndarray:
        """(...) bool: what is not background."""
        low, high = self.value - self.faintest, self.value + self.faintest
        if voxels.dtype.kind in "iu":
            low, high = math.ceil(low), math.floor(high)  # the same, and whole numbers are compared without a copy
        return (voxels > high) | (voxels < low)


_backgrounds: WeakKeyDictionary[Volume, Background | None] = WeakKeyDictionary()  # of the volumes that are in use: many steps ask


def background_of(image: Volume) -> Background | None:
    """What most voxels in the corners share; None where they share nothing, as in the noise around a head."""
    if image not in _backgrounds:
        _backgrounds[image] = _look_into_corners(image)
    return _backgrounds[image]


def _look_into_corners(image: Volume) -> Background | None:
    ends = [np.unique([*range(min(3, n)), *range(max(0, n - 3), n)]) for n in image.shape]
    corners = image.voxels[np.ix_(*ends)].astype(np.float32)
    value = float(np.median(corners))
    faintest = FAINTEST * _bright(image.voxels[::2, ::2, ::2].astype(np.float32) - np.float32(value))
    return Background(value, faintest) if np.mean(np.abs(corners - value) <= faintest) >= ALIKE else None


def _bright(differences: np.ndarray) -> float:
    """What the brightest hundredth of the voxels that differ at all reaches; 0.0 when none does."""
    differences = np.abs(differences[differences != 0])
    return float(np.percentile(differences, 99)) if differences.size else 0.0


def brain_only_mask(image: Volume) -> np.ndarray:
    """(I, J, K) bool: the voxels that clearly differ from the background; all of them where there is none (see `background_of`)."""
    background = background_of(image)
    return np.ones(image.shape, bool) if background is None else background.shown(image.voxels)


def is_brain_only(image: Volume, find: Callable[[Volume], Volume] | None = None, *, doubted: bool = False) -> bool:
    """True when the image shows a brain that was cut out: empty space around it, and hardly more than the brain.

    A head in air that was set to 0 can look like that, and measure no more, where its lower part is out of view. `find` (a volume -> its
    brain on its own grid, not 0 within) tells them apart. It takes its time, so it is asked only where more is shown than an ordinary
    brain, or where the image is `doubted` for another reason; without it the size alone decides.
    """
    background = background_of(image)
    if background is None:
        return False
    thinned = tuple(slice(None, None, max(1, n // 64)) for n in image.shape)  # half a million voxels tell the size to 0.1 %
    shown = background.shown(image.voxels[thinned])
    share = np.count_nonzero(shown) / shown.size
    ml = share * math.prod(image.shape) * image.voxel_ml
    if share > 1 - LEAST_EMPTY or ml > LARGEST_BRAIN_ML:
        return False
    if find is None or not (doubted or ml > ORDINARY_BRAIN_ML or _is_wide(shown, image.grid)):
        return True
    return bool(ml <= MOST_OVER_BRAIN * np.count_nonzero(find(image).voxels) * image.voxel_ml)


def sections(mask: np.ndarray) -> list[np.ndarray]:
    """How many voxels of `mask` (I, J, K) each layer across I, J and K has."""
    counted = mask.view(np.uint8)
    along_k, along_i = counted.sum(axis=2, dtype=np.int64), counted.sum(axis=0, dtype=np.int64)
    return [along_k.sum(axis=1), along_k.sum(axis=0), along_i.sum(axis=0)]


def _is_wide(shown: np.ndarray, grid: Grid) -> bool:
    """Whether a section of what is shown (bool, evenly thinned) is larger than those of an ordinary brain."""
    field_cm2 = math.prod(grid.size_mm) / np.array(grid.size_mm) / 100
    layer = np.array(shown.size) / shown.shape  # voxels
    largest = [counts.max() for counts in sections(shown)] / layer * field_cm2
    return any(cm2 > ORDINARY_SECTION_CM2[grows] for cm2, grows in zip(largest, grid.orientation, strict=True))
