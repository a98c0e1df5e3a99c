"""The files of a cohort's study: whether they are those of an earlier run, and what they are called where nobody's name may be said."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from .cohort_list import Entry
from .io.files import printable, walk
from .io.readers import image_suffix
from .study import ROLES

__all__ = ["fingerprint", "nameless", "unchanged"]

_VERSION = "2-"             # before a fingerprint's digits; those of before there was a version have none
_LOOKED_INTO = 16           # files of a place, spread over all: a DICOM study has thousands
_PIECE_BYTES = 64 * 1024
_HEADER_ONLY = (".nhdr", ".mhd")
_NAMES_VOXELS = re.compile(rb"^[ \t]*(?:ElementDataFile[ \t]*[=:]|data ?file:)[ \t]*([^\r\n]*[^\s])", re.IGNORECASE | re.MULTILINE)
# Of the names of folders and files: nobody is called so, and what is said of a study is full of them.
_PLAIN_WORDS = frozenset({"", *ROLES, "dicom", "dcm", "mr", "mri", "image", "images", "series", "study", "studies", "head", "brain", "nifti", "nii",
                          "gz", "nrrd", "nhdr", "mha", "mhd", "raw", "data", "file", "files", "folder", "anat", "t1w", "t2w", "ce", "post", "pre",
                          "axial"})


def fingerprint(entry: Entry) -> str:
    """Changes when files of the study are added, removed or changed: by name, size and time and, of some of them, by what is in them; not when
    they are moved together.

    Times count in whole seconds: a study that was packed and unpacked (tar, zip) keeps no more of them.
    """
    files = [(place, _files_of(place)) for place in _places(entry)]
    digest = _digest(entry, files)
    for _, paths in files:
        for path in paths[::max(1, math.ceil(len(paths) / _LOOKED_INTO))]:
            for piece in _pieces(path):
                digest.update(hashlib.sha256(piece).digest())
    return _VERSION + digest.hexdigest()[:16]


def unchanged(entry: Entry, before: str) -> bool:
    """Whether the study's files are those of the fingerprint `before`; the first version's knew names, sizes and times alone."""
    if before.startswith(_VERSION):
        return before == fingerprint(entry)
    files = [(place, sorted(walk(place)) if os.path.isdir(place) else [place]) for place in _places(entry)]
    return before == _digest(entry, files).hexdigest()[:16]


def nameless(reason: str, entry: Entry) -> str:
    """`reason` without a name of the study's: its folder is called 'study 3', what lies below it 'folder 2 of study 3' and 'file 5 of study 3', in
    the order of their paths. Folders and files are named for patients now and then, and reasons end in logs.
    """
    called = {name: words for name, words in _called(entry).items() if name in reason}
    if not called:
        return reason
    names = "|".join(re.escape(name) for name in sorted(called, key=len, reverse=True))
    return re.sub(rf"(?:\b(folder|file) )?(?<![^\W_])({names})(?![^\W_])", lambda found: _instead(called[found[2]], found[1]), reason)


def _instead(words: str, before: str | None) -> str:
    """'folder' is not said twice."""
    return words if before is None or words.startswith(before) else f"{before} {words}"


def _called(entry: Entry) -> dict[str, str]:
    """Each name as an error says it, in one line -> what it is called instead."""
    study = f"study {entry.number}"
    try:
        files = [path for place in _places(entry) for path in _files_of(place)]
        folders = sorted({folder for place in entry.paths if os.path.isdir(place) for folder in _folders_below(place, files)})
    except OSError:   # taken away meanwhile
        files, folders = list(map(Path, entry.roles.values())), []
    called: dict[str, str] = {}
    for kind, paths in (("folder", folders), ("file", files)):
        for number, path in enumerate(paths, start=1):
            if _may_be_somebody(path.name):
                called.setdefault(path.name, f"{kind} {number} of {study}")
    called |= {name: study for name in (*(place.name for place in entry.paths if not os.path.isfile(place)), entry.id) if len(name) > 1}
    return {" ".join(spelt.split()): words for name, words in called.items() for spelt in (name, printable(name))}


def _folders_below(place: Path, files: Iterable[Path]) -> set[Path]:
    """Empty ones, and those behind links, too."""
    holding = {folder for path in files for folder in path.parents if place in folder.parents}
    return holding | {path for path in place.rglob("*") if path.is_dir()}


def _may_be_somebody(name: str) -> bool:
    """False for what cannot tell who somebody is: a letter, a short number, words of the trade, of which reasons are full."""
    return len(name) > 1 and not re.fullmatch(r"\d{1,3}", name) and not _PLAIN_WORDS.issuperset(re.split(r"[\W_]+", name.lower()))


def _places(entry: Entry) -> list[Path]:
    return [*entry.paths, *(Path(value) for value in entry.roles.values())]


def _files_of(place: Path) -> list[Path]:
    """The files of a study's folder; of a file itself with those that belong to it: the voxels of a header, the other slices of a DICOM file."""
    if os.path.isdir(place):   # of `os`: for what may not be looked into it says no, and reading says why
        return sorted(walk(place))
    if not os.path.isfile(place):   # a series' number, or nothing: reading says so
        return [place]
    if not image_suffix(place):
        with suppress(OSError):
            return sorted({place, *(path for path in place.parent.iterdir() if path.is_file())})
    return [place, *_voxels_of(place)]


def _voxels_of(header: Path) -> list[Path]:
    """The file beside a detached header that it names; none where there is none."""
    if header.suffix.lower() not in _HEADER_ONLY:
        return []
    try:
        with header.open("rb") as file:
            named = _NAMES_VOXELS.search(file.read(_PIECE_BYTES))
    except OSError:
        return []
    voxels = header.parent / os.path.basename(os.fsdecode(named[1])) if named else header.parent
    return [voxels] if voxels.is_file() else []


def _digest(entry: Entry, files: Iterable[tuple[Path, Sequence[Path]]]):
    """Over the names, sizes and times of `files`, in their order."""
    digest = hashlib.sha256(repr((sorted(entry.roles), entry.study)).encode())
    for place, paths in files:
        for path in paths:
            try:
                facts = path.stat()
            except OSError:   # a series' number, or a file that is not there: reading says so
                digest.update(os.fsencode(path.name))
                continue
            inside = path.relative_to(place) if place in path.parents else Path(path.name)
            digest.update(repr((os.fsencode(inside), facts.st_size, int(facts.st_mtime))).encode())
    return digest


def _pieces(path: Path) -> Iterator[bytes]:
    """The first, middle and last 64 KB of a file: an image may begin and end with nothing but background. None where it may not be read."""
    with suppress(OSError), path.open("rb") as file:
        size = path.stat().st_size
        for start in sorted({0, max(0, size // 2 - _PIECE_BYTES // 2), max(0, size - _PIECE_BYTES)}):
            file.seek(start)
            yield file.read(_PIECE_BYTES)
