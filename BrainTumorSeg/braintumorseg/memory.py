"""How much memory a run may still take: what the machine has free, or what its container or batch job leaves it where that is less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .control_groups import control_groups

__all__ = ["free_bytes", "granted_bytes"]

# Of control groups of version 2 and 1: how much a group may take, how much it has, and the lines of its memory.stat that count pages of
# files, which the system takes back when somebody needs them.
_UNIFIED = "memory.max", "memory.current", ("inactive_file", "active_file")
_LEGACY = "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")


def free_bytes(root: Path = Path("/")) -> float:
    """What can be taken before the system kills for it; `root` is where Linux's proc and sys are."""
    import psutil

    return float(min([psutil.virtual_memory().available, *(left for _, left in _groups(root))]))


def granted_bytes(root: Path = Path("/")) -> float:
    """What the machine has in all, or what its container or batch job may take in all where that is less; `root` as above."""
    import psutil

    return float(min([psutil.virtual_memory().total, *(most for most, _ in _groups(root))]))


def _groups(root: Path) -> Iterator[tuple[int, int]]:
    """What each control group that this process is in, and each that holds one of those, may take and has left."""
    for group, unified in control_groups("memory", root):
        found = _most_and_left(group, *(_UNIFIED if unified else _LEGACY))
        if found is not None:
            yield found


def _most_and_left(group: Path, limit: str, usage: str, files: tuple[str, ...]) -> tuple[int, int] | None:
    """None without a limit, or without a group."""
    try:
        most, taken = (group / limit).read_text().strip(), int((group / usage).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return (int(most), max(0, int(most) - taken + sum(int(stat.get(name, 0)) for name in files))) if most.isdecimal() else None
