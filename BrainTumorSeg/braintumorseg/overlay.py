"""overlay.png: three planes through the tumour, every sequence, plain and outlined, with the diameters. And the axial one small, for lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .diameters import enhancing_diameters, position
from .labels import REGIONS
from .masks import bounding_box, pieces
from .measure import LABEL_VALUES, Measurements, estimated, measure
from .overlay_page import OUTLINES, LegendEntry, Line, Panel, draw_page, draw_small, save_page
from .segmentation import Segmentation
from .sight import PLANES, Plane, Sight, Window, crop_to, grey_windows, middle, on_screen, one_slice, place_on_screen, shown_brain
from .study import TITLES, Study
from .volume import Grid

__all__ = ["THUMBNAIL_PX", "draw_overlay"]

THUMBNAIL_PX = (400, 250)   # width and height at most
_REGION_TITLES = {"WT": "Whole tumour", "TC": "Tumour core", "ET": "Enhancing tumour"}


def draw_overlay(study: Study, segmentation: Segmentation, path: Path, windows: Mapping[str, Window] | None = None,
                 measurements: Measurements | None = None, thumbnail: Path | None = None) -> None:
    """Write the PNG. With nothing found, the middle slices say so. Holds nothing that identifies a patient.

    The planes go through the largest lesion; where the diameters of the enhancing tumour were measured, theirs is the slice in which they lie, and
    both are drawn there, on the reference (T1ce, where it is there).

    Args:
        study: the images; all are shown on the reference's grid in its nearest anatomical orientation, voxels in true proportion.
        segmentation: labels on that grid, outlined in OUTLINES.
        path: the file to write, in an existing folder.
        windows, measurements: from `grey_windows` and `measure`, where they are known already.
        thumbnail: where a JPEG of at most THUMBNAIL_PX goes, some 15 kB: the axial plane in every sequence, plain and outlined.
    """
    view = _View(study, segmentation, windows)
    rows = [[view.panel(*what) for what in row] for row in _arrange(study.roles, view.found)]
    title = "Brain tumour segmentation" if view.found else "No tumour found"
    legend = _legend(segmentation, measurements or measure(segmentation))
    page = draw_page(rows, f"{title}   (research use only, not a medical device)", legend, OUTLINES)
    save_page(page, path)
    if thumbnail is not None:
        rows = [[view.panel(*what) for what in row] for row in _arrange_small(study.roles, view.found)]
        draw_small(rows, OUTLINES, THUMBNAIL_PX).save(thumbnail, "JPEG", quality=85, subsampling=0)   # the outlines' colours are a pixel wide


class _View:
    """The planes through the largest lesion and the diameters, or through the middle where nothing was `found`."""

    def __init__(self, study: Study, segmentation: Segmentation, windows: Mapping[str, Window] | None = None):
        self._labels = segmentation.labels.canonical().voxels                                    # (I, J, K) uint8
        self._reference, self._reference_role = study.reference.canonical(), study.reference_role
        brain = shown_brain(study, segmentation)                                                 # (I, J, K) bool
        self.found = bool(self._labels.any())
        self._axes = _Axes.of(segmentation, self._reference.grid)
        self._where = _slices(self._labels) if self.found else middle(brain)                     # one index per axis
        if self._axes:
            self._where[self._axes.across] = self._axes.slice
        self._crop = crop_to(brain | (self._labels != 0), self._reference.grid)                  # one slice per axis
        windows = windows or grey_windows(study, segmentation)
        self._sequences = {role: Sight.of(role, study, segmentation, windows[role]) for role in study.roles}
        self._pictures: dict[tuple[str, str], np.ndarray] = {}                                   # (rows, columns) uint8

    def panel(self, role: str, plane: Plane, outlined: bool) -> Panel:
        at = self._where[plane.axis]
        if (role, plane.name) not in self._pictures:
            self._pictures[role, plane.name] = on_screen(self._sequences[role].grey(plane.axis, at), plane.axis, self._crop)
        outlines = on_screen(one_slice(self._labels, plane.axis, at), plane.axis, self._crop) if outlined else None
        across, down = (mm for axis, mm in enumerate(self._reference.spacing_mm) if axis != plane.axis)
        lines = self._axes.lines(plane, self._crop) if outlined and self._axes and role == self._reference_role else ()
        title = f"{TITLES[role]} {plane.name}\n{self._place(plane)}"
        return Panel(title, self._pictures[role, plane.name], outlines, (across, down), plane.marks, lines)

    def _place(self, plane: Plane) -> str:
        """'S +128 mm': where the slice lies from left to right, back to front or bottom to top (RAS); that of the diameters, as the report has it."""
        voxel = self._axes.middle if self._axes and self._axes.across == plane.axis else self._where
        return position(plane.axis, float(self._reference.affine[plane.axis] @ [*voxel, 1]))


@dataclass(frozen=True)
class _Axes:
    """The two diameters on the canonical grid: the slice `across` an axis in which they lie, and the ends of both in voxels (3,)."""

    across: int
    slice: int
    ends: tuple[tuple[np.ndarray, np.ndarray], ...]
    mm: tuple[float, ...]

    @classmethod
    def of(cls, segmentation: Segmentation, canonical: Grid) -> _Axes | None:
        found = enhancing_diameters(segmentation.labels, segmentation.provenance.missing)
        if found is None:
            return None
        onto = np.linalg.inv(canonical.affine) @ segmentation.labels.affine
        # Rounded and in one order, so that the picture does not depend on how the voxels are stored.
        ends = tuple(tuple(sorted(((onto[:3, :3] @ np.insert(end, found.plane.axis, found.slice) + onto[:3, 3]).round(6) for end in one.ends),
                                  key=tuple, reverse=True)) for one in (found.long, found.short))
        across = int(np.abs(onto[:3, found.plane.axis]).argmax())
        return cls(across, round(float(ends[0][0][across])), ends, (found.long.mm, found.short.mm))

    @property
    def middle(self) -> np.ndarray:
        """Of the longer one."""
        return np.mean(self.ends[0], axis=0)

    def lines(self, plane: Plane, crop: tuple[slice, slice, slice]) -> tuple[Line, ...]:
        if plane.axis != self.across:
            return ()
        return tuple(Line(tuple(place_on_screen(end, plane.axis, crop) for end in ends), f"{mm:.1f} mm")
                     for ends, mm in zip(self.ends, self.mm, strict=True))


def _arrange(roles: tuple[str, ...], found: bool) -> list[list[tuple[str, Plane, bool]]]:
    """Rows of (role, plane, outlined). Three or four sequences stand side by side; one or two have their planes side by side."""
    ways = (False, True) if found else (False,)
    if len(roles) < 3:
        return [[(role, plane, outlined) for plane in PLANES] for role in roles for outlined in ways]
    rows = [(PLANES[0], outlined) for outlined in ways] + [(plane, found) for plane in PLANES[1:]]
    return [[(role, plane, outlined) for role in roles] for plane, outlined in rows]


def _arrange_small(roles: tuple[str, ...], found: bool) -> list[list[tuple[str, Plane, bool]]]:
    """Likewise of the axial plane alone: outlined below plain, or beside it where there are one or two sequences."""
    ways = (False, True) if found else (False,)
    if len(roles) < 3:
        return [[(role, PLANES[0], outlined) for role in roles for outlined in ways]]
    return [[(role, PLANES[0], outlined) for role in roles] for outlined in ways]


def _slices(labels: np.ndarray) -> list[int]:
    """For each axis the slice of the largest lesion with the most of it, its core and enhancing parts counting again."""
    box = bounding_box(labels != 0)
    numbered, _ = pieces(labels[box] != 0)
    lesion = np.where(numbered == 1 + np.bincount(numbered.ravel())[1:].argmax(), labels[box], 0)
    weight = np.zeros(lesion.shape, np.uint8)
    for values in REGIONS.values():
        weight += np.isin(lesion, values)
    areas = [weight.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    return [side.start + int(area.argmax()) for side, area in zip(box, areas, strict=True)]


def _legend(segmentation: Segmentation, measured: Measurements) -> list[LegendEntry]:
    guessed = estimated(segmentation.provenance.missing)
    name_of = {value: name for name, value in LABEL_VALUES.items()}

    def entry(title: str, name: str, ml: float, rgb: tuple[int, int, int] | None = None) -> LegendEntry:
        return LegendEntry(f"{title} {ml:.1f} ml{' *' * (name in guessed)}", rgb)

    entries = [entry(label.name, name_of[label.value], measured.label_ml[name_of[label.value]], OUTLINES[label.value])
               for label in segmentation.table]
    entries += [entry(_REGION_TITLES[name], name, measured.region_ml[name]) for name in ("WT", "TC")]
    return entries + [LegendEntry("* estimated without T1ce")] * bool(guessed)
