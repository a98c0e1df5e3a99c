"""overlay.png: three planes through the largest lesion, every sequence, plain and with the labels outlined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .labels import REGIONS
from .measure import LABEL_VALUES, Measurements, measure
from .metrics import bounding_box
from .overlay_page import LegendEntry, Panel, draw_page, save_page
from .quality import TITLES
from .segmentation import Segmentation
from .sight import PLANES, Plane, Sight, Window, crop_to, grey_windows, middle, on_screen, one_slice, shown_brain
from .study import Study

__all__ = ["draw_overlay"]

_REGION_TITLES = {"WT": "Whole tumour", "TC": "Tumour core", "ET": "Enhancing tumour"}


def draw_overlay(study: Study, segmentation: Segmentation, path: Path, windows: Mapping[str, Window] | None = None) -> None:
    """Write the PNG. With nothing found, the middle slices say so. Holds nothing that identifies a patient.

    Args:
        study: the images; all are shown on the reference's grid in its nearest anatomical orientation, voxels in true proportion.
        segmentation: labels on that grid, drawn in their table's colours.
        path: the file to write, in an existing folder.
        windows: from `grey_windows`, where they are known already.
    """
    labels = segmentation.labels.canonical()
    reference = study.reference.canonical()
    brain = shown_brain(study, segmentation)                                         # (I, J, K) bool
    found = bool(labels.voxels.any())
    where = _slices(labels.voxels) if found else middle(brain)                       # one index per axis
    crop = crop_to(brain | (labels.voxels != 0), reference.grid)                     # one slice per axis
    windows = windows or grey_windows(study, segmentation)
    sequences = {role: Sight.of(role, study, segmentation, windows[role]) for role in study.roles}

    pictures = {(role, plane): on_screen(sequence.grey(plane.axis, where[plane.axis]), plane.axis, crop)
                for role, sequence in sequences.items() for plane in PLANES}        # (rows, columns) uint8
    outlines = {plane: on_screen(one_slice(labels.voxels, plane.axis, where[plane.axis]), plane.axis, crop) for plane in PLANES}

    def panel(role: str, plane: Plane, outlined: bool) -> Panel:
        across, down = (mm for axis, mm in enumerate(reference.spacing_mm) if axis != plane.axis)
        return Panel(f"{TITLES[role]} {plane.name}", pictures[role, plane], outlines[plane] if outlined else None,
                     (across, down), plane.marks)

    rows = [[panel(*what) for what in row] for row in _arrange(study.roles, found)]
    title = "Brain tumour segmentation" if found else "No tumour found"
    page = draw_page(rows, f"{title}   (research use only, not a medical device)", _legend(segmentation, measure(segmentation)),
                     {label.value: label.rgb for label in segmentation.table})
    save_page(page, path)


def _arrange(roles: tuple[str, ...], found: bool) -> list[list[tuple[str, Plane, bool]]]:
    """Rows of (role, plane, outlined). Three or four sequences stand side by side; one or two have their planes side by side."""
    ways = (False, True) if found else (False,)
    if len(roles) < 3:
        return [[(role, plane, outlined) for plane in PLANES] for role in roles for outlined in ways]
    rows = [(PLANES[0], outlined) for outlined in ways] + [(plane, found) for plane in PLANES[1:]]
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


def _legend(segmentation: Segmentation, measured: Measurements) -> list[LegendEntry]:
    by_value = {value: measured.label_ml[name] for name, value in LABEL_VALUES.items()}
    entries = [LegendEntry(f"{label.name} {by_value[label.value]:.1f} ml", label.rgb) for label in segmentation.table]
    return entries + [LegendEntry(f"{_REGION_TITLES[name]} {measured.region_ml[name]:.1f} ml") for name in ("WT", "TC")]
