from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from braintumorseg_training.brain_view import Brain
from braintumorseg_training.cut import cut, cut_turned


def test_without_augmentation_a_patch_is_a_piece_of_the_volume(tiny):
    channels = torch.arange(4 * 32**3, dtype=torch.float32).reshape(4, 32, 32, 32)
    labels = (channels[0] % 4).to(torch.uint8)
    image, target = cut(Brain(channels.numpy(), labels.numpy()), np.array([16.0, 15, 17]), replace(tiny, spatial=0.0), np.random.default_rng(0))
    assert torch.equal(image, channels[:, 8:24, 7:23, 9:25])
    assert torch.equal(target, labels[8:24, 7:23, 9:25])


def test_what_lies_outside_the_volume_is_zero(tiny):
    brain = Brain(np.ones((4, 20, 20, 20), np.float16), np.ones((20, 20, 20), np.uint8))
    image, target = cut(brain, np.array([0.0, 10, 10]), replace(tiny, spatial=0.0), np.random.default_rng(0))
    assert not image[:, :8].any()
    assert image[:, 8:, 2:, 2:].all()
    assert not target[:8].any()


@pytest.mark.parametrize("seed", range(8))
def test_image_and_labels_are_turned_alike(tiny, seed):
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[14:24, 17:27, 12:25] = 3
    image, target = cut(Brain(labels[None] / np.float16(3), labels), np.array([19.0, 20, 20]), tiny, np.random.default_rng(seed))
    inside, outside = image[0][target == 3], image[0][target == 0]
    assert (inside >= 0.5 - 1e-4).float().mean() > 0.9
    assert outside.numel() == 0 or (outside <= 0.5 + 1e-4).float().mean() > 0.9


def places(shape) -> np.ndarray:
    """(3, *shape): each voxel says where it is."""
    return np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_a_turned_patch_is_the_brain_interpolated_at_turned_and_scaled_places(seed):
    shape, size, centre = (90, 100, 96), np.array([32, 40, 36]), np.array([45.0, 52.0, 47.5])
    chance = np.random.default_rng(100 + seed)
    channels = np.concatenate([places(shape), chance.normal(size=(1, *shape)).astype(np.float32)])
    labels = chance.integers(0, 4, shape).astype(np.uint8)
    image, target = cut_turned(Brain(channels, labels), centre, size, 1.0, 0.0, np.random.default_rng(seed))
    where = image[:3].double().numpy()
    offsets = places(size) - (size[:, None, None, None] - 1) / 2
    matrix = np.linalg.lstsq(offsets.reshape(3, -1).T, (where - centre[:, None, None, None]).reshape(3, -1).T, rcond=None)[0].T
    assert np.allclose(np.tensordot(matrix, offsets, 1) + centre[:, None, None, None], where, atol=1e-3)     # nothing bent, the centre in the middle
    scale = np.linalg.norm(matrix, axis=0)
    turn = matrix / scale
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-4)
    assert np.isclose(np.diag(turn), 1, rtol=0, atol=1e-7).sum() == 1                                        # about one axis
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) < 25
    assert 0.69 < scale.min() <= scale.max() < 1.44
    assert np.allclose(ndimage.map_coordinates(channels[3], where, order=1), image[3], atol=2e-3)
    assert (ndimage.map_coordinates(labels, where, order=0) == target.numpy()).mean() > 0.999


def test_what_a_patch_does_not_keep_is_not_read_and_the_rest_is_as_it_would_be():
    chance = np.random.default_rng(0)
    channels, labels = chance.normal(size=(4, 40, 40, 40)).astype(np.float32), chance.integers(0, 4, (40, 40, 40)).astype(np.uint8)
    for seed in range(4):
        image, target = cut_turned(Brain(channels, labels), np.full(3, 20.0), np.full(3, 16), 1.0, 1.0, np.random.default_rng(seed))
        unread = channels.copy()
        unread[[0, 2]] = np.nan
        some, same = cut_turned(Brain(unread, labels, sequences=[1, 3]), np.full(3, 20.0), np.full(3, 16), 1.0, 1.0, np.random.default_rng(seed))
        assert torch.equal(some, image[[1, 3]])
        assert torch.equal(same, target)


def test_elastic_bends_smoothly_by_about_what_was_asked_and_labels_with_the_image():
    channels = places((96, 104, 100))
    brain = Brain(channels, (channels[0] > 48).astype(np.uint8))
    size, centre, moved = np.array([48, 40, 44]), np.array([48.0, 52.0, 50.0]), []
    for seed in range(12):
        straight, _ = cut_turned(brain, centre, size, 1.0, 0.0, np.random.default_rng(seed))
        bent, labels = cut_turned(brain, centre, size, 1.0, 2.0, np.random.default_rng(seed))
        moved.append(bent - straight)
        assert moved[-1].abs().max() < 2 * 2.0 + 0.5
        assert (labels.bool() == (bent[0] > 48.5)).float().mean() > 0.97   # nearest voxel against interpolation: half a voxel apart
        steps = torch.stack([bent[:, 1:, 1:, 1:] - other for other in (bent[:, :-1, 1:, 1:], bent[:, 1:, :-1, 1:], bent[:, 1:, 1:, :-1])])
        assert torch.linalg.det(steps.permute(2, 3, 4, 0, 1)).min() > 0    # nothing is folded over
    assert 1.0 < float(torch.stack(moved).std()) < 2.5
