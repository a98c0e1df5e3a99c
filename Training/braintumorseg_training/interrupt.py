"""Ctrl-C, and SIGTERM as SLURM sends it before it takes the machine away: noticed, so that a run can save and end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Stop", "ignore_stops", "noticing_stops"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """`asked`: a signal came. `at_once`: whether the next one raises KeyboardInterrupt where it finds the program; a second one always does."""

    asked = False
    at_once = False


@contextmanager
def noticing_stops() -> Iterator[Stop]:
    """Within the block the two signals are noted in the Stop instead of ending the process. In a thread nothing is noted."""
    stop = Stop()

    def notice(number, frame):
        if stop.asked or stop.at_once:
            raise KeyboardInterrupt
        stop.asked = True

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, notice) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_stops() -> None:
    """For child processes: the parent says when they end, though the terminal or SLURM signals them too."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
