"""Which file is which sequence, from the files' names; never from their voxels, and never by guessing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import MissingFile, UnclearRoles
from .io.readers import image_suffix, reader_for
from .study import ROLES

__all__ = ["Recognised", "find_images", "left_out", "recognise_roles"]

# Words of a file name that name a sequence, as BraTS, UPenn-GBM, UCSF-PDGM, BIDS and scanners write them.
_WORDS = {
    "t1": "t1 t1w t1wi t1n t1pre t1native",
    "t1ce": "t1ce t1c t1gd t1gad t1post t1wce t1km t1postgd t1postcontrast t1contrast",
    "t2": "t2 t2w t2wi",
    "flair": "flair fla t2f t2flair flairw darkfluid",
}
_ROLE_OF = {word: role for role, words in _WORDS.items() for word in words.split()}
# 3-D gradient echoes: T1-weighted, said only where no other word says more. (SPACE can be T1, T2 or FLAIR and says nothing.)
_T1_TECHNIQUES = frozenset({"mprage", "spgr", "bravo"})
_CONTRAST = frozenset({"ce", "gd", "gad", "gado", "gadolinium", "gadovist", "post", "postgd", "postgad", "postcontrast",
                       "contrast", "enhanced", "km"})
_NO_CONTRAST = frozenset({"pre", "precontrast", "noncontrast", "no", "non", "without", "unenhanced"})
_AFTER_POST = frozenset({"op", "surgery", "resection", "treatment", "therapy", "rt", "radiation"})  # "post_op" is not contrast
_OTHER_IMAGES = frozenset({"adc", "dwi", "dti", "swi", "asl", "dsc", "pwi", "perfusion", "bold", "pd", "map", "t1map", "t2map",
                           "star", "t2star", "stir", "subtraction", "ct", "pet"})
_MASKS = frozenset({"mask", "brainmask", "labels", "labelmap", "segmentation"})
# Masks only after the sequence's word or at the start: they are also parts of a case's name, as in VS-SEG-001_t1ce.
_PERHAPS_MASKS = frozenset({"seg", "label", "roi", "lesion", "lesions", "gt", "truth", "pred", "prediction"})

_OPTIONS = "Say which is which with " + ", ".join(f"--{role}" for role in ROLES) + "."


@dataclass(frozen=True)
class Recognised:
    """A file and why it has its role: words of its name, never a folder."""

    path: Path
    why: str


def recognise_roles(paths: Iterable[Path], given: Collection[str] = ()) -> dict[str, Recognised]:
    """Role -> file for the images at `paths`, in the order of ROLES. Roles in `given` are known already and not looked for.

    Masks and names without a sequence are left out (see `left_out`). Raises UnclearRoles when two files fit one role, when a name
    holds two sequences ('t2_in_t1_space'), or when files were given and none fits.
    """
    paths = list(paths)
    candidates: dict[str, list[Recognised]] = {role: [] for role in ROLES if role not in given}
    for path in paths:
        words = _words(path)
        roles, used = _roles(words)
        if _why_not(words):
            continue
        if len(roles) > 1 and roles - set(given):
            raise UnclearRoles(f"{path.name} names more than one sequence: {' and '.join(sorted(roles))}.", _OPTIONS)
        for role in roles & candidates.keys():
            candidates[role].append(Recognised(path, _why(words, used)))
    for role, found in candidates.items():
        if len(found) > 1:
            raise UnclearRoles(f"{len(found)} files may be {role}: {_listed(one.path for one in found)}.",
                               f"Choose one with --{role}.")
    recognised = {role: found[0] for role, found in candidates.items() if found}
    if paths and not recognised and not given:
        raise UnclearRoles(_no_fit(paths), _OPTIONS)
    return recognised


def left_out(paths: Iterable[Path]) -> dict[Path, str]:
    """Path -> reason for every file that `recognise_roles` leaves out; {} when it takes all of them."""
    return {path: reason for path in paths if (reason := _why_not(_words(path)))}


def find_images(paths: Iterable[Path | str]) -> list[Path]:
    """The image files at `paths`, sorted within a folder, none twice; [] for no paths.

    A folder stands for the images directly in it, or, when it holds none, for those in its only subfolder.
    Raises MissingFile for a path that is not there or a folder without images, NotAnImage for a file that no reader takes. DICOM is
    found elsewhere (places).
    """
    images: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            images += _images_in(path)
        elif path.exists():
            reader_for(path)
            images.append(path)
        else:
            raise MissingFile(f"There is no file or folder {path.name} at the place given.", "Check the path and its spelling.")
    first: dict[Path, Path] = {}
    for path in images:
        first.setdefault(path.resolve(), path)
    return list(first.values())


def _images_in(folder: Path) -> list[Path]:
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    images = [entry for entry in entries if entry.is_file() and image_suffix(entry)]
    if images:
        return images
    folders = [entry for entry in entries if entry.is_dir()]
    if len(folders) == 1:
        return _images_in(folders[0])
    more = f", but {len(folders)} folders" if folders else ""
    raise MissingFile(f"The folder {folder.name} holds no image{more}.", "Give the folder of one patient's images.")


def _words(path: Path) -> list[str]:
    """The words of a file name in lower case: 'P1_AxT1+C.nii.gz' -> ['p1', 'ax', 't1', 'ce']."""
    stem = path.name[: len(path.name) - len(image_suffix(path))]
    stem = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", stem)
    stem = re.sub(r"\+c(?![a-z])|(?<![a-z0-9])c\+", "_ce_", stem.lower())
    stem = re.sub(r"dark[\W_]?fluid|(?<![a-z])da[\W_]fl(?![a-z])", "_darkfluid_", stem)  # Siemens' words for FLAIR
    return [word for word in re.split(r"[\W_]+", stem) if word]


def _roles(words: list[str]) -> tuple[set[str], list[str]]:
    """(roles that the words name, the words that say so). Contrast matters for T1 alone: a T2 after contrast is a T2."""
    used = [word for word in words if word in _ROLE_OF] or [word for word in words if word in _T1_TECHNIQUES]
    roles = {_ROLE_OF.get(word, "t1") for word in used}
    if "flair" in roles:
        roles.discard("t2")  # T2-FLAIR is FLAIR
    if re.search(r"\bt1w? c\b", " ".join(words)):
        roles.add("t1ce")  # 'T1-C' is written for both, with contrast and without: so it has two roles, and is refused
    contrast = [word for word, after in zip(words, [*words[1:], ""], strict=True)
                if word in _CONTRAST and not (word == "post" and after in _AFTER_POST)]
    if "t1" in roles and contrast and not _NO_CONTRAST & set(words):
        roles = (roles - {"t1"}) | {"t1ce"}
        used += contrast
    return roles, used


def _why_not(words: list[str]) -> str:
    """Why a file with these words is no sequence of ours; '' when it is one."""
    roles, _ = _roles(words)
    after_role = next((words[i + 1:] for i in reversed(range(len(words))) if words[i] in _ROLE_OF), words)
    if _MASKS & set(words) or _PERHAPS_MASKS & {*words[:1], *after_role}:
        return "its name says that it is a mask or a segmentation"
    if _OTHER_IMAGES & set(words):
        return "its name says that it is another kind of image"
    return "" if roles else "its name names no sequence"


def _why(words: list[str], used: list[str]) -> str:
    if words == used[:1]:
        return f"file name is {used[0]}"
    if words[-len(used):] == used:
        return f"file name ends in _{'_'.join(used)}"
    return f"file name holds {' and '.join(dict.fromkeys(used))}"


def _no_fit(paths: list[Path]) -> str:
    numbered = [path for path in paths if re.search(r"_000[0-9]\.", path.name)]
    if numbered:
        return f"The names end in channel numbers ({_listed(numbered)}), and their order differs from data set to data set."
    if len(paths) == 1:
        return f"{paths[0].name} is not taken for a sequence: {left_out(paths)[paths[0]]}."
    return f"No file name says which sequence it is: {_listed(paths)}."


def _listed(paths: Iterable[Path]) -> str:
    names = [path.name for path in paths]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
