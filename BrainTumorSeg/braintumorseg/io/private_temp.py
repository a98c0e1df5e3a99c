"""A temporary folder for patients' data: readable by this user alone, and gone in every outcome.

It is removed when the block ends, well or not. A run that is killed (SIGKILL, power) cannot do that, so whoever asks for such a
folder next removes those of dead processes first.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError
from .owner import MARK, is_abandoned, owner_mark, remove_folder

__all__ = ["private_folder", "remove_leftovers"]

_NAME = "braintumorseg"


@contextmanager
def private_folder(purpose: str = "work", parent: Path | None = None) -> Iterator[Path]:
    """Yield an empty folder (mode 0700) in the system's place for temporary files, or in `parent`; it is gone afterwards.

    `purpose` is a word for its name: never anything about a patient. Raises OutputError when it cannot be made.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else Path(parent)
    remove_leftovers(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{_NAME}-{purpose}-{owner_mark()}-", dir=parent))  # mkdtemp: 0700, never an existing one
    except OSError as error:
        raise OutputError(f"No temporary folder can be made ({error.strerror}).", "Free some space, or point TMPDIR at another folder.") from error
    try:
        yield folder
    finally:
        remove_folder(folder)


def remove_leftovers(parent: Path | None = None) -> int:
    """Remove this user's private folders whose processes are dead; how many there were. Folders of live runs are left alone."""
    parent = Path(tempfile.gettempdir()) if parent is None else Path(parent)
    pattern = re.compile(rf"{_NAME}-[a-z]+-{MARK}-\w+")
    removed = 0
    try:
        entries = list(os.scandir(parent))
    except OSError:
        return 0
    for entry in entries:
        if pattern.fullmatch(entry.name) and is_abandoned(Path(entry.path)):
            remove_folder(Path(entry.path))
            removed += 1
    return removed
