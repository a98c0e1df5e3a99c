"""Pictures of a validation: box plots of every score, Dice by subset of sequences, and a case in which the network went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from braintumorseg.evaluate import CaseResult
from braintumorseg.evaluation_report import METRICS
from braintumorseg.labels import REGIONS, region_mask
from braintumorseg.overlay_page import OUTLINES, LegendEntry, Panel, draw_page
from braintumorseg.segmentation import Segmentation
from braintumorseg.sight import PLANES, Sight, crop_to, grey_windows, middle, on_screen, one_slice, shown_brain
from braintumorseg.study import TITLES, Study
from braintumorseg.volume import Volume

from .card_metrics import mean_by_sequences, subset_results

if TYPE_CHECKING:
    from .validate import Validation

__all__ = ["draw_error", "new_figure", "write_heat_map", "write_metric_boxes"]

_SHOWN = ("t1ce", "flair", "t2", "t1")   # the first two of these that there are


def new_figure(width: float, height: float):
    """(figure, its canvas), in inches; a canvas of its own, so that pyplot and its windows are left alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    return figure, FigureCanvasAgg(figure)


def write_metric_boxes(results: Sequence[CaseResult], path: Path) -> None:
    """A PNG with one small plot a score: a box a region, every case a dot; undefined values (HD95 with one mask empty) are counted below."""
    figure, canvas = new_figure(13, 7.5)
    columns = 1 + len(METRICS) // 2
    plots = figure.subplots(2, columns).ravel()
    for axes, metric in zip(plots, METRICS, strict=False):
        names = []
        for place, region in enumerate(REGIONS):
            values = np.array([metric.read(result.scores[region]) for result in results])
            kept = values[np.isfinite(values)]
            names.append(region + (f"\n{len(values) - len(kept)} undefined" if len(kept) < len(values) else ""))
            if len(kept):
                _box(axes, place, kept)
        axes.set_xticks(range(len(REGIONS)), names)
        axes.set_title(metric.title, fontsize=10)
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(-0.5, len(REGIONS) - 0.5)
        if metric.key.endswith(("dice", "iou", "precision", "recall", "nsd_1mm", "dice_brats2023")):
            axes.set_ylim(-0.03, 1.03)
    for axes in plots[len(METRICS):]:
        axes.set_visible(False)
    figure.suptitle(f"{len(results)} cases; box: quartiles, red: median", fontsize=11)
    canvas.print_png(str(path))


def _box(axes, place: int, values: np.ndarray) -> None:
    low, median, high = np.percentile(values, (25, 50, 75))
    axes.bar(place, high - low, width=0.55, bottom=low, facecolor="#dbe7f3", edgecolor="0.4")
    axes.hlines(median, place - 0.27, place + 0.27, color="#b3441e", linewidth=2)
    aside = np.zeros(len(values))
    aside[np.argsort(values, kind="stable")] = (np.arange(len(values)) % 5 - 2) * 0.06
    axes.scatter(place + aside, values, s=14, zorder=3, color="#1f4e79")


def write_heat_map(found: Validation, path: Path) -> None:
    """A PNG: mean Dice, a row for each subset of sequences (which ones, as dots), a column a region."""
    table = mean_by_sequences(found)
    rows = list(table)
    values = np.array([[table[name].get(region, np.nan) for region in REGIONS] for name in rows])
    figure, canvas = new_figure(7, 1.6 + 0.36 * len(rows))
    dots, axes = figure.subplots(1, 2, sharey=True, width_ratios=(4, 6))
    given = np.array([[role in name.split(" + ") for role in TITLES] for name in rows])
    for row, column in np.argwhere(np.ones_like(given)):
        dots.scatter(column, row, s=90, color="#1f4e79" if given[row, column] else "#e4e8ee")
    dots.set(xlim=(-0.6, len(TITLES) - 0.4), yticks=[])
    dots.set_xticks(range(len(TITLES)), TITLES.values())
    axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for row, column in np.argwhere(np.isfinite(values)):
        value = values[row, column]
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="black" if value > 0.6 else "white")
    counts = [len(subset_results(found, region)) for region in REGIONS]
    axes.set_xticks(range(len(REGIONS)), [f"{region} (N = {count})" for region, count in zip(REGIONS, counts, strict=True)])
    for one in (dots, axes):
        one.xaxis.tick_top()
        one.tick_params(length=0)
        one.spines[:].set_visible(False)
    note = "; ET in cases with at least 1 ml" if counts[-1] < counts[0] else ""
    figure.suptitle(f"Mean Dice by the sequences that were given{note}", fontsize=10)
    canvas.print_png(str(path))


def draw_error(region: str, result: CaseResult, study: Study, truth: Volume, found: Segmentation, path: Path) -> None:
    """A PNG of the three planes with most of the region's error: the truth's outline beside the one that was found, on two sequences.

    Error counts where the patient is, for a slice through nothing but air would be black.
    """
    true, labels = truth.canonical().voxels, found.labels.canonical().voxels                     # (I, J, K) uint8
    patient = shown_brain(study, found) | (true != 0)
    wrong = patient & (region_mask(true, region) != region_mask(labels, region))
    where = _most(wrong) if wrong.any() else middle(true != 0 if true.any() else patient)
    reference = study.reference.canonical()
    crop = crop_to(patient | (labels != 0), reference.grid)
    rows = []
    windows = grey_windows(study, found)
    sights = {role: Sight.of(role, study, found, windows[role]) for role in [role for role in _SHOWN if role in study.volumes][:2]}
    for plane in PLANES:
        across, down = (mm for axis, mm in enumerate(reference.spacing_mm) if axis != plane.axis)
        row = []
        for role, sight in sights.items():
            grey = on_screen(sight.grey(plane.axis, where[plane.axis]), plane.axis, crop)
            for what, voxels in (("truth", true), ("found", labels)):
                outline = on_screen(one_slice(voxels, plane.axis, where[plane.axis]), plane.axis, crop)
                row.append(Panel(f"{TITLES[role]} {plane.name}: {what}", grey, outline, (across, down), plane.marks))
        rows.append(row)
    scores = result.scores
    title = f"Worst {region}: {result.case}   Dice " + ", ".join(f"{name} {scores[name].dice:.3f}" for name in REGIONS)
    legend = [LegendEntry(f"{label.name}: {_ml(true, label.value, truth):.1f} ml true, {_ml(labels, label.value, truth):.1f} ml found",
                          OUTLINES[label.value])
              for label in found.table]
    draw_page(rows, title, legend, OUTLINES).save(path, "PNG")


def _most(mask: np.ndarray) -> list[int]:
    """For each axis the slice with the most of a mask (I, J, K)."""
    return [int(mask.sum(axis=tuple(other for other in range(3) if other != axis)).argmax()) for axis in range(3)]


def _ml(labels: np.ndarray, value: int, volume: Volume) -> float:
    return float(np.count_nonzero(labels == value)) * volume.voxel_ml
