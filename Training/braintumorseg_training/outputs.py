"""Folders that verbs write their results into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from braintumorseg.errors import OutputError

__all__ = ["output_into"]


@contextmanager
def output_into(folder: Path) -> Iterator[None]:
    """Make `folder`; what goes wrong with the disk within the block is an OutputError, one line for the user."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise OutputError(f"{folder.name} cannot be written into: {error.strerror or error}.",
                          "Choose a folder that is writable and has room.") from None
