from dataclasses import replace

import numpy as np
import pytest
import torch

from braintumorseg_training.augment import augment, cut


def straight(config):
    return replace(config, spatial=0.0, intensity=0.0, all_sequences_share=1.0)


def test_without_augmentation_a_patch_is_a_piece_of_the_volume(tiny):
    channels = torch.arange(4 * 32**3, dtype=torch.float32).reshape(4, 32, 32, 32)
    labels = (channels[0] % 4).to(torch.uint8)
    image, target = cut(channels, labels, np.array([16.0, 15, 17]), straight(tiny), np.random.default_rng(0))
    assert torch.equal(image, channels[:, 8:24, 7:23, 9:25])
    assert torch.equal(target, labels[8:24, 7:23, 9:25])


def test_what_lies_outside_the_volume_is_zero(tiny):
    channels, labels = torch.ones(4, 20, 20, 20), torch.ones(20, 20, 20, dtype=torch.uint8)
    image, target = cut(channels, labels, np.array([0.0, 10, 10]), straight(tiny), np.random.default_rng(0))
    assert not image[:, :8].any()
    assert image[:, 8:, 2:, 2:].all()
    assert not target[:8].any()


@pytest.mark.parametrize("seed", range(8))
def test_image_and_labels_are_turned_alike(tiny, seed):
    labels = torch.zeros(40, 40, 40, dtype=torch.uint8)
    labels[14:24, 17:27, 12:25] = 3
    image, target = cut(labels.float()[None] / 3, labels, np.array([19.0, 20, 20]), tiny, np.random.default_rng(seed))
    inside, outside = image[0][target == 3], image[0][target == 0]
    assert (inside >= 0.5 - 1e-4).float().mean() > 0.9
    assert outside.numel() == 0 or (outside <= 0.5 + 1e-4).float().mean() > 0.9


def test_the_background_stays_exactly_zero(tiny):
    image = torch.randn(4, 16, 16, 16)
    image[:, :5] = 0
    for seed in range(20):
        out = augment(image.clone(), replace(tiny, intensity=1.5), np.random.default_rng(seed))
        assert not out[:, :5].any()
        assert torch.isfinite(out).all()


def test_sequences_are_dropped_but_never_all_of_them(tiny):
    config = replace(tiny, intensity=0.0, all_sequences_share=0.0)
    kept = [int((augment(torch.ones(4, 2, 2, 2), config, np.random.default_rng(seed)).sum((1, 2, 3)) > 0).sum()) for seed in range(200)]
    assert set(kept) == {1, 2, 3}
    always = replace(config, all_sequences_share=1.0)
    assert augment(torch.ones(4, 2, 2, 2), always, np.random.default_rng(0)).all()
