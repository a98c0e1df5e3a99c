from dataclasses import replace

import numpy as np
import pytest
import torch

from braintumorseg_training.head_contrast import draw_brightness
from braintumorseg_training.head_lesions import with_lesion
from braintumorseg_training.head_maps import TISSUES, read_head
from braintumorseg_training.synthetic_heads import SyntheticHeads, make_image


@pytest.fixture(scope="module")
def head(label_maps):
    return read_head(label_maps / "one.nii.gz")


def test_an_image_is_a_function_of_its_number(head, tiny_brain):
    first, again = SyntheticHeads([head], tiny_brain, 0, 8), SyntheticHeads([head], tiny_brain, 3, 8)
    assert torch.equal(first[5][0], again[2][0])
    assert torch.equal(first[5][1], again[2][1])
    assert not torch.equal(first[5][0], first[4][0])


def test_images_and_targets_keep_their_shape_and_range_and_most_show_brain(head, tiny_brain):
    shown = []
    for number in range(40):
        image, brain = make_image(head, tiny_brain, np.random.default_rng(number))
        assert image.shape == brain.shape == (1, *tiny_brain.patch)
        assert torch.isfinite(image).all()
        assert 0 <= image.min() <= image.max() <= 1 + 1e-6
        assert 0 <= brain.min() <= brain.max() <= 1 + 1e-6
        shown.append(float((brain > 0.5).float().mean()))
    assert np.mean(np.array(shown) > 0.02) > 0.8


def test_the_brain_alone_is_cut_at_its_target(head, tiny_brain):
    alone = replace(tiny_brain, stripped_share=1.0, defaced_share=0.0)
    for number in range(8):
        image, brain = make_image(head, alone, np.random.default_rng(number))
        assert not image[brain == 0].any()
        assert set(brain.unique().tolist()) <= {0.0, 1.0}


def test_without_a_head_nothing_is_brain(head, tiny_brain):
    empty = replace(tiny_brain, empty_share=1.0)
    images = [make_image(head, empty, np.random.default_rng(number)) for number in range(12)]
    assert not any(brain.any() for _, brain in images)
    assert all(torch.isfinite(image).all() and image.std() > 0 for image, _ in images)


def test_a_lesion_lies_in_the_brain_and_the_head_itself_is_left_alone(head):
    before = head.tissues.copy()
    kinds = set()
    for number in range(30):
        tissues = with_lesion(head, np.random.default_rng(number))
        changed = tissues != head.tissues
        assert changed.any()
        assert not (changed & ~head.brain).any()
        kinds |= {TISSUES[value] for value in np.unique(tissues[changed])}
    assert kinds == {"oedema", "tumour", "rim", "necrosis", "cavity"}
    assert np.array_equal(before, head.tissues)


def test_contrasts_differ_and_every_tissue_has_a_brightness():
    drawn = [draw_brightness(np.random.default_rng(number)) for number in range(50)]
    means = np.array([mean for mean, _ in drawn])
    assert means.shape == (50, len(TISSUES))
    assert 0 <= means.min() <= means.max() <= 1.3
    white, cortex = means[:, TISSUES.index("white")], means[:, TISSUES.index("cortex")]
    assert 0.2 < np.mean(white > cortex) < 0.8                       # both orders are seen
    assert np.median(means[:, TISSUES.index("air")]) < 0.05
