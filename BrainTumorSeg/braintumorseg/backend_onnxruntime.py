"""A network on ONNX Runtime: its own CPU kernels everywhere, CUDA and TensorRT on NVIDIA GPUs."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType

import numpy as np

from .backend_failures import is_out_of_memory, load_failure, one_line, pass_failure
from .errors import Cancelled, ModelError, ResourceError
from .hardware import driver_cuda_version, installed_version

__all__ = ["FIRST_CUDA_13", "OnnxRuntimeBackend", "gpu_command", "import_onnxruntime"]

FIRST_CUDA_13 = (1, 27)   # the wheels of PyPI: CUDA 12 up to 1.26, CUDA 13 from there on


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
        missing = _preload(onnxruntime) if gpu else []
        if gpu:
            onnxruntime.set_default_logger_severity(4)  # as above: a library that cannot be loaded is told by its logger for all sessions
        providers = [(provider, dict(options or {})), *(["CPUExecutionProvider"] if gpu else [])]
        try:
            # enable_fallback=0: else it prints why the GPU failed, opens on the CPU, and nobody can say why.
            self.session = onnxruntime.InferenceSession(str(weights), settings, providers=providers, enable_fallback=0)
        except Exception as error:  # ORT raises many kinds, some of them private
            raise _not_opened(error, weights, provider if gpu else None) from None
        if self.session.get_providers()[0] != provider:
            why = f"{', '.join(missing)} could not be loaded" if missing else "a CUDA or cuDNN library is missing or does not fit"
            raise ResourceError(f"{provider} was found but a session did not start on it ({why})", f"{gpu_command(driver_cuda_version())}.")
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
            raise pass_failure(error, channels.shape[1:]) from None
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
    events of every run to Microsoft (its Privacy.md). Raises ResourceError when none is installed, or it cannot be loaded.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, when it is loaded
    try:
        import onnxruntime
    except Exception as error:  # mostly ImportError; a package that does not fit its machine raises other kinds, too
        package = next((name for name in ("onnxruntime-gpu", "onnxruntime") if installed_version(name)), None)
        if package is not None or not isinstance(error, ModuleNotFoundError) or error.name != "onnxruntime":
            raise load_failure("ONNX Runtime", package or "onnxruntime", error) from None
        raise ResourceError("No ONNX Runtime is installed.",
                            "Add one of the two: pip install onnxruntime, or for an NVIDIA GPU: "
                            f"{gpu_command(driver_cuda_version())}.") from None
    return onnxruntime


def gpu_command(driver_cuda: tuple[int, int] | None) -> str:
    """What installs ONNX Runtime for an NVIDIA driver that runs this CUDA (None: the newest there will be), with the libraries it needs.

    In double quotes: to Windows' cmd.exe single ones are letters, and > sends what is printed into a file.
    """
    older = driver_cuda is not None and driver_cuda < (13, 0)
    return f'pip install "onnxruntime-gpu[cuda,cudnn]>=1.23{",<1.27" if older else ""}"'


def _preload(onnxruntime) -> list[str]:
    """Load NVIDIA's wheels beside ONNX Runtime; the names of the libraries that could not be had.

    ONNX Runtime's function prints them on stdout, where another thread may be speaking the child protocol; so it runs with a `print` of its own.
    """
    preload = getattr(onnxruntime, "preload_dlls", None)
    said: list[str] = []
    if isinstance(preload, FunctionType):
        names = {**preload.__globals__, "print": lambda *words, **_: said.append(" ".join(map(str, words)))}
        aside = FunctionType(preload.__code__, names, preload.__name__, preload.__defaults__, preload.__closure__)
        aside.__kwdefaults__ = preload.__kwdefaults__
        aside()
    elif preload is not None:
        preload()
    paths = [found[1] for line in said if (found := re.match(r"Failed to load (.+?): ", line))]
    return list(dict.fromkeys(re.split(r"[\\/]", path)[-1] for path in paths))


def _not_opened(error: Exception, weights: Path, gpu: str | None) -> ModelError | ResourceError:
    """Why a session could not be made; `gpu`: the provider, when it was to run there."""
    if is_out_of_memory(error):
        return ResourceError(f"{'GPU memory' if gpu else 'memory'} is full ({one_line(error)})", "Close other programs.")
    if gpu and isinstance(error, (RuntimeError, ValueError)):   # the card or its libraries; a file's faults are ORT's own kinds
        return ResourceError(f"a session did not start on {gpu} ({one_line(error)})")
    return ModelError(f"{weights.name} cannot be opened as a network ({one_line(error)}).", "Get it again from its maker, or update ONNX Runtime.")


def _terminate_on(cancel: threading.Event, finished: threading.Event, options) -> None:
    while not finished.is_set():
        if cancel.wait(0.1):
            options.terminate = True
            return
