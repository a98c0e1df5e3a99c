"""The control groups by which Linux holds a container or a batch job: where those are that this process is in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["control_groups"]

_FOLDER = "sys/fs/cgroup"


def control_groups(controller: str, root: Path = Path("/")) -> Iterator[tuple[Path, bool]]:
    """(folder, whether it is of version 2) of each group that this process is in, and of each that holds one of those.

    controller: of version 1, where each has groups of its own: 'memory', 'cpu'. root: where Linux's proc and sys are. Folders may not be there,
    for a container may see its own group as the outermost, under another path. Nothing where the system is not Linux.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, *parts = line.split(":", 2)
        if len(parts) < 2:   # an empty line, as some containers' made-up files have
            continue
        controllers, group = parts
        if controllers and controller not in controllers.split(","):
            continue
        folder = root / _FOLDER / controller if controllers else root / _FOLDER
        inner = Path(group.strip("/"))
        for one in dict.fromkeys((inner, *inner.parents)):
            yield folder / one, not controllers
