"""Studies without labels, packed for pretraining: read, aligned and cut to the brain as the engine does it for a user."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np

from braintumorseg.brain import find_in_head, open_brain_finder
from braintumorseg.errors import BrainTumorSegError, InputError
from braintumorseg.model_card import ModelCard
from braintumorseg.read import read_study
from braintumorseg.register import align
from braintumorseg.skull_strip import find_study_brain, shows_heads

from .packing import UNLABELLED, origin_of, pack_case

__all__ = ["pack_unlabelled"]


def pack_unlabelled(studies: Iterable[Path], out: Path, card: ModelCard, say: Callable[[str], None]) -> list[str]:
    """Pack each study (a folder of one patient: DICOM, NIfTI, NRRD or MHA, any of the four sequences, heads or brains) under its folder's name.

    Returns what was refused and why, a line each. Raises InputError when nothing could be packed.
    """
    studies, refused = list(studies), []
    for number, folder in enumerate(studies, 1):
        name = folder.resolve().name
        try:
            if (out / f"{name}.npz").is_file():
                raise InputError(f"A case {name} is packed in {out.name} already.", "Give another --out, or rename the study's folder.")
            roles = _pack(name, folder, card, out)
            say(f"{number}/{len(studies)} {name} packed: {', '.join(roles)}")
        except BrainTumorSegError as error:
            refused.append(f"{name}: {error}")
            say(f"{number}/{len(studies)} {name} refused: {error}")
    if len(refused) == len(studies):
        raise InputError(f"None of the {len(studies)} studies could be packed ({refused[0]})." if refused else "No study was given.",
                         "Give folders of one patient each.")
    return refused


def _pack(name: str, folder: Path, card: ModelCard, out: Path) -> tuple[str, ...]:
    study = read_study([folder])
    found = align(study)
    moved = {role: alignment.moved for role, alignment in found.items() if alignment.moved is not None}
    doubtful = [role for role, alignment in found.items() if alignment.doubtful]
    find = cache(lambda volume: find_in_head(volume, _finder()))
    heads = shows_heads(study, find)
    brain = find_study_brain(study, heads, find, moved, doubtful).mask if heads else None
    nothing = study.reference.with_voxels(np.zeros(study.reference.shape, np.uint8))
    pack_case(name, UNLABELLED, study, nothing, card, out, origin=origin_of(folder.resolve().parent), moved=moved, brain=brain)
    return study.roles


@cache
def _finder():
    return open_brain_finder()
