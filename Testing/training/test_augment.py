from dataclasses import replace

import numpy as np
import pytest
import torch

from braintumorseg.study import ROLES
from braintumorseg_training.augment import _gamma, augment, drawn_sequences


def test_thick_slices_are_switched_on_and_off_apart_from_the_other_intensities(tiny):
    def told(**fields):
        said = set()
        for seed in range(40):
            augment(torch.rand(4, 16, 16, 16) + 1, ROLES, replace(tiny, **fields), np.random.default_rng(seed),
                    lambda what, role="": said.add(what.split(" of ")[0]))
        return said

    assert told(intensity=0.0, low_resolution=1.0) == {"slices"}
    assert told(intensity=1.0, low_resolution=0.0) == {"uneven coil", "blurred", "gamma", "contrast and brightness", "noise"}
    assert told(intensity=0.0, low_resolution=0.0) == set()
    assert "uneven coil" not in told(uneven=0.0)


@pytest.mark.parametrize("uneven", (1.0, 2.0))
def test_uneven_coils_come_as_often_as_they_are_asked_for(tiny, uneven):
    said = []
    for seed in range(150):
        augment(torch.ones(4, 4, 4, 4), ROLES, replace(tiny, uneven=uneven), np.random.default_rng(seed),
                lambda what, role="": said.append(role if what == "uneven coil" else None))
    in_all, in_one = said.count("") / 150, sum(said.count(role) for role in ROLES) / 600
    assert np.allclose([in_all, in_one], [0.3 * uneven, 0.25 * uneven], atol=0.09)


def test_the_background_stays_exactly_zero(tiny):
    image = torch.randn(4, 16, 16, 16)
    image[:, :5] = 0
    for seed in range(20):
        out = augment(image.clone(), ROLES, replace(tiny, intensity=1.5), np.random.default_rng(seed))
        assert not out[:, :5].any()
        assert torch.isfinite(out).all()


def test_sequences_are_dropped_but_never_all_of_them_and_one_as_often_as_three():
    drawn = [drawn_sequences(range(4), 0.0, np.random.default_rng(seed)) for seed in range(600)]
    assert all(kept == sorted(set(kept)) for kept in drawn)
    counts = np.bincount([len(kept) for kept in drawn], minlength=5)
    assert counts[0] == counts[4] == 0
    assert counts[1:4].min() > 150
    assert np.bincount(np.concatenate(drawn), minlength=4).min() > 250         # each sequence, half of the time
    assert drawn_sequences(range(4), 1.0, np.random.default_rng(0)) == [0, 1, 2, 3]
    assert {tuple(drawn_sequences((1, 3), 0.0, np.random.default_rng(seed))) for seed in range(20)} == {(1,), (3,)}
    assert drawn_sequences((2,), 0.0, np.random.default_rng(0)) == [2]


def test_with_hardly_any_strength_an_image_stays_as_it_is_below_and_above_zero_and_zero_outside(tiny):
    image = torch.randn(4, 20, 20, 20, generator=torch.Generator().manual_seed(1))
    image[:, :, :, 10:] = 0
    for seed in range(5):
        changed = augment(image.clone(), ROLES, replace(tiny, intensity=1e-4, low_resolution=0.0), np.random.default_rng(seed))
        assert (changed[:, :, :, 10:] == 0).all()
        assert (changed - image)[:, :, :, :7].abs().median() < 0.01   # the median, for what is blurred changes


def test_gamma_is_a_power_of_the_range_that_keeps_mean_and_spread():
    x = torch.randn(20, 24, 16, generator=torch.Generator().manual_seed(0)) + 0.5
    for gamma, inverted in ((0.6, False), (1.5, True)):
        changed = _gamma(x.clone(), gamma, inverted)
        turned = -x if inverted else x
        power = ((turned - turned.min()) / (turned.max() - turned.min())) ** gamma * (-1 if inverted else 1)
        assert np.corrcoef(power.ravel(), changed.ravel())[0, 1] == pytest.approx(1, abs=1e-5)
        assert changed.mean() == pytest.approx(float(x.mean()), abs=1e-3)
        assert changed.std() == pytest.approx(float(x.std()), rel=1e-3)
    assert torch.equal(_gamma(torch.zeros(3, 3, 3), 0.7, False), torch.zeros(3, 3, 3))     # a sequence that a case lacks
