"""Where DICOM slices lie: each one's `Place`, the `Grid` they make together, and voxels with their axes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import nibabel
import numpy as np

from ..errors import BadImage, GridMismatch
from ..volume import SAME_PLACE_MM, Grid, Volume
from .dicom_enhanced import frames_of, is_enhanced

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["LPS_FROM_RAS", "Place", "grid_of", "onto_grid", "place_of", "series_grid", "slots_of", "tilt_deg"]

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # and back: it is its own inverse

_SAME_DIRECTION = 1e-3  # of a direction cosine; scanners repeat them to 1e-5, and 1e-3 moves the edge of a head by 0.1 mm
_SAME_SPACING_MM = 1e-4
_UNEVEN = 0.02         # of a step: positions rounded to 0.01 mm stay below it at steps of 0.5 mm
_MOST_FILLED = 0.5     # of the slices that are there: beyond it more is made up than was seen
_MOST_PIXELS = 1 << 24  # 4096 x 4096: no tomographic slice comes near it
_FARTHEST_MM = 1e5     # 100 m from the isocentre
_AGAIN = "Export the complete series from the PACS again."


@dataclass(frozen=True, eq=False)
class Place:
    """Where one slice lies, as PS3.3 C.7.6.2.1.1 says it: LPS mm, from the centre of its first pixel.

    along_row: unit vector in which the column index grows; down_column: unit vector in which the row index grows.
    spacing: mm between rows, then between columns. Raises BadImage when that cannot be a slice of a tomogram.
    """

    rows: int
    columns: int
    spacing: tuple[float, float]
    along_row: np.ndarray
    down_column: np.ndarray
    position: np.ndarray
    thickness: float = 1.0

    def __post_init__(self):
        if not (self.rows > 0 and self.columns > 0 and self.rows * self.columns <= _MOST_PIXELS):
            raise BadImage(f"A header speaks of {self.rows} x {self.columns} pixels, which no MR slice has.", _AGAIN)
        if not all(1e-3 < mm < 1e3 for mm in self.spacing):
            raise BadImage(f"A header says that pixels are {self.spacing[0]:g} x {self.spacing[1]:g} mm, so nothing can be measured.", _AGAIN)
        axes = np.array([self.along_row, self.down_column])
        if not np.abs(axes @ axes.T - np.eye(2)).max() < 2 * _SAME_DIRECTION:  # also when a number is NaN
            raise BadImage("The ImageOrientationPatient of a slice is not two unit vectors at right angles.", _AGAIN)
        if not np.abs(self.position).max() < _FARTHEST_MM:
            raise BadImage("The ImagePositionPatient of a slice lies outside any scanner.", _AGAIN)

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.along_row, self.down_column)

    def differs_from(self, other: Place) -> str:
        """The first attribute in which the two cannot belong to one stack, '' when there is none."""
        if (self.rows, self.columns) != (other.rows, other.columns):
            return "Rows and Columns"
        if np.abs(np.subtract(self.spacing, other.spacing)).max() > _SAME_SPACING_MM:
            return "PixelSpacing"
        turned = max(np.abs(self.along_row - other.along_row).max(), np.abs(self.down_column - other.down_column).max())
        return "ImageOrientationPatient" if turned > _SAME_DIRECTION else ""


def place_of(dataset: Dataset) -> Place:
    """The place of a single-frame slice. Raises BadImage when its header does not say it."""
    numbers = {}
    for name, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2), ("Rows", 1), ("Columns", 1)):
        try:
            value = dataset[name].value if name in dataset else None
            value = np.empty(0) if value is None else np.array(value, float).ravel()
        except (ValueError, TypeError, OverflowError):
            raise BadImage(f"The {name} of a slice is not a number.", _AGAIN) from None
        if not value.size:
            raise BadImage(f"A slice of the DICOM series has no {name}.", "Export the series from the PACS again.")
        if len(value) != count or not np.isfinite(value).all():
            raise BadImage(f"The {name} of a slice is not {count} finite numbers.", _AGAIN)
        numbers[name] = value
    try:
        thickness = float(dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness") or 1.0)
    except (ValueError, TypeError, OverflowError):
        thickness = 1.0
    orientation = numbers["ImageOrientationPatient"]
    return Place(int(numbers["Rows"][0]), int(numbers["Columns"][0]), tuple(numbers["PixelSpacing"].tolist()),
                 orientation[:3], orientation[3:], numbers["ImagePositionPatient"], thickness)


def series_grid(slices: Sequence[Dataset]) -> Grid:
    """The grid of one series of single-frame slices, or of an Enhanced file of one stack: I along a row, J down a column, K along the normal.

    Raises BadImage when the slices do not make one regular box of voxels.
    """
    return grid_of([place_of(frame) for one in slices for frame in (frames_of(one) if is_enhanced(one) else [one])])


def grid_of(places: Sequence[Place], fill_gaps: bool = False) -> Grid:
    """The grid of slices in any order: I along a row, J down a column, K along the slice normal (sheared where they are shifted against it).

    With `fill_gaps` it also spans slices that are missing between them, up to half as many as there are.
    Raises BadImage when they do not make one regular box.
    """
    for place in places:
        if differs := place.differs_from(places[0]):
            raise BadImage(f"The slices of the DICOM series differ in {differs}.", "Give one series without localizers.")
    places = sorted(places, key=lambda place: places[0].normal @ place.position)
    positions = np.array([place.position for place in places])
    first = places[0]
    if len(places) == 1:
        step, slots = first.normal * first.thickness, [0]
    else:
        slots = _slots(positions @ first.normal)
        step = (positions[-1] - positions[0]) / slots[-1]
        off = np.abs(positions - positions[0] - np.outer(slots, step)).max()
        if off > max(_UNEVEN * np.linalg.norm(step), SAME_PLACE_MM):
            raise BadImage(f"The slices of the DICOM series are not evenly spaced: one lies {off:.2f} mm from its place.", _AGAIN)
        missing = slots[-1] + 1 - len(slots)
        if missing > (_MOST_FILLED * len(slots) if fill_gaps else 0):
            raise BadImage(f"The slices of the DICOM series are not evenly spaced: {_gaps(slots)}.",
                           _AGAIN if fill_gaps else f"{_AGAIN[:-1]}, or add --fill-gaps to have them made up from their neighbours.")
    affine = np.eye(4)
    affine[:3, 0] = first.along_row * first.spacing[1]
    affine[:3, 1] = first.down_column * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    return Grid((first.columns, first.rows, slots[-1] + 1), LPS_FROM_RAS @ affine)


def slots_of(places: Sequence[Place], grid: Grid) -> list[int]:
    """Which slice of `grid` each of `places` is."""
    to_grid = np.linalg.inv(LPS_FROM_RAS @ grid.affine)
    return [round(float((to_grid[:3, :3] @ place.position + to_grid[:3, 3])[2])) for place in places]


def tilt_deg(grid: Grid) -> float:
    """Angle between the step from slice to slice and the slices' normal, degrees: the gantry tilt."""
    i, j, k = grid.affine[:3, :3].T
    normal = np.cross(i, j)
    along = abs(normal @ k) / np.linalg.norm(normal)
    across = np.sqrt(max(k @ k - along * along, 0.0))
    return float(np.degrees(np.arctan2(across, along)))


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
    if not inside or not turned.grid.same_as(window, SAME_PLACE_MM):
        raise GridMismatch(f"{name} is {volume.grid.describe()}, and the series {grid.describe()}: their voxels differ.",
                           "Give the series in which the segmentation was made.")
    if turned.shape == grid.shape:
        return Volume(turned.voxels, grid.affine)
    voxels = np.zeros(grid.shape, turned.voxels.dtype)
    voxels[tuple(slice(a, a + n) for a, n in zip(start, turned.shape, strict=True))] = turned.voxels
    return Volume(voxels, grid.affine)


