"""What every reader does the same way: look whether the file can be read, and put its name into what goes wrong.

Messages hold a file's name without its folders: those may carry a patient's name, and messages end in logs and reports.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BadImage, MissingFile, NotAnImage, ResourceError

__all__ = ["check_room", "existing_file", "naming", "printable", "walk"]

# Deflate cannot shrink further than 1032 to 1 (zlib's technical notes), so a file can promise no more bytes than that.
_MOST_DEFLATE_GAINS = 1032


def existing_file(path: Path | str) -> Path:
    """`path` as a Path to a readable, non-empty file.

    Raises MissingFile when nothing is there, NotAnImage for a folder, an empty file, or one that may not be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise NotAnImage(f"{path.name} is a folder; one image file was expected here.", "Give a file inside it.")
        if path.stat().st_size == 0:
            raise NotAnImage(f"{path.name} is empty (0 bytes).", "Copy or download it again.")
        with path.open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFile(f"There is no file {path.name} at the place given.", "Check the path and its spelling.") from None
    except PermissionError:
        raise NotAnImage(f"{path.name} may not be read by this user.", "Change its permissions or copy it first.") from None
    return path


def check_room(path: Path, promised_bytes: int, packed: bool = True) -> None:
    """Raise NotAnImage when a header promises more bytes of voxels than its file can hold, before any memory is taken."""
    room = path.stat().st_size * (_MOST_DEFLATE_GAINS if packed else 1)
    if promised_bytes > room:
        raise NotAnImage(f"{path.name} is truncated or damaged: its header promises {promised_bytes} bytes of voxels, "
                         f"and a file of this size holds at most {room}.", "Copy or download it again.")


def printable(name: str) -> str:
    """A file's name with escapes where the disk holds bytes that are not UTF-8, as old archives unpack them: streams refuse those."""
    return name.encode("utf-8", "backslashreplace").decode()


def walk(folder: Path | str, refused: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Every file below a folder, sorted within each; links to folders are followed, and none is entered twice.

    `refused` is told of folders that may not be opened.
    """
    visited: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, onerror=refused, followlinks=True):
        here = os.stat(place)
        if (here.st_dev, here.st_ino) in visited and here.st_ino:  # a link back to where we were
            folders.clear()
            continue
        visited.add((here.st_dev, here.st_ino))
        folders.sort()
        told = False
        for name in sorted(names):
            try:
                regular = stat.S_ISREG(os.stat(os.path.join(place, name)).st_mode)
            except OSError as error:
                # A link that leads nowhere, or in a circle, is one entry; a folder that may be listed and not entered is told of once.
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP) and not told and refused is not None:
                    refused(error)
                    told = True
                continue
            if regular:
                yield Path(place, name)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """A BadImage raised inside gets the file's name in front (a Grid knows what is wrong, not where it came from);
    memory that runs out becomes a ResourceError."""
    try:
        yield
    except BadImage as error:
        raise BadImage(f"{path.name}: {error.what}", error.fix) from None
    except MemoryError:
        raise ResourceError(f"{path.name} does not fit into this machine's memory.",
                            "Close other programs, or crop or resample the image first.") from None
