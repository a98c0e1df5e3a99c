"""Overlap and surface metrics against numbers counted by hand, surface-distance (DeepMind) and MONAI."""

import math

import numpy as np
import pytest
import surface_distance
import torch
from monai.metrics import compute_hausdorff_distance, compute_iou, compute_surface_dice, get_confusion_matrix
from scipy import ndimage

from braintumorseg import metrics

SPACINGS = [(1.0, 1.0, 1.0), (0.9, 0.9, 3.0), (0.5, 1.2, 5.0)]


def cube(*corner, side=2, shape=(8, 8, 8)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(c, c + side) for c in corner)] = True
    return mask


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two unlike, overlapping random masks with several pieces, some of which touch the edge of the image."""
    random = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(random.normal(size=(30, 26, 22)), 3)
    other = ndimage.gaussian_filter(random.normal(size=(30, 26, 22)), 2)
    return field > field.std(), field / field.std() + 0.5 * other / other.std() > 1.1


def as_torch(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None].float()


def test_overlaps_of_two_cubes_that_share_half_are_as_counted():
    truth, found = cube(1, 1, 1), cube(2, 1, 1)  # 8 voxels each, 4 shared
    assert metrics.dice(truth, found) == 0.5
    assert metrics.iou(truth, found) == pytest.approx(4 / 12)
    small = cube(1, 1, 1, side=1)
    assert (metrics.precision(truth, small), metrics.recall(truth, small)) == (1.0, 1 / 8)
    assert (metrics.precision(small, truth), metrics.recall(small, truth)) == (1 / 8, 1.0)


def test_volume_error_is_found_minus_truth_in_ml():
    truth, found = cube(1, 1, 1), cube(1, 1, 1, side=3)
    assert metrics.volume_error_ml(truth, found, voxel_ml=0.006) == pytest.approx(19 * 0.006)
    assert metrics.volume_error_ml(found, truth, voxel_ml=0.006) == pytest.approx(-19 * 0.006)


def test_both_empty_is_perfect_and_one_empty_is_nothing():
    none, some = np.zeros((8, 8, 8), bool), cube(1, 1, 1)
    one = (1, 1, 1)
    for overlap in (metrics.dice, metrics.iou, metrics.precision, metrics.recall):
        assert overlap(none, none) == 1.0
        assert overlap(some, none) == overlap(none, some) == 0.0
    assert (metrics.hd95(none, none, one), metrics.nsd(none, none, one)) == (0.0, 1.0)
    assert metrics.hd95(some, none, one) == metrics.hd95(none, some, one) == math.inf
    assert metrics.nsd(some, none, one) == metrics.nsd(none, some, one) == 0.0
    assert metrics.volume_error_ml(none, none, 0.001) == 0.0


def test_identical_masks_have_no_distance():
    mask, _ = blobs(0)
    assert metrics.hd95(mask, mask, (1, 1, 3)) == 0.0
    assert metrics.nsd(mask, mask, (1, 1, 3)) == 1.0


def test_distance_counts_the_spacing_of_the_axis_moved_along():
    truth = cube(1, 1, 1)
    assert metrics.hd95(truth, cube(1, 1, 4), (1, 1, 5)) == pytest.approx(15.0)
    assert metrics.hd95(truth, cube(4, 1, 1), (1, 1, 5)) == pytest.approx(3.0)


def test_a_surface_exactly_at_the_tolerance_is_near():
    truth, found = cube(1, 1, 1), cube(1, 1, 2)
    assert metrics.nsd(truth, found, (0.1, 0.1, 0.1), tolerance_mm=0.1) == 1.0
    assert metrics.nsd(truth, found, (0.1, 0.1, 0.1), tolerance_mm=0.09) < 1.0


def test_the_surface_of_a_box_has_the_area_of_its_chamfered_shape():
    # Three voxels along each axis: the surface through the middles between voxels is a cube of edge 3 whose edges (12, each
    # 2 long) and corners (8) are cut off by half a voxel: 6 faces of 2x2, 12 strips of 2 x sqrt(1/2), 8 triangles of sqrt(3)/8.
    distances = metrics.surface_distances(cube(2, 2, 2, side=3), cube(2, 2, 2, side=3), (1, 1, 1))
    assert distances.truth_mm2.sum() == pytest.approx(6 * 4 + 12 * 2 * math.sqrt(0.5) + 8 * math.sqrt(3) / 8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", SPACINGS)
def test_surface_metrics_agree_with_surface_distance(seed, spacing):
    truth, found = blobs(seed)
    theirs = surface_distance.compute_surface_distances(truth, found, spacing)
    # Areas are the same on cubic voxels; on others a bent surface element may be cut into other triangles.
    cubic = len(set(spacing)) == 1
    ours = metrics.surface_distances(truth, found, spacing)
    assert ours.truth_mm2.sum() == pytest.approx(theirs["surfel_areas_gt"].sum(), rel=1e-12 if cubic else 0.02)
    np.testing.assert_allclose(np.sort(ours.truth_mm), theirs["distances_gt_to_pred"], atol=1e-6)
    np.testing.assert_allclose(np.sort(ours.found_mm), theirs["distances_pred_to_gt"], atol=1e-6)
    assert ours.hd95_mm == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, 95), abs=1e-6 if cubic else 0.3)
    for tolerance in (0.7, 1.0, 2.0):
        expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert ours.nsd(tolerance) == pytest.approx(expected, abs=1e-9 if cubic else 0.005)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", SPACINGS)
def test_overlaps_and_distances_agree_with_monai(seed, spacing):
    truth, found = blobs(seed)
    true, pred = as_torch(truth), as_torch(found)
    hits, false, _, missed = get_confusion_matrix(pred, true)[0, 0].tolist()
    assert metrics.dice(truth, found) == pytest.approx(2 * hits / (2 * hits + false + missed))
    assert metrics.precision(truth, found) == pytest.approx(hits / (hits + false))
    assert metrics.recall(truth, found) == pytest.approx(hits / (hits + missed))
    assert metrics.iou(truth, found) == pytest.approx(compute_iou(pred, true).item())
    surface_dice = compute_surface_dice(pred, true, [1.0], include_background=True, spacing=spacing, use_subvoxels=True).item()
    assert metrics.nsd(truth, found, spacing) == pytest.approx(surface_dice, abs=0.005)
    # MONAI measures between the outermost voxels and counts each once: less than a voxel's diagonal away from ours.
    distance = compute_hausdorff_distance(pred, true, include_background=True, percentile=95, spacing=spacing).item()
    assert metrics.hd95(truth, found, spacing) == pytest.approx(distance, abs=float(np.linalg.norm(spacing)))