def _slots(depths: np.ndarray) -> list[int]:
    """Which slice each of sorted `depths` (mm along the normal) is when the commonest gap is one step."""
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    if min(gaps) < SAME_PLACE_MM or usual < SAME_PLACE_MM:
        twice = int((gaps < SAME_PLACE_MM).sum())
        raise BadImage(f"The slices of the DICOM series are not evenly spaced: {twice} lie where another one lies, and nothing tells them apart.",
                       "Give one time point, echo or reconstruction of it.")
    steps = np.rint(gaps / usual)
    uneven = np.abs(gaps - steps * usual) > np.maximum(0.1 * usual, SAME_PLACE_MM)
    if uneven.any():
        at = int(np.argmax(uneven))
        raise BadImage(f"The slices of the DICOM series are not evenly spaced: after slice {at + 1} the next lies {gaps[at]:.2f} mm away, "
                       f"and {usual:.2f} mm is usual.", _AGAIN)
    return [0, *np.cumsum(steps).astype(int).tolist()]


def _gaps(slots: Sequence[int]) -> str:
    """'1 slice is missing: after slice 13, 2x' of the first few gaps."""
    found = [(at + 1, b - a) for at, (a, b) in enumerate(pairwise(slots)) if b - a > 1]
    missing = sum(times - 1 for _, times in found)
    where = ", ".join(f"after slice {at}, {times}x" for at, times in found[:3]) + (", ..." if len(found) > 3 else "")
    return f"{missing} slice{'s are' if missing > 1 else ' is'} missing ({where})"
