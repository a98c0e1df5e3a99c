"""What tells a wrong outline: tumour opposite tumour, a FLAIR that is dark within, a network that is not sure."""

from dataclasses import replace

import numpy as np
import pytest

from braintumorseg.io.readers import read_volume
from braintumorseg.labels import REGIONS, region_mask
from braintumorseg.model_zoo import load_model
from braintumorseg.pipeline import segment
from braintumorseg.preprocess import Prepared, mask_onto, prepare
from braintumorseg.signs import _middle, doubts, signs
from braintumorseg.study import ROLES, Study
from braintumorseg.volume import Grid, Volume

SHAPE = np.array([128, 72, 56])
CENTRE, WIDE = SHAPE / 2, np.array([52, 32, 26])


def ball(centre, radius, mm=1.0):
    places = np.stack(np.meshgrid(*((np.arange(int(n / mm)) + 0.5) * mm for n in SHAPE), indexing="ij"), axis=-1)
    return (((places - centre) / radius) ** 2).sum(axis=-1) <= 1


def seen(tumour, bright=2.0, mm=1.0, brain=None):
    """What a network sees of a brain, 104 mm wide, in which FLAIR is brighter by `bright` where the tumour is."""
    brain = ball(CENTRE, WIDE, mm) if brain is None else brain
    channels = np.random.default_rng(1).normal(0, 1, (4, *brain.shape)).astype(np.float32) * brain
    channels[ROLES.index("flair")] += bright * (tumour & brain)
    return Prepared(channels, brain, Grid(brain.shape, np.diag([mm, mm, mm, 1.0])))


def sure(tumour, of=1.0):
    return np.repeat(np.where(tumour, of, 0.0)[None], 3, axis=0).astype(np.float32)


def judged(ready, tumour, card, of=1.0):
    """The signs of a network that is `of` sure of `tumour`, all of which is kept."""
    return signs(ready, sure(tumour, of), Volume(tumour.astype(np.uint8), ready.grid.affine), card)


def codes(found, looks=1, card=None):
    return [code for code, _ in doubts(found, looks, card)]


@pytest.fixture
def card(toy_model):
    return replace(toy_model.card, metrics={"sureness": {"WT": {"low": 0.92}}})


ONE_SIDE = ball((40, 36, 28), 9)
OTHER_SIDE = ball((88, 36, 28), 9)


def test_a_tumour_on_one_side_that_is_bright_in_flair_raises_no_doubt(card):
    found = judged(seen(ONE_SIDE), ONE_SIDE, card)
    assert found["opposite"] == 0
    assert found["flair_edge"] == pytest.approx(1.9, abs=0.2)    # two deviations of the noise; the tumour's own brightness adds to them
    assert found["sureness"] == pytest.approx(1.0)
    assert codes(found, card=card) == []


def test_tumour_opposite_tumour_is_said_with_its_share(card):
    both = ONE_SIDE | OTHER_SIDE
    found = judged(seen(both), both, card)
    assert found["opposite"] == pytest.approx(1.0, abs=0.1)
    (code, text), = doubts(found, 1, card)
    assert code == "on_both_sides"
    assert f"{found['opposite']:.0%} of the tumour" in text
    assert "a tumour that grows across the middle does so" in text
    crosses = ball((64, 36, 28), 9)
    assert codes(judged(seen(crosses), crosses, card), card=card) == ["on_both_sides"]


def test_the_middle_is_that_of_the_brain_and_not_of_the_image(card):
    brain = ball(CENTRE + np.array([6, 0, 0]), WIDE)
    both = ball((52, 36, 28), 8) | ball((88, 36, 28), 8)         # opposite about the brain's middle, at 70
    assert judged(seen(both, brain=brain), both, card)["opposite"] > 0.9


def test_a_speck_beside_the_brain_does_not_move_its_middle(card):
    specked, near = ball(CENTRE, WIDE), ball((54, 36, 28), 9)
    specked[1:4, 30:33, 20:23] = True                            # half way from it to the brain's end at 116 the tumour would mirror itself
    plain = judged(seen(near), near, card)
    assert judged(seen(near, brain=specked), near, card)["opposite"] == plain["opposite"] == 0


