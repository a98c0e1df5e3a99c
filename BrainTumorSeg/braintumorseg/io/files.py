"""What every reader does the same way: look whether the file can be read, and put its name into what goes wrong.

Messages hold a file's name without its folders: those may carry a patient's name, and messages end in logs and reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BadImage, MissingFile, NotAnImage, ResourceError

__all__ = ["check_room", "existing_file", "naming"]

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
