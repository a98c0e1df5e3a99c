"""ONNX Runtime: open a session on the best provider there is, and say truthfully which one that was."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import Cancelled, ModelError, ResourceError

__all__ = ["DEVICES", "OutOfMemory", "Session", "import_onnxruntime", "open_session"]

DEVICES = ("auto", "cpu", "cuda")

_CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",     # DEFAULT falls back to a slow algorithm with cuDNN 9
    "cudnn_conv_use_max_workspace": "1",
    "arena_extend_strategy": "kSameAsRequested",
}


class OutOfMemory(ResourceError):
    """A forward pass did not fit; a smaller tile may."""


@dataclass(frozen=True, eq=False)
class Session:
    """An open network. `provider` is the one the session really runs on; `note` says why it is not the one asked for."""

    onnx: object
    provider: str
    note: str = ""

    def run(self, channels: np.ndarray, cancel: threading.Event | None = None) -> np.ndarray:
        """Probabilities (R, I, J, K) float32, 0..1, of channels (C, I, J, K) float32.

        `cancel` stops even within the pass. Raises Cancelled, OutOfMemory, or ModelError when the network cannot read the input.
        """
        onnxruntime = import_onnxruntime()
        options, finished = onnxruntime.RunOptions(), threading.Event()
        if cancel is not None:
            threading.Thread(target=_terminate_on, args=(cancel, finished, options), daemon=True).start()
        try:
            (found,) = self.onnx.run(None, {self.onnx.get_inputs()[0].name: channels[None]}, options)
        except Exception as error:  # ORT raises many kinds, some of them private
            if cancel is not None and cancel.is_set():
                raise Cancelled("The run was cancelled.") from None
            text = " ".join(str(error).split())
            if any(sign in text.lower() for sign in ("alloc", "out of memory", "memory")):
                raise OutOfMemory(f"A pass over {' x '.join(map(str, channels.shape[1:]))} voxels does not fit into memory.",
                                  "Close other programs.") from None
            raise ModelError(f"The network could not be run: {text[:300]}", "Get the network again from its maker.") from None
        finally:
            finished.set()
        return found[0]


def open_session(weights: Path, device: str = "auto", threads: int = 0) -> Session:
    """Open the network in an .onnx file on a device of DEVICES; `threads` 0 leaves the choice to ONNX Runtime.

    `auto` takes CUDA when a session really starts on it, else the CPU. Raises ResourceError when no ONNX Runtime is installed, or when
    `cuda` was asked for and cannot be had; ModelError for a file that is no network.
    """
    onnxruntime = import_onnxruntime()
    available = onnxruntime.get_available_providers()
    note = ""
    if device in ("auto", "cuda") and "CUDAExecutionProvider" in available:
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # finds the CUDA and cuDNN wheels beside it
        session = _start(onnxruntime, weights, [("CUDAExecutionProvider", _CUDA_OPTIONS), "CPUExecutionProvider"], threads)
        if session.get_providers()[0] == "CUDAExecutionProvider":
            return Session(session, "CUDAExecutionProvider")
        note = "CUDA was found but a session did not start on it; 'braintumorseg doctor' says more"
    elif device == "cuda":
        note = f"this ONNX Runtime has no CUDA provider (it has {', '.join(available)})"
    if device == "cuda":
        raise ResourceError(f"--device cuda was asked for, and {note}.",
                            "Use --device auto, or install the GPU build: pip uninstall onnxruntime; pip install 'braintumorseg[gpu]'.")
    session = _start(onnxruntime, weights, ["CPUExecutionProvider"], threads)
    return Session(session, session.get_providers()[0], note)


def import_onnxruntime():
    """The package, told beforehand to report nothing: since 1.32 it otherwise makes a lasting identifier of this machine and sends
    events of every run to Microsoft (its Privacy.md). Raises ResourceError when none is installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, when it is loaded
    try:
        import onnxruntime
    except ImportError:
        raise ResourceError("No ONNX Runtime is installed.",
                            "Add one of the two: pip install 'braintumorseg[cpu]', or 'braintumorseg[gpu]' for an NVIDIA GPU.") from None
    return onnxruntime


def _start(onnxruntime, weights: Path, providers: list, threads: int):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what fails is raised or shows in get_providers(); ORT's own lines would reach users' terminals
    try:
        return onnxruntime.InferenceSession(weights.read_bytes(), options, providers=providers)
    except Exception as error:  # as above
        raise ModelError(f"{weights.name} cannot be opened as a network ({' '.join(str(error).split())[:200]}).",
                         "Get it again from its maker, or update ONNX Runtime.") from None


def _terminate_on(cancel: threading.Event, finished: threading.Event, options) -> None:
    while not finished.is_set():
        if cancel.wait(0.1):
            options.terminate = True
            return
