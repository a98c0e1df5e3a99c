"""How the sequences of a study look in a plane of the reference's grid: grey pictures as radiologists turn them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .background import background_of, brain_only_mask
from .looks import Looks
from .masks import bounding_box
from .resample import resample
from .segmentation import Segmentation
from .study import Study
from .volume import Grid, Volume

__all__ = ["PLANES", "Plane", "Sight", "Window", "crop_to", "grey_windows", "middle", "on_screen", "one_slice", "place_on_screen",
           "shown_brain"]

WINDOW_PERCENTILES = (1.0, 99.5)


@dataclass(frozen=True)
class Plane:
    """A slice across `axis` of a canonical volume; `marks` are at the left, right, top and bottom of its picture.

    As radiologists look at slices: from the patient's feet, from the front, and from the left side.
    """

    name: str
    axis: int
    marks: tuple[str, str, str, str]


PLANES = (Plane("axial", 2, ("R", "L", "A", "P")), Plane("coronal", 1, ("R", "L", "S", "I")),
           Plane("sagittal", 0, ("A", "P", "S", "I")))


@dataclass(frozen=True)
class Window:
    """The grey values between which a sequence is shown, those of its brain; `background` is the value of the empty space around it, None
    for a scan's noise."""

    low: float
    high: float
    background: float | None = None


@dataclass(frozen=True, eq=False)
class Sight:
    """One sequence seen on the reference's canonical grid."""

    volume: Volume
    grid: Grid
    moved: np.ndarray | None
    window: Window

    @classmethod
    def of(cls, role: str, study: Study, segmentation: Segmentation, window: Window, *, registered: bool = True) -> Sight:
        """`registered` False: where the headers put it, before registration."""
        grid, volume = study.reference.grid.canonical(), study.volumes[role].canonical()
        moved = segmentation.moved.get(role) if registered else None
        if np.prod(grid.shape) < np.prod(volume.shape) and not (moved is None and volume.grid.same_as(grid)):
            # Onto a coarse grid images are smoothed, and that is dear: once, not slice by slice.
            volume, moved = resample(volume, grid, fill=_fill(window), moved=moved), None
        return cls(volume, grid, moved, window)

    def grey(self, axis: int, index: int) -> np.ndarray:
        """The slice at `index` across `axis` of the grid as uint8, 0 outside the brain."""
        if self.moved is None and self.volume.grid.same_as(self.grid):
            image = one_slice(self.volume.voxels, axis, index)
        else:
            image = one_slice(resample(self.volume, self._one_slice(axis, index), fill=_fill(self.window), moved=self.moved).voxels, axis, 0)
        low, high = self.window.low, self.window.high
        shown = np.clip((image.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)
        if self.window.background is not None:
            shown[image == self.window.background] = 0
        return (255 * shown).astype(np.uint8)

    def _one_slice(self, axis: int, index: int) -> Grid:
        shape, affine = list(self.grid.shape), self.grid.affine.copy()
        shape[axis] = 1
        affine[:3, 3] += affine[:3, axis] * index
        return Grid(tuple(shape), affine)


def shown_brain(study: Study, segmentation: Segmentation) -> np.ndarray:
    """(I, J, K) bool: the brain on the reference's grid in its nearest anatomical orientation."""
    return brain_only_mask(study.reference.canonical()) if segmentation.brain is None else segmentation.brain.mask.canonical().voxels != 0


def grey_windows(study: Study, segmentation: Segmentation) -> dict[str, Window]:
    """Role -> the grey values between which that sequence is shown, everywhere alike."""
    if segmentation.brain is None:
        return {role: _window(volume) for role, volume in study.volumes.items()}
    looks, windows = Looks(study, segmentation.moved), {}
    points = looks.points(segmentation.brain.mask.voxels, 100_000)
    for role, volume in study.volumes.items():
        values, seen = looks.at(role, points)
        low, high = np.percentile(values[seen] if seen.any() else volume.voxels, WINDOW_PERCENTILES)
        windows[role] = Window(float(low), float(high))
    return windows


def _fill(window: Window) -> float:
    """The grey value of what a sequence does not show."""
    return window.low if window.background is None else window.background


def _window(volume: Volume) -> Window:
    """Of an image that shows the brain alone."""
    every = tuple(slice(None, None, max(1, n // 80)) for n in volume.shape)  # half a million voxels are enough
    sample, background = volume.voxels[every], background_of(volume)
    brain = sample if background is None else sample[background.shown(sample)]
    low, high = np.percentile(brain if brain.size else sample, WINDOW_PERCENTILES)
    return Window(float(low), float(high), None if background is None else background.value)


def middle(mask: np.ndarray) -> list[int]:
    """For each axis the index half way through what `mask` (I, J, K) shows, or half way through all where it shows nothing."""
    box = bounding_box(mask)
    return [(side.start + side.stop) // 2 for side in box] if box else [n // 2 for n in mask.shape]


def crop_to(mask: np.ndarray, grid: Grid, margin_mm: float = 6.0) -> tuple[slice, slice, slice]:
    """The box around what `mask` (I, J, K) on `grid` shows, with a margin; all of the grid where it shows nothing."""
    box = bounding_box(mask) or tuple(slice(0, n) for n in mask.shape)
    margins = [int(np.ceil(margin_mm / mm)) for mm in grid.spacing_mm]
    sides = [slice(max(0, side.start - margin), min(n, side.stop + margin)) for side, margin, n in zip(box, margins, mask.shape, strict=True)]
    return sides[0], sides[1], sides[2]


def one_slice(voxels: np.ndarray, axis: int, index: int) -> np.ndarray:
    return voxels[tuple(index if other == axis else slice(None) for other in range(3))]


def on_screen(image: np.ndarray, axis: int, crop: tuple[slice, slice, slice]) -> np.ndarray:
    """A slice across `axis` of a canonical volume as its picture: the patient's right or front at the left, front or top up."""
    kept = tuple(side for other, side in enumerate(crop) if other != axis)
    return np.ascontiguousarray(image[kept][::-1, ::-1].T)


def place_on_screen(voxel: np.ndarray, axis: int, crop: tuple[slice, slice, slice]) -> tuple[float, float]:
    """(column, row) in the picture of `on_screen` of a voxel (3,) of the volume; pixel centres at whole numbers."""
    (across, right), (up, top) = ((voxel[other], side.stop) for other, side in enumerate(crop) if other != axis)
    return float(right - 1 - across), float(top - 1 - up)
