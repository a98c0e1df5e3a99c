"""overlay.png: three planes through the largest lesion, every sequence, plain and with the labels outlined. And the same small, for lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .labels import REGIONS
from .measure import LABEL_VALUES, Measurements, estimated, measure
from .metrics import bounding_box
from .overlay_page import LegendEntry, Panel, draw_page, draw_small, save_page
from .quality import TITLES
from .segmentation import Segmentation
from .sight import PLANES, Plane, Sight, Window, crop_to, grey_windows, middle, on_screen, one_slice, shown_brain
from .study import Study

__all__ = ["THUMBNAIL_PX", "draw_overlay", "draw_thumbnail"]

THUMBNAIL_PX = (400, 250)   # width and height at most
_REGION_TITLES = {"WT": "Whole tumour", "TC": "Tumour core", "ET": "Enhancing tumour"}


def draw_overlay(study: Study, segmentation: Segmentation, path: Path, windows: Mapping[str, Window] | None = None) -> None:
    """Write the PNG. With nothing found, the middle slices say so. Holds nothing that identifies a patient.

    Args:
        study: the images; all are shown on the reference's grid in its nearest anatomical orientation, voxels in true proportion.
        segmentation: labels on that grid, drawn in their table's colours.
        path: the file to write, in an existing folder.
        windows: from `grey_windows`, where they are known already.
    """
    view = _View(study, segmentation, windows)
    rows = [[view.panel(*what) for what in row] for row in _arrange(study.roles, view.found)]
    title = "Brain tumour segmentation" if view.found else "No tumour found"
    page = draw_page(rows, f"{title}   (research use only, not a medical device)", _legend(segmentation, measure(segmentation)),
                     {label.value: label.rgb for label in segmentation.table})
    save_page(page, path)


def draw_thumbnail(study: Study, segmentation: Segmentation, path: Path, windows: Mapping[str, Window] | None = None) -> None:
    """Write a JPEG of at most THUMBNAIL_PX, some 15 kB: the axial plane of `draw_overlay` in every sequence, plain and outlined."""
    view = _View(study, segmentation, windows)
    rows = [[view.panel(*what) for what in row] for row in _arrange_small(study.roles, view.found)]
    small = draw_small(rows, {label.value: label.rgb for label in segmentation.table}, THUMBNAIL_PX)
    small.save(path, "JPEG", quality=85, subsampling=0)   # the outlines' colours are a pixel wide


class _View:
    """The planes through the largest lesion, or through the middle where none was `found`."""

    def __init__(self, study: Study, segmentation: Segmentation, windows: Mapping[str, Window] | None = None):
        self._labels = segmentation.labels.canonical().voxels                                    # (I, J, K) uint8
        self._reference = study.reference.canonical()
        brain = shown_brain(study, segmentation)                                                 # (I, J, K) bool
        self.found = bool(self._labels.any())
        self._where = _slices(self._labels) if self.found else middle(brain)                     # one index per axis
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
        return Panel(f"{TITLES[role]} {plane.name}", self._pictures[role, plane.name], outlines, (across, down), plane.marks)


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
    from scipy import ndimage

    box = bounding_box(labels != 0)
    pieces, _ = ndimage.label(labels[box] != 0, np.ones((3, 3, 3), bool))
    lesion = np.where(pieces == 1 + np.bincount(pieces[pieces > 0])[1:].argmax(), labels[box], 0)
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

    entries = [entry(label.name, name_of[label.value], measured.label_ml[name_of[label.value]], label.rgb) for label in segmentation.table]
    entries += [entry(_REGION_TITLES[name], name, measured.region_ml[name]) for name in ("WT", "TC")]
    return entries + [LegendEntry("* estimated without T1ce")] * bool(guessed)
