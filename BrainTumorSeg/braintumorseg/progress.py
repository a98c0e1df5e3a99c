"""How far a run is, how long it will still take, and whether it should go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .errors import Cancelled

__all__ = ["Progress", "Update"]

# Share of a run that each step takes on two cores, measured on co-registered cases; only the forecast hangs on it.
_SHARES = {"read": 0.07, "align": 0.05, "prepare": 0.14, "predict": 0.48, "decide": 0.07, "measure": 0.03, "draw": 0.14, "write": 0.02}
_SHARES |= {"retrieve": 1.0, "send": 1.0}  # each a whole in itself: see `Progress.part`


@dataclass(frozen=True)
class Update:
    """`done` counts 0..1 over the whole run; `eta_s` is None until there is something to tell it by."""

    step: str
    done: float
    eta_s: float | None


class Progress:
    """Steps of a run in order: times them (`seconds`), tells `listener`, and raises Cancelled between steps once `cancel` is set."""

    def __init__(self, listener: Callable[[Update], None] = lambda update: None, cancel: threading.Event | None = None):
        self.cancel = cancel or threading.Event()
        self.seconds: dict[str, float] = {}
        self._listener = listener
        self._began = time.monotonic()
        self._before = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[float], None]]:
        """Within it, call what it yields with the step's own share done, 0..1."""
        share = _SHARES[name]

        def tell(done: float) -> None:
            overall = min(self._before + share * done, 1.0)
            passed = time.monotonic() - self._began
            self._listener(Update(name, overall, passed * (1 - overall) / overall if overall > 0.05 else None))

        self.check()
        tell(0.0)
        start = time.monotonic()
        yield tell
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
        self._before += share
        self.check()

    def part(self, low: float, high: float) -> Progress:
        """The progress of a run within this one, whose 0..1 is `low`..`high` here; the same cancel stops both."""
        return Progress(lambda update: self._listener(Update(update.step, low + (high - low) * update.done, update.eta_s)), self.cancel)

    def check(self) -> None:
        if self.cancel.is_set():
            raise Cancelled("The run was cancelled; nothing was written.")
