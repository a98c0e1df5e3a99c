from dataclasses import replace

import numpy as np
import pytest
import torch

from braintumorseg_training.augment import _blur, _coarsen, _cut_turned, augment, cut
from braintumorseg_training.brain_view import Brain


def straight(config):
    return replace(config, spatial=0.0, intensity=0.0, low_resolution=0.0, all_sequences_share=1.0)


def test_without_augmentation_a_patch_is_a_piece_of_the_volume(tiny):
    channels = torch.arange(4 * 32**3, dtype=torch.float32).reshape(4, 32, 32, 32)
    labels = (channels[0] % 4).to(torch.uint8)
    image, target = cut(Brain(channels.numpy(), labels.numpy()), np.array([16.0, 15, 17]), straight(tiny), np.random.default_rng(0))
    assert torch.equal(image, channels[:, 8:24, 7:23, 9:25])
    assert torch.equal(target, labels[8:24, 7:23, 9:25])


def test_what_lies_outside_the_volume_is_zero(tiny):
    brain = Brain(np.ones((4, 20, 20, 20), np.float16), np.ones((20, 20, 20), np.uint8))
    image, target = cut(brain, np.array([0.0, 10, 10]), straight(tiny), np.random.default_rng(0))
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


def test_thick_slices_keep_the_mean_and_even_out_along_their_axis_alone():
    x = torch.zeros(12, 12, 12)
    x[6] = 1.0
    assert torch.allclose(_coarsen(x, 1, 3.0), x, atol=1e-6)          # nothing to even out
    thick = _coarsen(x, 0, 3.0)
    assert thick.max() < 0.5
    assert thick.sum() == pytest.approx(144, rel=0.05)
    assert torch.equal(thick[:, 0, 0], thick[:, 5, 7])


def test_a_blurred_constant_stays_constant_inside_and_an_impulse_keeps_its_sum():
    x = torch.zeros(16, 16, 16)
    x[8, 8, 8] = 1
    blurred = _blur(x, 1.0)
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    assert blurred[8, 8, 8] == pytest.approx(0.399**3, rel=0.05)
    assert torch.allclose(_blur(torch.ones(16, 16, 16), 1.0)[4:12, 4:12, 4:12], torch.ones(8, 8, 8), atol=1e-4)


def test_thick_slices_are_switched_on_and_off_apart_from_the_other_intensities(tiny):
    def told(**fields):
        said = set()
        for seed in range(40):
            augment(torch.rand(4, 16, 16, 16) + 1, replace(tiny, all_sequences_share=1.0, **fields), np.random.default_rng(seed),
                    lambda what, role="": said.add(what.split(" of ")[0]))
        return said

    assert told(intensity=0.0, low_resolution=1.0) == {"slices"}
    assert told(intensity=1.0, low_resolution=0.0) == {"uneven coil", "blurred", "gamma", "contrast and brightness", "noise"}
    assert told(intensity=0.0, low_resolution=0.0) == set()


def test_the_background_stays_exactly_zero(tiny):
    image = torch.randn(4, 16, 16, 16)
    image[:, :5] = 0
    for seed in range(20):
        out = augment(image.clone(), replace(tiny, intensity=1.5), np.random.default_rng(seed))
        assert not out[:, :5].any()
        assert torch.isfinite(out).all()


def test_sequences_are_dropped_but_never_all_of_them(tiny):
    config = replace(tiny, intensity=0.0, low_resolution=0.0, all_sequences_share=0.0)
    kept = [int((augment(torch.ones(4, 2, 2, 2), config, np.random.default_rng(seed)).sum((1, 2, 3)) > 0).sum()) for seed in range(200)]
    assert set(kept) == {1, 2, 3}
    always = replace(config, all_sequences_share=1.0)
    assert augment(torch.ones(4, 2, 2, 2), always, np.random.default_rng(0)).all()


def test_elastic_bends_smoothly_by_about_what_was_asked_and_labels_with_the_image():
    places = np.stack(np.meshgrid(*(np.arange(n) for n in (96, 104, 100)), indexing="ij")).astype(np.float16)   # each voxel says where it was
    brain = Brain(places, (places[0] > 48).astype(np.uint8))
    size, centre, moved = np.array([48, 40, 44]), np.array([48.0, 52.0, 50.0]), []
    for seed in range(12):
        straight, _ = _cut_turned(brain, centre, size, 1.0, 0.0, np.random.default_rng(seed))
        bent, labels = _cut_turned(brain, centre, size, 1.0, 2.0, np.random.default_rng(seed))
        moved.append(bent - straight)
        assert moved[-1].abs().max() < 2 * 2.0 + 0.5
        assert (labels.bool() == (bent[0] > 48.5)).float().mean() > 0.97   # nearest voxel against interpolation: half a voxel apart
        steps = torch.stack([bent[:, 1:, 1:, 1:] - other for other in (bent[:, :-1, 1:, 1:], bent[:, 1:, :-1, 1:], bent[:, 1:, 1:, :-1])])
        assert torch.linalg.det(steps.permute(2, 3, 4, 0, 1)).min() > 0    # nothing is folded over
    assert 1.0 < float(torch.stack(moved).std()) < 2.5


def test_with_hardly_any_strength_an_image_stays_as_it_is_below_and_above_zero_and_zero_outside(tiny):
    image = torch.randn(4, 20, 20, 20, generator=torch.Generator().manual_seed(1))
    image[:, :, :, 10:] = 0
    for seed in range(5):
        changed = augment(image.clone(), replace(straight(tiny), intensity=1e-4), np.random.default_rng(seed))
        assert (changed[:, :, :, 10:] == 0).all()
        assert (changed - image)[:, :, :, :7].abs().median() < 0.01   # the median, for what is blurred changes
