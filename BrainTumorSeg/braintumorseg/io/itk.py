"""Between `Volume` (I, J, K; RAS+) and SimpleITK images (array K, J, I; LPS+)."""

from __future__ import annotations

import numpy as np

from ..errors import BadImage
from ..volume import Grid, Volume

__all__ = ["from_itk", "itk_geometry", "require_right_angles", "to_itk"]

_AT_RIGHT_ANGLES = 2e-3  # cosine; what rounded direction cosines may make of a right angle (dicom_grid lets as much pass)
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def itk_geometry(grid: Grid) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """(origin mm LPS, spacing mm, direction row-major 3x3) of `grid`."""
    lps = _LPS_FROM_RAS @ grid.affine
    direction = lps[:3, :3] / np.array(grid.spacing_mm)
    return tuple(lps[:3, 3]), grid.spacing_mm, tuple(direction.ravel())


def require_right_angles(grid: Grid, whose: str = "The image") -> None:
    """Raise BadImage for a sheared affine; `whose` begins the message."""
    axes = np.array(itk_geometry(grid)[2]).reshape(3, 3)
    if np.abs(axes.T @ axes - np.eye(3)).max() > _AT_RIGHT_ANGLES:
        raise BadImage(f"{whose} has axes that are not at right angles (sheared, as after a gantry tilt).",
                       "Resample it to a rectangular grid first.")


def to_itk(volume: Volume):
    """A SimpleITK image with the same voxels and place.

    Raises BadImage for a sheared affine: ITK can hold rotations and spacings only and would move voxels in silence.
    """
    import SimpleITK as sitk

    require_right_angles(volume.grid)
    origin, spacing, direction = itk_geometry(volume.grid)
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
