"""What tells a wrong outline: tumour opposite tumour, a FLAIR that is dark within, a network that is not sure."""

from dataclasses import replace

import numpy as np
import pytest

from braintumorseg.io.readers import read_volume
from braintumorseg.labels import REGIONS, region_mask
from braintumorseg.model_zoo import load_model
from braintumorseg.pipeline import segment
from braintumorseg.preprocess import Prepared, mask_onto, prepare
from braintumorseg.signs import doubts, signs
from braintumorseg.study import ROLES, Study
from braintumorseg.volume import Grid

SHAPE = np.array([64, 72, 56])


def ball(centre, radius, mm=1.0):
    places = np.stack(np.meshgrid(*((np.arange(int(n / mm)) + 0.5) * mm for n in SHAPE), indexing="ij"), axis=-1)
    return ((places - centre) ** 2).sum(axis=-1) <= radius ** 2


def seen(tumour, bright=2.0, mm=1.0, brain=None):
    """What a network sees of a round brain in which FLAIR is brighter by `bright` where the tumour is."""
    brain = ball(SHAPE / 2, 27, mm) if brain is None else brain
    channels = np.random.default_rng(1).normal(0, 1, (4, *brain.shape)).astype(np.float32) * brain
    channels[ROLES.index("flair")] += bright * (tumour & brain)
    return Prepared(channels, brain, Grid(brain.shape, np.diag([mm, mm, mm, 1.0])))


def sure(tumour, of=1.0):
    return np.repeat(np.where(tumour, of, 0.0)[None], 3, axis=0).astype(np.float32)


def codes(found, looks=1, card=None):
    return [code for code, _ in doubts(found, looks, card)]


@pytest.fixture
def card(toy_model):
    return replace(toy_model.card, metrics={"sureness": {"WT": {"low": 0.92}}})


ONE_SIDE = ball((20, 36, 28), 9)
OTHER_SIDE = ball((44, 36, 28), 9)


def test_a_tumour_on_one_side_that_is_bright_in_flair_raises_no_doubt(card):
    found = signs(seen(ONE_SIDE), sure(ONE_SIDE), card)
    assert found["opposite"] == 0
    assert found["flair_edge"] == pytest.approx(1.9, abs=0.2)    # two deviations of the noise; the tumour's own brightness adds to them
    assert found["sureness"] == pytest.approx(1.0)
    assert codes(found, card=card) == []


def test_tumour_opposite_tumour_is_said_with_its_share(card):
    both = ONE_SIDE | OTHER_SIDE
    found = signs(seen(both), sure(both), card)
    assert found["opposite"] == pytest.approx(1.0, abs=0.1)
    (code, text), = doubts(found, 1, card)
    assert code == "on_both_sides"
    assert f"{found['opposite']:.0%} of the tumour" in text
    crosses = ball((32, 36, 28), 9)                              # one that grows across the middle mirrors itself
    assert codes(signs(seen(crosses), sure(crosses), card), card=card) == ["on_both_sides"]


def test_the_middle_is_that_of_the_brain_and_not_of_the_image(card):
    brain = ball(SHAPE / 2 + (6, 0, 0), 25)
    both = ball((27, 36, 28), 8) | ball((49, 36, 28), 8)         # opposite about the brain's middle, at 38
    assert signs(seen(both, brain=brain), sure(both), card)["opposite"] > 0.9


def test_a_tumour_of_which_flair_shows_nothing_is_said_and_without_flair_nothing_is(card):
    found = signs(seen(ONE_SIDE, bright=0.0), sure(ONE_SIDE), card)
    assert codes(found, card=card) == ["dark_in_flair"]
    ready = seen(ONE_SIDE, bright=0.0)
    ready.channels[ROLES.index("flair")] = 0
    without = signs(ready, sure(ONE_SIDE), card)
    assert "flair_edge" not in without
    assert codes(without, card=card) == []


def test_less_sureness_than_in_the_cards_validation_is_said_of_a_single_look_and_where_the_card_knows(card):
    found = signs(seen(ONE_SIDE), sure(ONE_SIDE, of=0.75), card)
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
    assert signs(seen(ONE_SIDE), sure(np.zeros_like(ONE_SIDE)), card) == {}
    assert codes({}, card=card) == []


def test_finer_voxels_say_the_same(card):
    mm = 0.5
    coarse = signs(seen(ONE_SIDE | ball((40, 36, 28), 7)), sure(ONE_SIDE | ball((40, 36, 28), 7)), card)
    tumour = ball((20, 36, 28), 9, mm) | ball((40, 36, 28), 7, mm)
    fine = signs(seen(tumour, mm=mm), sure(tumour), card)
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
        assert codes(signs(ready, outline, card), card=card) == [], name
