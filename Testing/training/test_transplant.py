import numpy as np
import torch

from braintumorseg_training.data import load_cases
from braintumorseg_training.transplant import transplant


def test_a_lesion_arrives_with_its_labels_and_its_intensities(packed):
    donor = load_cases(packed, ["case1"])[0]
    channels = torch.zeros(4, 40, 44, 40)
    channels[:, 2:38, 2:42, 2:38] = 0.01
    empty = {1: np.zeros((0, 3), int), 2: np.zeros((0, 3), int), 3: np.zeros((0, 3), int)}
    image, labels, spots = transplant(channels, torch.zeros(40, 44, 40, dtype=torch.uint8), empty, donor, np.random.default_rng(3))
    assert labels.any()
    assert image[3][labels == 2].mean() > 0.5          # oedema is bright in the toy's FLAIR
    assert (image[:, labels == 0] == 0.01).float().mean() > 0.5
    assert not image[:, :2].any()                       # outside the brain nothing changes
    assert all((labels.numpy()[tuple(found.T)] == value).all() for value, found in spots.items() if len(found))


def test_a_brain_without_room_stays_as_it_was(packed):
    donor = load_cases(packed, ["case1"])[0]
    channels, labels = torch.ones(4, 3, 3, 3), torch.zeros(3, 3, 3, dtype=torch.uint8)
    image, same, _ = transplant(channels, labels, {}, donor, np.random.default_rng(0))
    assert torch.equal(image, channels)
    assert torch.equal(same, labels)
