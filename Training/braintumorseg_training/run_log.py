"""log.csv of a run: a row every so many steps with loss and rate, and one a validation with the Dice by name."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from braintumorseg.io.replacing import replacing

from .checkpoints import writing

__all__ = ["LOG", "append_row", "cut_log", "read_log"]

LOG = "log.csv"


def append_row(out: Path, scores: Sequence[str], row: dict) -> None:
    """Add a row; `scores` are the names that validations give (columns dice_NAME)."""
    with writing(out / LOG):
        fresh = not (out / LOG).exists()
        with (out / LOG).open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _columns(scores))
            if fresh:
                writer.writeheader()
            writer.writerow(row)


def cut_log(out: Path, scores: Sequence[str], step: int, validated: int) -> None:
    """Drop what a run that is taken up after `step`, its last validation after `validated`, writes again, and what a killed one wrote half."""
    if not (out / LOG).exists():
        return
    rows = [row for row in read_log(out) if int(row["step"]) <= (step if row.get("loss") else validated)]
    with writing(out / LOG), replacing(out / LOG) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _columns(scores), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def read_log(out: Path) -> list[dict[str, str]]:
    """The whole rows of a run's log, in order; [] when there is none."""
    rows = []
    with suppress(FileNotFoundError), (out / LOG).open(newline="", encoding="utf-8", errors="replace") as file:
        text = file.read()
        whole = text[: text.rfind("\n") + 1]  # a killed run may have left half a line
        for row in csv.DictReader(whole.splitlines()):
            if (row.get("step") or "").isdigit() and None not in row.values():
                rows.append(row)
    return rows


def _columns(scores: Sequence[str]) -> list[str]:
    return ["step", "loss", "rate", *(f"dice_{name}" for name in scores)]
