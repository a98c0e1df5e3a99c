"""Every DICOM image below some paths, by content and not by name, and what else lies there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Cancelled, MissingFile
from .dicom_quiet import quiet
from .dicom_series import LeftAside
from .files import walk

if TYPE_CHECKING:
    from .dicom_slices import Slice

__all__ = ["find_files", "merged", "read_files"]

_READERS = 4            # files wait for the disk or the network, not for the processor
_TELL_EVERY = 20        # files
_NAMED = 3              # names of files in one line


def find_files(paths: Iterable[Path | str]) -> tuple[list[Path], list[LeftAside]]:
    """All files at or below `paths`, each once and sorted, and the folders that may not be opened.

    Raises MissingFile for a path that is not there.
    """
    found: dict[Path, None] = {}
    closed: list[LeftAside] = []

    def refused(error: OSError) -> None:
        closed.append(LeftAside("a folder", "this user may not open it", "Change its permissions or copy it first.", damaged=True))

    for path in map(Path, paths):
        if not path.exists():
            raise MissingFile(f"There is no file or folder {path.name} at the place given.", "Check the path and its spelling.")
        found |= dict.fromkeys(walk(path, refused) if path.is_dir() else [path] if path.is_file() else [])
    return list(found), closed


def read_files(files: Sequence[Path], read: Callable[[Path], list[Slice] | LeftAside], progress: Callable[[float], None],
               cancel: threading.Event | None = None) -> tuple[list[Slice], list[LeftAside]]:
    """All slices that `read` finds in `files`, in their order, and the other files with reasons. Raises Cancelled once `cancel` is set."""
    slices: list[Slice] = []
    aside: list[LeftAside] = []
    with quiet(), ThreadPoolExecutor(_READERS) as pool:
        try:
            for done, found in enumerate(pool.map(read, files), start=1):
                if cancel is not None and cancel.is_set():
                    raise Cancelled("Reading the DICOM folder was cancelled.")
                if isinstance(found, LeftAside):
                    aside.append(found)
                else:
                    slices += found
                if done % _TELL_EVERY == 0 or done == len(files):
                    progress(done / len(files))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return slices, merged(aside)


def merged(aside: Iterable[LeftAside]) -> list[LeftAside]:
    """One line per reason: files that are nothing for us are counted, damaged ones are named (the first few)."""
    groups: dict[tuple, list[LeftAside]] = {}
    for one in aside:
        groups.setdefault((one.why, one.fix, one.series_uid, one.damaged), []).append(one)
    return [ones[0] if len(ones) == 1 else LeftAside(_names([one.what for one in ones], damaged), why, fix, series, damaged, f"{len(ones)} files")
            for (why, fix, series, damaged), ones in groups.items()]


def _names(names: list[str], damaged: bool) -> str:
    if not damaged:
        return f"{len(names)} files"
    return f"{len(names)} files ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
