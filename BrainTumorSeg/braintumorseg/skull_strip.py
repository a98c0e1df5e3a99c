"""Where the brain is in a study of whole heads: asked of every sequence, carried to the reference by registration, and agreed upon."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from .background import brain_only_mask, is_brain_only
from .errors import BadImage
from .metrics import dice
from .parallel import at_once
from .preprocess import mask_onto
from .resample import seen_by
from .study import Study
from .volume import Volume

__all__ = ["LEAST_BRAIN_ML", "StudyBrain", "find_study_brain", "shows_heads"]

# Less than this is no brain, not even a newborn's, nor a slab worth reading.
LEAST_BRAIN_ML = 150.0


@dataclass(frozen=True, eq=False)
class StudyBrain:
    """mask: uint8, 1 in the brain, on the reference's native grid.

    agreement: role -> Dice 0..1 of what that sequence alone says with the mask, where that sequence shows something; empty when one
    sequence decided.
    text: how it was found, for the report.
    """

    mask: Volume
    text: str
    agreement: Mapping[str, float] = field(default_factory=dict)


def shows_heads(study: Study, find: Callable[[Volume], Volume] | None = None) -> tuple[str, ...]:
    """The roles of `study` whose images show more than a brain that was cut out.

    `find` (a volume's brain on its own grid) is asked where the size alone could mislead, and of every image where some show heads: those
    that seem to show the brain alone will decide for them. It may be asked of one image twice.
    """
    def heads(doubted: bool) -> tuple[str, ...]:
        alone = at_once(lambda role: is_brain_only(study.volumes[role], find, doubted=doubted), study.roles)
        return tuple(role for role, brain in zip(study.roles, alone, strict=True) if not brain)

    return heads(doubted=bool(heads(doubted=False)))


def find_study_brain(study: Study, heads: Collection[str], find: Callable[[Volume], Volume], moved: Mapping[str, np.ndarray],
                     doubtful: Collection[str] = (), progress: Callable[[float], None] = lambda done: None) -> StudyBrain:
    """The brain of a study of which some or all images show heads.

    Where some show the brain alone, those decide (`shows_heads` has made sure of them). Else `find` (a volume's brain on its own grid) is
    asked of every sequence and each voxel goes with the majority of those that see it, the reference breaking ties.

    Args:
        heads: what `shows_heads` says of the study.
        moved: role -> 4x4 rigid transform, reference world -> that sequence's world; none where they agree.
        doubtful: roles whose place is not certain; they are not asked, unless it is the reference.

    Raises BadImage when no sequence shows a brain.
    """
    alone = [role for role in study.roles if role not in heads and role not in doubtful]
    asked = alone or [role for role in study.roles if role == study.reference_role or role not in doubtful]
    asked.sort(key=lambda role: role != study.reference_role)
    grid, turn = study.reference.grid, threading.Lock()
    masks: dict[str, np.ndarray] = {}

    def ask(role: str) -> None:
        volume = study.volumes[role]
        found = volume.with_voxels(brain_only_mask(volume).astype(np.uint8)) if role in alone else find(volume)
        mask = mask_onto(found, grid, moved.get(role))  # nothing where it sees nothing
        with turn:
            masks[role] = mask
            progress(len(masks) / len(asked))

    at_once(ask, asked)
    sees = {role: seen_by(study.volumes[role].grid, grid, moved.get(role)) for role in asked}
    votes = weight = np.uint8(0)
    for role in asked:
        share = np.uint8(3 if role == asked[0] else 2)  # the first breaks a tie
        votes, weight = votes + share * masks[role], weight + share * np.uint8(sees[role])
    mask = 2 * votes > np.maximum(weight, np.uint8(2))
    ml = float(np.count_nonzero(mask)) * study.reference.voxel_ml
    if ml < LEAST_BRAIN_ML:
        raise BadImage(f"No brain was found in the images (they show {ml:.0f} ml of what could be one).",
                       "Check that these are MR images of a head; for a brain that was cut out already add --stripped.")
    text = f"{'shown alone by' if alone else 'found in'} {', '.join(asked)}"
    return StudyBrain(study.reference.with_voxels(mask.astype(np.uint8)), text, _agreement(mask, masks, sees))


def _agreement(mask: np.ndarray, masks: Mapping[str, np.ndarray], sees: Mapping[str, np.ndarray | bool]) -> dict[str, float]:
    if len(masks) < 2:
        return {}
    return {role: dice(mask & seen, masks[role]) for role, seen in sees.items()}
