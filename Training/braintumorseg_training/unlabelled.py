"""Studies without labels, packed for pretraining: read, aligned and cut to the brain as the engine does it for a user."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from braintumorseg.brain import brain_only_mask, find_brain, open_brain_finder
from braintumorseg.errors import BrainTumorSegError, InputError
from braintumorseg.model_card import ModelCard
from braintumorseg.preprocess import mask_onto
from braintumorseg.read import read_study
from braintumorseg.register import align
from braintumorseg.resample import canonical_grid, resample, seen_by
from braintumorseg.skull_strip import find_study_brain, shows_heads
from braintumorseg.study import Study
from braintumorseg.volume import Grid, Volume

from .data import UNLABELLED, pack_case

__all__ = ["brains_alone", "pack_unlabelled"]


def pack_unlabelled(studies: Iterable[Path], out: Path, card: ModelCard, say: Callable[[str], None]) -> list[str]:
    """Pack each study (a folder of one patient: DICOM, NIfTI, NRRD or MHA, any of the four sequences, heads or brains) under its folder's name.

    Returns what was refused and why, a line each. Raises InputError when nothing could be packed.
    """
    studies, refused, finder = list(studies), [], []

    def find(volume: Volume) -> Volume:
        if not finder:
            finder.append(open_brain_finder())
        return find_brain(volume, finder[0])

    for number, folder in enumerate(studies, 1):
        name = folder.resolve().name
        try:
            if (out / f"{name}.npz").is_file():
                raise InputError(f"A case {name} is packed in {out.name} already.", "Give another --out, or rename the study's folder.")
            study = brains_alone(read_study([folder]), card, find)
            nothing = study.reference.with_voxels(np.zeros(study.reference.shape, np.uint8))
            pack_case(name, UNLABELLED, study, nothing, card, out)
            say(f"{number}/{len(studies)} {name} packed: {', '.join(study.roles)}")
        except BrainTumorSegError as error:
            refused.append(f"{name}: {error}")
            say(f"{number}/{len(studies)} {name} refused: {error}")
    if len(refused) == len(studies):
        raise InputError(f"None of the {len(studies)} studies could be packed ({refused[0]})." if refused else "No study was given.",
                         "Give folders of one patient each.")
    return refused


def brains_alone(study: Study, card: ModelCard, find: Callable[[Volume], Volume]) -> Study:
    """All sequences on one grid of the card's spacing, 0 outside the brain; `find` is asked for the brain only where images show heads."""
    moved = {role: alignment.moved for role, alignment in align(study).items() if alignment.moved is not None}
    grid = canonical_grid(study.reference.grid, card.spacing_mm)
    heads = shows_heads(study)
    brain = mask_onto(find_study_brain(study, heads, find, moved).mask, grid) if heads else None
    return Study({role: _alone(volume, grid, moved.get(role), brain) for role, volume in study.volumes.items()}, study.sources)


def _alone(volume: Volume, grid: Grid, moved: np.ndarray | None, brain: np.ndarray | None) -> Volume:
    """A volume on `grid`, 1 and more where it shows the brain, 0 elsewhere. What is added changes no z-score."""
    if brain is None:
        inside = mask_onto(volume.with_voxels(brain_only_mask(volume).astype(np.uint8)), grid, moved)
    else:
        inside = brain & seen_by(volume.grid, grid, moved)
    image = resample(volume, grid, moved=moved)
    return image.with_voxels(np.where(inside, image.voxels - image.voxels[inside].min(initial=np.inf) + 1, 0).astype(np.float32))
