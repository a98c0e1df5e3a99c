"""One volume onto another grid, in world coordinates."""

from __future__ import annotations

import math

import numpy as np

from .io.itk import itk_geometry, to_itk
from .separable import ParallelAxes
from .volume import Grid, Volume

__all__ = ["canonical_grid", "resample", "seen_by", "within_reach"]

# Steps along an axis of the moving volume past which samples would be skipped: smooth first, or details alias.
_ALIASING_STEP = 1.5
_FAR_STEP = 4.0
# Voxels. Where nothing is smoothed, matrices take 0.3 of ITK's time for 256³, as much for 384³ and 1.8 times as much for 512³ (2 cores);
# where something is, 0.1 of it.
_MOST_BY_MATRICES = 5e7
_ROUNDING = 1e-6  # voxels: what lies on a border counts as within it


def canonical_grid(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid that covers `grid`'s field of view with `spacing_mm` along axes that grow right, anterior, superior.

    The axes stay those of `grid` (flipped and swapped, never turned), so a grid that already has that spacing is met voxel by voxel.
    """
    own = grid.canonical()
    old, new = np.array(own.spacing_mm), np.array(spacing_mm, float)
    if np.abs(old - new).max() < 1e-3:
        return own
    shape = np.maximum(np.ceil(np.array(own.size_mm) / new - 1e-3), 1).astype(int)
    affine = own.affine.copy()
    affine[:3, :3] = own.affine[:3, :3] / old * new
    # Both grids share their first voxel's outer corner, not its centre.
    affine[:3, 3] = own.affine[:3, 3] + (affine[:3, :3] - own.affine[:3, :3]) @ np.full(3, 0.5)
    return Grid(tuple(shape), affine)


def resample(volume: Volume, grid: Grid, *, linear: bool = True, fill: float = 0.0, moved: np.ndarray | None = None) -> Volume:
    """`volume` at the voxel centres of `grid`: float32 by linear interpolation, or its own type from the nearest voxel.

    Args:
        volume: (I, J, K) voxels on their own grid.
        grid: where to sample.
        linear: interpolate (images, probabilities) or take the nearest voxel (labels, masks).
        fill: the value outside `volume`.
        moved: 4x4 rigid transform in world mm (RAS+), a point of `grid` -> the same anatomy in `volume`; None for the identity.

    Where the step of `grid` exceeds 1.5 voxels of `volume`, the image is smoothed first (Gaussian, sigma of half the step), so that
    nothing aliases.
    """
    if moved is None and volume.grid.same_as(grid):
        return volume.with_voxels(volume.voxels.astype(np.float32)) if linear else volume
    into = np.linalg.inv(volume.affine) @ (np.eye(4) if moved is None else moved) @ grid.affine
    blocks, variances = _smoothing(volume.grid, grid) if linear else ([1] * 3, [0.0] * 3)
    box = _covered(volume.shape, into, grid, _reach(blocks, variances))
    if box is None:
        return Volume(np.full(grid.shape, fill, np.float32 if linear else volume.voxels.dtype), grid.affine)
    box = _whole_blocks(box, blocks, volume.shape)
    volume = Volume(volume.voxels[box], volume.grid.part(box).affine)
    by_matrices = linear and moved is None and (max(variances) > 0 or np.prod(grid.shape, dtype=float) < _MOST_BY_MATRICES)
    parallel = ParallelAxes.between(volume.grid, grid) if by_matrices else None
    if parallel is not None:
        return Volume(parallel.resample(volume.voxels, blocks, variances, fill), grid.affine)
    return _with_itk(volume, grid, linear, blocks, variances, fill, moved)


def seen_by(own: Grid, grid: Grid, moved: np.ndarray | None = None) -> np.ndarray | bool:
    """(I, J, K) bool, or just True for all of them: the voxels of `grid` that lie within the field of view `own`; `moved` as in `resample`.

    Half a voxel beyond the outer centres still counts.
    """
    into = np.linalg.inv(own.affine) @ (np.eye(4) if moved is None else moved) @ grid.affine
    # On each line of voxels along I the seen ones are a stretch: those on the right side of the six faces of the field of view.
    length, *across = grid.shape
    first, last = np.zeros(across), np.full(across, length - 1.0)
    for axis, count in enumerate(own.shape):
        start = into[axis, 1] * np.arange(across[0])[:, None] + into[axis, 2] * np.arange(across[1]) + into[axis, 3]     # (J, K)
        step = into[axis, 0] or 1e-30
        ends = (-0.5 - _ROUNDING - start) / step, (count - 0.5 + _ROUNDING - start) / step
        np.maximum(first, ends[int(step < 0)], out=first)
        np.minimum(last, ends[int(step > 0)], out=last)
    first = np.ceil(np.minimum(first, length)).astype(np.int16)
    last = np.floor(np.maximum(last, -1)).astype(np.int16)
    if first.max() <= 0 and last.min() >= length - 1:
        return True
    along = np.arange(length, dtype=np.int16)
    return ((along >= first.T[:, :, None]) & (along <= last.T[:, :, None])).T


def within_reach(own: Grid, box: tuple[slice, slice, slice], grid: Grid) -> tuple[slice, slice, slice] | None:
    """The box of `grid` outside which `resample`, linear, reads nothing of `box` of a volume on `own`; None when that is everywhere."""
    reach = _reach(*_smoothing(own, grid))
    wide = tuple(slice(side.start - far, side.stop + far) for side, far in zip(box, reach, strict=True))
    around = own.part(wide)
    return _covered(grid.shape, np.linalg.inv(grid.affine) @ around.affine, around, [0, 0, 0])


def _covered(shape: tuple[int, ...], into: np.ndarray, grid: Grid, margin: list[int]) -> tuple[slice, slice, slice] | None:
    """The box of a volume of `shape` around all voxels of `grid`, `into` being grid -> volume in voxels; None when there is none."""
    corners = grid.corners @ into[:3].T
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - margin, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + margin + 1, shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)) if (low < high).all() else None


def _smoothing(moving: Grid, fixed: Grid) -> tuple[list[int], list[float]]:
    """Along each axis of the moving grid: voxels a block to average first, and the variance (voxels²) of the Gaussian after that."""
    # Step of the fixed grid seen along each axis of the moving one, in voxels of the moving one.
    steps = np.abs(np.linalg.inv(moving.affine[:3, :3]) @ fixed.affine[:3, :3]).max(axis=1).tolist()
    # Far steps first average whole voxels, which costs nothing; the Gaussian does the rest of the smoothing on far fewer voxels.
    blocks = [max(1, int(step // 2)) if step >= _FAR_STEP else 1 for step in steps]
    return blocks, [max((0.5 * step) ** 2 - (block**2 - 1) / 12, 0.0) if step > _ALIASING_STEP else 0.0
                    for step, block in zip(steps, blocks, strict=True)]


def _reach(blocks: list[int], variances: list[float]) -> list[int]:
    """Along each axis of the moving grid: how many voxels from a sample lies the farthest that it reads. ITK's Gaussian ends within 3 sigma."""
    return [block * (1 + math.ceil(3 * math.sqrt(variance) / block)) + block // 2 for block, variance in zip(blocks, variances, strict=True)]


def _whole_blocks(box: tuple[slice, slice, slice], blocks: list[int], shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    """`box`, grown to whole ones of the blocks that the volume of `shape` is cut into; at least to one."""
    return tuple(slice(max(0, min(side.start, n - block) // block * block), min(n, -(-side.stop // block) * block))
                 for side, block, n in zip(box, blocks, shape, strict=True))


def _with_itk(volume: Volume, grid: Grid, linear: bool, blocks: list[int], variances: list[float], fill: float, moved) -> Volume:
    import SimpleITK as sitk

    image = to_itk(volume)
    if linear:
        image = sitk.Cast(image, sitk.sitkFloat32)
    if max(blocks) > 1:
        image = sitk.BinShrink(image, blocks)
    if max(variances) > 0:
        squared_mm = [variance * mm**2 for variance, mm in zip(variances, volume.spacing_mm, strict=True)]
        image = sitk.DiscreteGaussian(image, variance=squared_mm, maximumKernelWidth=32, useImageSpacing=True)
    origin, spacing, direction = itk_geometry(grid)
    out = sitk.Resample(image, grid.shape, _itk_transform(moved), sitk.sitkLinear if linear else sitk.sitkNearestNeighbor,
                        origin, spacing, direction, fill)
    return Volume(sitk.GetArrayFromImage(out).transpose(2, 1, 0), grid.affine)


def _itk_transform(moved: np.ndarray | None):
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    if moved is not None:
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        lps = flip @ moved @ flip
        transform.SetMatrix(lps[:3, :3].ravel().tolist())
        transform.SetTranslation(lps[:3, 3].tolist())
    return transform
