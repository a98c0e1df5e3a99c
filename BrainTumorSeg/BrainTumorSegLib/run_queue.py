"""Several runs of the engine, one at a time, in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from .process import EngineProcess, Outcome
from .qt_process import QtProcess

__all__ = ["Run", "RunQueue"]


class Run:
    """A run that waits, runs or has ended (`state`); `label` is what the panel calls it."""

    def __init__(self, label: str, process: EngineProcess):
        self.label = label
        self.state = "waiting"
        self.process = process


class RunQueue:
    """`on_changed()` is called whenever a run starts or ends, or joins: the panel then shows `current` and `waiting` anew."""

    def __init__(self, on_changed: Callable[[], None] = lambda: None, *, make_process=QtProcess):
        self._on_changed = on_changed
        self._make_process = make_process
        self._waiting: deque[Run] = deque()
        self._closed = False
        self.current: Run | None = None

    @property
    def waiting(self) -> tuple[Run, ...]:
        return tuple(self._waiting)

    @property
    def busy(self) -> bool:
        return self.current is not None

    def add(self, label: str, command: Sequence[str], environment: Mapping[str, str], *,
            on_progress: Callable[[str, float, float | None], None] | None = None, on_finished: Callable[[Outcome], None]) -> Run:
        """A run with these, started at once if no other runs; cancelled at once if the queue is closed."""
        def finished(outcome: Outcome) -> None:
            self._ended(run)
            try:
                on_finished(outcome)
            finally:  # an error in the panel must not stop the queue
                self._start_next()

        run = Run(label, EngineProcess(command, environment, on_progress=on_progress, on_finished=finished, make_process=self._make_process))
        self._waiting.append(run)
        if self._closed:
            run.process.cancel()
        elif self.current is None:
            self._start_next()
        else:
            self._on_changed()
        return run

    def cancel(self, run: Run) -> None:
        """Cancel one; the others go on."""
        run.process.cancel()

    def cancel_all(self) -> None:
        for run in (*self.waiting, *([self.current] if self.current else [])):  # the waiting ones first, or they would start
            run.process.cancel()

    def close(self) -> None:
        """End them all, and start none any more: the application quits, and what ends one by one must not make room for the next."""
        self._closed = True
        self.cancel_all()

    def _ended(self, run: Run) -> None:
        run.state = "ended"
        if run is self.current:
            self.current = None
        else:
            self._waiting.remove(run)

    def _start_next(self) -> None:
        if self.current is None and self._waiting and not self._closed:
            self.current = self._waiting.popleft()
            self.current.state = "running"
            self.current.process.start()
        self._on_changed()
