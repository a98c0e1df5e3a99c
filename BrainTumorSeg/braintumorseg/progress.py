"""How far a run is, how long it will still take, and whether it should go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from .errors import Cancelled

__all__ = ["Progress", "Update"]

# How long each step takes on two cores, in s, measured on co-registered brain-only cases; only the forecast hangs on it, and `expect`
# corrects it once more is known of the study.
_SECONDS = {"read": 0.25, "align": 1.5, "brain": 0.0, "prepare": 0.5, "predict": 1.6, "decide": 0.25, "measure": 0.1, "draw": 0.5, "write": 0.1}


@dataclass(frozen=True)
class Update:
    """`done` counts 0..1 over the whole run; `eta_s` is None until there is something to tell it by. `counts`: of studies, in a run of many."""

    step: str
    done: float
    eta_s: float | None
    counts: Mapping[str, int] = field(default_factory=dict)


class Progress:
    """Steps of a run in order: times them (`seconds`), tells `listener`, and raises Cancelled between steps once `cancel` is set."""

    def __init__(self, listener: Callable[[Update], None] = lambda update: None, cancel: threading.Event | None = None,
                 seconds: Mapping[str, float] = _SECONDS):
        self.cancel = cancel or threading.Event()
        self.seconds: dict[str, float] = {}
        self._listener = listener
        self._began = time.monotonic()
        self._before = 0.0
        self._to_come = dict(seconds)

    def expect(self, **seconds: float) -> None:
        """How long steps that are still to come will take, now that more is known; what is left of the run is shared out anew."""
        self._to_come.update({name: took for name, took in seconds.items() if name in self._to_come})

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[float], None]]:
        """Within it, call what it yields with the step's own share done, 0..1; that raises Cancelled, too."""
        share = (1 - self._before) * self._to_come[name] / max(sum(self._to_come.values()), 1e-9)

        def tell(done: float) -> None:
            self.check()
            overall = min(self._before + share * done, 1.0)
            passed = time.monotonic() - self._began
            self._listener(Update(name, overall, passed * (1 - overall) / overall if overall > 0.05 else None))

        tell(0.0)
        with self.timed(name):
            yield tell
        self._before += share
        del self._to_come[name]
        self.check()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """What is done within it counts among the step's `seconds`, for work that lies before or after the step itself."""
        start = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start

    def part(self, low: float, high: float, *steps: str) -> Progress:
        """The progress of a run within this one, whose 0..1 is `low`..`high` here: a segmentation, or `steps`. One cancel stops both."""
        def tell(update: Update) -> None:
            self._listener(Update(update.step, low + (high - low) * update.done, update.eta_s))

        return Progress(tell, self.cancel, dict.fromkeys(steps, 1.0) if steps else _SECONDS)

    def check(self) -> None:
        if self.cancel.is_set():
            raise Cancelled("The run was cancelled; nothing was written.")
