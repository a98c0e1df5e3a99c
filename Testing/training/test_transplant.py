import numpy as np
import pytest

from braintumorseg_training.brain_view import Brain
from braintumorseg_training.data import load_cases
from braintumorseg_training.transplant import fade, heal, mirror_of, transplant

WHOLE = (0.4, 1.0)


def of(case) -> Brain:
    return Brain(case.channels, case.labels)


def everything(brain: Brain):
    image, labels = brain.box(np.zeros(3, int), np.array(brain.shape))
    return image.numpy(), labels.numpy()


def test_a_lesion_arrives_with_its_labels_and_its_intensities(packed):
    channels = np.zeros((4, 40, 44, 40), np.float16)
    channels[:, 2:38, 2:42, 2:38] = 0.01
    brain = Brain(channels, np.zeros((40, 44, 40), np.uint8))
    brain.grafts.append(transplant(brain, of(load_cases(packed, ["case1"])[0]), WHOLE, np.random.default_rng(3)))
    image, labels = everything(brain)
    assert labels.any()
    assert image[3][labels == 2].mean() > 0.5          # oedema is bright in the toy's FLAIR
    assert np.isclose(image[:, labels == 0], 0.01, atol=1e-4).mean() > 0.5
    assert not image[:, :2].any()                       # outside the brain nothing changes
    assert not channels[:, :2].any()


def test_a_lesion_is_as_large_as_the_scales_say(packed):
    donor = of(load_cases(packed, ["case1"])[0])
    brain = Brain(np.ones((4, 40, 40, 40), np.float16), np.zeros((40, 40, 40), np.uint8))
    whole = (donor.labels > 0).sum()
    graft = transplant(brain, donor, (0.5, 0.5), np.random.default_rng(0))
    assert graft.labelled.sum().item() == pytest.approx(whole / 8, rel=0.3)


def test_a_brain_without_room_takes_no_lesion(packed):
    tiny = Brain(np.ones((4, 3, 3, 3), np.float16), np.zeros((3, 3, 3), np.uint8))
    assert transplant(tiny, of(load_cases(packed, ["case1"])[0]), WHOLE, np.random.default_rng(0)) is None


def one_sided(mirror_shift: int = 0) -> Brain:
    """A brain of 1s with a lesion of 5s on its left, lying off the middle of the volume."""
    channels = np.zeros((1, 44, 30, 30), np.float16)
    channels[:, 4 + mirror_shift:34 + mirror_shift, 3:27, 3:27] = 1
    labels = np.zeros((44, 30, 30), np.uint8)
    labels[9 + mirror_shift:14 + mirror_shift, 10:20, 10:20] = 2
    channels[0][labels > 0] = 5
    return Brain(channels, labels)


@pytest.mark.parametrize("shift", (0, 3))
def test_a_brain_is_healed_with_the_tissue_opposite(shift):
    brain = one_sided(shift)
    mirror = mirror_of(brain)
    assert mirror == 37 + 2 * shift                     # voxels 4 to 33 are brain
    brain.grafts.append(heal(brain, mirror))
    image, labels = everything(brain)
    assert not labels.any()
    assert image.max() < 1.5
    assert not image[:, :4 + shift].any()


def test_a_faint_lesion_lies_between_itself_and_the_tissue_opposite_and_keeps_its_labels():
    brain = one_sided()
    before = brain.labels.copy()
    brain.grafts.append(fade(brain, mirror_of(brain), 0.25))
    image, labels = everything(brain)
    assert np.array_equal(labels, before)
    inside = np.asarray(image[0])[before > 0]
    assert inside.min() > 3.9                           # 0.25 of 1 and 0.75 of 5
    assert inside.max() < 4.1
    assert np.asarray(image[0])[4:9, 3:27, 3:27].max() == pytest.approx(1, abs=1e-3)


def test_a_lesion_across_the_middle_or_on_both_sides_is_not_healed():
    brain = one_sided()
    brain.labels[16:22, 10:20, 10:20] = 2
    assert heal(brain, mirror_of(brain)) is None
    assert heal(Brain(brain.channels, np.zeros_like(brain.labels)), 37) is None
