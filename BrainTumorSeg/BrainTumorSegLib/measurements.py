"""Numbers of label arrays: ml per label and region, and how well two agree. Arrays are (K, J, I); nothing of Slicer here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["REGION_NAMES", "Row", "comparison_rows", "dice", "enhancing_words", "reported_rows", "rounded_ml", "volume_rows", "with_diameters"]

REGION_NAMES = {"WT": "Whole tumour (WT)", "TC": "Tumour core (TC)", "ET": "Enhancing tumour (ET)"}


@dataclass(frozen=True)
class Row:
    """A line of a table: `kind` is 'region', 'label', or 'other' for what has none of our labels, `key` WT, TC, ET, NCR or ED (a name where it is
    none of these), `ml` per segmentation; `dice` of two; `remark` what a reader must know of the number."""

    structure: str
    kind: str
    key: str
    ml: tuple
    dice: float | None = None
    remark: str = ""


def volume_rows(labels: np.ndarray, voxel_ml: float, table: Sequence[Mapping]) -> list:
    """The volumes of one label array: regions first, then the labels of the report's table."""
    structures = _structures(table)
    ml = {value: voxel_ml * np.count_nonzero(labels == value) for value in {one for *_, values in structures for one in values}}
    return [Row(name, kind, key, (round(sum(ml[value] for value in values), 3),)) for name, kind, key, values in structures]


def reported_rows(report: Mapping) -> list:
    """The volumes as the engine's report gives them, in the same order, with its diameters."""
    volumes = report["volumes_ml"]
    rows = [Row(name, kind, key, (volumes[f"{kind}s"].get(key, 0.0),)) for name, kind, key, _ in _structures(report["model"]["labels"])]
    return with_diameters(rows, report)


def comparison_rows(first: np.ndarray, second: np.ndarray, voxel_ml: float, table: Sequence[Mapping]) -> list:
    """The volumes of two label arrays on one grid, and their Dice."""
    rows = []
    for name, kind, key, values in _structures(table):
        masks = [np.isin(array, values) for array in (first, second)]
        ml = tuple(round(int(np.count_nonzero(mask)) * voxel_ml, 3) for mask in masks)
        rows.append(Row(name, kind, key, ml, round(dice(*masks), 4)))
    return rows


def rounded_ml(ml: float) -> float:
    """As a table shows it: to 0.1 ml, below 1 ml to 0.01. Outlines are not surer than that."""
    return round(ml, 1 if abs(ml) >= 1 else 2)


def with_diameters(rows: Sequence, report: Mapping) -> list:
    """The rows with what the report says of enhancing lesions by RANO, as a remark on the enhancing tumour."""
    words = enhancing_words(report)
    return [replace(row, remark=words) if words and (row.kind, row.key) == ("region", "ET") else row for row in rows]


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two bool masks, 0..1; 1.0 when both are empty."""
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2.0 * int(np.count_nonzero(first & second)) / total if total else 1.0


def _structures(table: Sequence[Mapping]) -> list:
    """(name, kind, key, label values) of every line."""
    from braintumorseg.labels import ED, ET, NCR, REGIONS

    short = {NCR: "NCR", ED: "ED", ET: "ET"}  # as the engine's report calls them
    regions = [(REGION_NAMES[region], "region", region, values) for region, values in REGIONS.items()]
    labels = [(label["name"], short.get(label["value"], label["name"]), label["value"]) for label in table]
    return regions + [(f"{name} ({key})" if key != name else name, "label", key, (value,)) for name, key, value in labels]


def enhancing_words(report: Mapping) -> str:
    """'RANO: 2 measurable lesions; the largest 24.1 x 16 mm', of the outlines as the engine drew them; '' where the report has none."""
    largest, measurable = report.get("enhancing_mm"), report.get("enhancing_lesions_mm")
    if not largest:
        return ""
    axes = f"{largest['long']:g} x {largest['short']:g} mm"
    if measurable is None:  # of earlier versions, which measured the largest alone
        return f"RANO: the largest lesion {axes}"
    many = f"{len(measurable)} measurable lesion{'s' if len(measurable) > 1 else ''}" if measurable else "no measurable lesion"
    total = f", sum of products {report['sum_of_products_mm2']:g} mm2" if len(measurable) > 1 and report.get("sum_of_products_mm2") else ""
    return f"RANO: {many}; the largest {axes}{total}"
