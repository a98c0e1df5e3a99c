"""log.csv of a run: a row every so many steps with loss and rate, and one a validation with the Dice by name."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from braintumorseg.io.replacing import replacing

from .checkpoints import writing

__all__ = ["LOG", "RunLog", "cut_log", "read_log"]

LOG = "log.csv"


class RunLog:
    """Adds rows to a run's log; `scores` are the names that validations give (columns dice_NAME).

    Where the file cannot be opened, as while a spreadsheet shows it on Windows, rows wait for the next one that can be written; that is said once.
    """

    def __init__(self, out: Path, scores: Sequence[str], say: Callable[[str], None]):
        self.out, self.scores, self.say = out, scores, say
        self.waiting: list[dict] = []
        self.told = False

    def add(self, row: dict) -> None:
        self.waiting.append(row)
        self.write()

    def write(self) -> None:
        """Write the rows that wait, if there are any. Raises OutputError when the disk refuses them."""
        if not self.waiting:
            return
        fresh = not (self.out / LOG).exists()
        try:
            file = (self.out / LOG).open("a", newline="", encoding="utf-8")
        except OSError as error:
            if not self.told:
                self.say(f"{LOG} cannot be written ({error.strerror or error}), as where another program holds it open. The run goes on, and what "
                         "belongs there is written when it can be.")
            self.told = True
            return
        with writing(self.out / LOG), file:
            writer = csv.DictWriter(file, _columns(self.scores))
            if fresh:
                writer.writeheader()
            writer.writerows(self.waiting)
        self.waiting.clear()

    def close(self) -> None:
        """The last try, at the end of a run; what cannot be written then is said to be lost."""
        self.write()
        if self.waiting:
            self.say(f"{LOG} could not be written to the end: {len(self.waiting)} row{'s are' if len(self.waiting) > 1 else ' is'} lost.")


def cut_log(out: Path, scores: Sequence[str], step: int, validated: int) -> None:
    """Drop what a run that is taken up after `step`, its last validation after `validated`, writes again, and what a killed one wrote half."""
    if not (out / LOG).exists():
        return
    with writing(out / LOG):
        rows = [row for row in read_log(out) if int(row["step"]) <= (step if row.get("loss") else validated)]
        with replacing(out / LOG) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _columns(scores), extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)


def read_log(out: Path) -> list[dict[str, str]]:
    """The whole rows of a run's log, in order; [] when there is none."""
    rows = []
    with suppress(FileNotFoundError), (out / LOG).open(newline="", encoding="utf-8-sig", errors="replace") as file:
        text = file.read()
        whole = text[: text.rfind("\n") + 1]  # a killed run may have left half a line
        for row in csv.DictReader(whole.splitlines()):
            if (row.get("step") or "").isdigit() and None not in row.values():
                rows.append(row)
    return rows


def _columns(scores: Sequence[str]) -> list[str]:
    return ["step", "loss", "rate", *(f"dice_{name}" for name in scores)]
