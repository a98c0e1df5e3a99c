"""The paths that a user gave, by kind: image files, and files or folders of DICOM."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import MissingFile, NotAnImage, UnclearRoles
from .io.dicom import is_dicom
from .io.dicom_series import Stack
from .io.files import existing_file, walk
from .io.readers import image_suffix, reader_for
from .roles import find_images, left_out, recognise_roles
from .series_roles import series_name, volume_for

__all__ = ["Places", "sort_places"]


@dataclass(frozen=True)
class SeriesNumber:
    """A series by its number, '7', or one volume of it, '7.2'."""

    number: int
    volume: int = 0

    @classmethod
    def read(cls, text: str) -> SeriesNumber | None:
        """None where `text` is none."""
        match = re.fullmatch(r"([0-9]+)(?:\.([1-9][0-9]*))?", text)
        return cls(int(match[1]), int(match[2] or 0)) if match else None

    def fits(self, stack: Stack) -> bool:
        return stack.facts.number == self.number and self.volume in (0, stack.volume)

    def __str__(self) -> str:
        return f"series {self.number}{f'.{self.volume}' if self.volume else ''}"


@dataclass(frozen=True, eq=False)
class Places:
    """`images`: image files among the paths. `folders`: where DICOM was asked for. `dicom`: where to look for it, the folders of series
    given by role too. `given_files`, `given_places`: role -> what was given for it."""

    images: tuple[Path, ...]
    folders: tuple[Path, ...]
    given_files: Mapping[str, Path]
    given_places: Mapping[str, Path | SeriesNumber]

    @property
    def dicom(self) -> list[Path]:
        return [*self.folders, *(place if place.is_dir() else place.parent for place in self.given_places.values() if isinstance(place, Path))]

    def asked_for(self, stack: Stack) -> bool:
        """True for a series below one of the paths, not only beside a file that was given by role."""
        return any(_lies_in(stack, folder) for folder in self.folders)

    def given_by_place(self, stack: Stack) -> bool:
        """True for a series that lies where one was given by role as a folder or a file."""
        return any(_lies_in(stack, place) for place in self.given_places.values() if isinstance(place, Path))

    def given_stacks(self, stacks: Sequence[Stack], study: Sequence[Stack], number: int | None) -> dict[str, Stack]:
        """Role -> the one of `stacks` that was given for it; a series number is looked for in `study`, the chosen one, before the others,
        and there alone where it was chosen by its `number`. Of a series of several volumes it is the one that its headers take for the role.

        Raises UnclearRoles where none or several fit, or one was given twice.
        """
        found: dict[str, Stack] = {}
        for role, place in self.given_places.items():
            if isinstance(place, Path):
                name = "the folder" if place.is_dir() else place.name  # a folder may be named for a patient
                fit = [stack for stack in stacks if _lies_in(stack, place)]
            else:
                name = str(place)
                anywhere = [stack for stack in stacks if self.asked_for(stack) and place.fits(stack)]
                fit = [stack for stack in anywhere if any(stack is one for one in study)]
                if anywhere and not fit and number is not None:
                    raise UnclearRoles(f"--{role}: {name} is there, but not in study {number}.", "Give its folder to use it all the same.")
                fit = fit or anywhere
                if (studies := len({stack.facts.study_uid for stack in fit})) > 1:
                    raise UnclearRoles(f"--{role}: {name} is in {studies} studies.", "Choose one with --study N, or give the folder of one series.")
            chosen = _only(role, name, fit)
            other = next((key for key, stack in found.items() if stack is chosen), None)
            if other:
                raise UnclearRoles(f"{series_name(chosen).capitalize()} was given as --{other} and as --{role}; one series is one sequence.",
                                   f"Give another for one of them, or leave out --{role}.")
            found[role] = chosen
        return found


def sort_places(paths: Path | str | Iterable[Path | str], given: Mapping[str, Path | str | int]) -> Places:
    """Raises MissingFile for what is not there, NotAnImage for a file that nothing here reads, UnclearRoles for a file given twice or
    against another of its role."""
    paths = [_path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    folders = [path for path in paths if _holds_dicom(path)]
    images = find_images(path for path in paths if path not in folders)
    files: dict[str, Path] = {}
    places: dict[str, Path | SeriesNumber] = {}
    for role, value in given.items():
        path = _path(str(value) if isinstance(value, int) else value)
        if not path.exists() and (number := SeriesNumber.read(str(value))):
            places[role] = number
        elif _holds_dicom(path):
            places[role] = path
        else:
            files[role] = existing_file(path)
            reader_for(path)
    if any(isinstance(place, SeriesNumber) for place in places.values()) and not folders:
        raise UnclearRoles("A series number was given, and no folder of DICOM series.", "Give the folder, too.")
    _refuse_one_file_twice(files)
    _refuse_contradiction(files, [path for path in images if path in paths])
    return Places(tuple(images), tuple(folders), files, places)


def _path(given: Path | str) -> Path:
    """Raises MissingFile for what no disk can hold, and for an empty text, which would be the folder at hand with whatever patient is in it."""
    if not str(given):
        raise MissingFile("An empty path was given.", "Give a file or a folder; in a script a variable may be unset.")
    path = Path(given)
    try:
        path.stat()
    except ValueError:
        raise MissingFile("A path was given that holds a zero byte.", "Check the path and its spelling.") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise MissingFile(f"A path of {len(str(given))} characters was given, longer than this system's disks can hold.",
                              "Check the path and its spelling.") from None
    return path


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


def _only(role: str, name: str, fit: Sequence[Stack]) -> Stack:
    """The one stack that fits what was given, which messages call `name`."""
    if not fit:
        raise UnclearRoles(f"--{role}: {name} is no DICOM series that can be read as a volume, and holds none.",
                           "Look at what there is with 'braintumorseg study'.")
    if len(fit) == 1:
        return fit[0]
    one_series = len({(stack.facts.study_uid, stack.facts.number) for stack in fit}) == 1
    if one_series and (chosen := volume_for(role, fit)):
        return chosen
    raise UnclearRoles(f"--{role}: {name} holds {len(fit)} volumes ({', '.join(sorted({series_name(stack) for stack in fit}))}).",
                       f"Give the folder, and the number of one as in --{role} {fit[0].facts.number}.{fit[0].volume}." if one_series and fit[0].volume
                       else "Give the folder or one file of a single series.")


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
