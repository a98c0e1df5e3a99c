from dataclasses import replace

import pytest
import torch

from braintumorseg_training.schedule import build_optimiser, learning_rate, set_rate


@pytest.fixture
def hundred(tiny):
    return replace(tiny, steps=100, warm_up=10, decay_share=0.2, learning_rate=1.0)


def test_the_rate_grows_holds_and_falls_to_nothing(hundred):
    rates = [learning_rate(hundred, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[50] == 1.0
    assert rates[90] == pytest.approx(0.5)
    assert rates[100] == 0.0


def test_the_poly_schedule_is_that_of_nnunet(hundred):
    config = replace(hundred, schedule="poly", warm_up=0)
    for step in (0, 30, 99):
        assert learning_rate(config, step) == pytest.approx((1 - step / 100) ** 0.9)


def test_the_cosine_schedule_is_torchs_own(hundred):
    config = replace(hundred, schedule="cosine", warm_up=0)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 100)
    for step in range(100):
        assert learning_rate(config, step) == pytest.approx(oracle.get_last_lr()[0], abs=1e-9)
        optimiser.step()
        oracle.step()


def test_the_optimiser_is_the_one_that_is_named(tiny):
    network = torch.nn.Linear(2, 2)
    sgd = build_optimiser(replace(tiny, optimiser="sgd"), network)
    assert (type(sgd), sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (torch.optim.SGD, 0.99, True)
    assert type(build_optimiser(tiny, network)) is torch.optim.AdamW
    set_rate(sgd, 0.5)
    assert sgd.param_groups[0]["lr"] == 0.5
