"""The paths that a user gave, by kind: image files, and files or folders of DICOM."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import MissingFile, NotAnImage, UnclearRoles
from .io.dicom import is_dicom
from .io.dicom_series import Stack
from .io.files import existing_file, walk
from .io.readers import image_suffix, reader_for
from .roles import find_images, left_out, recognise_roles
from .series_roles import series_name

__all__ = ["Places", "sort_places"]


@dataclass(frozen=True, eq=False)
class Places:
    """`images`: image files among the paths. `folders`: where DICOM was asked for. `dicom`: where to look for it, the folders of series
    given by role too. `given_files`, `given_places`: role -> what was given for it; a place may be a series number as text."""

    images: tuple[Path, ...]
    folders: tuple[Path, ...]
    given_files: Mapping[str, Path]
    given_places: Mapping[str, Path | int]

    @property
    def dicom(self) -> list[Path]:
        return [*self.folders, *(place if place.is_dir() else place.parent for place in self.given_places.values() if isinstance(place, Path))]

    def asked_for(self, stack: Stack) -> bool:
        """True for a series below one of the paths, not only beside a file that was given by role."""
        return any(_lies_in(stack, folder) for folder in self.folders)

    def given_stacks(self, stacks: Sequence[Stack]) -> dict[str, Stack]:
        """Role -> the stack that was given for it. Raises UnclearRoles where none or several fit, or one was given twice."""
        found: dict[str, Stack] = {}
        for role, place in self.given_places.items():
            fit = [stack for stack in stacks if (_lies_in(stack, place) if isinstance(place, Path) else self.asked_for(stack)
                                                 and stack.facts.number == place)]
            # A folder may be named for a patient.
            name = f"series {place}" if isinstance(place, int) else "the folder" if place.is_dir() else place.name
            if not fit:
                raise UnclearRoles(f"--{role}: {name} is no DICOM series that can be read as a volume, and holds none.",
                                   "Look at what there is with 'braintumorseg study'.")
            if len(fit) > 1:
                raise UnclearRoles(f"--{role}: {name} holds {len(fit)} volumes ({', '.join(sorted({series_name(stack) for stack in fit}))}).",
                                   "Give the folder or one file of a single series.")
            other = next((key for key, stack in found.items() if stack is fit[0]), None)
            if other:
                raise UnclearRoles(f"{series_name(fit[0]).capitalize()} was given as --{other} and as --{role}; one series is one sequence.",
                                   f"Give another for one of them, or leave out --{role}.")
            found[role] = fit[0]
        return found


def sort_places(paths: Iterable[Path | str], given: Mapping[str, Path | str]) -> Places:
    """Raises MissingFile for what is not there, NotAnImage for a file that nothing here reads, UnclearRoles for a file given twice or
    against another of its role."""
    paths = [Path(path) for path in paths]
    folders = [path for path in paths if _holds_dicom(path)]
    images = find_images(path for path in paths if path not in folders)
    files: dict[str, Path] = {}
    places: dict[str, Path | int] = {}
    for role, value in given.items():
        path = Path(value)
        if not path.exists() and str(value).isdecimal():
            places[role] = int(str(value))
        elif _holds_dicom(path):
            places[role] = path
        else:
            files[role] = existing_file(path)
            reader_for(path)
    if any(isinstance(place, int) for place in places.values()) and not folders:
        raise UnclearRoles("A series number was given, and no folder of DICOM series.", "Give the folder, too.")
    _refuse_one_file_twice(files)
    _refuse_contradiction(files, [path for path in images if path in paths])
    return Places(tuple(images), tuple(folders), files, places)


def _holds_dicom(path: Path) -> bool:
    """True for a DICOM file, and for a folder with DICOM files below it, unless image files in it are named for sequences.

    A file that is DICOM by its name only counts in a folder: the scan says what is wrong with it.
    """
    if path.is_file():
        return not image_suffix(path) and is_dicom(path)
    if not path.is_dir():
        return False
    try:
        images = find_images([path])
    except (MissingFile, NotAnImage):
        images = []
    if len(left_out(images)) < len(images):
        return False
    return any(not entry.name.startswith(".") and not image_suffix(entry) and (entry.suffix.lower() in (".dcm", ".ima") or is_dicom(entry))
               for entry in walk(path))


def _lies_in(stack: Stack, place: Path) -> bool:
    """By the paths as they are written and by those that links lead to: a study may be a farm of links, or be given by one."""
    wanted = _spellings(place)
    if place.is_dir():
        return any(wanted & set(path.parents) for path in _spellings(stack.frames[0].path))
    return any(wanted & _spellings(frame.path) for frame in stack.frames)


def _spellings(path: Path) -> set[Path]:
    return {Path(os.path.abspath(path)), path.resolve()}


def _refuse_one_file_twice(given: Mapping[str, Path]) -> None:
    first: dict[Path, str] = {}
    for role, path in given.items():
        other = first.setdefault(path.resolve(), role)
        if other != role:
            raise UnclearRoles(f"{path.name} was given as --{other} and as --{role}; one image is one sequence.",
                               f"Give another file for one of them, or leave out --{role}.")


def _refuse_contradiction(given: Mapping[str, Path], files: Sequence[Path]) -> None:
    """A folder may hold more than is wanted; a file typed beside --t1 that is a T1 too is a mistake."""
    taken = {path.resolve() for path in given.values()}
    for role, chosen in given.items():
        for path in files:
            fits = [path] if path not in left_out([path]) and path.resolve() not in taken else []
            if role in recognise_roles(fits):
                raise UnclearRoles(f"{chosen.name} was given as --{role}, and {path.name} is {role} by its name.",
                                   f"Leave out one of them, or say with an option which sequence {path.name} is.")
