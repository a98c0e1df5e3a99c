"""Loss, Dice and learning rate of one run, or of several over each other, as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from braintumorseg.errors import MissingFile, ResourceError
from braintumorseg.io.replacing import replacing

from .checkpoints import writing
from .run_log import LOG, read_log

__all__ = ["CURVES", "Curve", "draw_curves", "read_curves"]

CURVES = "curves.png"
_DICE = "dice_"
_SMOOTH = 0.9   # of the bold line: how much of its last value each value of the loss leaves

Curve = tuple[np.ndarray, np.ndarray]   # steps (N,), values (N,)


def read_curves(run: Path) -> dict[str, Curve]:
    """A run's log by column: `loss`, `rate`, the Dice by the validation's names and `mean Dice`; columns without a value are left out.

    Raises MissingFile when the run has no log or an empty one.
    """
    rows = read_log(run)
    if not rows:
        raise MissingFile(f"There is no {LOG} with a row in {run.name}.", "Give the folder that fit wrote.")
    curves = {}
    for name in rows[0]:
        points = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        if points and name != "step":
            steps, values = zip(*points, strict=True)
            curves[name] = np.array(steps), np.array(values)
    dice = [values for name, (_, values) in curves.items() if name.startswith(_DICE)]
    if dice:
        curves["mean Dice"] = next(steps for name, (steps, _) in curves.items() if name.startswith(_DICE)), np.mean(dice, axis=0)
    return curves


def draw_curves(runs: Sequence[Path], path: Path) -> None:
    """Write the picture: of one run the Dice by name, of several their mean Dice. Raises ResourceError when matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ResourceError("Curves are drawn by matplotlib, which is not installed.", "Run: pip install matplotlib") from None
    read = {name: read_curves(run) for name, run in zip(_names(runs), runs, strict=True)}
    figure = Figure(figsize=(13, 4), dpi=110)
    canvas = FigureCanvasAgg(figure)  # a canvas of its own: pyplot and its global backend are left alone
    loss, dice, rate = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.04, right=0.99, bottom=0.13, top=0.91, wspace=0.17)    # a layout that measures its texts takes twice as long
    for number, (name, curves) in enumerate(read.items()):
        colour = f"C{number % 10}"
        if "loss" in curves:
            steps, values = curves["loss"]
            loss.plot(steps, values, color=colour, alpha=0.3, linewidth=1)
            loss.plot(steps, _smooth(values), color=colour, label=name)
        if "rate" in curves:
            rate.plot(*curves["rate"], color=colour, label=name)
        if len(read) > 1:
            _draw_dice(dice, curves, {"mean Dice": name}, [colour])
        else:
            by_name = {key: key.removeprefix(_DICE) for key in curves if key.startswith(_DICE)}
            _draw_dice(dice, curves, by_name, [f"C{n % 10}" for n in range(1, len(by_name) + 1)])
            _draw_dice(dice, curves, {"mean Dice": "mean"}, ["0.2"])
    for axes, title in ((loss, "Loss (bold: smoothed)"), (dice, "Validation (ring: best mean)"), (rate, "Learning rate")):
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("step")
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_lines() and (axes is dice or len(read) > 1):
            axes.legend(fontsize=8, frameon=False)
    if not dice.get_lines():
        dice.text(0.5, 0.5, "no validation yet", ha="center", va="center", transform=dice.transAxes, color="0.5")
    rate.set_ylim(bottom=0)
    with writing(path), replacing(path) as partial:
        canvas.print_png(str(partial))


def _draw_dice(axes, curves: dict[str, Curve], labels: dict[str, str], colours: Sequence[str]) -> None:
    for (key, label), colour in zip(labels.items(), colours, strict=True):
        if key not in curves:
            continue
        steps, values = curves[key]
        axes.plot(steps, values, color=colour, label=label, marker=".", linewidth=1.5)
        if key == "mean Dice":
            best = int(np.argmax(values))
            axes.plot(steps[best], values[best], color=colour, marker="o", markersize=9, fillstyle="none")


def _smooth(values: np.ndarray) -> np.ndarray:
    """Exponential mean, its beginning corrected as in Adam."""
    mean, weight, out = 0.0, 0.0, []
    for value in values:
        mean, weight = _SMOOTH * mean + (1 - _SMOOTH) * value, _SMOOTH * weight + (1 - _SMOOTH)
        out.append(mean / weight)
    return np.array(out)


def _names(runs: Sequence[Path]) -> list[str]:
    """The folders' names, with their parents' where two are the same."""
    short = [run.resolve().name for run in runs]
    return [name if short.count(name) == 1 else f"{run.resolve().parent.name}/{name}" for name, run in zip(short, runs, strict=True)]
