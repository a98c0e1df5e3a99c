from dataclasses import replace

import numpy as np
import torch

from braintumorseg.labels import ED, ET, NCR
from braintumorseg.study import Study
from braintumorseg_training.config import Config
from braintumorseg_training.data import Patches, load_cases, pack_case
from braintumorseg_training.export import draft_card
from braintumorseg_training.uptake import without_uptake
from toys import make_toy_study

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


def test_a_case_without_t1_gets_no_t1ce_made_of_a_donors(packed, tmp_path):
    study = make_toy_study((40, 40, 40))
    lesion = study.reference.with_voxels(np.pad(np.full((8, 8, 8), ET, np.uint8), 16))
    pack_case("two", "other", Study({role: study.volumes[role] for role in ("t1ce", "flair")}), lesion, draft_card(size_multiple=4), tmp_path)
    pair = [*load_cases(tmp_path), *load_cases(packed, ["case0"])]
    config = Config(channels=(8, 8), patch=(32, 32, 32), tumour_share=1.0, transplant=1.0, all_sequences_share=1.0)
    hardly, always = (Patches(pair, replace(config, no_uptake=share), 0, 16) for share in (1e-9, 1.0))    # the share is drawn for in both
    seen = set()
    for number in range(16):
        told = []
        image, target = always.look(number, lambda what, role="", told=told: told.append(what))
        same = all(torch.equal(one, other) for one, other in zip((image, target), hardly.look(number), strict=True))
        seen |= {(told[0], "lesion of case0" in told, same)}
    assert ("two", True, True) in seen
    assert {same for case, _, same in seen if case == "two"} == {True}
    assert False in {same for case, _, same in seen if case == "case0"}
