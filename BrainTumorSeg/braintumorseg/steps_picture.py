"""steps.png: what was done to the images before the network saw them: each sequence as its header places it and as it was aligned, with
the brain's outline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .overlay_page import LegendEntry, Panel, draw_page, save_page
from .segmentation import Segmentation
from .sight import PLANES, Plane, Sight, Window, crop_to, grey_windows, middle, on_screen, one_slice, shown_brain
from .study import TITLES, Study

__all__ = ["draw_steps"]

_OUTLINE = {1: (255, 190, 60)}
_SHOWN = (PLANES[0], PLANES[2])  # axial and sagittal: between them every motion shows


def draw_steps(study: Study, segmentation: Segmentation, path: Path, windows: Mapping[str, Window] | None = None) -> bool:
    """Write the PNG, or return False where there is nothing to show: one sequence, or all on one grid, that shows the brain alone.

    A column for each sequence, on the reference's grid: rows as scanned, then as aligned where something was moved. In all of them the
    outline is the brain of the result, that of the reference: where it fits the brain of another sequence, that sequence lies right.
    `windows`: from `grey_windows`, where they are known already.
    """
    moved = bool(segmentation.moved)
    if not moved and segmentation.brain is None:
        return False
    brain = shown_brain(study, segmentation)                    # (I, J, K) bool
    reference = study.reference.canonical()
    where = middle(brain)
    crop = crop_to(brain, reference.grid, 15.0)
    roles = (study.reference_role, *(role for role in study.roles if role != study.reference_role))
    windows = windows or grey_windows(study, segmentation)
    rows = []
    for registered in (False, True) if moved else (True,):
        sights = {role: Sight.of(role, study, segmentation, windows[role], registered=registered) for role in roles}
        for plane in _SHOWN:
            outline = on_screen(one_slice(brain.astype(np.uint8), plane.axis, where[plane.axis]), plane.axis, crop)
            across, down = (mm for axis, mm in enumerate(reference.spacing_mm) if axis != plane.axis)
            greys = [on_screen(sights[role].grey(plane.axis, where[plane.axis]), plane.axis, crop) for role in roles]
            rows.append([Panel(_title(role, plane, segmentation, registered), grey, outline, (across, down), plane.marks)
                         for role, grey in zip(roles, greys, strict=True)])
    ml = float(np.count_nonzero(brain)) * study.reference.voxel_ml
    page = draw_page(rows, "Alignment and brain   (research use only, not a medical device)",
                     [LegendEntry(f"Brain {ml:.0f} ml, as outlined in {TITLES[roles[0]]}", _OUTLINE[1])], _OUTLINE, fill=0.0)
    save_page(page, path)
    return True


def _title(role: str, plane: Plane, segmentation: Segmentation, registered: bool) -> str:
    if role not in segmentation.moved:
        return f"{TITLES[role]} {plane.name}"
    return f"{TITLES[role]} {plane.name}, {'aligned' if registered else 'as scanned'}"
