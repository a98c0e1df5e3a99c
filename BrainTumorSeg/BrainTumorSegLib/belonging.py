"""Which volumes may be of one examination of one person: told by studies, names and folders. Nothing of it is ever shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import slicer

__all__ = ["Origin", "name_words", "origin_of", "origin_of_name", "sets_of"]

# What names hold beside a sequence and the person: planes, formats, how an image was taken, and how it was worked on.
_WORK = (
    "ax axi axial sag sagittal cor coronal tra trans transv transversal obl oblique iso 2d 3d hr high res w wi weighted p2 p3 ns sel fast thin "
    "before after injection inj early late long short tr te ti mt mtc mv shc s sense asset grappa arc caipi ipat cs clear nav stealth motion repeat "
    "brain head only masked stripped skullstripped ss bet hdbet defaced crop cropped reg registered coreg coregistered aligned resampled resliced "
    "dark fluid to in on n4 bias biascorrected corr corrected norm normalized normalised mni mni152 sri sri24 1mm clean copy preproc raw orig "
    "original final nii gz nrrd mha dcm dicom nifti anat acq run desc im image img images vol volume mr mri scan ser series")
_NEUTRAL = frozenset(_WORK.split())
_SIZE = re.compile(r"(?<![a-z\d])\d+(?:[.,]\d+)? ?(?:mm|cm|ms|t|tesla)(?![a-z\d])")
_NUMBER = re.compile(r"(?:s|se|ser|im)?\d{1,4}")  # of a series, maybe; longer ones are patients' numbers, dates and times
_SHORTEST_DATE = 6  # digits
_PERSON = frozenset(["sub", "subj", "subject", "case", "pat", "patient", "pt", "id"])  # a number behind these is a person's
_LONGEST_SUFFIX = 3  # digits: a series' number, or what Slicer puts behind a name that is taken


@dataclass(frozen=True)
class Origin:
    """studies: what names the study, in its header and by the subject hierarchy; volumes that share one are of one study.
    words: of the name, what tells neither sequence nor work done.
    folder: of its file, without the parts that only name a sequence; () when it is not known.

    head: those of `words` that stand before the sequence. numbers: of the name, in its order, which may be a person's or only count the
    series; each with True where it follows a name. sequence: the role that the name tells, '' for none.
    """

    studies: frozenset = frozenset()
    words: frozenset = frozenset()
    folder: tuple = ()
    head: frozenset = frozenset()
    numbers: tuple = ()
    sequence: str = ""


def origin_of(node, study: str = "") -> Origin:
    """Of a volume node; `study` is that of its DICOM header. The user may have put it into a study of the subject hierarchy; a copy that was
    cropped or resampled lies in none, and keeps the header."""
    storage = node.GetStorageNode()
    file = (storage.GetFileName() or "") if storage is not None else ""
    folder = tuple(part for part in Path(file).parent.parts if _names_a_place(part)) if file else ()
    return replace(origin_of_name(node.GetName() or ""), studies=frozenset({_study_item(node), study} - {""}), folder=folder)


@lru_cache(maxsize=1024)  # folders have names, too, and many volumes the same ones
def origin_of_name(name: str) -> Origin:
    """What a name alone tells."""
    from braintumorseg.io.dicom_series import Facts
    from braintumorseg.sequence_words import Words, read_words
    from braintumorseg.sequences import judge

    text = re.sub(r"^\d+: ", "", name)                             # Slicer puts the series' number before a DICOM volume's name
    text = re.sub(r"\+ ?c(?![a-z])|(?<![a-z])c ?\+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).casefold())
    words = re.findall(r"[^\W_]+", _SIZE.sub(" ", text))
    told, numbers, ahead, before, follows = [], [], None, "", False
    for place, word in enumerate(words):
        if _NUMBER.fullmatch(word) and before not in _PERSON:
            suffix = 0 < place == len(words) - 1 and word.isdigit() and len(word) <= _LONGEST_SUFFIX and not follows
            numbers += [] if suffix else [(word, follows)]
        elif read_words(word) != Words() and word not in _PERSON:  # 'sub' alone is a subtraction, but BIDS has 'sub-01'
            ahead, follows = len(told) if ahead is None else ahead, False
        elif word == "sub" or (word in _NEUTRAL and not (place == 0 and word in ("p2", "p3"))):  # a parallel factor stands behind
            follows = False
        else:
            told.append(word)
            follows = not word.isdigit() or (follows and len(word) < _SHORTEST_DATE)  # 'GLI 00000 000', but '20240105 301'
        before = word
    return Origin(words=frozenset(told), head=frozenset(told[:ahead]), numbers=tuple(numbers), sequence=judge(Facts(description=name)).role)


def name_words(name: str) -> frozenset:
    """The words of a name that may tell a person or an examination: 'sub-01_ce-gd_T1w' -> {'01'}; none of '3: AX T1'."""
    return origin_of_name(name).words


def sets_of(origins: Sequence[Origin]) -> list[frozenset]:
    """Indices of the volumes that may all be of one examination; the largest sets. A volume that tells nothing is in several."""
    settled = _with_one_folder_as_one(_with_numbers_of_persons(origins))
    origins = [Origin(origin.studies, origin.words, origin.folder) for origin in settled]  # what else they tell would only make them more
    telling = sorted(dict.fromkeys(origins), key=lambda origin: -len(origin.words))  # who tells most decides whom the others join
    found = []
    for first in telling:
        members = [first]
        for other in telling:
            if other != first and all(_may_be_together(other, member) for member in members):
                members.append(other)
        found.append(frozenset(index for index, origin in enumerate(origins) if origin in members))
    return list(dict.fromkeys(found))


def _with_numbers_of_persons(origins: Sequence[Origin]) -> list[Origin]:
    """Numbers become words where they tell persons apart: where one stands with several sequences, or follows a name.

    Unless, in the latter case, three or four sequences have one each: these numbers count the series, as do all others.
    """
    groups: dict = {}
    for origin in origins:
        groups.setdefault((origin.studies, origin.folder, origin.words), []).append(origin)
    found = {}
    for group in groups.values():
        all_sequences = [origin.sequence for origin in group if origin.sequence]
        once = len(all_sequences) == len(set(all_sequences)) > 2
        sequences: dict = {}  # (place, number) -> those that it stands with
        for origin in group:
            for place, (number, _) in enumerate(origin.numbers):
                sequences.setdefault((place, number), set()).add(origin.sequence)
        places = {place for (place, _), several in sequences.items() if len(several - {""}) > 1}
        for origin in group:
            persons = frozenset(f"{place} {number}" for place, (number, follows) in enumerate(origin.numbers)
                                if place in places or (follows and not once))
            found[origin] = replace(origin, words=origin.words | persons, head=origin.head | persons)
    return [found[origin] for origin in origins]


def _with_one_folder_as_one(origins: Sequence[Origin]) -> list[Origin]:
    """The files of a folder that holds each sequence once tell the same words, unless they begin with other ones each."""
    groups: dict = {}
    for origin in origins:
        if origin.folder and not origin.studies:
            groups.setdefault(origin.folder, []).append(origin)
    found = {}
    for group in groups.values():
        sequences = [origin.sequence for origin in group if origin.sequence]
        if len(sequences) == len(set(sequences)) and all(_agree(one.head, other.head) for one, other in combinations(group, 2)):
            words = frozenset().union(*(origin.words for origin in group))
            found.update((origin, replace(origin, words=words)) for origin in group)
    return [found.get(origin, origin) for origin in origins]


def _agree(words: frozenset, others: frozenset) -> bool:
    return not (words and others) or words <= others or others <= words


def _may_be_together(one: Origin, other: Origin) -> bool:
    if one.studies or other.studies:
        return bool(one.studies & other.studies)
    if one.words and other.words:
        return _agree(one.words, other.words)
    return not (one.folder and other.folder) or one.folder == other.folder


def _names_a_place(part: str) -> bool:
    """Of a path: 'Smith' and '01' do, 'T1' and '301_T1' only name a sequence."""
    told = origin_of_name(part)
    return bool(told.words or (told.numbers and not told.sequence))


def _study_item(node) -> str:
    """The study, or else the patient, beneath which the node lies in the subject hierarchy; '' when there is none."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode() if node.GetScene() is slicer.mrmlScene else None
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    if not item:
        return ""
    above = hierarchy.GetItemAncestorAtLevel(item, "Study") or hierarchy.GetItemAncestorAtLevel(item, "Patient")
    return f"subject hierarchy {above}" if above else ""
