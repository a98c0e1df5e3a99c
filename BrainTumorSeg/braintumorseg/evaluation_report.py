"""An `Evaluation` for people and programs: terminal table, CSV, JSON and box plots. Definitions go with the numbers."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import OutputError, ResourceError
from .evaluate import STRUCTURES, CaseResult, Evaluation, Scores
from .io.replacing import replacing
from .labels import REGIONS
from .lesions import LESION_DEFINITION

__all__ = ["DEFINITIONS", "Summary", "format_table", "summarise", "to_json", "write_box_plots", "write_csv"]


@dataclass(frozen=True)
class Metric:
    """One column: its `key` in CSV and JSON, its `title` and `decimals` in tables, how to read it, and how bad a value is."""

    key: str
    title: str
    decimals: int
    read: Callable[[Scores], float]
    badness: Callable[[float], float]


def _lower(value: float) -> float:
    return -value


METRICS = (
    Metric("dice", "Dice", 3, lambda s: s.dice, _lower),
    Metric("iou", "IoU", 3, lambda s: s.iou, _lower),
    Metric("precision", "Precision", 3, lambda s: s.precision, _lower),
    Metric("recall", "Recall", 3, lambda s: s.recall, _lower),
    Metric("hd95_mm", "HD95 mm", 1, lambda s: s.hd95_mm, float),
    Metric("nsd_1mm", "NSD 1 mm", 3, lambda s: s.nsd_1mm, _lower),
    Metric("volume_error_ml", "Error ml", 1, lambda s: s.volume_error_ml, abs),
    Metric("lesion_dice_brats2023", "L-Dice", 3, lambda s: s.lesions.dice, _lower),
    Metric("lesion_hd95_mm_brats2023", "L-HD95 mm", 1, lambda s: s.lesions.hd95_mm, float),
)
COUNTS = ("truth", "found", "matched", "missed", "false_found")

DEFINITIONS = {
    "structures": "WT = NCR + ED + ET, TC = NCR + ET, ET (enhancing tumour), NCR (necrotic core), ED (oedema).",
    "empty": "Both masks empty: overlaps 1, HD95 0. One empty: overlaps 0, no HD95: counted, and not in its mean.",
    "hd95_mm": "HD95: 95th percentile Hausdorff distance, the greater of both directions, by surface area (Nikolov 2018).",
    "nsd_1mm": "NSD: normalised surface Dice, the share of both surfaces within 1 mm of the other (Nikolov 2018).",
    "volume_error_ml": "Error: found minus true volume.",
    "lesions": f"L-Dice, L-HD95, lesions: {LESION_DEFINITION} lesion-wise (truth dilated by 3 voxels, 26-connected, lesions of\n"
               "50 mm3 and less ignored, a missed or false lesion scores Dice 0 and HD95 374 mm).",
}


@dataclass(frozen=True)
class Summary:
    """One metric of one structure over the cases where it is defined (`n` of them); None where there is none."""

    n: int
    mean: float | None
    median: float | None
    worst: float | None
    worst_case: str | None


def summarise(results: Sequence[CaseResult], structure: str, metric: Metric) -> Summary:
    """Mean, median and worst over the cases; infinite values (HD95 with one mask empty) are left out and lower `n`."""
    values = [(metric.read(result.scores[structure]), result.case) for result in results]
    values = [(value, case) for value, case in values if math.isfinite(value)]
    if not values:
        return Summary(0, None, None, None, None)
    worst, case = max(values, key=lambda pair: metric.badness(pair[0]))
    numbers = [value for value, _ in values]
    return Summary(len(values), float(np.mean(numbers)), float(np.median(numbers)), worst, case)


def format_table(evaluation: Evaluation) -> str:
    """Plain text for the terminal: one line a structure for one case; mean, median, worst and counts for several."""
    results = evaluation.results
    one = len(results) == 1
    lines = [f"{_cases(results)} (labels: truth {evaluation.truth_labels}, found {evaluation.found_labels})", "",
             _row("", "", [metric.title for metric in METRICS])]
    for structure in STRUCTURES:
        if one:
            scores = results[0].scores[structure]
            lines.append(_row(structure, "", [_shown(metric.read(scores), metric.decimals) for metric in METRICS]))
            continue
        summaries = [summarise(results, structure, metric) for metric in METRICS]
        for name in ("mean", "median", "worst"):
            cells = [_shown(getattr(s, name), metric.decimals) for s, metric in zip(summaries, METRICS, strict=True)]
            lines.append(_row(structure if name == "mean" else "", name, cells))
        lines += [f"      worst Dice: {summaries[0].worst_case}", f"      {_empties(results, structure)}",
                  f"      {_lesions(results, structure)}", ""]
    if one:
        scores = results[0].scores
        lines += ["", *(f"{name:<5} truth {s.truth_ml:.1f} ml, found {s.found_ml:.1f} ml; {_lesions(results, name)}"
                        for name, s in scores.items()), ""]
    lines += [*DEFINITIONS.values(), *_left_out(evaluation)]
    return "\n".join(lines)


def to_json(evaluation: Evaluation) -> dict:
    """Plain dict for json.dumps: definitions, summaries, every case, and the cases left out; infinite and undefined are None."""
    results = evaluation.results
    return {
        "definitions": {name: " ".join(text.split()) for name, text in DEFINITIONS.items()},
        "labels": {"truth": evaluation.truth_labels, "found": evaluation.found_labels},
        "cases": len(results),
        "summary": {structure: {
            "both_empty": _count_empty(results, structure, "both"),
            "truth_empty": _count_empty(results, structure, "truth"),
            "found_empty": _count_empty(results, structure, "found"),
            **{metric.key: vars(summarise(results, structure, metric)) for metric in METRICS},
        } for structure in STRUCTURES},
        "results": [{"case": result.case, "structures": {name: _plain(scores) for name, scores in result.scores.items()}}
                    for result in results],
        "truth_only": list(evaluation.truth_only),
        "found_only": list(evaluation.found_only),
        "refused": [{"case": case, "why": why} for case, why in evaluation.refused],
    }


def write_csv(evaluation: Evaluation, path: Path | str) -> None:
    """One line per case and structure; an undefined value is an empty cell. Replaces `path`. Raises OutputError."""
    rows = [{"case": result.case, "structure": name, **_plain(scores)} for result in evaluation.results
            for name, scores in result.scores.items()]

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)

    _replace(Path(path), write)


def write_box_plots(evaluation: Evaluation, path: Path | str) -> None:
    """A PNG with the Dice of WT, TC and ET: boxes, every case as a dot (hollow where both masks are empty), the worst named.

    Replaces `path`. Raises OutputError, or ResourceError when matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ResourceError("Box plots are drawn by matplotlib, which is not installed.",
                            "Run: pip install matplotlib") from None
    figure = Figure(figsize=(7.5, 5), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)  # a canvas of its own: pyplot and its global backend are left alone
    axes = figure.add_subplot()
    for place, region in enumerate(REGIONS, start=1):
        _draw_box(axes, place, evaluation.results, region)
    medians = [summarise(evaluation.results, region, METRICS[0]).median for region in REGIONS]
    names = [f"{region}\nmedian {median:.3f}" for region, median in zip(REGIONS, medians, strict=True)]
    axes.set_xticks(range(1, len(REGIONS) + 1), names)
    axes.set(xlim=(0.5, len(REGIONS) + 0.5), ylim=(-0.08, 1.03), ylabel="Dice")
    hollow = any(_count_empty(evaluation.results, region, "both") for region in REGIONS)
    note = " (hollow: truth and found empty, Dice 1)" if hollow else ""
    axes.set_title(f"Dice per region, {_cases(evaluation.results)}{note}", fontsize=11)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _replace(Path(path), lambda temporary: canvas.print_png(str(temporary)))


