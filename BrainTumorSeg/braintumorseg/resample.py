"""One volume onto another grid, in world coordinates."""

from __future__ import annotations

import numpy as np

from .io.itk import itk_geometry, to_itk
from .volume import Grid, Volume

__all__ = ["canonical_grid", "resample", "seen_by"]

# Steps along an axis of the moving volume past which samples would be skipped: smooth first, or details alias.
_ALIASING_STEP = 1.5
_FAR_STEP = 4.0


def canonical_grid(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid that covers `grid`'s field of view with `spacing_mm` along axes that grow right, anterior, superior.

    The axes stay those of `grid` (flipped and swapped, never turned), so a grid that already has that spacing is met voxel by voxel.
    """
    own = Volume(np.broadcast_to(np.uint8(0), grid.shape), grid.affine).canonical().grid
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
    import SimpleITK as sitk

    if moved is None and volume.grid.same_as(grid):
        return volume.with_voxels(volume.voxels.astype(np.float32)) if linear else volume
    image = to_itk(volume)
    if linear:
        image = _smooth_for(sitk.Cast(image, sitk.sitkFloat32), volume.grid, grid)
    origin, spacing, direction = itk_geometry(grid)
    out = sitk.Resample(image, grid.shape, _itk_transform(moved), sitk.sitkLinear if linear else sitk.sitkNearestNeighbor,
                        origin, spacing, direction, fill)
    return Volume(sitk.GetArrayViewFromImage(out).transpose(2, 1, 0).copy(), grid.affine)


def seen_by(own: Grid, grid: Grid, moved: np.ndarray | None = None) -> np.ndarray | bool:
    """(I, J, K) bool, or just True for all of them: the voxels of `grid` that lie within the field of view `own`; `moved` as in `resample`."""
    into = np.linalg.inv(own.affine) @ (np.eye(4) if moved is None else moved) @ grid.affine
    seen = True
    for axis, length in enumerate(own.shape):
        # Along each axis of its own grid the place is a sum of three ramps, and half a voxel beyond the outer centres still counts.
        place = sum((into[axis, at] * np.arange(n, dtype=np.float32)).reshape([-1 if other == at else 1 for other in range(3)])
                    for at, n in enumerate(grid.shape)) + np.float32(into[axis, 3])
        if place.min() < -0.5 or place.max() > length - 0.5:
            seen = seen & (place >= -0.5) & (place <= length - 0.5)
    return seen


def _smooth_for(image, moving: Grid, fixed: Grid):
    import SimpleITK as sitk

    # Step of the fixed grid seen along each axis of the moving one, in voxels of the moving one.
    steps = np.abs(np.linalg.inv(moving.affine[:3, :3]) @ fixed.affine[:3, :3]).max(axis=1)
    if steps.max() <= _ALIASING_STEP:
        return image
    # Far steps first average whole voxels, which costs nothing; the Gaussian does the rest of the smoothing on far fewer voxels.
    blocks = [max(1, int(step // 2)) if step >= _FAR_STEP else 1 for step in steps]
    if max(blocks) > 1:
        image = sitk.BinShrink(image, blocks)
    variance = [max((0.5 * step) ** 2 - (block**2 - 1) / 12, 0.0) * mm**2 if step > _ALIASING_STEP else 1e-6
                for step, block, mm in zip(steps, blocks, moving.spacing_mm, strict=True)]
    return sitk.DiscreteGaussian(image, variance=variance, maximumKernelWidth=32, useImageSpacing=True)


def _itk_transform(moved: np.ndarray | None):
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    if moved is not None:
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        lps = flip @ moved @ flip
        transform.SetMatrix(lps[:3, :3].ravel().tolist())
        transform.SetTranslation(lps[:3, 3].tolist())
    return transform
