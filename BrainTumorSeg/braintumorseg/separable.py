"""Smoothing and linear interpolation between two grids whose axes are parallel: one small matrix an axis, so three matrix products.

The matrices are what ITK's own filters make of the unit vectors, so the result is ITK's to float32's rounding, several times faster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .volume import Grid

__all__ = ["ParallelAxes"]

_PARALLEL = 1e-6  # voxels that an axis may stray over the whole grid


@dataclass(frozen=True)
class ParallelAxes:
    """How `grid` lies in a volume with parallel axes: along the volume's axis a its axis `axis[a]`, from voxel `first[a]` in steps of `step[a]`."""

    axis: tuple[int, ...]
    first: tuple[float, ...]
    step: tuple[float, ...]
    shape: tuple[int, ...]    # of the grid

    @classmethod
    def between(cls, own: Grid, grid: Grid) -> ParallelAxes | None:
        """None when the axes are not parallel."""
        into = np.linalg.inv(own.affine) @ grid.affine
        turn = into[:3, :3]
        axis = np.abs(turn).argmax(axis=1)
        astray = np.abs(turn) * (np.array(grid.shape) - 1)
        astray[range(3), axis] = 0
        if len(set(axis)) < 3 or astray.sum(axis=1).max() > _PARALLEL:
            return None
        # Rounded: grids that share their outer faces would otherwise have samples on either side of them, as the last bit falls.
        first, step = into[:3, 3].round(9), turn[range(3), axis].round(9)
        return cls(tuple(axis.tolist()), tuple(first.tolist()), tuple(step.tolist()), grid.shape)

    def resample(self, voxels: np.ndarray, blocks: list[int], variances: list[float], fill: float) -> np.ndarray:
        """(I, J, K) float32 on the grid from the volume's voxels: block means, Gaussian, linear interpolation; `fill` outside.

        blocks, variances: along each axis of the volume, in its voxels (and voxels²).
        """
        order = sorted(range(3), key=lambda a: -abs(voxels.strides[a]))  # as it lies in memory, so that the products read along it
        matrices, outside = {}, {}
        for a in range(3):
            matrices[a] = _matrix(voxels.shape[a], self.first[a], self.step[a], self.shape[self.axis[a]], blocks[a], variances[a])
            outside[a] = np.isnan(matrices[a][:, 0])
            matrices[a][outside[a]] = 0
        x = np.ascontiguousarray(voxels.transpose(order), np.float32)
        far, middle, near = (matrices[a] for a in order)
        x = x.reshape(-1, x.shape[2]) @ near.T
        x = far @ x.reshape(len(far.T), -1)
        x = middle @ x.reshape(len(far), len(middle.T), len(near))       # (far, middle, near)
        out = x.transpose([order.index(self.axis.index(b)) for b in range(3)])
        for a in range(3):
            if outside[a].any():
                np.moveaxis(out, self.axis[a], 0)[outside[a]] = fill
        return out


def _matrix(length: int, first: float, step: float, count: int, block: int, variance: float) -> np.ndarray:
    """(count, length) float32: samples at first, first + step, ... of a line of `length` voxels; NaN where they lie outside it."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.eye(length, dtype=np.float32)[None])  # along x the line, along y which of its voxels is 1
    if block > 1:
        image = sitk.BinShrink(image, [block, 1, 1])
    if variance > 0:
        image = sitk.DiscreteGaussian(image, variance=[variance, 0.0, 0.0], maximumKernelWidth=32, useImageSpacing=True)
    start = first if step > 0 else first + step * (count - 1)
    out = sitk.Resample(image, (count, length, 1), sitk.Transform(), sitk.sitkLinear, (start, 0.0, 0.0), (abs(step), 1.0, 1.0),
                        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), float("nan"))
    matrix = sitk.GetArrayFromImage(out)[0].T
    return np.ascontiguousarray(matrix if step > 0 else matrix[::-1])