def test_a_part_of_the_brain_that_has_no_middle_has_nothing_opposite(card):
    slab = ball(CENTRE, WIDE)
    slab[76:] = False                                            # 64 mm, about whose middle at 44 the tumour mirrors itself
    tumour = ball((44, 36, 28), 9)
    found = judged(seen(tumour, brain=slab), tumour, card)
    assert "opposite" not in found
    assert codes(found, card=card) == []


def test_islands_that_were_dropped_are_not_judged_and_without_a_tumour_nothing_is(card):
    both = ONE_SIDE | OTHER_SIDE
    ready = seen(both)
    kept = Volume(ONE_SIDE.astype(np.uint8)[::-1, :, ::2], ready.grid.affine @ [[-1, 0, 0, 127], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    assert signs(ready, sure(both), kept, card)["opposite"] == 0    # labels on another grid
    nothing = Volume(np.zeros(SHAPE, np.uint8), ready.grid.affine)
    assert signs(ready, sure(both, of=0.6), nothing, card) == {}


def test_a_tumour_of_which_flair_shows_nothing_is_said_and_without_flair_nothing_is(card):
    found = judged(seen(ONE_SIDE, bright=0.0), ONE_SIDE, card)
    assert codes(found, card=card) == ["dark_in_flair"]
    ready = seen(ONE_SIDE, bright=0.0)
    ready.channels[ROLES.index("flair")] = 0
    without = judged(ready, ONE_SIDE, card)
    assert "flair_edge" not in without
    assert codes(without, card=card) == []


def test_less_sureness_than_in_the_cards_validation_is_said_of_a_single_look_and_where_the_card_knows(card):
    found = judged(seen(ONE_SIDE), ONE_SIDE, card, of=0.75)
    assert found["sureness"] == pytest.approx(2 * 0.75 / 1.75, rel=1e-4)
    (code, text), = doubts(found, 1, card)
    assert code == "unsure"
    assert "(0.86)" in text
    assert "0.92 and more" in text
    assert codes(found, looks=5, card=card) == []                # several looks have a measure of their own
    assert codes(found, card=replace(card, metrics={})) == []
    assert codes(found, card=None) == []
    assert codes({**found, "sureness": 0.91}, card=card) == []   # as sure as it often is


def test_nothing_found_gives_no_sign_and_a_report_from_before_no_doubt(card):
    assert judged(seen(ONE_SIDE), np.zeros_like(ONE_SIDE), card) == {}
    assert codes({}, card=card) == []


def test_finer_voxels_say_the_same(card):
    mm = 0.5
    tumour = ONE_SIDE | ball((84, 36, 28), 7)
    coarse = judged(seen(tumour), tumour, card)
    tumour = ball((40, 36, 28), 9, mm) | ball((84, 36, 28), 7, mm)
    fine = judged(seen(tumour, mm=mm), tumour, card)
    assert fine == pytest.approx(coarse, abs=0.12)


def test_a_run_tells_its_signs(toy_study, toy_model):
    found = segment(toy_study, toy_model, registered=True).provenance.signs
    assert set(found) <= {"sureness", "opposite", "flair_edge"}
    assert 0 < found["sureness"] <= 1


def test_experts_outlines_of_real_patients_raise_no_doubt(data_folder):
    card = load_model("glioma").card
    for name in ("Brats18_TCIA10_628_1", "BraTS2021_01658"):
        case = data_folder / "cases" / name
        ready = prepare(Study({role: read_volume(case / f"{role}.nii.gz") for role in ROLES}), card)
        truth = read_volume(case / "seg.nii.gz")
        masks = [truth.with_voxels(region_mask(truth.voxels, region).astype(np.uint8)) for region in REGIONS]
        outline = np.stack([mask_onto(mask, ready.grid) for mask in masks]).astype(np.float32)
        assert codes(signs(ready, outline, truth, card), card=card) == [], name


def test_where_the_axes_lie_steeply_across_the_world_there_is_no_middle_to_mirror_about():
    i, j, k = np.ogrid[-37:38, -45:46, -35:36]
    brain = (i / 34) ** 2 + (j / 41) ** 2 + (k / 32) ** 2 < 1                                   # an ellipsoid of 136 x 164 x 128 mm
    for degrees, has_middle in ((0, True), (28, True), (32, False), (45, False)):
        cos, sin, affine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), np.diag([2.0, 2.0, 2.0, 1.0])
        affine[:2, :2] = 2 * np.array([[cos, -sin], [sin, cos]])
        assert (_middle(brain, Grid(brain.shape, affine)) is not None) == has_middle, degrees
