"""Flags about the sequences of a study: which there are, whether each is what it is taken for, and what each of them shows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import combinations

import numpy as np

from .background import background_of
from .flag import Flag
from .looks import Looks
from .model_card import ModelCard
from .segmentation import Segmentation
from .sequences_by_image import Look, exchanged
from .study import TITLES, Study

__all__ = ["assumed_orientation", "coarse", "contrast", "damaged", "doubtful_alignment", "exchanged_names", "missing", "outside",
           "weak_sequences"]

COARSE_MM = 3.0
OUTSIDE_SHARE = 0.05
# 25 patients with contrast: correlation of T1 and T1ce at most 0.88, and at least 0.7 % of the brain clearly brighter in T1ce.
SAME_PICTURE = 0.95
BRIGHTER = 0.5
BRIGHTER_SHARE = 0.003
# Of any other two sequences the correlation is at most 0.64 (29 patients).
GIVEN_TWICE = 0.98
LEAST_DICE = 0.75                 # of the whole tumour, on average in the card's validation

_WITHOUT = {
    "t1": ("info", "T1 is missing: bright blood or protein cannot be told from contrast, so the ET volume may be too large; "
                   "add the T1 from before contrast if there is one."),
    "t1ce": ("warning", "T1 after contrast (T1ce) is missing: enhancing tumour cannot be told from the rest of the core, so the "
                        "ET and TC volumes are unreliable; add it if there is one."),
    "t2": ("info", "T2 is missing: fluid and cysts are harder to tell from swollen brain; add it if there is one."),
    "flair": ("warning", "FLAIR is missing: oedema is hard to see beside fluid, so the ED and WT volumes are often too small; "
                         "add it if there is one."),
}


def exchanged_names(looks: Looks, brain: np.ndarray, but: Collection[str]) -> Iterator[Flag]:
    """Where sequences have each other's names, or two have one picture, for certain; those in `but` are not looked at.

    `brain`: (I, J, K) bool.
    """
    compared = looks.in_one_place(brain, [role for role in looks.study.roles if role not in but])
    twice = [pair for pair in combinations(compared, 2) if _one_picture(*(compared[role] for role in pair)) and pair != ("t1", "t1ce")]
    for one, other in twice:
        yield Flag("given_twice", "warning",
                   f"{TITLES[one]} and {TITLES[other]} show the same picture: one image seems to have been given under both names, and the outlines "
                   "rest on it; give the right one, or leave one out, and segment again.")
    found = {} if twice else exchanged(compared)
    if found:
        taken = " and ".join(f"{TITLES[role]} looks like a {TITLES[other]}" for role, other in found.items())
        yield Flag("exchanged_sequences", "warning",
                   f"{taken}: they seem to be exchanged, and then every outline and volume is wrong; check which is which, and segment again.")


def _one_picture(one: Look, other: Look) -> bool:
    relation = one.relation(other)
    return relation is not None and relation[3] >= GIVEN_TWICE


def assumed_orientation(study: Study) -> Iterator[Flag]:
    assumed = [TITLES[role] for role, volume in study.volumes.items() if volume.assumed]
    if assumed:
        yield Flag("assumed_orientation", "warning",
                   f"No header says how the patient lay in {', '.join(assumed)} (in a NIfTI file sform and qform have the code 0 then): which "
                   "side is right or left, front or back, top or bottom is assumed, and so is every plane; convert from DICOM again, or set the "
                   "sform.")


def damaged(study: Study) -> Iterator[Flag]:
    """A series that was there and could not be read may be the one that matters: nobody must learn of it from a table alone."""
    for one in study.left_out:
        if one.damaged:
            yield Flag("damaged_series", "warning",
                       f"Not used because it is damaged: {one.nameless or one.what}: {one.why}.{' ' + one.fix if one.fix else ''}")


def weak_sequences(card: ModelCard | None, study: Study) -> Iterator[Flag]:
    """What the card's validation says of this very subset of sequences; nothing where it was not measured."""
    measured = card.metrics.get("dice_by_sequences", {}) if card else {}
    used = [role for role in card.roles if role in study.volumes] if card else []
    dice = measured.get(" + ".join(used), {}).get("WT", 1.0)
    if dice < LEAST_DICE:
        lacking = " and ".join(TITLES[role] for role in card.roles if role not in study.volumes)
        if not lacking:
            yield Flag("weak_sequences", "warning",
                       f"This network finds the whole tumour badly even with all its sequences (Dice {dice:.2f} on average in its validation): do "
                       "not rely on these volumes, or take another network.")
            return
        of_all = measured.get(" + ".join(card.roles), {}).get("WT")
        beside = f", with all sequences {of_all:.2f}" if of_all is not None else ""
        yield Flag("weak_sequences", "warning",
                   f"From {' and '.join(TITLES[role] for role in used)} alone this network finds the whole tumour badly (Dice {dice:.2f} on average "
                   f"in its validation{beside}): add {lacking} if there is any, and do not rely on these volumes.")


def missing(segmentation: Segmentation) -> Iterator[Flag]:
    for role in segmentation.provenance.missing:
        yield Flag("missing_sequence", *_WITHOUT[role])


def doubtful_alignment(segmentation: Segmentation) -> Iterator[Flag]:
    made = segmentation.provenance
    for role in made.doubtful:
        yield Flag("doubtful_alignment", "warning",
                   f"{TITLES[role]} may not lie where the other sequences do ({made.alignment[role]}): look whether its outlines fit; "
                   "if it only lies elsewhere, align it yourself and use --registered.")


def outside(looks: Looks, tumour: np.ndarray) -> Iterator[Flag]:
    points = looks.points(tumour, 50_000)
    for role, volume in looks.study.volumes.items():
        if not len(points) or role == looks.study.reference_role:
            continue
        (values, inside), background = looks.at(role, points), background_of(volume)
        share = 1 - np.mean(inside if background is None else inside & background.shown(values))
        if share > OUTSIDE_SHARE:
            yield Flag("outside_sequence", "warning",
                       f"{TITLES[role]} does not show {share:.0%} of the tumour, where the result rests on the other sequences: "
                       "check its field of view and its alignment.")


def contrast(looks: Looks, brain: np.ndarray) -> Iterator[Flag]:
    if not {"t1", "t1ce"} <= set(looks.study.roles):
        return
    points = looks.points(brain, 100_000)
    (before, there), (after, here) = looks.at("t1", points), looks.at("t1ce", points)
    before, after = before[there & here].astype(float), after[there & here].astype(float)
    if len(before) < 1000 or min(before.std(), after.std(), np.median(before), np.median(after)) <= 0:
        return
    brighter = np.mean(after / np.median(after) - before / np.median(before) > BRIGHTER)
    if np.corrcoef(before, after)[0, 1] >= SAME_PICTURE and brighter < BRIGHTER_SHARE:
        yield Flag("no_contrast", "warning",
                   "T1ce shows nothing that is clearly brighter than in T1: perhaps no contrast was given, or one image was "
                   "given twice; check the series, for the ET and TC volumes rest on it.")


def coarse(study: Study) -> Iterator[Flag]:
    coarse = {role: max(volume.spacing_mm) for role, volume in study.volumes.items() if max(volume.spacing_mm) > COARSE_MM}
    if coarse:
        listed = ", ".join(f"{TITLES[role]} {mm:.1f} mm" for role, mm in coarse.items())
        yield Flag("coarse_slices", "info",
                   f"Slices are thick ({listed}), so thin parts of the tumour are averaged away and volumes are less certain; "
                   "use 3-D series if there are any.")
