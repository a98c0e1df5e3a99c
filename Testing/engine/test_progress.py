import threading

import pytest

from braintumorseg.errors import Cancelled
from braintumorseg.progress import Progress


def test_steps_are_timed_and_the_forecast_shrinks_with_what_is_left():
    told = []
    progress = Progress(told.append)
    with progress.step("read"):
        pass
    with progress.step("predict") as tell:
        tell(0.5)
        tell(1.0)
    assert set(progress.seconds) == {"read", "predict"}
    assert [update.step for update in told] == ["read", "predict", "predict", "predict"]
    assert told[0].eta_s is None
    assert [update.done for update in told] == sorted(update.done for update in told)
    assert 0.3 < told[-1].done < 0.7


def test_a_step_is_timed_with_what_was_done_for_it_before_and_after_and_told_as_before(monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr("braintumorseg.progress.time.monotonic", lambda: now[0])
    progress, plain = Progress(told.append), []
    with progress.timed("brain"):
        now[0] += 2
    assert told == []
    with progress.step("brain") as tell:
        now[0] += 3
        tell(1.0)
    with progress.timed("brain"), progress.timed("measure"):
        now[0] += 4
    assert progress.seconds == {"brain": 9.0, "measure": 4.0}
    with Progress(plain.append).step("brain") as tell:
        tell(1.0)
    assert [update.done for update in told] == [update.done for update in plain]


def test_what_is_left_is_shared_out_anew_once_more_is_known():
    told = []
    progress = Progress(told.append)
    with progress.step("read"):
        pass
    before = told[-1].done
    progress.expect(align=0.0, brain=0.0, prepare=0.0, predict=30.0, decide=0.0, measure=0.0, draw=0.0, write=10.0)
    with progress.step("predict") as tell:
        tell(1.0)
    left = 1 - 0.25 / 4.8  # after reading, as planned before
    assert before == 0
    assert told[-1].done == pytest.approx(1 - left / 4, abs=1e-6)


def test_a_part_counts_within_its_share_and_is_stopped_with_the_whole():
    told = []
    whole = Progress(told.append)
    with whole.part(0.0, 0.2, "retrieve").step("retrieve") as tell:
        tell(0.5)
        tell(1.0)
    inner = whole.part(0.2, 1.0)
    with inner.step("read"):
        pass
    assert [round(update.done, 3) for update in told] == [0.0, 0.1, 0.2, 0.2]
    whole.cancel.set()
    with pytest.raises(Cancelled), inner.step("align"):
        raise AssertionError("must not run")


def test_a_cancel_is_noticed_before_a_step_and_after_it():
    cancel = threading.Event()
    progress = Progress(cancel=cancel)
    with pytest.raises(Cancelled), progress.step("read"):
        cancel.set()
    with pytest.raises(Cancelled), progress.step("predict"):
        raise AssertionError("must not run")


def test_a_cancel_is_noticed_whenever_a_step_tells_how_far_it_is():
    cancel = threading.Event()
    progress = Progress(cancel=cancel)
    with pytest.raises(Cancelled, match="cancelled"), progress.step("align") as tell:
        tell(0.1)
        cancel.set()
        tell(0.2)
        raise AssertionError("must not go on")
