import numpy as np
import pytest

from braintumorseg.brain import brain_only_mask, is_brain_only
from braintumorseg.volume import Volume


def head(background, shape=(60, 60, 60), radius=20, spacing=1.0):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    inside = ((index - np.array(shape) / 2) ** 2).sum(-1) < radius**2
    return Volume(np.where(inside, 500.0, background).astype(np.float32), np.diag([spacing, spacing, spacing, 1])), inside


@pytest.mark.parametrize("background", [0, -1000, 3.5])
def test_what_differs_from_the_corners_is_brain(background):
    volume, inside = head(background)
    assert np.array_equal(brain_only_mask(volume), inside)


def test_ripples_that_resampling_left_around_the_brain_are_background():
    volume, inside = head(0)
    ripples = np.where(inside, 500, np.random.default_rng(0).normal(0, 0.3, volume.shape))
    assert np.array_equal(brain_only_mask(volume.with_voxels(ripples.astype(np.float32))), inside)


def test_whole_numbers_of_a_dark_image_are_kept_down_to_one():
    volume, inside = head(0)
    dark = np.where(inside, np.random.default_rng(0).integers(1, 100, volume.shape), 0).astype(np.uint8)
    assert np.array_equal(brain_only_mask(volume.with_voxels(dark)), inside)


def test_noise_that_fills_the_image_and_a_head_of_three_litres_are_no_brain_that_was_cut_out():
    volume, inside = head(0)
    noise = np.where(inside, 500, np.random.default_rng(0).normal(20, 5, volume.shape))
    assert not is_brain_only(volume.with_voxels(noise))
    assert is_brain_only(head(0, spacing=3.0)[0])      # 900 ml
    assert not is_brain_only(head(0, spacing=4.5)[0])  # 3.0 l
