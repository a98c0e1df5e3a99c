"""A network on ONNX Runtime: its own CPU kernels everywhere, CUDA and TensorRT on NVIDIA GPUs."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .errors import Cancelled, ModelError, OutOfMemory, ResourceError

__all__ = ["OnnxRuntimeBackend", "import_onnxruntime"]


class OnnxRuntimeBackend:
    """A session that really runs on `provider`, or ResourceError at birth: ONNX Runtime by itself would go on silently without it."""

    def __init__(self, weights: Path, provider: str, options: Mapping[str, str] | None = None, precision: str = "float32", threads: int = 0):
        onnxruntime = import_onnxruntime()
        self.provider, self.precision = provider, precision
        if provider not in onnxruntime.get_available_providers():
            raise ResourceError(f"this ONNX Runtime has no {provider} (it has {', '.join(onnxruntime.get_available_providers())})")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 4  # what fails is raised or shows in get_providers(); ORT's own lines would reach users' terminals
        gpu = provider != "CPUExecutionProvider"
        if gpu and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # finds the CUDA and cuDNN wheels beside it
        providers = [(provider, dict(options or {})), *(["CPUExecutionProvider"] if gpu else [])]
        try:
            self.session = onnxruntime.InferenceSession(str(weights), settings, providers=providers)
        except Exception as error:  # ORT raises many kinds, some of them private
            raise ModelError(f"{weights.name} cannot be opened as a network ({' '.join(str(error).split())[:200]}).",
                             "Get it again from its maker, or update ONNX Runtime.") from None
        if self.session.get_providers()[0] != provider:
            raise ResourceError(f"{provider} was found but a session did not start on it (a CUDA or cuDNN library is missing or does not fit)")
        self._gpu = gpu

    def run(self, channels: np.ndarray, cancel: threading.Event | None = None) -> np.ndarray:
        """(R, I, J, K) float32 of channels (C, I, J, K) float32; `cancel` stops even within. Raises Cancelled, OutOfMemory, or ModelError."""
        onnxruntime = import_onnxruntime()
        options, finished = onnxruntime.RunOptions(), threading.Event()
        # What the arena took for the feature maps goes back after each pass: a session may wait long for the next study.
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "gpu:0" if self._gpu else "cpu:0")
        if cancel is not None:
            threading.Thread(target=_terminate_on, args=(cancel, finished, options), daemon=True).start()
        try:
            return self._bound(np.ascontiguousarray(channels[None], np.float32), options)[0]
        except Exception as error:  # as above
            if cancel is not None and cancel.is_set():
                raise Cancelled("The run was cancelled.") from None
            text = " ".join(str(error).split())
            if any(sign in text.lower() for sign in ("alloc", "out of memory", "memory")):
                raise OutOfMemory(f"A pass over {' x '.join(map(str, channels.shape[1:]))} voxels does not fit into memory.",
                                  "Close other programs.") from None
            raise ModelError(f"The network could not be run: {text[:300]}", "Get the network again from its maker.") from None
        finally:
            finished.set()

    def _bound(self, batch: np.ndarray, options) -> np.ndarray:
        """One pass with input and output bound to memory of ours, so that a GPU copies each just once."""
        binding = self.session.io_binding()
        binding.bind_cpu_input(self.session.get_inputs()[0].name, batch)
        binding.bind_output(self.session.get_outputs()[0].name, "cpu")
        self.session.run_with_iobinding(binding, options)
        (found,) = binding.copy_outputs_to_cpu()
        return found


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


def _terminate_on(cancel: threading.Event, finished: threading.Event, options) -> None:
    while not finished.is_set():
        if cancel.wait(0.1):
            options.terminate = True
            return
