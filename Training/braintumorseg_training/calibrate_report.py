"""A calibration as a table, and as the curves that it was read from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from braintumorseg.labels import REGIONS

from .markdown import markdown_table
from .validation_pictures import new_figure

__all__ = ["write_calibration"]


def write_calibration(rows: Mapping[str, dict], network: str, gains: Mapping[str, dict], part: str, out: Path) -> str:
    """Write calibration.json, .md and .png into `out`; returns the table. `rows`: case -> its curves; `gains`: number -> what was found."""
    plain = {"network": network, "part": part, "numbers": gains, "cases": rows}
    (out / "calibration.json").write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    rows_of = [[key, row["now"], row["best"], f"{100 * row['gain_on_cases_left_out']:+.2f}", row["chosen"]] for key, row in gains.items()]
    table = markdown_table(("", "now", "best on all", "gain on cases left out, points", "suggested"), rows_of)
    warning = "**These cases were trained on: a hint, not a calibration.**\n\n" if part == "train" else ""
    (out / "calibration.md").write_text(f"# Calibration of {network} on {len(rows)} cases\n\n{warning}{table}\n\n"
                                        "![Dice along each threshold](calibration.png)\n", encoding="utf-8")
    _draw(rows, gains, out / "calibration.png")
    return table


def _draw(rows: Mapping[str, dict], gains: Mapping[str, dict], path: Path) -> None:
    """Dice along each region's threshold: grey a case, blue the mean; dashed now, red the suggestion."""
    figure, canvas = new_figure(11, 4)
    for axes, region in zip(figure.subplots(1, 3, sharey=True), REGIONS, strict=True):
        curves = [row[region] for row in rows.values() if row[region]]
        for curve in curves:
            axes.plot(list(curve), list(curve.values()), color="0.75", linewidth=1)
        if curves:
            axes.plot(list(curves[0]), np.mean([list(curve.values()) for curve in curves], axis=0), color="#1f4e79", linewidth=2.5)
        axes.axvline(gains[region]["now"], color="0.4", linestyle="--")
        axes.axvline(gains[region]["chosen"], color="#b3441e", alpha=0.6)
        axes.set(title=f"{region} (N = {len(curves)})", xlabel="threshold", ylim=(0, 1))
        axes.grid(color="0.92")
    figure.suptitle("Dice along each threshold: grey a case, blue the mean; dashed: now, red: suggested", fontsize=10)
    canvas.print_png(str(path))
