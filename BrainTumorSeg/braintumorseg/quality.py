"""What to be careful about: flags that cost nothing to compute and are true when they are raised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .background import background_of, brain_only_mask, sections
from .looks import Looks
from .measure import Measurements, measure
from .model_card import ModelCard
from .segmentation import Segmentation
from .signs import doubts
from .skull_strip import StudyBrain
from .study import TITLES, Study
from .volume import Volume

__all__ = ["SEVERITIES", "Flag", "check", "warnings_first"]

SEVERITIES = ("warning", "info")

# A brain that ends by itself tapers: 3 mm inside its end the section is at most 0.12 of the largest (25 patients). A wider one
# was cut, as at the end of a slab.
CUT_DEPTH_MM = 3.0
CUT_SHARE = 0.18
# Less contact than this with the image's edge may be a stray voxel.
CONTACT_MM2 = 10.0
# In experts' outlines every glioma has a core, of 0.8 ml at least (24 patients).
LEAST_TUMOUR_ML, LEAST_CORE_ML = 1.0, 0.1
LARGEST_TUMOUR_ML = 400.0
LARGEST_TUMOUR_SHARE = 0.4
# Experts' outlines have up to 4 islands of this size or more (24 patients); a network's noise has 10 and more.
ISLAND_ML = 0.05
MOST_ISLANDS = 10
COARSE_MM = 3.0
# Adults' brains measure at least 120 mm across, 140 mm from front to back and 110 mm in height.
SMALLEST_BRAIN_MM = {"R": 100.0, "A": 120.0, "S": 90.0}
OUTSIDE_SHARE = 0.05
# 25 patients with contrast: correlation of T1 and T1ce at most 0.88, and at least 0.7 % of the brain clearly brighter in T1ce.
SAME_PICTURE = 0.95
BRIGHTER = 0.5
BRIGHTER_SHARE = 0.003
PLAUSIBLE_BRAIN_ML = (800, 2000)  # with its fluid
LEAST_DICE = 0.75                 # of the whole tumour, on average in the card's validation
LEAST_EXPECTED_DICE = 0.8         # of the whole tumour, over several looks
LEAST_BRAIN_AGREEMENT = 0.88      # Dice of one sequence's outline with that of all

_EDGES = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "top", "I": "bottom"}
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_SPANS = {"R": "from right to left", "A": "from front to back", "S": "from top to bottom"}
_WITHOUT = {
    "t1": ("info", "T1 is missing: bright blood or protein cannot be told from contrast, so the ET volume may be too large; "
                   "add the T1 from before contrast if there is one."),
    "t1ce": ("warning", "T1 after contrast (T1ce) is missing: enhancing tumour cannot be told from the rest of the core, so the "
                        "ET and TC volumes are unreliable; add it if there is one."),
    "t2": ("info", "T2 is missing: fluid and cysts are harder to tell from swollen brain; add it if there is one."),
    "flair": ("warning", "FLAIR is missing: oedema is hard to see beside fluid, so the ED and WT volumes are often too small; "
                         "add it if there is one."),
}


@dataclass(frozen=True)
class Flag:
    """What a reader of the result must know: a stable `code`, a `severity` of SEVERITIES, one sentence with what to do."""

    code: str
    severity: str
    text: str

    def __post_init__(self):
        if self.severity not in SEVERITIES:
            raise ValueError(f"a flag is {' or '.join(SEVERITIES)}, not {self.severity}")


def check(study: Study, segmentation: Segmentation, card: ModelCard | None = None, measurements: Measurements | None = None) -> tuple[Flag, ...]:
    """The flags of a result, warnings first; () when there is nothing to say.

    Args:
        study: the images that were segmented.
        segmentation: labels on the grid of the study's reference; its provenance says which sequences the network lacked, and its
            brain where that is (None: what differs from the reference's background).
        card: of the network, for what it was measured to do with these sequences.
        measurements: of the segmentation, where they are known already.
    """
    reference = study.reference
    tumour = segmentation.labels.voxels != 0         # (I, J, K) bool
    shown = _brain(reference, segmentation.brain)     # (I, J, K) bool
    layers = sections(shown)                         # (I,), (J,), (K,) voxels
    looks = Looks(study, segmentation.moved)
    measurements = measurements or measure(segmentation)
    flags = [
        *_empty(tumour),
        *_edges(reference, sections(tumour), layers),
        *_size(reference, tumour, shown),
        *_no_core(study, measurements),
        *_islands(measurements),
        *_damaged(study),
        *_weak_sequences(card, study),
        *(Flag("missing_sequence", *_WITHOUT[role]) for role in segmentation.provenance.missing),
        *_doubtful(segmentation),
        *_doubtful_brain(segmentation.brain, float(np.count_nonzero(shown)) * reference.voxel_ml, card),
        *_outside(looks, tumour),
        *_contrast(looks, shown),
        *_coarse(study),
        *_field_of_view(reference, layers),
        *_pieces(segmentation.provenance.passes),
        *_unsure(segmentation.provenance.expected_dice),
        *(Flag(code, "warning", text) for code, text in doubts(segmentation.provenance.signs, segmentation.provenance.looks, card)),
    ]
    return warnings_first(flags)


def warnings_first(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """`flags` in the order in which they are read: by severity, and of one severity as they came."""
    return tuple(sorted(flags, key=lambda flag: SEVERITIES.index(flag.severity)))


def _empty(tumour: np.ndarray) -> Iterator[Flag]:
    if not tumour.any():
        yield Flag("empty_result", "warning",
                   "No tumour was found: the network knows adults' gliomas only and can miss small ones and other lesions, "
                   "so this is no proof of absence; look at the images.")


def _edges(reference: Volume, tumour: list[np.ndarray], brain: list[np.ndarray]) -> Iterator[Flag]:
    """Where the image ends inside the brain, at its own border or at that of a slab within it, and tumour lies there."""
    touched = []
    for axis, grows in enumerate(reference.orientation):
        layers = np.flatnonzero(brain[axis])
        contact_mm2 = tumour[axis] * reference.voxel_ml * 1000 / reference.spacing_mm[axis]
        depth = int(CUT_DEPTH_MM / reference.spacing_mm[axis])
        for inwards, border, side in ((layers, 0, _OPPOSITE[grows]), (layers[::-1], reference.shape[axis] - 1, grows)):
            outer = inwards[:depth + 1]
            if len(outer) and brain[axis][outer[-1]] < CUT_SHARE * brain[axis].max():
                outer = outer[:1][outer[:1] == border]  # it tapers: only the image's own border can have cut it
            if contact_mm2[outer].max(initial=0) >= CONTACT_MM2:
                touched.append(_EDGES[side])
    if touched:
        yield Flag("touches_edge", "warning",
                   f"The tumour reaches the edge of the image ({', '.join(touched)}): a part may lie outside, and volumes may be "
                   "too small; use a series that covers the whole brain.")


def _size(reference: Volume, tumour: np.ndarray, brain: np.ndarray) -> Iterator[Flag]:
    ml, brain_ml = (float(np.count_nonzero(mask)) * reference.voxel_ml for mask in (tumour, brain))
    if ml > LARGEST_TUMOUR_ML or ml > LARGEST_TUMOUR_SHARE * brain_ml:
        yield Flag("large", "warning",
                   f"The whole tumour measures {ml:.0f} ml of the {brain_ml:.0f} ml shown, which is hardly ever true: "
                   "check the outlines, and that the images show a whole brain and the right sequences.")


def _no_core(study: Study, measurements: Measurements) -> Iterator[Flag]:
    """Without T1ce the core is a guess anyway, and another flag says so."""
    whole, core = measurements.region_ml["WT"], measurements.region_ml["TC"]
    if "t1ce" in study.volumes and whole >= LEAST_TUMOUR_ML and core < LEAST_CORE_ML:
        yield Flag("no_core", "warning",
                   f"Oedema ({whole:.1f} ml) without a tumour core: either a core that does not enhance was missed, or this is another disease, such "
                   "as inflammation; look for a core in the images, and do not take TC and ET of 0 ml for proof of absence.")


def _islands(measurements: Measurements) -> Iterator[Flag]:
    islands = sum(lesion.ml >= ISLAND_ML for lesion in measurements.lesions)
    if islands > MOST_ISLANDS:
        yield Flag("scattered", "warning",
                   f"The tumour lies in {islands} separate islands, more than gliomas usually have: some may be other bright "
                   "spots or another disease; check each in the images.")


def _damaged(study: Study) -> Iterator[Flag]:
    """A series that was there and could not be read may be the one that matters: nobody must learn of it from a table alone."""
    for one in study.left_out:
        if one.damaged:
            yield Flag("damaged_series", "warning",
                       f"Not used because it is damaged: {one.nameless or one.what}: {one.why}.{' ' + one.fix if one.fix else ''}")


def _weak_sequences(card: ModelCard | None, study: Study) -> Iterator[Flag]:
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


def _doubtful(segmentation: Segmentation) -> Iterator[Flag]:
    made = segmentation.provenance
    for role in made.doubtful:
        yield Flag("doubtful_alignment", "warning",
                   f"{TITLES[role]} may not lie where the other sequences do ({made.alignment[role]}): look whether its outlines fit, "
                   "or align it yourself and use --registered.")


def _doubtful_brain(brain: StudyBrain | None, ml: float, card: ModelCard | None) -> Iterator[Flag]:
    """A wrong brain outline hides tumour, or shows the network scalp and eyes that it never learned. `ml`: of what counted as brain."""
    if brain is None:
        if ml > PLAUSIBLE_BRAIN_ML[1] and (card is None or card.brain_only):
            yield Flag("doubtful_brain", "warning",
                       f"The images were taken to show the brain alone, and what they show measures {ml:.0f} ml, more than adults' brains do "
                       f"({PLAUSIBLE_BRAIN_ML[0]} to {PLAUSIBLE_BRAIN_ML[1]} ml): if skull or scalp is among it, leave out --stripped, or give "
                       "brain-only images.")
        return
    apart = [TITLES[role] for role, dice in brain.agreement.items() if dice < LEAST_BRAIN_AGREEMENT]
    if not PLAUSIBLE_BRAIN_ML[0] <= ml <= PLAUSIBLE_BRAIN_ML[1]:
        yield Flag("doubtful_brain", "warning",
                   f"The brain that was found measures {ml:.0f} ml, and adults' brains {PLAUSIBLE_BRAIN_ML[0]} to {PLAUSIBLE_BRAIN_ML[1]} ml: "
                   "look at its outline, and if it is wrong, give brain-only images.")
    elif apart:
        yield Flag("doubtful_brain", "warning",
                   f"The brain looks different in {' and '.join(apart)} than in the other sequences: look at its outline and at how the "
                   "sequences lie on each other, and if one is wrong, give brain-only or registered images.")


def _outside(looks: Looks, tumour: np.ndarray) -> Iterator[Flag]:
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


def _contrast(looks: Looks, brain: np.ndarray) -> Iterator[Flag]:
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


def _coarse(study: Study) -> Iterator[Flag]:
    coarse = {role: max(volume.spacing_mm) for role, volume in study.volumes.items() if max(volume.spacing_mm) > COARSE_MM}
    if coarse:
        listed = ", ".join(f"{TITLES[role]} {mm:.1f} mm" for role, mm in coarse.items())
        yield Flag("coarse_slices", "info",
                   f"Slices are thick ({listed}), so thin parts of the tumour are averaged away and volumes are less certain; "
                   "use 3-D series if there are any.")


def _field_of_view(reference: Volume, brain: list[np.ndarray]) -> Iterator[Flag]:
    short = []
    for axis, grows in enumerate(reference.orientation):
        layers = np.flatnonzero(brain[axis])
        mm = (layers[-1] - layers[0] + 1) * reference.spacing_mm[axis] if len(layers) else 0.0
        direction = grows if grows in _SPANS else _OPPOSITE[grows]
        if mm < SMALLEST_BRAIN_MM[direction]:
            short.append(f"{mm:.0f} mm {_SPANS[direction]}")
    if short:
        yield Flag("small_field_of_view", "warning",
                   f"The image shows only a part of the brain ({', '.join(short)}), and tumour outside it is not found; "
                   "use a series that covers the whole brain.")


def _pieces(passes: int) -> Iterator[Flag]:
    if passes > 1:
        yield Flag("in_pieces", "warning",
                   f"Memory was short, so the network saw the brain in {passes} pieces, each without the rest to compare it with, which makes it "
                   "less accurate; close other programs and run it again, or use a machine with more memory.")


def _unsure(expected_dice: Mapping[str, float]) -> Iterator[Flag]:
    dice = expected_dice.get("WT", 1.0)
    if dice < LEAST_EXPECTED_DICE:
        yield Flag("unsure", "warning",
                   f"The network is not sure of this tumour: what it finds changes with the sequence that is withheld (expected Dice of the whole "
                   f"tumour {dice:.2f}); check its outline slice by slice, and look for what it may have missed.")


def _brain(reference: Volume, brain: StudyBrain | None) -> np.ndarray:
    return brain_only_mask(reference) if brain is None else brain.mask.voxels != 0
