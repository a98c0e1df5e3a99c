"""Open a network on the best provider there is, fall to the next with the reason when one fails, and say truthfully which one ran."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

import numpy as np

from .backend_failures import one_line
from .backend_onnxruntime import import_onnxruntime
from .cores import granted_cores
from .errors import BrainTumorSegError, Cancelled, ModelError, OutOfMemory, ResourceError
from .hardware import Machine, this_machine
from .model_card import Variant
from .providers import DEVICES, PROVIDERS, Lack, Provider, candidates
from .weights import choose_weights

__all__ = ["DEVICES", "PROVIDERS", "OutOfMemory", "Session", "import_onnxruntime", "open_session"]

_KEPT = 4        # open networks: two tasks on two devices
_RETRY_S = 60    # after which a provider that did not start is tried again; then after twice as long each time


class Session:
    """An open network. It starts on the first provider that can open it, and goes on to the next when that one fails.

    provider, precision, weights: what it really runs on and computes in, and the file, at this moment.
    reasons: why not on those that came before, where there is something to tell; note: the same as one text.
    threads: no more are taken than the cores that this process has, and a reason says so.
    broken: those of them that did not start or failed in a pass, by name.
    """

    def __init__(self, weights: Path, variants: Sequence[Variant], providers: Sequence[Provider], threads: int, machine: Machine):
        if not isinstance(threads, Integral) or threads < 0:   # the runtimes take such numbers in ways of their own
            raise ResourceError(f"{threads} threads were asked for.", "Give a whole number, or 0 for all cores.")
        cores = granted_cores()   # thousands of threads stop a machine, and more than it has cores only wait for each other
        self._network, self._variants, self._threads, self._machine = weights, variants, min(threads, cores), machine
        self.weights = weights
        self._left = list(providers)
        self._reasons = [f"the {threads} threads asked for were cut to {cores}, the number of cores"] if threads > cores else []
        self.broken: dict[str, Lack] = {}
        self.fell_back = False   # while it ran
        self.retry_s = _RETRY_S
        self._opened = time.monotonic()
        self._lock = threading.Lock()   # several studies may run on one session, each in its thread
        self._name, self._backend = self._open_next(self._reasons)

    @property
    def provider(self) -> str:
        return self._backend.provider

    @property
    def precision(self) -> str:
        return self._backend.precision

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(self._reasons)

    @property
    def note(self) -> str:
        return "; ".join(self._reasons)

    @property
    def outdated(self) -> bool:
        """True when the network should be opened anew, for what failed may work again: at once when it failed in a pass, else after `retry_s`."""
        return self.fell_back or (bool(self.broken) and time.monotonic() - self._opened >= self.retry_s)

    def run(self, channels: np.ndarray, cancel: threading.Event | None = None) -> np.ndarray:
        """Probabilities (R, I, J, K) float32, 0..1, of channels (C, I, J, K) float32.

        `cancel` stops even within the pass. Raises Cancelled, OutOfMemory, or, when no provider can run the network on this input, ModelError
        or ResourceError.
        """
        while True:
            backend = self._backend
            try:
                return backend.run(channels, cancel)
            except (Cancelled, OutOfMemory):
                raise
            except (ModelError, ResourceError) as error:
                if not self.fall_back(backend.provider, error.what, error.fix):
                    raise

    def fall_back(self, failed: str, why: str, fix: str = "") -> bool:
        """Go on with the provider after `failed`, and note why; False when there is none. Another thread may have done so already."""
        with self._lock:
            if self.provider != failed:
                return True
            if not self._left:
                return False
            lack = Lack(f"{failed} failed: {why.rstrip('.')[:160]}", fix.rstrip("."))
            reasons = [*self._reasons, lack.what]
            try:
                name, backend = self._open_next(reasons)
            except BrainTumorSegError:
                return False
            self.broken[self._name] = lack
            self._name, self._backend, self._reasons, self.fell_back = name, backend, reasons, True
            return True

    def _open_next(self, reasons: list[str]):
        """The next provider that can open the network, by name, and its backend; why others could not is added to `reasons`."""
        lack, broken = None, None
        while self._left:
            provider = self._left.pop(0)
            found = provider.lacking(self._machine)
            if found is not None:
                lack = found   # of the plainest one in the end, which everybody can have
                if found.notable:
                    reasons.append(f"{found.what} ({found.fix})")
                continue
            weights, precision, remark = choose_weights(self._network, self._variants, provider.name, self._machine.features)
            try:
                backend = provider.open(weights, precision, self._threads)
            except Exception as error:  # runtimes raise many kinds, and none of them keeps the next from being tried
                broken = error if isinstance(error, BrainTumorSegError) else ResourceError(f"the runtime failed ({_told(error)})")
                self.broken[provider.name] = Lack(f"{provider.name} did not start: {broken.what.rstrip('.')}", broken.fix.rstrip("."))
                reasons.append(self.broken[provider.name].what)
                continue
            if remark:
                reasons.append(remark)
            self.weights = weights
            return provider.name, backend
        if broken is not None:
            raise broken
        raise ResourceError(f"{lack.what}.", f"{lack.fix}.")


def _told(error: Exception) -> str:
    return one_line(error) or type(error).__name__


_sessions: OrderedDict[tuple, Session] = OrderedDict()
_sessions_lock = threading.Lock()


def open_session(weights: Path, device: str = "auto", threads: int = 0, *, provider: str | None = None, variants: Sequence[Variant] = (),
                 machine: Machine | None = None) -> Session:
    """The network in an .onnx file, open on a device of DEVICES; the same session again for the same file in one process.

    Args:
        threads: for the network on a CPU; 0 takes all cores, and no number takes more.
        provider: the name of one of PROVIDERS, and only that one, whatever the device.
        variants: the card's; each lies beside the weights.
        machine: what to choose by; None looks.

    `auto` takes CUDA when a session really starts on it, then the CPU: OpenVINO, then ONNX Runtime. Raises ResourceError when no runtime is
    installed, or when what was asked for cannot be had; ModelError for a file that is no network.
    """
    state = weights.stat() if weights.is_file() else None
    key = (weights.absolute(), state and (state.st_mtime_ns, state.st_size), device, threads, provider,
           tuple((one.file, one.precision, one.sha256) for one in variants), id(machine))
    with _sessions_lock:
        session = _sessions.pop(key, None)
        if session is None or session.outdated:   # a GPU that failed one study must not send all that follow to the CPU
            before, session = session, _open(weights, device, threads, provider, variants, machine or this_machine())
            if before is not None and not before.fell_back:   # opening costs the compiled graphs of what works: ever more seldom
                session.retry_s = 2 * before.retry_s
        _sessions[key] = session
        while len(_sessions) > _KEPT:
            _sessions.popitem(last=False)
    return session


def _open(weights: Path, device: str, threads: int, provider: str | None, variants: Sequence[Variant], machine: Machine) -> Session:
    asked = f"--provider {provider}" if provider else f"--device {device}" if device != "auto" else ""
    try:
        return Session(weights, variants, candidates(device, provider), threads, machine)
    except ResourceError as error:
        what = f"{asked} was asked for, and {error.what}" if asked else f"{error.what[0].upper()}{error.what[1:]}"
        raise ResourceError(what, error.fix or "Use --device auto.") from None
