"""All or nothing: an output folder that appears complete, or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import OutputError
from .owner import MARK, is_abandoned, owner_mark, remove_folder
from .replacing import put

__all__ = ["MARKER", "check_output", "output_folder", "refusal"]

# The file that every folder of ours holds: only a folder with it may be replaced.
MARKER = "report.json"

_WORDS = {
    errno.ENOSPC: ("the disk is full", "Free some space, or choose a folder on another disk."),
    errno.EDQUOT: ("this user's disk quota is used up", "Free some space, or choose a folder on another disk."),
    errno.EACCES: ("this user may not write there", "Choose a folder of your own."),
    errno.EPERM: ("this user may not write there", "Choose a folder of your own."),
    errno.EROFS: ("the disk is read-only", "Choose a folder on another disk."),
    errno.ENOENT: ("no folder can be made there", "Choose another folder."),
    errno.ENOTDIR: ("a part of its path is a file", "Choose another folder."),
    errno.EEXIST: ("a part of its path is a file", "Choose another folder."),
    errno.ELOOP: ("a link in its path leads in a circle", "Choose another folder."),
    errno.ENAMETOOLONG: ("its name is too long", "Choose a shorter name."),
}

# Windows' codes for what another program has open: access denied (also to a folder with such a file in it), sharing and lock violation.
_HELD = (5, 32, 33)
_RENAMES_WHAT_IS_OPEN = os.name != "nt"


@contextmanager
def output_folder(path: Path | str, force: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`, for this user's eyes alone; it becomes `path` when the block ends well.

    When the block raises (a stop by the user too), nothing is left and `path` is as it was. A run that was killed leaves its
    temporary folder behind; the next one to a folder beside it removes it, and the next to the same `path` brings back an earlier
    result that the killed run had just moved aside. With `force` a folder at `path` is replaced if it is empty or holds report.json,
    so that no folder of someone else's is ever deleted; the old one is moved aside and deleted only once the new one is in place.

    Raises OutputError: before the block runs when `path` exists and may not be replaced or its parent cannot be written; after it
    when the disk is full, read-only or not this user's to write.
    """
    path = _real(path)
    check_output(path, force)
    made = [parent for parent in path.parents if not parent.exists()]  # innermost first
    partial = _beside(path, "partial")
    try:
        partial.mkdir(parents=True)
        mode = stat.S_IMODE(partial.stat().st_mode)   # as umask and the folder around it have it
        _let_in(partial, mode & 0o7700)
        yield partial
        _flush(partial)
        check_output(path, force)  # again: it may have appeared meanwhile
        _let_in(partial, mode)
        _put(partial, path)
    except OSError as error:
        if error.errno not in _WORDS or not _is_about(error, partial, path):
            raise
        raise refusal(error, path) from error
    finally:
        remove_folder(partial)  # after the rename there is nothing at this place
        for parent in made if not path.exists() else ():
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def check_output(path: Path | str, force: bool = False) -> None:
    """Raises OutputError when `output_folder` would refuse `path`: to be asked before minutes of work.

    What killed runs left beside `path` is put in order first.
    """
    try:
        _check_output(_real(path), force)
    except OSError as error:
        raise refusal(error, Path(path)) from error


def _real(path: Path | str) -> Path:
    return Path(os.path.realpath(path))  # a link in a circle stays as it is; Path.resolve() raises RuntimeError up to Python 3.12


def refusal(error: OSError, path: Path) -> OutputError:
    """What the system's refusal to write to `path` is to a user."""
    what, fix = _WORDS.get(error.errno, (error.strerror or type(error).__name__, "Choose another folder."))
    if getattr(error, "winerror", None) in _HELD:
        what, fix = "another program has it open, or this user may not write there", "Close what shows its files, or choose another folder."
    return OutputError(f"{path.name} cannot be written: {what}.", fix)


def _check_output(path: Path, force: bool) -> None:
    _clear_leftovers(path)
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError(f"{path.name} is a file; the results need a folder.", "Choose another name.")
    if not force:
        raise OutputError(f"The folder {path.name} exists already, and nothing is overwritten.",
                          "Choose another name, or add --force to replace it.")
    if any(path.iterdir()) and not (path / MARKER).is_file():
        raise OutputError(f"The folder {path.name} holds files but no {MARKER}: it is not one of our results and is left alone.",
                          "Choose another name, or empty the folder yourself.")
    if not _RENAMES_WHAT_IS_OPEN:  # whether it can be moved aside is seen now, not after the work
        aside = _beside(path, "old")
        put(path, aside)
        put(aside, path)


def _let_in(folder: Path, mode: int) -> None:
    with suppress(OSError):   # disks without permissions (FAT) refuse
        folder.chmod(mode)


def _flush(folder: Path) -> None:
    """Bring every file to the disk: some disks (network, quota) say only then that they are full."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("r+b") as stream:
                os.fsync(stream.fileno())


def _put(partial: Path, path: Path) -> None:
    """Rename `partial` to `path`; a folder there is moved aside before and deleted after, or moved back."""
    if not path.exists():
        put(partial, path)
        return
    old = _beside(path, "old")
    put(path, old)
    try:
        put(partial, path)
    except BaseException:
        put(old, path)
        raise
    remove_folder(old)


def _beside(path: Path, kind: str) -> Path:
    """A new name beside `path` that says which process made it."""
    return path.with_name(f".{path.name}.{kind}-{owner_mark()}-{secrets.token_hex(4)}")


def _clear_leftovers(path: Path) -> None:
    """Remove what dead processes left beside `path`. An earlier result that was moved aside comes back if nothing took its place;
    what stands aside for another path waits for the next run to that one.
    """
    pattern = re.compile(rf"\.(.+)\.(partial|old)-{MARK}-[0-9a-f]{{8}}", re.DOTALL)
    try:
        entries = sorted(path.parent.iterdir())
    except OSError:  # no such folder yet, or not ours to list
        return
    for entry in entries:
        match = pattern.fullmatch(entry.name)
        if not match or (match[2] == "old" and match[1] != path.name) or not is_abandoned(entry):
            continue
        if match[2] == "old" and not path.exists():
            with suppress(OSError):  # another run may be at the same
                entry.rename(path)
        else:
            remove_folder(entry)


def _is_about(error: OSError, partial: Path, path: Path) -> bool:
    """False for an error that names another file, such as an input that may not be read."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename)).absolute()
    return named.is_relative_to(partial) or named in (path, *path.parents)
