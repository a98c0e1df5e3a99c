"""overlay.png: three planes through the largest lesion, every sequence, plain and with the labels outlined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .brain import brain_only_mask
from .labels import REGIONS
from .measure import LABEL_VALUES, Measurements, measure
from .metrics import bounding_box
from .overlay_page import LegendEntry, Panel, draw_page
from .quality import TITLES
from .resample import resample
from .segmentation import Segmentation
from .study import Study
from .volume import Grid, Volume

__all__ = ["draw_overlay"]

MARGIN_MM = 6.0
WINDOW_PERCENTILES = (1.0, 99.5)
_REGION_TITLES = {"WT": "Whole tumour", "TC": "Tumour core", "ET": "Enhancing tumour"}


@dataclass(frozen=True)
class _Plane:
    """A slice across `axis` of a canonical volume; `marks` are at the left, right, top and bottom of its picture.

    As radiologists look at slices: from the patient's feet, from the front, and from the left side.
    """

    name: str
    axis: int
    marks: tuple[str, str, str, str]


_PLANES = (_Plane("axial", 2, ("R", "L", "A", "P")), _Plane("coronal", 1, ("R", "L", "S", "I")),
           _Plane("sagittal", 0, ("A", "P", "S", "I")))


def draw_overlay(study: Study, segmentation: Segmentation, path: Path) -> None:
    """Write the PNG. With nothing found, the middle slices say so. Holds nothing that identifies a patient.

    Args:
        study: the images; all are shown on the reference's grid in its nearest anatomical orientation, voxels in true proportion.
        segmentation: labels on that grid, drawn in their table's colours.
        path: the file to write, in an existing folder.
    """
    labels = segmentation.labels.canonical()
    reference = study.reference.canonical()
    found = bool(labels.voxels.any())
    where = _slices(labels.voxels) if found else _middle(reference)                  # one index per axis
    crop = _crop(reference, labels)                                                  # one slice per axis
    sequences = {role: _Sequence.of(volume, reference.grid, segmentation.moved.get(role)) for role, volume in study.volumes.items()}

    pictures = {(role, plane): _on_screen(sequence.grey(plane.axis, where[plane.axis]), plane.axis, crop)
                for role, sequence in sequences.items() for plane in _PLANES}        # (rows, columns) uint8
    outlines = {plane: _on_screen(_slice(labels.voxels, plane.axis, where[plane.axis]), plane.axis, crop) for plane in _PLANES}

    def panel(role: str, plane: _Plane, outlined: bool) -> Panel:
        across, down = (mm for axis, mm in enumerate(reference.spacing_mm) if axis != plane.axis)
        return Panel(f"{TITLES[role]} {plane.name}", pictures[role, plane], outlines[plane] if outlined else None,
                     (across, down), plane.marks)

    rows = [[panel(*what) for what in row] for row in _arrange(study.roles, found)]
    title = "Brain tumour segmentation" if found else "No tumour found"
    page = draw_page(rows, f"{title}   (research use only, not a medical device)", _legend(segmentation, measure(segmentation)),
                     {label.value: label.rgb for label in segmentation.table})
    page.save(path, "PNG")


@dataclass(frozen=True, eq=False)
class _Sequence:
    """One sequence seen on the reference's canonical grid, and the grey values between which it is shown."""

    volume: Volume
    grid: Grid
    moved: np.ndarray | None
    window: tuple[float, float]
    background: float | None   # the value outside the brain, None when the image has none

    @classmethod
    def of(cls, volume: Volume, grid: Grid, moved: np.ndarray | None) -> _Sequence:
        every = tuple(slice(None, None, max(1, n // 80)) for n in volume.shape)  # half a million voxels are enough
        sample, brain = volume.voxels[every], brain_only_mask(volume)[every]
        low, high = np.percentile(sample[brain] if brain.any() else sample, WINDOW_PERCENTILES)
        background = float(sample[~brain][0]) if not brain.all() else None
        volume = volume.canonical()
        if np.prod(grid.shape) < np.prod(volume.shape) and not (moved is None and volume.grid.same_as(grid)):
            # Onto a coarse grid images are smoothed, and that is dear: once, not slice by slice.
            volume, moved = resample(volume, grid, fill=float(low) if background is None else background, moved=moved), None
        return cls(volume, grid, moved, (float(low), float(high)), background)

    def grey(self, axis: int, index: int) -> np.ndarray:
        """The slice at `index` across `axis` of the grid as uint8, 0 outside the brain."""
        if self.moved is None and self.volume.grid.same_as(self.grid):
            image = _slice(self.volume.voxels, axis, index)
        else:
            fill = self.window[0] if self.background is None else self.background
            image = _slice(resample(self.volume, self._one_slice(axis, index), fill=fill, moved=self.moved).voxels, axis, 0)
        low, high = self.window
        shown = np.clip((image.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)
        if self.background is not None:
            shown[image == self.background] = 0
        return (255 * shown).astype(np.uint8)

    def _one_slice(self, axis: int, index: int) -> Grid:
        shape, affine = list(self.grid.shape), self.grid.affine.copy()
        shape[axis] = 1
        affine[:3, 3] += affine[:3, axis] * index
        return Grid(tuple(shape), affine)


def _arrange(roles: tuple[str, ...], found: bool) -> list[list[tuple[str, _Plane, bool]]]:
    """Rows of (role, plane, outlined). Three or four sequences stand side by side; one or two have their planes side by side."""
    ways = (False, True) if found else (False,)
    if len(roles) < 3:
        return [[(role, plane, outlined) for plane in _PLANES] for role in roles for outlined in ways]
    rows = [(_PLANES[0], outlined) for outlined in ways] + [(plane, found) for plane in _PLANES[1:]]
    return [[(role, plane, outlined) for role in roles] for plane, outlined in rows]


def _slices(labels: np.ndarray) -> list[int]:
    """For each axis the slice of the largest lesion with the most of it, its core and enhancing parts counting again."""
    from scipy import ndimage

    box = bounding_box(labels != 0)
    pieces, _ = ndimage.label(labels[box] != 0, np.ones((3, 3, 3), bool))
    lesion = np.where(pieces == 1 + np.bincount(pieces[pieces > 0])[1:].argmax(), labels[box], 0)
    weight = np.zeros(lesion.shape, np.uint8)
    for values in REGIONS.values():
        weight += np.isin(lesion, values)
    areas = [weight.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    return [side.start + int(area.argmax()) for side, area in zip(box, areas, strict=True)]


def _middle(reference: Volume) -> list[int]:
    box = bounding_box(brain_only_mask(reference))
    return [(side.start + side.stop) // 2 for side in box] if box else [n // 2 for n in reference.shape]


def _crop(reference: Volume, labels: Volume) -> tuple[slice, slice, slice]:
    """The brain and the tumour with a margin of some mm."""
    box = bounding_box(brain_only_mask(reference) | (labels.voxels != 0))
    margins = [int(np.ceil(MARGIN_MM / mm)) for mm in reference.spacing_mm]
    sides = [slice(max(0, side.start - margin), side.stop + margin) for side, margin in zip(box, margins, strict=True)]
    return sides[0], sides[1], sides[2]


def _slice(voxels: np.ndarray, axis: int, index: int) -> np.ndarray:
    return voxels[tuple(index if other == axis else slice(None) for other in range(3))]


def _on_screen(image: np.ndarray, axis: int, crop: tuple[slice, slice, slice]) -> np.ndarray:
    """A slice across `axis` of a canonical volume as its picture: the patient's right or front at the left, front or top up."""
    kept = tuple(side for other, side in enumerate(crop) if other != axis)
    return np.ascontiguousarray(image[kept][::-1, ::-1].T)


def _legend(segmentation: Segmentation, measured: Measurements) -> list[LegendEntry]:
    by_value = {value: measured.label_ml[name] for name, value in LABEL_VALUES.items()}
    entries = [LegendEntry(f"{label.name} {by_value[label.value]:.1f} ml", label.rgb) for label in segmentation.table]
    return entries + [LegendEntry(f"{_REGION_TITLES[name]} {measured.region_ml[name]:.1f} ml") for name in ("WT", "TC")]
