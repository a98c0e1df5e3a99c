"""All or nothing for single files, and for folders beside them: several outputs that appear together, or not at all."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import OutputError
from .atomic import refusal
from .owner import MARK, is_abandoned, owner_mark, remove_folder
from .replacing import put

__all__ = ["check_paths", "output_paths"]

# Beside an output, while a run is at it: a folder with what is being written, and one with what was there before.
_STAGE = re.compile(rf"\.braintumorseg\.(partial|aside)-{MARK}-[0-9a-f]{{8}}")
_REPLACED = ".replaced"   # in the second, once the new one is in place


@contextmanager
def output_paths(paths: Sequence[Path | str], force: bool = False, ours: Callable[[Path], bool] = lambda file: False) -> Iterator[list[Path]]:
    """Yield a temporary path for each of `paths`, for a file or a folder; each becomes its path when the block ends well.

    One at which nothing was written is left out, and what was at its path stays. When the block raises, or one of them cannot be put in
    place, everything is as it was. With `force` a file is replaced, and a folder when every file in it is `ours`. A run that was killed
    leaves its temporary folders behind, and one whose old file is open in a viewer on Windows leaves that; the next run removes them.

    Raises OutputError: before the block when a path may not be replaced or has no folder; after it when the disk refuses.
    """
    targets = [Path(path).absolute() for path in paths]
    check_paths(targets, force, ours)
    partials: list[Path] = []
    asides: list[Path] = []
    moved: list[tuple[Path, Path]] = []   # where it lies now, where it came from
    try:
        for target in targets:
            partials.append(_stage(target, "partial") / target.name)
        yield partials
        check_paths(targets, force, ours)  # again: one may have appeared meanwhile
        for partial, target in zip(partials, targets, strict=True):
            if partial.exists():
                if target.exists():
                    asides.append(_stage(target, "aside"))
                    _move(target, asides[-1] / target.name, moved)
                _move(partial, target, moved)
    except BaseException as error:
        for now, before in reversed(moved):
            put(now, before)
        for aside in asides:
            with suppress(OSError):   # holds what could not be moved back
                aside.rmdir()
        if isinstance(error, OSError):
            raise OutputError(f"The results cannot be written: {error.strerror or type(error).__name__}.",
                              "Choose a folder of your own on a disk with room.") from error
        raise
    else:
        for aside in asides:
            with suppress(OSError):
                (aside / _REPLACED).touch()
            _remove(aside)
    finally:
        for partial in partials:
            _remove(partial.parent)


def check_paths(paths: Sequence[Path | str], force: bool = False, ours: Callable[[Path], bool] = lambda file: False) -> None:
    """Raises OutputError when `output_paths` would refuse: to be asked before the work. What earlier runs left beside the paths is put in order
    first."""
    targets = [Path(path).absolute() for path in paths]
    if len(set(targets)) < len(targets):
        raise OutputError("Two outputs have the same path.", "Give each a path of its own.")
    for target in targets:
        try:
            _clear_leftovers(target.parent)
            _check_path(target, force, ours)
        except OSError as error:
            raise refusal(error, target) from error


def _check_path(target: Path, force: bool, ours: Callable[[Path], bool]) -> None:
    if not target.parent.is_dir():
        raise OutputError(f"The folder for {target.name} does not exist.", "Make it first, or choose another.")
    if target.is_dir():
        files = list(target.iterdir())
        if files and not force:
            raise OutputError(f"The folder {target.name} is not empty, and nothing is overwritten.", "Choose another, or add --force.")
        if not all(file.is_file() and ours(file) for file in files):
            raise OutputError(f"The folder {target.name} holds files that are not results of ours and is left alone.", "Choose another name.")
    elif target.exists() and not force:
        raise OutputError(f"{target.name} exists already, and nothing is overwritten.", "Choose another name, or add --force to replace it.")


def _move(path: Path, to: Path, moved: list[tuple[Path, Path]]) -> None:
    put(path, to)
    moved.append((to, path))


def _stage(target: Path, kind: str) -> Path:
    """A new folder beside `target`, for this user's eyes alone, whose name says which process made it."""
    folder = target.with_name(f".braintumorseg.{kind}-{owner_mark()}-{secrets.token_hex(4)}")
    folder.mkdir()
    with suppress(OSError):   # not by mkdir: on Windows that would last, for what is moved out of it too
        folder.chmod(0o700)
    return folder


def _clear_leftovers(folder: Path) -> None:
    """Remove what dead processes left in `folder`. What was moved aside and never replaced goes back to its place."""
    try:
        stages = [entry for entry in folder.iterdir() if _STAGE.fullmatch(entry.name) and is_abandoned(entry)]
    except OSError:   # no such folder, or not ours to list
        return
    for stage in stages:
        with suppress(OSError):   # another run may be at the same
            if ".aside-" in stage.name and not (stage / _REPLACED).exists():
                for old in stage.iterdir():
                    if not folder.joinpath(old.name).exists():
                        put(old, folder / old.name)
            _remove(stage)


def _remove(folder: Path) -> None:
    """Delete a folder of ours and all in it, as far as the system allows: Windows deletes nothing that is open, nor, at first, what is read-only."""
    remove_folder(folder)
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            with suppress(OSError):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | stat.S_IRWXU)
    remove_folder(folder)
