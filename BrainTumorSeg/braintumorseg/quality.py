"""What to be careful about: flags that cost nothing to compute and are true when they are raised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from .background import brain_only_mask, sections
from .flag import SEVERITIES, Flag, warnings_first
from .looks import Looks
from .measure import Measurements, measure
from .model_card import ModelCard
from .segmentation import Segmentation
from .sequence_flags import (
    assumed_orientation,
    coarse,
    contrast,
    damaged,
    doubtful_alignment,
    exchanged_names,
    missing,
    outside,
    weak_sequences,
)
from .signs import doubts
from .skull_strip import StudyBrain
from .study import TITLES, Study
from .view_flags import edges, field_of_view
from .volume import Volume

__all__ = ["SEVERITIES", "Flag", "check", "warnings_first"]

# In experts' outlines every glioma has a core, of 0.8 ml at least (24 patients).
LEAST_TUMOUR_ML, LEAST_CORE_ML = 1.0, 0.1
LARGEST_TUMOUR_ML = 400.0
LARGEST_TUMOUR_SHARE = 0.4
# Experts' outlines have up to 4 islands of this size or more (24 patients); a network's noise has 10 and more.
ISLAND_ML = 0.05
MOST_ISLANDS = 10
PLAUSIBLE_BRAIN_ML = (800, 2000)  # with its fluid
LEAST_EXPECTED_DICE = 0.8         # of the whole tumour, over several looks
LEAST_BRAIN_AGREEMENT = 0.88      # Dice of one sequence's outline with that of all


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
    shown = _brain(reference, segmentation.brain)    # (I, J, K) bool
    layers = sections(shown)                         # (I,), (J,), (K,) voxels
    brain_ml = float(np.count_nonzero(shown)) * reference.voxel_ml
    looks = Looks(study, segmentation.moved)
    measurements = measurements or measure(segmentation)
    plausible = PLAUSIBLE_BRAIN_ML[0] <= brain_ml <= PLAUSIBLE_BRAIN_ML[1]
    exchanged = tuple(exchanged_names(looks, shown, segmentation.provenance.doubtful)) if plausible else ()
    flags = [
        *_empty(tumour),
        *exchanged,
        *edges(reference, sections(tumour), layers),
        *_size(reference, tumour, shown),
        *(() if exchanged else _no_core(study, measurements)),
        *_islands(measurements),
        *damaged(study),
        *weak_sequences(card, study),
        *missing(segmentation),
        *doubtful_alignment(segmentation),
        *_doubtful_brain(segmentation.brain, brain_ml, card),
        *outside(looks, tumour),
        *contrast(looks, shown),
        *coarse(study),
        *assumed_orientation(study),
        *field_of_view(reference, layers),
        *_pieces(segmentation.provenance.passes),
        *_unsure(segmentation.provenance.expected_dice),
        *(Flag(code, "warning", text) for code, text in doubts(segmentation.provenance.signs, segmentation.provenance.looks, card)),
    ]
    return warnings_first(flags)


def _empty(tumour: np.ndarray) -> Iterator[Flag]:
    if not tumour.any():
        yield Flag("empty_result", "warning",
                   "No tumour was found: the network knows adults' gliomas only and can miss small ones and other lesions, "
                   "so this is no proof of absence; look at the images.")


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
