"""Lesions where they were not: of one patient in the brain of another (CarveMix: Zhang et al., MICCAI 2021); none or a faint one where there was one.

Brains are z-scored, so intensities go over as they are; the seam is blended over about 3 voxels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from .brain_view import Brain, Graft

__all__ = ["fade", "heal", "mirror_of", "transplant"]

HEALED = 0.97  # of a lesion must have healthy brain opposite


def transplant(brain: Brain, donor: Brain, scales: tuple[float, float], rng: np.random.Generator) -> Graft | None:
    """The lesion of `donor`, scaled by a factor within `scales`, in this brain wherever its middle finds tissue; None when there is no room.

    The brain's own lesion stays where the other does not cover it.
    """
    found = ndimage.find_objects((donor.labels > 0).astype(np.uint8))
    if not found:
        return None
    low = np.maximum([side.start - 6 for side in found[0]], 0)
    image, labels = donor.box(low, np.minimum([side.stop + 6 for side in found[0]], donor.shape) - low)
    scale = rng.uniform(*scales)
    size = [max(4, round(side * scale)) for side in labels.shape]
    image = F.interpolate(image[None], size=size, mode="trilinear")[0]
    labels = F.interpolate(labels[None, None].float(), size=size, mode="nearest-exact")[0, 0].to(torch.uint8)
    if rng.random() < 0.5:
        image, labels = image.flip(1), labels.flip(0)
    lesion = labels.numpy() > 0
    place = _place(brain, lesion, rng) if lesion.any() else None
    if place is None:
        return None
    inside = _tissue(brain, place, lesion.shape)
    return Graft(place, image, _blended(lesion, 2) * torch.from_numpy(inside), labels, torch.from_numpy(lesion & inside))


def heal(brain: Brain, mirror: int) -> Graft | None:
    """The tissue of the other side in the place of this brain's lesion, so that none is left; None where that side is not healthy or not brain.

    `mirror`: voxel i of the first axis (left to right) lies opposite voxel mirror - i.
    """
    found = _opposite(brain, mirror)
    if found is None:
        return None
    low, image, weight, labels = found
    return Graft(low, image, weight, torch.zeros_like(labels), weight > 0.5)


def fade(brain: Brain, mirror: int, share: float) -> Graft | None:
    """This brain's lesion fainter: mixed with that share (0..1) of the tissue of the other side; its labels stay. None and `mirror` as in `heal`."""
    found = _opposite(brain, mirror)
    if found is None:
        return None
    low, image, weight, labels = found
    return Graft(low, image, share * weight, labels, torch.zeros_like(labels, dtype=torch.bool))


def _opposite(brain: Brain, mirror: int) -> tuple[np.ndarray, torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """A box around the lesion: first voxel, the other side's tissue, weights that are 1 on the lesion and 0 away from it, and its labels."""
    found = ndimage.find_objects((brain.labels > 0).astype(np.uint8))
    if not found:
        return None
    margin = 8
    low = np.maximum([side.start - margin for side in found[0]], 0)
    size = np.minimum([side.stop + margin for side in found[0]], brain.shape) - low
    _, labels = brain.box(low, size)
    opposite = low.copy()
    opposite[0] = mirror - (low[0] + size[0] - 1)
    image, other_labels = (x.flip(x.ndim - 3) for x in brain.box(opposite, size))
    lesion = labels.numpy() > 0
    usable = (image != 0).any(0).numpy() & (other_labels.numpy() == 0)
    if usable[lesion].mean() < HEALED:
        return None
    inside = torch.from_numpy(usable & _tissue(brain, low, lesion.shape))
    return low, image, _blended(lesion, 4) * inside, labels


def mirror_of(brain: Brain) -> int:
    """The mirror of `heal`: where the brain's outline (first axis left to right) agrees best with its own reflection."""
    outline = np.array(brain.channels[:, :, ::4, ::4] != 0).any(0)
    count = len(outline)
    best, best_found = count - 1, -1
    for mirror in range(count - 1 - count // 5, count + count // 5):
        first, last = max(0, mirror - count + 1), min(count - 1, mirror)
        part = outline[first:last + 1]
        found = int((part & part[::-1]).sum())
        if found > best_found:
            best, best_found = mirror, found
    return best


def _blended(lesion: np.ndarray, wider: int) -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(ndimage.binary_dilation(lesion, iterations=wider).astype(np.float32), 1.0))


def _tissue(brain: Brain, low: np.ndarray, size) -> np.ndarray:
    """(*size) bool: brain from voxel `low` on, which lies within the volume."""
    return np.array(brain.channels[(slice(None), *(slice(a, a + n) for a, n in zip(low, size, strict=True)))] != 0).any(0)


def _place(brain: Brain, lesion: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """First voxel of a place where nine tenths of the lesion lie in the brain; None when ten tries find none."""
    room = np.array(brain.shape) - np.array(lesion.shape)
    if (room < 1).any():
        return None
    for _ in range(10):
        place = rng.integers(0, room + 1)
        if _tissue(brain, place, lesion.shape)[lesion].mean() > 0.9:
            return place
    return None
