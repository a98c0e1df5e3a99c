"""A folder for a run's files that no other user can read and that is removed in every outcome, even after a killed Slicer."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

__all__ = ["PrivateFolder", "remove_leftovers", "try_lock"]

_PREFIX = "braintumorseg-"
_LOCK = ".in-use"
_YOUNG_S = 60.0  # between making a folder and locking it, another Slicer must not take it for a leftover


class PrivateFolder:
    """A fresh folder (mode 0700) in `parent`, the system's temporary folder unless given; leftovers of earlier ones are removed first.

    A file in it is locked as long as this process lives, so a folder whose lock is free was left by a process that died.
    """

    def __init__(self, parent: Path | None = None):
        parent = Path(parent or tempfile.gettempdir())
        remove_leftovers(parent)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock = (self.path / _LOCK).open("wb")
        try_lock(self._lock)

    def remove(self) -> None:
        """Delete it with everything in it; a second call does nothing. What another program holds open goes with the next sweep."""
        self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_) -> None:
        self.remove()


def remove_leftovers(parent: Path) -> None:
    """Delete the folders of ours in `parent` that no living process uses."""
    for folder in parent.glob(f"{_PREFIX}*"):
        lock = folder / _LOCK
        try:
            anothers = hasattr(os, "getuid") and folder.lstat().st_uid != os.getuid()
            if anothers or time.time() - lock.stat().st_mtime < _YOUNG_S:
                continue
            with lock.open("r+b") as stream:
                if not try_lock(stream):
                    continue
        except OSError:  # gone meanwhile, or not a folder of ours
            continue
        shutil.rmtree(folder, ignore_errors=True)


def try_lock(stream) -> bool:
    """False when another process holds it."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
