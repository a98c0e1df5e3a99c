import threading

import numpy as np
import pytest

from braintumorseg.errors import Cancelled, ModelError
from braintumorseg.pipeline import segment
from braintumorseg.progress import Progress
from braintumorseg.study import Study
from braintumorseg.thorough import expected_dice, look_again, looks_at


class Sums:
    """A session whose probability is a tenth of the sum over the sequences, and that keeps what it was shown."""

    provider, precision = "toy", "float32"

    def __init__(self):
        self.shown = []

    def run(self, channels, cancel=None):
        self.shown.append(channels.copy())
        return np.repeat(channels.sum(axis=0, keepdims=True) / 10, 3, axis=0)


@pytest.fixture
def channels():
    return np.stack([np.full((16, 16, 16), value, np.float32) for value in (1, 2, 0, 4)])   # the third sequence is missing


def test_each_sequence_that_is_there_is_withheld_once_and_the_mean_is_taken(channels, toy_model):
    session, told = Sums(), []
    before = channels.copy()
    mean, passes, looks = look_again(channels, session, toy_model.card, progress=told.append)
    assert np.array_equal(channels, before)
    assert (passes, looks) == (1, 4)
    assert [shown[:, 0, 0, 0].tolist() for shown in session.shown] == [[1, 2, 0, 4], [0, 2, 0, 4], [1, 0, 0, 4], [1, 2, 0, 0]]
    assert mean == pytest.approx((7 + 6 + 5 + 3) / 40)
    assert told == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_an_answer_of_too_few_regions_is_refused(channels, toy_model):
    session = Sums()
    session.run = lambda channels, cancel=None: channels[:2] / 10
    with pytest.raises(ModelError, match="3 regions"):
        look_again(channels, session, toy_model.card)


def test_of_a_single_sequence_there_is_one_look(channels):
    channels[:3] = 0
    assert looks_at(channels) == [None]


def test_a_cancel_ends_it_between_two_looks(channels, toy_model):
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        look_again(channels, Sums(), toy_model.card, progress=lambda done: cancel.set(), cancel=cancel)


def test_the_expected_dice_is_one_where_all_is_sure_and_falls_with_doubt_within_and_without(toy_model):
    probabilities = np.zeros((3, 10, 10, 10), np.float32)
    probabilities[0, :5] = 1.0
    probabilities[1, :2] = 0.75
    assert expected_dice(probabilities, toy_model.card) == pytest.approx({"WT": 1.0, "TC": 2 * 150 / (150 + 200)})   # of ET there is no voxel
    probabilities[0, 5:] = 0.1
    assert expected_dice(probabilities, toy_model.card)["WT"] == pytest.approx(2 * 500 / (550 + 500), rel=1e-5)


def test_doubtful_probabilities_are_as_wrong_as_expected_on_average(toy_model):
    """Truths drawn from the probabilities themselves: their mean Dice with the outline is what was promised."""
    rng = np.random.default_rng(3)
    probabilities = np.repeat(rng.beta(0.3, 0.6, (1, 20, 20, 20)), 3, axis=0).astype(np.float32)
    within = probabilities[0] >= 0.5
    dice = []
    for _ in range(20):
        truth = rng.random(within.shape) < probabilities[0]
        dice.append(2 * np.count_nonzero(within & truth) / (np.count_nonzero(within) + np.count_nonzero(truth)))
    assert expected_dice(probabilities, toy_model.card)["WT"] == pytest.approx(np.mean(dice), abs=0.01)


def test_a_thorough_run_says_how_often_it_looked_and_how_sure_it_is_and_a_plain_one_does_not(toy_model, toy_study):
    plain, thorough = (segment(toy_study, toy_model, registered=True, thorough=how) for how in (False, True))
    assert (plain.provenance.looks, plain.provenance.expected_dice) == (1, {})
    assert (thorough.provenance.looks, thorough.provenance.passes) == (5, 1)
    assert set(thorough.provenance.expected_dice) == {"WT"}


def test_with_one_sequence_a_thorough_run_is_a_plain_one(toy_model, toy_study):
    study = Study({"flair": toy_study.volumes["flair"]})
    plain, thorough = (segment(study, toy_model, registered=True, thorough=how) for how in (False, True))
    assert thorough.provenance.looks == 1
    assert np.array_equal(thorough.labels.voxels, plain.labels.voxels)


def test_the_forecast_knows_of_the_looks(toy_model, toy_study):
    def share_before(thorough):
        told = []
        segment(toy_study, toy_model, registered=True, thorough=thorough, progress=Progress(told.append))
        return max(update.done for update in told if update.step == "predict") - min(update.done for update in told if update.step == "predict")

    assert share_before(True) > 1.5 * share_before(False)
