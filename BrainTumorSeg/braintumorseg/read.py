"""Reading a study: image files or folders in, a `Study` with every role decided and the reason kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .errors import UnclearRoles
from .io.files import existing_file
from .io.readers import read_volume
from .roles import Recognised, find_images, left_out, recognise_roles
from .study import ROLES, Study

__all__ = ["read_study"]


def read_study(paths: Iterable[Path | str] = (), *, t1: Path | str | None = None, t1ce: Path | str | None = None,
               t2: Path | str | None = None, flair: Path | str | None = None) -> Study:
    """The Study of the images at `paths` (files, or folders of one patient) and of those given by role.

    A file given by role wins over one that a folder's names suggest. `Study.sources` says per role how it was found, and under
    'left_out' which files were not used and why (no such key when all were); names only, never a folder.

    Raises MissingFile, NotAnImage or BadImage for what cannot be read; UnclearRoles when names do not tell the roles apart,
    when one file would have two roles, or when a file given by role contradicts one among `paths`.
    """
    paths = [Path(path) for path in paths]
    options = {"t1": t1, "t1ce": t1ce, "t2": t2, "flair": flair}
    chosen = {role: Recognised(existing_file(path), f"given as --{role}") for role, path in options.items() if path is not None}
    _refuse_one_file_twice(chosen)
    taken = {one.path.resolve() for one in chosen.values()}
    images = [path for path in find_images(paths) if path.resolve() not in taken]
    _refuse_contradiction(chosen, [path for path in images if path in paths])
    chosen |= recognise_roles(images, given=chosen)
    return Study(
        {role: read_volume(chosen[role].path) for role in ROLES if role in chosen},
        {role: one.why for role, one in chosen.items()} | _unused(images, chosen),
    )


def _refuse_one_file_twice(chosen: dict[str, Recognised]) -> None:
    first: dict[Path, str] = {}
    for role, one in chosen.items():
        other = first.setdefault(one.path.resolve(), role)
        if other != role:
            raise UnclearRoles(f"{one.path.name} was given as --{other} and as --{role}; one image is one sequence.",
                               f"Give another file for one of them, or leave out --{role}.")


def _refuse_contradiction(chosen: dict[str, Recognised], files: list[Path]) -> None:
    """A folder may hold more than is wanted; a file typed beside --t1 that is a T1 too is a mistake."""
    for role in chosen:
        for path in files:
            fits = [path] if path not in left_out([path]) else []
            if role in recognise_roles(fits):
                raise UnclearRoles(f"{chosen[role].path.name} was given as --{role}, and {path.name} is {role} by its name.",
                                   f"Leave out one of them, or say with an option which sequence {path.name} is.")


def _unused(images: list[Path], chosen: dict[str, Recognised]) -> dict[str, str]:
    used = {one.path for one in chosen.values()}
    reasons = left_out(images)
    unused = [f"{path.name} ({reasons.get(path, 'another file has its role')})" for path in images if path not in used]
    return {"left_out": "; ".join(unused)} if unused else {}
