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
    assert told[-1].done == pytest.approx(0.55)


def test_a_cancel_is_noticed_before_a_step_and_after_it():
    cancel = threading.Event()
    progress = Progress(cancel=cancel)
    with pytest.raises(Cancelled), progress.step("read"):
        cancel.set()
    with pytest.raises(Cancelled), progress.step("predict"):
        raise AssertionError("must not run")
