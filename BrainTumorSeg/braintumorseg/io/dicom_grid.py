"""Where the slices of a DICOM series lie, as a `Grid`, and the same voxels with their axes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import nibabel
import numpy as np

from ..errors import BadImage, GridMismatch
from ..volume import Grid, Volume

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["LPS_FROM_RAS", "onto_grid", "series_grid"]

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # and back: it is its own inverse

_SAME_PLACE_MM = 0.01  # above the rounding of decimal strings and of NIfTI's float32 affines, far below any voxel


def series_grid(slices: Sequence[Dataset]) -> Grid:
    """The grid of one series of single-frame slices: I along a row, J down a column, K along the slice normal.

    As PS3.3 C.7.6.2.1.1 places pixels. Raises BadImage when the slices do not make one regular box of voxels.
    """
    first = slices[0]
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if any(name not in one for one in slices):
            raise BadImage(f"A slice of the DICOM series has no {name}.", "Export the series from the PACS again.")
    for name, tolerance in (("Rows", 0), ("Columns", 0), ("PixelSpacing", 1e-4), ("ImageOrientationPatient", 1e-3)):
        if any(np.abs(np.subtract(one[name].value, first[name].value)).max() > tolerance for one in slices):
            raise BadImage(f"The slices of the DICOM series differ in {name}.", "Give one series without localizers.")
    along_row, down_column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, first.PixelSpacing)
    normal = np.cross(along_row, down_column)
    positions = np.array(sorted((one.ImagePositionPatient for one in slices), key=lambda p: np.dot(normal, p)), float)
    affine = np.eye(4)
    affine[:3, 0] = along_row * between_columns
    affine[:3, 1] = down_column * between_rows
    affine[:3, 2] = _step(positions, normal, first)
    affine[:3, 3] = positions[0]
    return Grid((first.Columns, first.Rows, len(slices)), LPS_FROM_RAS @ affine)


def onto_grid(volume: Volume, grid: Grid, name: str, part: bool = False) -> Volume:
    """`volume` with its axes flipped and swapped as `grid` has them; no interpolation.

    Raises GridMismatch (about `name`) unless the voxels of `volume` are those of `grid`, or with `part` some of them: the
    others are 0 then.
    """
    to_grid = np.linalg.inv(grid.affine) @ volume.affine
    turn = nibabel.io_orientation(to_grid)
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(turn, volume.shape)
    turned = Volume(nibabel.apply_orientation(volume.voxels, turn), affine)
    start = np.rint((np.linalg.inv(grid.affine) @ turned.affine)[:3, 3]).astype(int)
    window = Grid(turned.shape, grid.affine @ nibabel.affines.from_matvec(np.eye(3), start))
    inside = (start >= 0).all() and (start + turned.shape <= grid.shape).all() and (part or turned.shape == grid.shape)
    if not inside or not turned.grid.same_as(window, _SAME_PLACE_MM):
        raise GridMismatch(f"{name} is {volume.grid.describe()}, and the series {grid.describe()}: their voxels differ.",
                           "Give the series in which the segmentation was made.")
    if turned.shape == grid.shape:
        return Volume(turned.voxels, grid.affine)
    voxels = np.zeros(grid.shape, turned.voxels.dtype)
    voxels[tuple(slice(a, a + n) for a, n in zip(start, turned.shape, strict=True))] = turned.voxels
    return Volume(voxels, grid.affine)


def _step(positions: np.ndarray, normal: np.ndarray, first: Dataset) -> np.ndarray:
    """The vector (mm) from one slice to the next of sorted `positions` (n, 3)."""
    if len(positions) == 1:
        return normal * float(first.get("SpacingBetweenSlices") or first.get("SliceThickness") or 1.0)
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    expected = positions[0] + np.arange(len(positions))[:, None] * step
    if np.abs(positions - expected).max() > 0.01 * np.linalg.norm(step):
        raise BadImage("The slices of the DICOM series are not evenly spaced (one is missing or there twice).",
                       "Export the complete series from the PACS again.")
    return step
