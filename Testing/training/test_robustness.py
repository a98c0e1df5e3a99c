"""The benchmark Testing/benchmarks/robustness.py changes what it says, the same way at every run, and leaves the background empty."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from braintumorseg.model_card import Normalisation
from braintumorseg.study import ROLES

CARD = SimpleNamespace(roles=ROLES, normalisation=Normalisation(), regions=("WT", "TC", "ET"))


@pytest.fixture
def robustness(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import robustness

    return robustness


@pytest.fixture
def images(robustness):
    chance = np.random.default_rng(3)
    ball = ((np.indices((40, 44, 36)) - np.array([20, 22, 18])[:, None, None, None]) ** 2).sum(axis=0) < 15**2
    channels = (chance.normal(size=(4, *ball.shape)) * ball).astype(np.float32)
    labels = np.zeros(ball.shape, np.uint8)
    labels[16:24, 18:26, 14:22] = 3
    return robustness.Images(channels, labels, "ball")


def test_each_change_changes_the_images_alike_at_every_run_and_nothing_outside_the_brain(robustness, images):
    before = images.channels.copy()
    for name, change in robustness.CHANGES.items():
        one, other = change(images, CARD), change(images, CARD)
        assert np.array_equal(one.channels, other.channels), name
        assert np.array_equal(images.channels, before), name
        assert one.channels.dtype == np.float32 and np.isfinite(one.channels).all(), name
        assert one.channels.shape[1:] == one.labels.shape, name
        if one.labels.shape == images.labels.shape:
            assert not np.array_equal(one.channels, before), name
            assert set(np.unique(one.labels)) == {0, 3}, name
        if np.array_equal(one.labels, images.labels) and name != "FLAIR 2 mm out of place":
            assert not one.channels[:, before[0] == 0].any(), name


def test_uneven_coils_leave_each_sequence_another_field_within_its_bounds(robustness, images):
    one, other = (robustness.field((40, 44, 36), 0.4, images.chance(number)) for number in (0, 1))
    for drawn in (one, other):
        assert np.abs(drawn - 1).max() == pytest.approx(0.4)
        assert max(np.abs(np.diff(drawn, axis=axis)).max() for axis in range(3)) < 0.1
    assert np.abs(one - other).max() > 0.1
    flat = robustness.Images((images.channels != 0) * np.linspace(1, 2, 36, dtype=np.float32), images.labels, "flat")
    changed = robustness.CHANGES["coils uneven by 40 %"](flat, CARD).channels
    assert not np.allclose(changed[0], changed[1], atol=0.1)


def test_thick_slices_are_alike_within_and_the_last_one_goes_on(robustness):
    chance = np.random.default_rng(5)
    images = robustness.Images(chance.normal(size=(4, 8, 8, 36)).astype(np.float32), np.ones((8, 8, 36), np.uint8), "full")
    changed = robustness.CHANGES["axial slices of 5 mm"](images, CARD).channels[0]
    for first, end in ((0, 5), (15, 20), (30, 36)):   # 36 slices are 7 of 5 mm, and one voxel more
        assert np.ptp(changed[:, :, first:end], axis=2).max() < 1e-6
    for end in (15, 30):
        assert np.abs(changed[:, :, end - 1] - changed[:, :, end]).max() > 0.01


def test_sides_are_brought_to_the_networks_multiple_and_labels_with_them(robustness, images):
    padded = images.padded(32)
    assert padded.channels.shape == (4, 64, 64, 64)
    assert padded.labels.sum() == images.labels.sum()


def test_the_table_tells_the_change_in_points_and_the_worst_case(robustness, tmp_path):
    def row(wt):
        return {"a": {"WT": wt, "TC": 0.5, "ET": 0.5, "et_ml": 2.0}, "b": {"WT": 0.9, "TC": 0.5, "ET": 0.0, "et_ml": 0.0}}

    result = {"network": {"name": "glioma", "version": "1"}, "provider": "x", "precision": "float32",
              "rows": {robustness.AS_IT_IS: row(0.8), "gamma 0.7": row(0.6)}}
    text = robustness.as_markdown(result)
    assert "| as they are | 0.850 | 0.500 | 0.500 | 0.80 (a) |" in text
    assert "| gamma 0.7 | 0.750 (-10.0) | 0.500 (+0.0) | 0.500 (+0.0) | 0.60 (a) |" in text
    robustness.draw(result, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 5_000


def test_the_table_in_the_repository_is_that_of_its_numbers(robustness):
    kept = Path(__file__).parents[1] / "benchmarks" / "results" / "robustness.json"
    result = json.loads(kept.read_text(encoding="utf-8"))
    assert list(result["rows"]) == [robustness.AS_IT_IS, *robustness.CHANGES]
    assert robustness.as_markdown(result) == kept.with_suffix(".md").read_text(encoding="utf-8")
