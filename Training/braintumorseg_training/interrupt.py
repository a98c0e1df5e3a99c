"""Ctrl-C, and SIGTERM as SLURM sends it before it takes the machine away: noticed, so that a run can save and end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["Stop", "end_with", "ignore_stops", "noticing_stops"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_EVERY_S = 2.0


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


def end_with(process: int) -> None:
    """For child processes: end as soon as `process` (its number) has, even when it was killed and could not say so.

    torch's own workers look at the process that forked them, and that is another one where a fork server does (Python's default from 3.14 on).
    """
    import psutil

    try:
        other = psutil.Process(process)
    except psutil.NoSuchProcess:
        os._exit(1)

    def watch():
        with suppress(psutil.NoSuchProcess):
            while other.is_running() and other.status() != psutil.STATUS_ZOMBIE:
                time.sleep(_LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
