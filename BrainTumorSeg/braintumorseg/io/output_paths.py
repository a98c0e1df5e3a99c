"""All or nothing for single files, and for folders beside them: several outputs that appear together, or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError
from .atomic import refusal
from .replacing import put

__all__ = ["check_paths", "output_paths"]


@contextmanager
def output_paths(paths: Sequence[Path | str], force: bool = False, ours: Callable[[Path], bool] = lambda file: False) -> Iterator[list[Path]]:
    """Yield a temporary path beside each of `paths`, for a file or a folder; each becomes its path when the block ends well.

    One at which nothing was written is left out, and what was at its path stays. When the block raises, or one of them cannot be put in
    place, everything is as it was. With `force` a file is replaced, and a folder when every file in it is `ours`.

    Raises OutputError: before the block when a path may not be replaced or has no folder; after it when the disk refuses.
    """
    targets = [Path(path).absolute() for path in paths]
    check_paths(targets, force, ours)
    key = secrets.token_hex(4)
    partials = [target.with_name(f".{target.name}.partial-{key}") for target in targets]
    moved: list[tuple[Path, Path]] = []   # where it lies now, where it came from
    try:
        yield partials
        check_paths(targets, force, ours)  # again: one may have appeared meanwhile
        for partial, target in zip(partials, targets, strict=True):
            if partial.exists():
                if target.exists():
                    _move(target, target.with_name(f".{target.name}.old-{key}"), moved)
                _move(partial, target, moved)
    except BaseException as error:
        for now, before in reversed(moved):
            put(now, before)
        if isinstance(error, OSError):
            raise OutputError(f"The results cannot be written: {error.strerror or type(error).__name__}.",
                              "Choose a folder of your own on a disk with room.") from error
        raise
    else:
        for now, _ in moved:
            if now not in targets:
                _remove(now)
    finally:
        for partial in partials:
            _remove(partial)


def check_paths(paths: Sequence[Path | str], force: bool = False, ours: Callable[[Path], bool] = lambda file: False) -> None:
    """Raises OutputError when `output_paths` would refuse: to be asked before the work."""
    targets = [Path(path).absolute() for path in paths]
    if len(set(targets)) < len(targets):
        raise OutputError("Two outputs have the same path.", "Give each a path of its own.")
    for target in targets:
        try:
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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
