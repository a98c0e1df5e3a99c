"""Slices that are shifted against their normal (gantry tilt): a grid with right angles for them, and their pixels on it."""

from __future__ import annotations

import numpy as np

from ..volume import Grid, Volume

__all__ = ["upright", "upright_grid"]


def upright_grid(tilted: Grid) -> Grid:
    """The grid whose slices are those of `tilted`, wide enough for all of them, with K along their normal."""
    shifts = _shifts(tilted)
    low, high = np.floor(shifts.min(0)).astype(int), np.ceil(shifts.max(0)).astype(int)
    affine = tilted.affine.copy()
    affine[:3, 2] = _normal_step(tilted)
    affine[:3, 3] += affine[:3, :2] @ low
    return Grid((*(np.array(tilted.shape[:2]) + high - low), tilted.shape[2]), affine)


def upright(volume: Volume) -> Volume:
    """`volume` of a tilted grid on its `upright_grid`: float32, linear within each slice, the lowest value outside."""
    from scipy.ndimage import shift

    grid = upright_grid(volume.grid)
    shifts = _shifts(volume.grid)
    low = np.floor(shifts.min(0)).astype(int)
    voxels = np.full(grid.shape, volume.voxels.min(), np.float32)
    room = np.array(grid.shape[:2]) - volume.shape[:2]
    for k, by in enumerate(shifts - low):
        padded = np.pad(volume.voxels[:, :, k].astype(np.float32), [(0, room[0]), (0, room[1])], constant_values=volume.voxels.min())
        voxels[:, :, k] = shift(padded, by, order=1, mode="constant", cval=float(volume.voxels.min()))
    return Volume(voxels, grid.affine)


def _normal_step(tilted: Grid) -> np.ndarray:
    i, j, k = tilted.affine[:3, :3].T
    normal = np.cross(i, j)
    normal /= np.linalg.norm(normal)
    return normal * (normal @ k)


def _shifts(tilted: Grid) -> np.ndarray:
    """(K, 2): how far slice k lies along I and J from straight above slice 0, in voxels."""
    across = tilted.affine[:3, 2] - _normal_step(tilted)
    per_slice = np.linalg.lstsq(tilted.affine[:3, :2], across, rcond=None)[0]
    return (np.arange(tilted.shape[2])[:, None] * per_slice).round(6)  # else a sample on the edge may fall outside by 1e-16
