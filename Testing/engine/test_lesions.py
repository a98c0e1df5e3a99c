"""BraTS 2023 lesion-wise scores on lesions counted by hand, and against the definition spelled out with other libraries."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
import surface_distance
from scipy import ndimage

from braintumorseg.lesions import PENALTY_MM, LesionScores, lesion_wise

SHAPE = (40, 24, 24)
CUBIC = (1.0, 1.0, 1.0)


def boxes(*places: tuple[tuple[int, int, int], tuple[int, int, int]]) -> np.ndarray:
    """A mask of boxes, each (first voxel, size)."""
    mask = np.zeros(SHAPE, bool)
    for first, size in places:
        mask[tuple(slice(f, f + s) for f, s in zip(first, size, strict=True))] = True
    return mask


BIG = ((2, 2, 2), (4, 4, 4))       # 64 voxels
FAR = ((30, 15, 15), (4, 4, 4))    # 64 voxels, far from BIG
NOTHING = boxes()


def test_a_lesion_found_exactly_scores_one_and_zero():
    both = boxes(BIG, FAR)
    assert lesion_wise(both, both, CUBIC) == LesionScores(1.0, 0.0, truth=2, found=2, matched=2, false_found=0)


def test_nothing_to_find_and_nothing_found_is_perfect():
    scores = lesion_wise(NOTHING, NOTHING, CUBIC)
    assert (scores.dice, scores.hd95_mm, scores.f1, scores.truth) == (1.0, 0.0, 1.0, 0)


def test_a_missed_lesion_scores_zero_and_the_penalty():
    scores = lesion_wise(boxes(BIG, FAR), boxes(BIG), CUBIC)
    assert (scores.dice, scores.hd95_mm) == (0.5, PENALTY_MM / 2)
    assert (scores.truth, scores.matched, scores.missed, scores.false_found, scores.f1) == (2, 1, 1, 0, pytest.approx(2 / 3))


def test_a_false_lesion_scores_zero_and_the_penalty_even_when_it_is_one_voxel():
    scores = lesion_wise(boxes(BIG), boxes(BIG, ((30, 15, 15), (1, 1, 1))), CUBIC)
    assert (scores.dice, scores.hd95_mm, scores.false_found, scores.missed) == (0.5, PENALTY_MM / 2, 1, 0)
    assert lesion_wise(NOTHING, boxes(BIG), CUBIC) == LesionScores(0.0, PENALTY_MM, 0, 1, 0, 1)


def test_pieces_of_truth_within_reach_of_the_dilation_are_one_lesion():
    # Each side grows by 3 voxels, so six empty voxels between the pieces still join them and seven do not.
    near = boxes(((2, 8, 8), (4, 4, 4)), ((12, 8, 8), (4, 4, 4)))
    apart = boxes(((2, 8, 8), (4, 4, 4)), ((13, 8, 8), (4, 4, 4)))
    assert lesion_wise(near, near, CUBIC).truth == 1
    assert lesion_wise(apart, apart, CUBIC).truth == 2
    assert lesion_wise(near, near, CUBIC).found == 2  # what was found is not dilated


def test_half_of_a_joined_lesion_found_is_one_match_with_the_dice_of_both_pieces():
    first, second = ((2, 8, 8), (4, 4, 4)), ((12, 8, 8), (4, 4, 4))
    scores = lesion_wise(boxes(first, second), boxes(first), CUBIC)
    assert (scores.truth, scores.matched) == (1, 1)
    assert scores.dice == pytest.approx(2 * 64 / (128 + 64))


def test_found_voxels_that_touch_only_at_a_corner_are_one_lesion():
    found = boxes(((2, 2, 2), (1, 1, 1)), ((3, 3, 3), (1, 1, 1)))
    assert lesion_wise(NOTHING, found, CUBIC).found == 1


def test_a_truth_lesion_of_fifty_voxels_does_not_count_and_one_of_51_does():
    fifty = ((30, 15, 15), (5, 5, 2))
    ignored = lesion_wise(boxes(BIG, fifty), boxes(BIG), CUBIC)
    assert (ignored.truth, ignored.dice) == (1, 1.0)
    counted = lesion_wise(boxes(BIG, fifty, ((35, 15, 15), (1, 1, 1))), boxes(BIG), CUBIC)
    assert (counted.truth, counted.dice) == (2, 0.5)


def test_what_is_found_on_an_ignored_lesion_is_not_false():
    scores = lesion_wise(boxes(BIG, ((30, 15, 15), (2, 2, 2))), boxes(BIG, ((30, 15, 15), (2, 2, 2))), CUBIC)
    assert (scores.dice, scores.truth, scores.found, scores.matched, scores.false_found) == (1.0, 1, 2, 1, 0)


def test_only_ignored_lesions_and_nothing_false_is_perfect():
    scores = lesion_wise(boxes(((30, 15, 15), (2, 2, 2))), NOTHING, CUBIC)
    assert (scores.dice, scores.hd95_mm, scores.truth, scores.f1) == (1.0, 0.0, 0, 1.0)


def test_the_ignored_size_is_in_cubic_millimetres():
    seven_voxels = boxes(((2, 2, 2), (7, 1, 1)))
    assert lesion_wise(seven_voxels, NOTHING, (2.0, 2.0, 2.0)).truth == 1  # 56 mm³
    assert lesion_wise(seven_voxels, NOTHING, CUBIC).truth == 0


def test_a_found_lesion_beside_the_truth_is_matched_without_overlap():
    scores = lesion_wise(boxes(((2, 8, 8), (4, 4, 4))), boxes(((8, 8, 8), (4, 4, 4))), CUBIC)  # two empty voxels between
    assert (scores.matched, scores.false_found, scores.dice, scores.hd95_mm) == (1, 0, 0.0, 6.0)


def test_one_found_lesion_over_two_true_ones_belongs_to_both():
    scores = lesion_wise(boxes(BIG, ((20, 2, 2), (4, 4, 4))), boxes(((2, 2, 2), (22, 4, 4))), CUBIC)
    assert (scores.truth, scores.matched, scores.found, scores.false_found) == (2, 2, 1, 0)
    assert scores.dice == pytest.approx(2 * 64 / (64 + 22 * 16))


@pytest.mark.parametrize("seed", [1, 2, 6])
def test_random_masks_agree_with_the_definition_spelled_out(seed):
    random = np.random.default_rng(seed)
    field, other = (ndimage.gaussian_filter(random.normal(size=(64, 60, 48)), 2) for _ in range(2))
    truth = field > 2.6 * field.std()
    found = field / field.std() + 0.8 * other / other.std() > 3.4
    scores = lesion_wise(truth, found, CUBIC)
    dice, distance, matched, missed, false = spelled_out(truth, found)
    assert min(matched, missed, false) > 0, "the example should have lesions of every kind"
    assert (scores.matched, scores.missed, scores.false_found) == (matched, missed, false)
    assert scores.dice == pytest.approx(dice)
    assert scores.hd95_mm == pytest.approx(distance)


def spelled_out(truth: np.ndarray, found: np.ndarray) -> tuple[float, float, int, int, int]:
    """The definition lesion by lesion on 1 mm voxels: components by SimpleITK, distances by surface-distance."""
    def components(mask):
        return sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))

    def dilated(mask):
        for _ in range(3):
            mask = np.pad(mask, 1)
            # A voxel and its 18 neighbours: all steps of at most one voxel along at most two axes.
            steps = [s for s in np.ndindex(3, 3, 3) if np.count_nonzero(np.array(s) - 1) <= 2]
            mask = np.any([np.roll(mask, np.array(s) - 1, (0, 1, 2)) for s in steps], axis=0)[1:-1, 1:-1, 1:-1]
        return mask

    zones, pieces = components(dilated(truth)), components(found)
    met, dices, distances, matched = set(), [], [], 0
    for zone in range(1, zones.max() + 1):
        lesion = truth & (zones == zone)
        partners = set(np.unique(pieces[dilated(lesion)])) - {0}
        met |= partners
        if lesion.sum() <= 50:
            continue
        matched += bool(partners)
        partner = np.isin(pieces, list(partners))
        between = surface_distance.compute_surface_distances(lesion, partner, CUBIC) if partners else None
        dices.append(surface_distance.compute_dice_coefficient(lesion, partner))
        distances.append(surface_distance.compute_robust_hausdorff(between, 95) if partners else 374)
    false = pieces.max() - len(met)
    count = len(dices) + false
    return sum(dices) / count, (sum(distances) + 374 * false) / count, matched, len(dices) - matched, false


def test_the_penalty_is_the_diagonal_of_a_brats_volume():
    assert math.ceil(math.hypot(240, 240, 155)) == PENALTY_MM
