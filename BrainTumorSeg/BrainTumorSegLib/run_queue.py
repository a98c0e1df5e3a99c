"""Several runs of the engine, one at a time, in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from .process import EngineProcess, Outcome
from .qt_process import QtProcess

__all__ = ["RunQueue"]


class RunQueue:
    """Whoever adds a run hears of its end by `on_finished`, and cancels it by the process that `add` gives; the others then go on."""

    def __init__(self, *, make_process=QtProcess):
        self._make_process = make_process
        self._waiting: deque[EngineProcess] = deque()
        self._current: EngineProcess | None = None
        self._closed = False

    @property
    def waiting(self) -> tuple[EngineProcess, ...]:
        return tuple(self._waiting)

    def add(self, command: Sequence[str], environment: Mapping[str, str], *,
            on_progress: Callable[[str, float, float | None], None] | None = None, on_finished: Callable[[Outcome], None]) -> EngineProcess:
        """A run with these, started at once if no other runs; cancelled at once if the queue is closed."""
        def finished(outcome: Outcome) -> None:
            if process is self._current:
                self._current = None
            else:
                self._waiting.remove(process)
            try:
                on_finished(outcome)
            finally:  # an error in the panel must not stop the queue
                self._start_next()

        process = EngineProcess(command, environment, on_progress=on_progress, on_finished=finished, make_process=self._make_process)
        self._waiting.append(process)
        if self._closed:
            process.cancel()
        else:
            self._start_next()
        return process

    def cancel_all(self) -> None:
        for process in (*self.waiting, *([self._current] if self._current else [])):  # the waiting ones first, or they would start
            process.cancel()

    def close(self) -> None:
        """End them all, and start none any more: the application quits, and what ends one by one must not make room for the next."""
        self._closed = True
        self.cancel_all()

    def _start_next(self) -> None:
        if self._current is None and self._waiting and not self._closed:
            self._current = self._waiting.popleft()
            self._current.start()
