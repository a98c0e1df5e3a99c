"""Which files are a case's sequences and its labels, in the folder layouts in which data sets of gliomas are handed out.

A layout is a plain function in LAYOUTS that takes the folder and returns a Source a case, [] when the folder is not laid out so. Only names
are looked at here; a case that lacks files is a Source, too, so that it is refused by name later and not passed over.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from braintumorseg.errors import InputError, MissingFile
from braintumorseg.io.readers import image_suffix
from braintumorseg.study import ROLES

from .dataset_json import ROLE_WORDS, label_table, read_dataset_json, role_channels

__all__ = ["LAYOUTS", "Source", "find_cases"]

SEG = "seg"
_WORD_OF = {word: role for role, words in ROLE_WORDS.items() for word in words} | {SEG: SEG}
# One case of BraTS 2020, number 355, was handed out with its labels as W39_1998.09.19_Segm.nii.
_MISNAMED_SEG = re.compile(r"segm$", re.IGNORECASE)
_DEPTH = 3  # folders below the one given: a release's own folder, HGG and LGG (BraTS 2017 to 2019), the case


@dataclass(frozen=True)
class Source:
    """One case on the disk. Nothing is read or checked yet.

    images: role -> (file, channel in a 4-D file or None).
    seg: the label file; None where there is none.
    table: value in the label file -> our value, where the data set's own dataset.json says it; None where it is to be declared.
    cohort: the data set's name, where the layout alone tells it.
    problem: why the files are not clear; '' when they are.
    """

    name: str
    images: Mapping[str, tuple[Path, int | None]]
    seg: Path | None
    table: Mapping[int, int] | None = None
    cohort: str = ""
    problem: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the case once, in a fixed order."""
        return tuple(sorted({path for path, _ in self.images.values()} | ({self.seg} if self.seg else set())))


def brats(folder: Path) -> list[Source]:
    """BraTS 2017 to 2024: NAME/NAME_{t1,t1ce,t2,flair,seg}.nii(.gz), or from 2023 on NAME/NAME-{t1n,t1c,t2w,t2f,seg}.nii.gz; any nesting above."""
    return [_from_words(case, files, prefixed=True) for case, files in _case_folders(folder)
            if any(file.name.startswith((f"{case.name}_", f"{case.name}-")) for file in files)]


def plain(folder: Path) -> list[Source]:
    """NAME/{t1,t1ce,t2,flair,seg} with any suffix that the engine reads."""
    return [_from_words(case, files, prefixed=False) for case, files in _case_folders(folder) if any(_stem(file) in _WORD_OF for file in files)]


def msd(folder: Path) -> list[Source]:
    """Medical Segmentation Decathlon, Task01_BrainTumour: dataset.json lists pairs of a 4-D image and its labels.

    nnU-Net 1 lists them likewise, and has files NAME_0000 and so on where NAME is listed: that is `nnunet`'s.
    """
    if not (folder / "dataset.json").is_file():
        return []
    given = read_dataset_json(folder)
    pairs = given.get("training")
    if not isinstance(pairs, list) or "modality" not in given:
        return []
    if not all(isinstance(pair, dict) and isinstance(pair.get("image"), str) and isinstance(pair.get("label"), str) for pair in pairs):
        raise InputError("The list `training` of dataset.json does not pair an image with a label everywhere.", "Get dataset.json again.")
    channels, table = role_channels(given), label_table(given)
    sources = []
    for pair in pairs:
        image, seg = folder / pair["image"], folder / pair["label"]
        images = {role: (image, channel) for role, channel in channels.items()} if image.is_file() else {}
        sources.append(Source(_stem(image), images, seg if seg.is_file() else None, table, "MSD Task01"))
    if not any(source.images for source in sources) and nnunet(folder):
        return []
    return sorted(sources, key=lambda source: source.name)


def nnunet(folder: Path) -> list[Source]:
    """nnU-Net 1 and 2: imagesTr/NAME_0000.nii.gz and so on, labelsTr/NAME.nii.gz, and dataset.json, which says what the channels and values are."""
    channels_of = [(match, file) for file in _image_files(folder / "imagesTr") if (match := re.fullmatch(r"(.+)_(\d{4})", _stem(file)))]
    if not channels_of:
        return []
    given = read_dataset_json(folder)
    table, role_of = label_table(given), {channel: role for role, channel in role_channels(given).items()}
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for match, file in channels_of:
        found[match[1]][role_of.get(int(match[2]), "")].append(file)
    for file in _image_files(folder / "labelsTr"):
        found[_stem(file)][SEG].append(file)
    return [_source(name, files, table) for name, files in sorted(found.items())]


# Name for --layout, function.
LAYOUTS: list[tuple[str, Callable[[Path], list[Source]]]] = [("brats", brats), ("msd", msd), ("nnunet", nnunet), ("plain", plain)]


