import itertools
import threading

import numpy as np
import pytest

from braintumorseg.errors import Cancelled, ModelError, OutOfMemory, ResourceError
from braintumorseg.tiling import largest_tile, predict, tile_starts


class Fake:
    """A session that answers with the first channel, and cannot take more than `most` voxels."""

    provider = "fake"

    def __init__(self, most=10**9):
        self.most, self.seen = most, []
        self.next_most = None   # what it can take once it has fallen back

    def run(self, channels, cancel=None):
        self.seen.append(channels.shape[1:])
        if channels[0].size > self.most:
            raise OutOfMemory("too large")
        return channels[:1].copy()

    def fall_back(self, failed, why):
        assert failed == self.provider
        self.most, self.next_most, there = self.next_most, None, self.next_most is not None
        return there


CHANNELS = np.random.default_rng(0).random((2, 128, 96, 160)).astype(np.float32)


def test_all_at_once_where_memory_allows_it():
    session = Fake()
    found, passes = predict(CHANNELS, session, 32, 100, free_bytes=1e12)
    assert passes == 1
    assert np.array_equal(found, CHANNELS[:1])


def test_tiles_cover_everything_and_agree_with_one_pass():
    told = []
    found, passes = predict(CHANNELS, Fake(), 32, 100, free_bytes=96**3 * 100 / 0.7 + 1, progress=told.append)
    assert passes > 1
    assert np.allclose(found, CHANNELS[:1], atol=1e-5)
    assert told == pytest.approx([n / passes for n in range(1, passes + 1)])


def test_when_a_pass_does_not_fit_after_all_smaller_tiles_are_tried():
    session = Fake(most=70**3)
    found, _ = predict(CHANNELS, session, 32, 100, free_bytes=1e12)
    assert session.seen[0] == (128, 96, 160)
    assert np.allclose(found, CHANNELS[:1], atol=1e-5)


def test_when_not_even_the_smallest_tile_fits_the_next_provider_takes_over():
    session = Fake(most=10)
    session.next_most = 10**9
    found, passes = predict(CHANNELS, session, 32, 100, free_bytes=1e12)
    assert passes == 1
    assert np.array_equal(found, CHANNELS[:1])
    with pytest.raises(OutOfMemory):
        predict(CHANNELS, Fake(most=10), 32, 100, free_bytes=1e12)


def test_when_nothing_fits_the_need_is_said_before_anything_runs():
    session = Fake()
    with pytest.raises(ResourceError, match="GB"):
        predict(CHANNELS, session, 32, 1e6, free_bytes=1e9)
    assert not session.seen


def test_tiles_are_multiples_and_never_smaller_than_the_network_can_use():
    assert largest_tile((160, 192, 160), 32, 100, 1e12) == (160, 192, 160)
    tile = largest_tile((160, 192, 160), 32, 100, 128**3 * 100 / 0.7)
    assert all(side % 32 == 0 and side >= 64 for side in tile)
    assert np.prod(tile) <= 128**3


@pytest.mark.parametrize("multiple", [48, 80])
def test_smaller_tiles_are_multiples_too_where_64_is_none(multiple):
    channels = np.random.default_rng(0).random((2, *[240 // multiple * multiple] * 3)).astype(np.float32)
    session = Fake(most=96**3)
    found, _ = predict(channels, session, multiple, 100, free_bytes=1e12)
    assert np.allclose(found, channels[:1], atol=1e-5)
    session = Fake(most=64**3)   # less than the smallest tile of either
    with pytest.raises(OutOfMemory):
        predict(channels, session, multiple, 100, free_bytes=1e12)
    assert session.seen[-1] == tuple([-(-64 // multiple) * multiple] * 3)
    assert all(side % multiple == 0 for shape in session.seen for side in shape)


@pytest.mark.parametrize("length, tile", [(160, 160), (192, 160), (160, 64), (200, 96), (64, 128)])
def test_neighbouring_tiles_overlap_and_the_last_ends_at_the_end(length, tile):
    starts = tile_starts(length, tile)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - tile)
    assert all(b - a <= tile * 0.75 + 1 for a, b in itertools.pairwise(starts))


def test_a_cancel_stops_between_tiles():
    cancel = threading.Event()
    session = Fake()
    with pytest.raises(Cancelled):
        predict(CHANNELS, session, 32, 100, free_bytes=96**3 * 100 / 0.7 + 1, progress=lambda done: cancel.set(), cancel=cancel)
    assert len(session.seen) == 1


class Says(Fake):
    """Answers with what `make` makes of the right answer."""

    def __init__(self, make, provider="CPUExecutionProvider", precision="float32"):
        super().__init__()
        self.make, self.provider, self.precision = make, provider, precision

    def run(self, channels, cancel=None):
        return self.make(super().run(channels))


def with_one(value):
    """An answer whose last voxel is `value`."""
    def make(found):
        found[0, -1, -1, -1] = value
        return found
    return make


IN_TILES = 96**3 * 100 / 0.7 + 1


@pytest.mark.parametrize("free_bytes", [1e12, IN_TILES], ids=["at once", "in tiles"])
@pytest.mark.parametrize("make, words", [
    (with_one(np.nan), "no number"), (with_one(np.inf), "no number"), (with_one(-np.inf), "no number"),
    (with_one(-3.5), "from -3.5 to .* no probabilities"), (with_one(7), "to 7, which are no probabilities"),
    (lambda found: found[:, ::2, ::2, ::2], "numbers, and 1 regions of .* voxels were expected"),
    (lambda found: np.repeat(found, 2, axis=0), "answers with 2 x .* 1 regions of"),
    (lambda found: found[0, 0, 0, 0], "were expected"), (lambda found: found[:0], "answers with 0 x"),
], ids=["NaN", "inf", "-inf", "below 0", "logits", "half the size", "two regions", "one number", "no region"])
def test_what_cannot_be_probabilities_of_these_voxels_is_refused(make, words, free_bytes):
    with pytest.raises(ModelError, match=words):
        predict(CHANNELS, Says(make), 32, 100, regions=1, free_bytes=free_bytes)


def test_a_quantised_network_may_miss_0_and_1_a_little():
    found, _ = predict(CHANNELS, Says(lambda found: found * 1.01 - 0.005), 32, 100, regions=1, free_bytes=1e12)
    assert found.min() < 0 and found.max() > 1


@pytest.mark.parametrize("provider, precision, fix", [
    ("CUDAExecutionProvider", "float32", "--device cpu"), ("OpenVINO", "bfloat16", "--provider onnxruntime"),
    ("OpenVINO", "float32", "another version from its maker")])
def test_a_network_that_answers_nan_is_told_how_to_be_run_otherwise(provider, precision, fix):
    with pytest.raises(ModelError, match=f"on {provider} in {precision}") as caught:
        predict(CHANNELS, Says(with_one(np.nan), provider, precision), 32, 100, free_bytes=1e12)
    assert fix in caught.value.fix
