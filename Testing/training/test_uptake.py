import numpy as np
import torch

from braintumorseg.labels import ED, ET, NCR
from braintumorseg_training.config import Config
from braintumorseg_training.data import Patches, load_cases
from braintumorseg_training.uptake import without_uptake

T1, T1CE = 0, 1


def patch():
    """A brain whose T1ce is 0.5 + 2 T1 but where tumour enhances; labels: a rim of ET around NCR, in ED."""
    t1 = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (48, 48, 48)).astype(np.float32))
    image = torch.stack([t1, 0.5 + 2 * t1, t1, t1])
    target = torch.zeros(48, 48, 48, dtype=torch.uint8)
    target[14:30, 14:30, 14:30], target[18:26, 18:26, 18:26], target[20:24, 20:24, 20:24] = ED, ET, NCR
    image[T1CE][target == ET] += 6
    image[:, :4] = 0
    return image, target


def test_the_lesions_t1ce_becomes_what_t1_is_elsewhere_and_the_core_stays_core():
    image, target = patch()
    changed, labels = without_uptake(image, target)
    assert torch.allclose(changed[T1CE][4:], 0.5 + 2 * image[T1][4:], atol=1e-3)
    assert torch.equal(changed[[0, 2, 3]], image[[0, 2, 3]])
    assert not changed[:, :4].any()
    assert not (labels == ET).any()
    assert torch.equal(labels > 0, target > 0)
    assert torch.equal((labels == NCR), (target == NCR) | (target == ET))
    assert image[T1CE][target == ET].mean() > 5        # the patch that was given is as it was


def test_far_from_the_tumour_nothing_changes_so_vessels_stay_bright():
    image, target = patch()
    image[T1CE, 40, 40, 5] = 9
    changed, _ = without_uptake(image, target)
    assert changed[T1CE, 40, 40, 5] == 9


def test_where_nothing_enhances_or_t1_is_missing_there_is_nothing_to_do():
    image, target = patch()
    assert without_uptake(image, torch.where(target == ET, NCR, target)) is None
    image[T1] = 0
    assert without_uptake(image, target) is None


def test_the_share_of_patches_is_the_configurations(packed):
    config = Config(channels=(8, 8), patch=(32, 32, 32), tumour_share=1.0, transplant=0.0, no_uptake=1.0, all_sequences_share=1.0)
    told = []
    for number in range(6):
        _, target = Patches(load_cases(packed, ["case0", "case1"]), config, number, 1).look(0, lambda what, role="": told.append(what))
        assert not (target == ET).any()
    assert "no contrast taken up" in told
