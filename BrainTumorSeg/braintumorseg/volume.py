"""Voxels and where they are: `Grid` (shape and affine) and `Volume` (a grid with voxels on it)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import BadImage

__all__ = ["SAME_PLACE_MM", "Grid", "Volume"]

SAME_PLACE_MM = 0.01       # above the rounding of decimal strings and of NIfTI's float32 affines, far below any voxel
SAME_PLACE_VOXELS = 0.01


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular lattice of voxels: `shape` (I, J, K) and a 4x4 voxel-to-world `affine` in mm, RAS+.

    Raises BadImage when it is not 3-D, is empty, or the affine cannot place voxels (singular or not finite).
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self):
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3:
            raise BadImage(f"An image of {len(shape)} dimensions was given; a volume has 3.",
                           "Give one 3-D volume per sequence (split a time or echo series first).")
        if min(shape) < 1:
            raise BadImage(f"The image is empty: {_times(shape)} voxels.")
        given = np.asarray(self.affine)
        if given.shape != (4, 4) or given.dtype.kind not in "iuf" or not np.isfinite(given).all():
            raise BadImage("The voxel-to-world affine is not a finite 4x4 matrix.", "Convert the image from its source again.")
        affine = np.array(given, dtype=np.float64)
        if np.abs(affine[3] - (0, 0, 0, 1)).max() > 1e-6:
            raise BadImage("The last row of the voxel-to-world affine is not 0 0 0 1.",
                           "Give the matrix with the translation in its last column: transpose it if that is its last row.")
        if min(np.linalg.norm(affine[:3, :3], axis=0)) < 1e-6 or abs(np.linalg.det(_directions(affine))) < 1e-3:
            raise BadImage("The voxel-to-world affine is singular: the image says that its voxels have no volume.",
                           "Convert the image from its source again; its orientation or spacing was lost.")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel along its axes I, J, K in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml (1 ml = 1000 mm³)."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def orientation(self) -> str:
        """Nearest anatomical direction in which each axis grows, such as 'RAS' or 'LPS'."""
        import nibabel  # here: Slicer's panel reads model cards, and Slicer's Python may lack it

        return "".join(nibabel.aff2axcodes(self.affine))

    @property
    def tilt_deg(self) -> float:
        """How far the axis that lies most askew is off its nearest anatomical direction; 54.7 at most."""
        straight = np.abs(_directions(self.affine)).max(axis=0)
        return float(np.degrees(np.arccos(min(1.0, *straight))))

    @property
    def size_mm(self) -> tuple[float, float, float]:
        """Extent along I, J, K in mm, voxel edges included."""
        i, j, k = (n * s for n, s in zip(self.shape, self.spacing_mm))  # noqa: B905
        return i, j, k

    @property
    def corners(self) -> np.ndarray:
        """(8, 4) voxels I, J, K, 1: the middles of the corner voxels; `corners @ affine.T` is where they are."""
        return np.array([(i, j, k, 1) for i in (0, self.shape[0] - 1) for j in (0, self.shape[1] - 1) for k in (0, self.shape[2] - 1)])

    def part(self, box: tuple[slice, slice, slice]) -> Grid:
        """The voxels within `box`, which may reach beyond them, as a grid of their own."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
        return Grid(tuple(side.stop - side.start for side in box), affine)

    def canonical(self) -> Grid:
        """The same voxels with axes flipped and swapped so that they grow right, anterior, superior."""
        return self._turned_as(np.eye(4))

    def place_in(self, other: Grid) -> tuple[slice, slice, slice] | None:
        """The box of `other` that these voxels fill, in whatever order both are stored; it may reach beyond.

        None where they lie between its voxels, with the tolerance of `same_as`.
        """
        own = self._turned_as(other.affine)
        first = np.rint(np.linalg.solve(other.affine, own.affine[:, 3])[:3]).astype(int)
        box = tuple(map(slice, first.tolist(), (first + own.shape).tolist()))
        return box if own.same_as(other.part(box)) else None

    def _turned_as(self, affine: np.ndarray) -> Grid:
        """The same voxels with axes flipped and swapped so that they grow as those of `affine` do."""
        import nibabel

        turn = nibabel.io_orientation(np.linalg.inv(affine) @ self.affine)
        shape = np.array(self.shape)[np.argsort(turn[:, 0])]
        return Grid(tuple(shape.tolist()), self.affine @ nibabel.orientations.inv_ornt_aff(turn, self.shape))

    def same_as(self, other: Grid, tolerance_mm: float | None = None) -> bool:
        """True when both have one shape and no corner of this grid lies more than `tolerance_mm` from the other's.

        None takes a hundredth of a voxel, and 0.01 mm at the least: headers round that much (a NIfTI's qform against its sform, say).
        """
        if tolerance_mm is None:
            tolerance_mm = max(SAME_PLACE_MM, SAME_PLACE_VOXELS * min(self.spacing_mm))
        return self.shape == other.shape and self.apart_mm(other) <= tolerance_mm

    def apart_mm(self, other: Grid) -> float:
        """How far a corner of this grid lies from that of another of its shape, at most, along an axis of the world."""
        return float(np.abs(self.corners @ (self.affine - other.affine).T).max())

    def describe(self) -> str:
        """'240 x 240 x 155 voxels of 1.00 x 1.00 x 1.00 mm, LPS' for messages and reports."""
        spacing = " x ".join(f"{s:.2f}" for s in self.spacing_mm)
        return f"{_times(self.shape)} voxels of {spacing} mm, {self.orientation}"


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels (I, J, K) on a grid. The voxels are read-only here: volumes are shared between steps. They are not copied, so do not change the array
    that was given either.

    assumed: its file does not say how the patient lay, so the directions of the affine are a guess.
    """

    voxels: np.ndarray
    affine: np.ndarray
    assumed: bool = False

    def __post_init__(self):
        voxels = np.asarray(self.voxels).view()
        grid = Grid(voxels.shape, self.affine)
        voxels.setflags(write=False)
        object.__setattr__(self, "voxels", voxels)
        object.__setattr__(self, "affine", grid.affine)
        object.__setattr__(self, "_grid", grid)

    def __reduce__(self):
        return Volume, (self.voxels, self.affine, self.assumed)

    @property
    def grid(self) -> Grid:
        return self._grid

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.grid.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        return self.grid.spacing_mm

    @property
    def voxel_ml(self) -> float:
        return self.grid.voxel_ml

    @property
    def orientation(self) -> str:
        return self.grid.orientation

    def with_voxels(self, voxels: np.ndarray) -> Volume:
        """The same place with other voxels (I, J, K)."""
        if voxels.shape != self.shape:
            raise ValueError(f"{voxels.shape} voxels do not fit a grid of {self.shape}")
        return Volume(voxels, self.affine, self.assumed)

    def canonical(self) -> Volume:
        """The same image with its axes flipped and swapped so that they grow right, anterior, superior; no interpolation."""
        import nibabel

        return Volume(nibabel.apply_orientation(self.voxels, nibabel.io_orientation(self.affine)), self.grid.canonical().affine,
                      self.assumed)


def _directions(affine: np.ndarray) -> np.ndarray:
    columns = affine[:3, :3]
    return columns / np.linalg.norm(columns, axis=0)


def _times(shape) -> str:
    return " x ".join(str(n) for n in shape)
