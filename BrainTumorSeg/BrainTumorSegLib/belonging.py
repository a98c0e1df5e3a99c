"""Which volumes may be of one examination of one person: told by studies, names and folders. Nothing of it is ever shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import slicer

__all__ = ["Origin", "name_words", "origin_of", "sets_of"]

# What names hold beside a sequence and the person: planes, formats, and how an image was worked on.
_WORK = (
    "ax axi axial sag sagittal cor coronal tra trans transv transversal obl oblique iso 2d 3d hr high res w wi weighted p2 p3 ns sel fast thin "
    "brain head only masked stripped skullstripped ss bet hdbet defaced crop cropped reg registered coreg coregistered aligned resampled resliced "
    "dark fluid to in on n4 bias biascorrected corr corrected norm normalized normalised mni mni152 sri24 1mm clean copy preproc raw orig original "
    "nii gz nrrd mha dcm dicom nifti anat acq run desc image images img volume vol mr mri scan series")
_NEUTRAL = frozenset(_WORK.split())
_LONGEST_SUFFIX = 3  # digits: a series' number, or what Slicer puts behind a name that is taken


@dataclass(frozen=True)
class Origin:
    """study: equal for the volumes of one study, '' when none is known. words: of the name, what tells neither sequence nor work done.
    folder: of its file, without the parts that only name a sequence; () when it is not known."""

    study: str = ""
    words: frozenset = frozenset()
    folder: tuple = ()


def origin_of(node, study: str = "") -> Origin:
    """Of a volume node; `study` is that of its DICOM header. The user may have put it into a study of the subject hierarchy."""
    storage = node.GetStorageNode()
    file = (storage.GetFileName() or "") if storage is not None else ""
    folder = tuple(part for part in Path(file).parent.parts if name_words(part)) if file else ()
    return Origin(_study_item(node) or study, name_words(node.GetName() or ""), folder)


def name_words(name: str) -> frozenset:
    """The words of a name that may tell a person or an examination: 'sub-01_ce-gd_T1w' -> {'01'}; none of '3: AX T1'."""
    from braintumorseg.sequence_words import Words, read_words

    text = re.sub(r"^\d+: ", "", name)                             # Slicer puts the series' number before a DICOM volume's name
    text = re.sub(r"\+ ?c(?![a-z])|(?<![a-z])c ?\+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).casefold())
    words = re.findall(r"[^\W_]+", text)
    told = [word for word in words if word not in _NEUTRAL and read_words(word) == Words()]
    if len(told) < len(words) and told[-1:] == words[-1:] and words[-1].isdigit() and len(words[-1]) <= _LONGEST_SUFFIX:
        told.pop()
    return frozenset(told)


def sets_of(origins: Sequence[Origin]) -> list[frozenset]:
    """Indices of the volumes that may all be of one examination; the largest sets. A volume that tells nothing is in several."""
    telling = sorted(dict.fromkeys(origins), key=lambda origin: -len(origin.words))  # who tells most decides whom the others join
    found = []
    for first in telling:
        members = [first]
        for other in telling:
            if other != first and all(_may_be_together(other, member) for member in members):
                members.append(other)
        found.append(frozenset(index for index, origin in enumerate(origins) if origin in members))
    return list(dict.fromkeys(found))


def _may_be_together(one: Origin, other: Origin) -> bool:
    if one.study or other.study:
        return one.study == other.study
    if one.words and other.words:
        return one.words <= other.words or other.words <= one.words
    return not (one.folder and other.folder) or one.folder == other.folder


def _study_item(node) -> str:
    """The study, or else the patient, beneath which the node lies in the subject hierarchy; '' when there is none."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode() if node.GetScene() is slicer.mrmlScene else None
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    if not item:
        return ""
    above = hierarchy.GetItemAncestorAtLevel(item, "Study") or hierarchy.GetItemAncestorAtLevel(item, "Patient")
    return f"subject hierarchy {above}" if above else ""
