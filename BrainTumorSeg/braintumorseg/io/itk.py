"""Between `Volume` (I, J, K; RAS+) and SimpleITK images (array K, J, I; LPS+)."""

from __future__ import annotations

import numpy as np

from ..errors import BadImage
from ..volume import Grid, Volume

__all__ = ["from_itk", "itk_geometry", "to_itk"]

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def itk_geometry(grid: Grid) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """(origin mm LPS, spacing mm, direction row-major 3x3) of `grid`."""
    lps = _LPS_FROM_RAS @ grid.affine
    direction = lps[:3, :3] / np.array(grid.spacing_mm)
    return tuple(lps[:3, 3]), grid.spacing_mm, tuple(direction.ravel())


def to_itk(volume: Volume):
    """A SimpleITK image with the same voxels and place.

    Raises BadImage for a sheared affine: ITK can hold rotations and spacings only and would move voxels in silence.
    """
    import SimpleITK as sitk

    origin, spacing, direction = itk_geometry(volume.grid)
    axes = np.array(direction).reshape(3, 3)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
        raise BadImage("The image's axes are not at right angles (sheared, as after a gantry tilt).",
                       "Resample it to a rectangular grid first.")
    voxels = volume.voxels
    if voxels.dtype == bool or not voxels.dtype.isnative or voxels.dtype == np.float16:
        voxels = voxels.astype(np.uint8 if voxels.dtype == bool else np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    return image


def from_itk(image) -> Volume:
    """The Volume of a 3-D scalar SimpleITK image."""
    import SimpleITK as sitk

    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Volume(sitk.GetArrayFromImage(image).transpose(2, 1, 0), _LPS_FROM_RAS @ affine)