def find_cases(folder: Path, layout: str | None = None) -> tuple[str, list[Source]]:
    """(name of the layout, its cases sorted by name). Case folders in which no layout knows a file come along with their `problem`.

    Raises MissingFile when there is nothing, InputError when the folder mixes layouts or is not laid out as `layout` says.
    """
    if not folder.is_dir():
        raise MissingFile(f"There is no folder {folder.name}.", "Check the path and its spelling.")
    found = {name: sources for name, look in LAYOUTS if layout in (None, name) and (sources := look(folder))}
    if len(found) > 1:
        counts = ", ".join(f"{name} ({len(sources)})" for name, sources in found.items())
        raise InputError(f"{folder.name} holds cases in more than one layout: {counts}.", "Take them one after the other with --layout.")
    folders = _case_folders(folder)
    if not found and layout is None and folders:
        return "unknown", [_unknown(case) for case, _ in folders]
    if not found:
        raise MissingFile(f"There are no cases in {folder.name}" + (f" in the layout {layout}." if layout else "."),
                          "Give a folder as BraTS, the Decathlon or nnU-Net lay it out, or with one folder a patient: t1, t1ce, t2, flair, seg.")
    name, sources = found.popitem()
    if name in ("brats", "plain") and layout is None:  # a case's own folder is the case
        known = {source.name for source in sources}
        sources = sources + [_unknown(case) for case, _ in folders if case.name not in known]
        empty = _folders_without(folder, folders)
        sources += [Source(case.name, {}, None, problem="its folder holds no image file that may be read") for case in empty]
    sources = sorted(sources, key=lambda source: source.name)
    twice = sorted(name for name, count in Counter(source.name for source in sources).items() if count > 1)
    if twice:
        raise InputError(f"{folder.name} holds two cases called {', '.join(twice[:5])}.", "Give every case a name of its own.")
    return name, sources


def _from_words(case: Path, files: list[Path], prefixed: bool) -> Source:
    found: dict[str, list[Path]] = {}
    strangers = []
    for file in files:
        word = _word_after(case.name, _stem(file)) if prefixed else _stem(file)
        if word in _WORD_OF:
            found.setdefault(_WORD_OF[word], []).append(file)
        else:
            strangers.append(file)
    notes = ()
    misnamed = [file for file in strangers if _MISNAMED_SEG.search(_stem(file))]
    if SEG not in found and len(misnamed) == 1:
        found[SEG] = misnamed
        notes = (f"{misnamed[0].name} was taken for its labels",)
    return _source(case.name, found, notes=notes)


def _word_after(name: str, stem: str) -> str:
    """t1 of NAME_t1 and of NAME-t1; '' of what does not begin so, as another tool's rt2 or another case's NAME_t1."""
    return stem[len(name) + 1:] if stem.startswith((f"{name}_", f"{name}-")) else ""


def _source(name: str, found: Mapping[str, list[Path]], table: Mapping[int, int] | None = None, notes: tuple[str, ...] = ()) -> Source:
    """The case of the files found for each role and SEG; several for one of them are its problem, for nobody said which is meant."""
    known = {role: found[role] for role in (*ROLES, SEG) if role in found}
    twice = "; ".join(f"{' and '.join(file.name for file in files)} may both be {role}" for role, files in known.items() if len(files) > 1)
    images = {role: (files[0], None) for role, files in known.items() if role != SEG}
    return Source(name, images, known[SEG][0] if SEG in known else None, table, problem=twice, notes=notes)


def _unknown(case: Path) -> Source:
    return Source(case.name, {}, None, problem="none of its files has a name that a layout knows")


def _case_folders(folder: Path) -> list[tuple[Path, list[Path]]]:
    """(folder, its image files) for every folder below this one, or itself, that holds images directly; hidden files do not count."""
    found = []
    for place, folders, _ in os.walk(folder, followlinks=True):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if len(here.relative_to(folder).parts) < _DEPTH else []
        if files := _image_files(here):
            found.append((here, files))
    return found


def _folders_without(folder: Path, cases: list[tuple[Path, list[Path]]]) -> list[Path]:
    """Folders that stand beside cases and hold no image at any depth."""
    used = {place for case, _ in cases for place in (case, *case.parents)}
    beside = {case.parent for case, _ in cases if case != folder}
    return sorted(path for place in beside for path in place.iterdir() if path.is_dir() and not path.name.startswith(".") and path not in used)


def _image_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if image_suffix(path) and not path.name.startswith(".") and path.is_file())
    except (PermissionError, FileNotFoundError, NotADirectoryError):
        return []


def _stem(file: Path) -> str:
    return file.name[: len(file.name) - len(image_suffix(file))]
