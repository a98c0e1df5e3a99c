"""A comparison as Markdown, and as a picture in which each case is a line from network to network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from braintumorseg.labels import REGIONS

from .markdown import markdown_table, shown
from .splits import some_of
from .validation_pictures import new_figure

if TYPE_CHECKING:
    from .compare import Group

__all__ = ["draw_pairs", "format_markdown"]


def format_markdown(found: Mapping) -> str:
    """Markdown of what `compare` returns."""
    first = found["against"]
    parts = [f"# {len(found['groups'])} networks on the same {len(found['cases'])} cases",
             *(f"> **{name} was trained on {len(cases)} of these cases, or on others of their patients** ({some_of(cases)}): its numbers there show "
               "how well they were learned, not accuracy, and no difference to it tells which network is better."
               for name, cases in found["trained_on"].items()),
             "Dice over whole cases; both empty counts 1, one empty 0; ET over cases with at least 1 ml. ± is the standard deviation over seeds."]
    for region in REGIONS:
        rows = [[name, row[region]["seeds"], row[region]["n"],
                 shown(row[region]["mean"]) + (f" ± {row[region]['sd_over_seeds']:.3f}" if row[region]["sd_over_seeds"] is not None else ""),
                 shown(row[region]["median"]), shown(row[region]["worst"]), row[region]["worst_case"] or "-"]
                for name, row in found["groups"].items()]
        parts += [f"## {region}", markdown_table(("Network", "seeds", "N", "mean", "median", "worst", "worst case"), rows)]
        rows = [[name, row[region]["n"], f"{100 * row[region]['mean']:+.1f}", f"{100 * row[region]['low']:+.1f} to {100 * row[region]['high']:+.1f}",
                 f"{row[region]['p']:.3f}"] for name, row in found["differences"].items() if row[region]]
        if rows:
            parts.append(markdown_table((f"less {first}", "N", "points", "95 % interval", "Wilcoxon p"), rows))
    least = min((2.0 ** (1 - row[region]["n"]) for row in found["differences"].values() for region in REGIONS if row[region]), default=None)
    parts.append("Differences are paired by case, after averaging over seeds; the interval is a bootstrap over cases."
                 + (f" With so few cases p cannot fall below {least:.3g}." if least and least > 0.001 else ""))
    parts.append("![Each case from network to network](compare.png)")
    if found["by_sequences"]:
        for region in REGIONS:
            rows = [[key, *(shown(groups[name][region]) for name in found["groups"])] for key, groups in found["by_sequences"].items()]
            parts += [f"## {region} by sequences (mean Dice)", markdown_table(("Sequences", *found["groups"]), rows)]
    return "\n\n".join(parts) + "\n"


def draw_pairs(groups: Sequence[Group], path: Path) -> None:
    """A PNG, a plot a region: a column a network, a dot and a line a case, a bar at the mean, small crosses for the means of single seeds."""
    figure, canvas = new_figure(max(8.0, 3 * (1 + 0.9 * len(groups))), 5)
    for axes, region in zip(figure.subplots(1, len(REGIONS), sharey=True), REGIONS, strict=True):
        chosen = groups[0].chosen(region)
        values = np.array([group.dice[region].mean(axis=0)[chosen] for group in groups])   # (groups, cases)
        places = np.arange(len(groups))
        axes.plot(places, values, color="#9db4cc", linewidth=1, zorder=1)
        for place, (group, column) in enumerate(zip(groups, values, strict=True)):
            axes.scatter([place] * len(column), column, s=22, color="#1f4e79", zorder=2)
            if len(column):
                axes.hlines(column.mean(), place - 0.25, place + 0.25, color="#b3441e", linewidth=2.5, zorder=3)
                seeds = group.dice[region][:, chosen].mean(axis=1)
                if len(seeds) > 1:
                    axes.scatter([place + 0.3] * len(seeds), seeds, marker="x", s=22, color="#b3441e", zorder=3)
        labels = [group.name if len(group.name) <= 14 else f"{group.name[:13]}…" for group in groups]
        axes.set_xticks(places, labels, rotation=30 if len(groups) > 3 else 0, ha="right" if len(groups) > 3 else "center")
        axes.set(title=f"{region} (N = {int(chosen.sum())})", xlim=(-0.5, len(groups) - 0.5))
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("Dice")
    seen = [group.name for group in groups if group.trained_on]
    figure.suptitle("Each line is a case; red: mean" + (", crosses: single seeds" if any(len(g.dice["WT"]) > 1 for g in groups) else "")
                    + (f"\ntrained on some of these cases: {', '.join(seen)}" if seen else ""), fontsize=10)
    canvas.print_png(str(path))
