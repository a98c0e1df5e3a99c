"""Flag: one thing that a reader of the result must know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["SEVERITIES", "Flag", "warnings_first"]

SEVERITIES = ("warning", "info")


@dataclass(frozen=True)
class Flag:
    """What a reader of the result must know: a stable `code`, a `severity` of SEVERITIES, one sentence with what to do."""

    code: str
    severity: str
    text: str

    def __post_init__(self):
        if self.severity not in SEVERITIES:
            raise ValueError(f"a flag is {' or '.join(SEVERITIES)}, not {self.severity}")


def warnings_first(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """`flags` in the order in which they are read: by severity, and of one severity as they came."""
    return tuple(sorted(flags, key=lambda flag: SEVERITIES.index(flag.severity)))
