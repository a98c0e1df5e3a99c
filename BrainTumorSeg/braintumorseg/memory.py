"""How much memory a run may still take: what the machine has free, or what its container or batch job leaves it where that is less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["free_bytes"]

# Of control groups of version 2 and 1: their folder, how much a group may take, how much it has, and the lines of its memory.stat
# that count pages of files, which the system takes back when somebody needs them.
_UNIFIED = "sys/fs/cgroup", "memory.max", "memory.current", ("inactive_file", "active_file")
_LEGACY = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")


def free_bytes(root: Path = Path("/")) -> float:
    """What can be taken before the system kills for it; `root` is where Linux's proc and sys are."""
    import psutil

    return float(min([psutil.virtual_memory().available, *_left_by_groups(root)]))


def _left_by_groups(root: Path) -> Iterator[int]:
    """What each control group that this process is in, and each that holds one of those, has left."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, *names = _LEGACY if controllers else _UNIFIED
        inner = Path(group.strip("/"))  # a container may see its own group as the outermost, under another path: what is not there is passed over
        for one in dict.fromkeys((inner, *inner.parents)):
            left = _left(root / folder / one, *names)
            if left is not None:
                yield left


def _left(group: Path, limit: str, usage: str, files: tuple[str, ...]) -> int | None:
    """None without a limit, or without a group."""
    try:
        most, taken = (group / limit).read_text().strip(), int((group / usage).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return max(0, int(most) - taken + sum(int(stat.get(name, 0)) for name in files)) if most.isdecimal() else None