def _draw_box(axes, place: int, results: Sequence[CaseResult], region: str) -> None:
    values = np.array([result.scores[region].dice for result in results])
    # Drawn by hand: Axes.boxplot asks matplotlib for all its settings, which starts pyplot and whatever window system it finds.
    low, middle, high = np.percentile(values, (25, 50, 75))
    reach = 1.5 * (high - low)  # Tukey's whiskers: to the last case within 1.5 times the box
    ends = [values[values >= low - reach].min(), values[values <= high + reach].max()]
    axes.vlines([place, place], [ends[0], high], [low, ends[1]], color="0.4")
    axes.hlines(ends, place - 0.12, place + 0.12, color="0.4")
    axes.bar(place, high - low, width=0.5, bottom=low, facecolor="#dbe7f3", edgecolor="0.4")
    axes.hlines(middle, place - 0.25, place + 0.25, color="#b3441e", linewidth=2)
    # Spread sideways evenly in the order of the values, so that neighbours do not hide each other and the picture repeats.
    aside = np.zeros(len(values))
    aside[np.argsort(values, kind="stable")] = (np.arange(len(values)) % 5 - 2) * 0.06
    hollow = np.array([result.scores[region].empty == "both" for result in results])
    axes.scatter(place + aside, values, s=22, zorder=3, facecolors=np.where(hollow, "white", "#1f4e79"), edgecolors="#1f4e79")
    worst = int(np.argmin(values))
    axes.annotate(f"worst: {results[worst].case}", (place, values[worst]), xytext=(0, -7), textcoords="offset points", fontsize=7,
                  ha="center", va="top")  # below the lowest dot nothing else is drawn


