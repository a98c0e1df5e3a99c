import pytest
import torch

from braintumorseg_training.losses import RegionLoss, region_targets


def test_targets_are_the_nested_regions():
    targets = region_targets(torch.tensor([[[[0, 1, 2, 3]]]], dtype=torch.uint8))
    assert targets[0, :, 0, 0].tolist() == [[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]]


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_a_lot():
    labels = torch.zeros(1, 16, 16, 16, dtype=torch.uint8)
    labels[0, 4:12, 4:12, 4:12] = 3
    right = (region_targets(labels) * 2 - 1) * 30
    loss = RegionLoss(0.0)
    assert loss(right, labels).item() == pytest.approx(0, abs=0.01)
    assert loss(-right, labels).item() > 10


def test_the_side_output_counts_with_its_weight():
    labels = torch.zeros(1, 16, 16, 16, dtype=torch.uint8)
    labels[0, :8] = 2
    logits, side = torch.zeros(1, 3, 16, 16, 16), torch.zeros(1, 3, 4, 4, 4)
    alone = RegionLoss(0.0)((logits, side), labels)
    assert RegionLoss(0.5)((logits, side), labels) > alone
