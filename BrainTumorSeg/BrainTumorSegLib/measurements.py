"""Numbers of label arrays: ml per label and region, and how well two agree. Arrays are (K, J, I); nothing of Slicer here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["REGION_NAMES", "Row", "comparison_rows", "dice", "reported_rows", "volume_rows"]

REGION_NAMES = {"WT": "Whole tumour (WT)", "TC": "Tumour core (TC)", "ET": "Enhancing tumour (ET)"}


@dataclass(frozen=True)
class Row:
    """A line of a table: `kind` is 'region' or 'label', `key` WT, TC, ET, NCR or ED (a label's name where it is none
    of these), `ml` per segmentation; `dice` of two."""

    structure: str
    kind: str
    key: str
    ml: tuple
    dice: float | None = None


def volume_rows(labels: np.ndarray, voxel_ml: float, table: Sequence[Mapping]) -> list:
    """The volumes of one label array: regions first, then the labels of the report's table."""
    ml = voxel_ml * np.bincount(labels.ravel(), minlength=256)
    return [Row(name, kind, key, (round(float(ml[list(values)].sum()), 3),)) for name, kind, key, values in _structures(table)]


def reported_rows(report: Mapping) -> list:
    """The volumes as the engine's report gives them, in the same order."""
    volumes = report["volumes_ml"]
    return [Row(name, kind, key, (volumes[f"{kind}s"].get(key, 0.0),)) for name, kind, key, _ in _structures(report["model"]["labels"])]


def comparison_rows(first: np.ndarray, second: np.ndarray, voxel_ml: float, table: Sequence[Mapping]) -> list:
    """The volumes of two label arrays on one grid, and their Dice."""
    rows = []
    for name, kind, key, values in _structures(table):
        masks = [np.isin(array, values) for array in (first, second)]
        ml = tuple(round(int(np.count_nonzero(mask)) * voxel_ml, 3) for mask in masks)
        rows.append(Row(name, kind, key, ml, round(dice(*masks), 4)))
    return rows


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
