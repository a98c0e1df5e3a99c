"""Every DICOM image below some paths, by content and not by name, and what else lies there."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import Cancelled, MissingFile
from .dicom_header import Header, read_header
from .dicom_series import LeftAside

__all__ = ["find_files", "merged", "read_headers"]

_READERS = 4            # files wait for the disk or the network, not for the processor
_NAMED = 3              # names of files in one line


def find_files(paths: Iterable[Path | str]) -> list[Path]:
    """All files at or below `paths`, each once, sorted. Raises MissingFile for a path that is not there."""
    found: dict[Path, None] = {}
    visited: set[tuple[int, int]] = set()
    for path in map(Path, paths):
        if not path.exists():
            raise MissingFile(f"There is no file or folder {path.name} at the place given.", "Check the path and its spelling.")
        if not path.is_dir():
            found[path] = None
            continue
        for folder, folders, names in os.walk(path, followlinks=True):
            state = os.stat(folder)
            if (state.st_dev, state.st_ino) in visited and state.st_ino:  # a link back to where we were
                folders.clear()
                continue
            visited.add((state.st_dev, state.st_ino))
            folders.sort()
            found |= {Path(folder, name): None for name in sorted(names)}
    return [path for path in found if path.is_file()]


def read_headers(files: Sequence[Path], progress: Callable[[float], None] = lambda done: None,
                 cancel: threading.Event | None = None) -> tuple[list[Header], list[LeftAside]]:
    """The headers of the images among `files`, in their order, and the rest with reasons. Raises Cancelled once `cancel` is set."""
    headers: list[Header] = []
    aside: list[LeftAside] = []
    with warnings.catch_warnings(), ThreadPoolExecutor(_READERS) as pool:
        warnings.simplefilter("ignore")  # pydicom prints values of a header in its warnings
        for done, one in enumerate(pool.map(lambda path: _read(path, cancel), files), start=1):
            if cancel is not None and cancel.is_set():
                raise Cancelled("Reading the DICOM folder was cancelled.")
            (headers if isinstance(one, Header) else aside).append(one)
            if done % 20 == 0 or done == len(files):
                progress(done / len(files))
    return headers, merged(aside)


def merged(aside: Iterable[LeftAside]) -> list[LeftAside]:
    """One line per reason: files that are nothing for us are counted, damaged ones are named (the first few)."""
    groups: dict[tuple, list[str]] = {}
    for one in aside:
        groups.setdefault((one.why, one.fix, one.series_uid, one.damaged), []).append(one.what)
    return [LeftAside(_names(names, damaged), why, fix, series, damaged) for (why, fix, series, damaged), names in groups.items()]


def _read(path: Path, cancel: threading.Event | None) -> Header | LeftAside:
    if cancel is not None and cancel.is_set():
        return LeftAside(path.name, "not read")
    return read_header(path)


def _names(names: list[str], damaged: bool) -> str:
    if len(names) == 1:
        return names[0]
    if not damaged:
        return f"{len(names)} files"
    return f"{len(names)} files ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
