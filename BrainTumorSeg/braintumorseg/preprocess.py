"""From a study to what a network reads. Training and clinic share this file, so that they cannot drift apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .background import background_of, brain_only_mask
from .masks import bounding_box
from .model_card import ModelCard
from .normalise import normalise
from .parallel import at_once
from .resample import canonical_grid, resample, seen_by
from .study import Study
from .volume import Grid, Volume

__all__ = ["Prepared", "mask_onto", "prepare"]

_MARGIN = 4  # voxels kept around the brain, so that its edge is never the edge of the input


@dataclass(frozen=True, eq=False)
class Prepared:
    """channels (C, I, J, K) float32 in the card's order, zeros where a sequence is missing or outside the brain; brain (I, J, K) bool."""

    channels: np.ndarray
    brain: np.ndarray
    grid: Grid


def prepare(study: Study, card: ModelCard, moved: Mapping[str, np.ndarray] | None = None, brain: Volume | None = None) -> Prepared:
    """Bring every sequence onto the card's spacing in canonical orientation, crop to the brain, normalise.

    Args:
        study: sequences, each on its own grid.
        card: says which channels, spacing, size multiple and normalisation.
        moved: role -> 4x4 rigid transform, reference world -> that sequence's world (from registration); none where they agree.
        brain: where the brain is, not 0 within it, on any grid in the reference's world; None when the images show the brain alone.
    """
    grid = canonical_grid(study.reference.grid, card.spacing_mm)
    moved = moved or {}
    roles = [role for role in card.roles if role in study.volumes]
    if brain is None:
        images = {role: _onto(study.volumes[role], grid, moved.get(role)) for role in roles}
        masks = {role: brain_only_mask(image) for role, image in images.items()}
    else:
        inside = mask_onto(brain, grid)
        masks = {role: inside & seen_by(study.volumes[role].grid, grid, moved.get(role)) for role in roles}
    shown = np.logical_or.reduce(list(masks.values()))
    low, size = _crop_box(shown, card.size_multiple)
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    cropped = Grid(tuple(size), affine)
    channels = np.zeros((len(card.roles), *size), np.float32)

    def fill(role: str) -> None:
        # Where the brain is known beforehand, nothing else of a head is worth interpolating.
        image = _crop(images[role].voxels, low, size) if brain is None else _onto(study.volumes[role], cropped, moved.get(role)).voxels
        channels[card.roles.index(role)] = normalise(image, _crop(masks[role], low, size), card.normalisation)

    at_once(fill, roles)
    return Prepared(channels, _crop(shown, low, size), cropped)


def mask_onto(mask: Volume, grid: Grid, moved: np.ndarray | None = None) -> np.ndarray:
    """(I, J, K) bool on `grid`: where a mask (not 0 within), interpolated, is more than a half; a border between thick slices stays smooth.

    Just half way between two slices is outside, whatever rounding makes of it.
    """
    if moved is None and mask.grid.same_as(grid):
        return mask.voxels != 0
    return resample(mask.with_voxels((mask.voxels != 0).astype(np.uint8)), grid, moved=moved).voxels > 0.5 + 1e-5


def _onto(volume: Volume, grid: Grid, moved: np.ndarray | None) -> Volume:
    if moved is None:
        turned = volume.canonical()
        if turned.grid.same_as(grid):
            return turned  # flips only: no interpolation, no copy
    return resample(volume, grid, fill=_background(volume), moved=moved)


def _background(volume: Volume) -> float:
    background = background_of(volume)
    return float(volume.voxels.min()) if background is None else background.value


def _crop_box(brain: np.ndarray, multiple: int) -> tuple[np.ndarray, np.ndarray]:
    """First voxel and size of the box around `brain` with its margin; the size is a multiple, the box may reach outside the volume."""
    box = bounding_box(brain) or tuple(slice(0, n) for n in brain.shape)
    low = np.array([side.start for side in box]) - _MARGIN
    high = np.array([side.stop for side in box]) + _MARGIN
    size = -(-(high - low) // multiple) * multiple
    return low - (size - (high - low)) // 2, size


def _crop(voxels: np.ndarray, low: np.ndarray, size: np.ndarray) -> np.ndarray:
    """voxels[low : low + size], zeros where that reaches outside."""
    out = np.zeros(size, voxels.dtype)
    first, last = np.maximum(low, 0), np.minimum(low + size, voxels.shape)
    inside = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    out[tuple(slice(a - b, c - b) for a, b, c in zip(first, low, last, strict=True))] = voxels[inside]
    return out
