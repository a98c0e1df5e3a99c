"""How many cores a run may compute on: what the machine has, or what its container or batch job leaves it where that is less."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .control_groups import control_groups

__all__ = ["granted_cores"]


def granted_cores(root: Path = Path("/")) -> int:
    """Those that the process is bound to (a batch job's, taskset's), and no more than a container's share of time is worth; at least 1.

    `root` is where Linux's proc and sys are.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1   # macOS and Windows do not tell
    return max(1, int(min([bound, *_shares(root)])))


def _shares(root: Path) -> Iterator[float]:
    """How many cores' time each control group may take, of those that have a limit."""
    for group, unified in control_groups("cpu", root):
        try:
            if unified:
                most, period = (group / "cpu.max").read_text().split()
            else:
                most, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except (OSError, ValueError):
            continue  # no such group
        if most.isdecimal() and period.isdecimal() and int(period):   # "max" or -1: no limit
            yield int(most) / int(period)
