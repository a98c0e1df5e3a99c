"""Lesions of one patient in the brain of another (CarveMix: Zhang et al., MICCAI 2021), so that a network sees tumours in more places."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

__all__ = ["transplant"]


def transplant(channels: torch.Tensor, labels: torch.Tensor, spots: dict, donor, rng: np.random.Generator):
    """Carve a lesion of `donor` out, scaled to 0.4..1 of its size, and set it into this brain, wherever its middle finds brain.

    Returns new channels (C, I, J, K), labels (I, J, K) and spots; the brain's own lesion stays where the other does not cover it.
    Both brains are z-scored, so the intensities go over as they are; the seam is blended over about 3 voxels.
    """
    found = np.argwhere(donor.labels > 0)
    if not len(found):
        return channels, labels, spots
    low, high = found.min(0) - 6, found.max(0) + 7
    low, high = np.maximum(low, 0), np.minimum(high, donor.labels.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    scale = rng.uniform(0.4, 1.0)
    image = np.stack([ndimage.zoom(c.astype(np.float32), scale, order=1) for c in donor.channels[(slice(None), *box)]])
    lesion = ndimage.zoom(donor.labels[box], scale, order=0)
    if rng.random() < 0.5:
        image, lesion = image[:, ::-1].copy(), lesion[::-1].copy()
    brain = (channels != 0).any(0).numpy()
    place = _place(brain, lesion > 0, rng)
    if place is None:
        return channels, labels, spots
    at = tuple(slice(a, a + n) for a, n in zip(place, lesion.shape, strict=True))
    weight = ndimage.gaussian_filter(ndimage.binary_dilation(lesion > 0, iterations=2).astype(np.float32), 1.0)
    weight = weight * brain[at]
    new_channels, new_labels = channels.float(), labels.clone()
    mix = torch.from_numpy(weight)
    new_channels[(slice(None), *at)] = new_channels[(slice(None), *at)] * (1 - mix) + torch.from_numpy(image) * mix
    carried = torch.from_numpy((lesion > 0) & brain[at])
    new_labels[at] = torch.where(carried, torch.from_numpy(lesion), new_labels[at])
    middle = np.argwhere(carried.numpy())
    picked = middle[rng.integers(len(middle), size=min(200, len(middle)))] + np.array(place)
    values = new_labels.numpy()[tuple(picked.T)]
    return new_channels, new_labels, {value: picked[values == value] for value in spots}


def _place(brain: np.ndarray, lesion: np.ndarray, rng: np.random.Generator):
    """First voxel of a place where nine tenths of the lesion lie in the brain; None when ten tries find none."""
    room = np.array(brain.shape) - np.array(lesion.shape)
    if (room < 1).any():
        return None
    for _ in range(10):
        place = rng.integers(0, room + 1)
        at = tuple(slice(a, a + n) for a, n in zip(place, lesion.shape, strict=True))
        if brain[at][lesion].mean() > 0.9:
            return place
    return None