def _plain(scores: Scores) -> dict:
    numbers = {metric.key: metric.read(scores) for metric in METRICS}
    return {"truth_ml": scores.truth_ml, "found_ml": scores.found_ml, "empty": scores.empty,
            **{key: value if math.isfinite(value) else None for key, value in numbers.items()},
            **{f"lesions_{name}": getattr(scores.lesions, name) for name in COUNTS}, "lesion_f1_brats2023": scores.lesions.f1}


def _row(structure: str, name: str, cells: Sequence[str]) -> str:
    return f"{structure:<5} {name:<7}" + "".join(f"{cell:>{max(8, len(metric.title) + 2)}}"
                                                 for cell, metric in zip(cells, METRICS, strict=True))


def _shown(value: float | None, decimals: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"


def _cases(results: Sequence[CaseResult]) -> str:
    return f"case {results[0].case}" if len(results) == 1 else f"{len(results)} cases"


def _count_empty(results: Sequence[CaseResult], structure: str, which: str) -> int:
    return sum(result.scores[structure].empty == which for result in results)


def _empties(results: Sequence[CaseResult], structure: str) -> str:
    both, truth, found = (_count_empty(results, structure, which) for which in ("both", "truth", "found"))
    return (f"cases: {len(results)}; empty: truth and found in {both}, only truth in {truth}, only found in {found}"
            + (f"; HD95 over {len(results) - truth - found}" if truth + found else ""))


def _lesions(results: Sequence[CaseResult], structure: str) -> str:
    truth, found, matched, missed, false = (sum(getattr(r.scores[structure].lesions, name) for r in results) for name in COUNTS)
    return f"lesions: {truth} true ({matched} matched, {missed} missed), {found} found ({false} false)"


def _left_out(evaluation: Evaluation) -> list[str]:
    lines = [f"Not compared: {case}: {why}" for case, why in evaluation.refused]
    if evaluation.truth_only:
        lines.append(f"Truth without a found segmentation ({len(evaluation.truth_only)}): {', '.join(evaluation.truth_only)}")
    if evaluation.found_only:
        lines.append(f"Found without a truth ({len(evaluation.found_only)}): {', '.join(evaluation.found_only)}")
    return ["", *lines] if lines else []


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    try:
        with replacing(path) as partial:
            write(partial)
    except OSError as error:
        raise OutputError(f"{path.name} cannot be written: {error.strerror or error}.",
                          "Check that its folder exists, is writable and has room.") from None
