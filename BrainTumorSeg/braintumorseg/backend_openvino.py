"""A network on OpenVINO: the processor's own kernels for 3-D convolutions, faster here than ONNX Runtime's.

The package `openvino` and not the plug-in for ONNX Runtime: on two larger networks the plug-in took 1.4 to 1.8 times as long, and it has no wheels
for macOS. A graph is compiled for each size of input: fixed sizes ran 7 % (float32) to 25 % (bfloat16) faster than free ones and compile in 0.2 s,
too little for a cache on the disk to pay.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from weakref import WeakSet

import numpy as np

from .backend_failures import load_failure, one_line, pass_failure
from .errors import Cancelled, ModelError, ResourceError

__all__ = ["OpenVinoBackend", "import_openvino"]

_SIZES = 4        # compiled graphs that are kept, 20 to 50 MB each: of a study's sequences, which a cohort's next study repeats
_POLL_MS = 100    # how soon a cancel is seen


class OpenVinoBackend:
    """Runs on the CPU in the `precision` asked for: 'float32', 'bfloat16', or 'int8' for a network that was quantised."""

    provider = "OpenVINO"

    def __init__(self, weights: Path, precision: str = "float32", threads: int = 0):
        openvino = import_openvino()
        _refuse_in_a_fork()
        _watch_forks()
        _living.add(self)
        self.precision = precision
        self._core, self._openvino = openvino.Core(), openvino
        try:
            self._model = self._core.read_model(str(weights))
        except RuntimeError as error:
            raise ModelError(f"{weights.name} cannot be opened as a network ({one_line(error)}).",
                             "Get it again from its maker.") from None
        self._options = {
            "PERFORMANCE_HINT": "LATENCY",           # one study at a time, all cores on it
            # What is not asked for is not done: by itself it takes bfloat16 wherever the processor has it.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "ENABLE_CPU_PINNING": False,             # pinned threads of several runs on one machine would all sit on the same cores
        }
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._compiled: OrderedDict = OrderedDict()   # shape -> compiled graph
        self._lock = threading.Lock()                 # a request serves one pass at a time

    def run(self, channels: np.ndarray, cancel: threading.Event | None = None) -> np.ndarray:
        """(R, I, J, K) float32 of channels (C, I, J, K) float32. Raises Cancelled, OutOfMemory, ModelError, or ResourceError in a fork."""
        _refuse_in_a_fork()
        with _turn(self._lock, cancel):
            try:
                return self._infer(np.ascontiguousarray(channels[None], np.float32), cancel)
            except (RuntimeError, MemoryError) as error:  # OpenVINO's own are all of the first kind
                if cancel is not None and cancel.is_set():
                    raise Cancelled("The run was cancelled.") from None
                raise pass_failure(error, channels.shape[1:]) from None

    def _infer(self, batch: np.ndarray, cancel: threading.Event | None) -> np.ndarray:
        compiled = self._compile(batch.shape)
        request = compiled.create_infer_request()
        found = np.empty(tuple(compiled.output(0).shape), np.float32)
        # Into an array of ours: nothing is copied, and the next pass does not overwrite it.
        request.set_output_tensor(self._openvino.Tensor(found, shared_memory=True))
        request.start_async({0: batch}, share_inputs=True)
        while not request.wait_for(_POLL_MS):
            if cancel is not None and cancel.is_set():
                request.cancel()
                request.wait()  # raises, for it was cancelled
                break
        if cancel is not None and cancel.is_set():
            raise Cancelled("The run was cancelled.")
        del request
        compiled.release_memory()  # the feature maps; a session that waits for the next study holds only its weights
        return found[0]

    def _compile(self, shape: tuple[int, ...]):
        if shape not in self._compiled:
            self._model.reshape(shape)
            self._compiled[shape] = self._core.compile_model(self._model, "CPU", self._options)
            while len(self._compiled) > _SIZES:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(shape)
        return self._compiled[shape]


def import_openvino():
    """The package, without its reports: importing it makes a lasting identifier in the user's home and tells Google Analytics of every start.

    Where the package openvino-telemetry cannot be imported it has a stub of its own that does nothing, so here it cannot be, for the whole
    process; CI=true, the other switch, would mean something to other libraries. Raises ResourceError when OpenVINO cannot be loaded.
    """
    sys.modules.setdefault("openvino_telemetry", None)
    try:
        import openvino
    except Exception as error:  # mostly ImportError; a package that does not fit its machine raises other kinds, too
        raise load_failure("OpenVINO", "openvino", error) from None
    return openvino


_living: WeakSet = WeakSet()   # the backends of this process
_forked = False                # off a process that had used OpenVINO


def _refuse_in_a_fork() -> None:
    if _forked:
        raise ResourceError("OpenVINO was in use before this process was forked, and would hang in it",
                            "Start worker processes with multiprocessing's 'spawn'.")


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    """Threads do not come along into a forked process: a pass there, and even giving a network back, would wait for them for ever."""
    global _forked
    _forked = True
    for backend in list(_living):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(backend))   # so that it is never given back


@contextmanager
def _turn(lock: threading.Lock, cancel: threading.Event | None) -> Iterator[None]:
    """The lock held; a cancel ends the wait for it, too."""
    while not lock.acquire(timeout=_POLL_MS / 1000):
        if cancel is not None and cancel.is_set():
            raise Cancelled("The run was cancelled.")
    try:
        yield
    finally:
        lock.release()
