"""Tables for the Markdown that reports and cards are written in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"[-+±0-9., ]*")

__all__ = ["clock", "markdown_table", "shown"]


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, columns of numbers flush right; a bar within a cell does not end it."""
    rows = [[str(cell) for cell in row] for row in rows]
    rule = ["---:" if rows and all(_NUMBER.fullmatch(row[column]) for row in rows) else "---" for column in range(len(heads))]
    lines = [heads, rule, *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)


def shown(value: float | None, decimals: int = 3) -> str:
    """'-' for a value that is not defined."""
    return "-" if value is None else f"{value:.{decimals}f}"


def clock(seconds: float) -> str:
    """'45 s', '12 min' or '3 h 05 min'."""
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min" if minutes else f"{seconds:.0f} s"
