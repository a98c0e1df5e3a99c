"""Putting a finished file or folder in its place in one step, so that what lay there is replaced whole or not at all."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["put", "replacing"]

# Windows refuses to rename what a program has open; virus scanners, indexers and synchronised folders look at every new file.
_HELD_FOR_S = 10.0 if os.name == "nt" else 0.0


def put(source: Path, target: Path) -> None:
    """Rename `source` to `target`; a file there is replaced. On Windows another program may hold one of them for some seconds.

    Raises OSError.
    """
    end, pause = time.monotonic() + _HELD_FOR_S, 0.05
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if time.monotonic() + pause > end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 1.0)


@contextmanager
def replacing(path: Path, keep: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its endings; what the block writes there becomes `path` when it ends well.

    What lay at `path` is renamed to `keep` just before, if that is given.

    When the block raises, or the disk refuses, `path` is as it was and nothing else is left. Raises OSError.
    """
    partial = path.with_name(f".partial-{secrets.token_hex(4)}-{path.name}")
    try:
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())   # some disks (network, quota) say only now that they are full
        if keep is not None and path.exists():
            put(path, keep)
        put(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
