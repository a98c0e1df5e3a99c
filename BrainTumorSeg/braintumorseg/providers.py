"""The provider table: who can run a network, how to tell whether it can do so here, and the options it is opened with and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .backend_onnxruntime import FIRST_CUDA_13, OnnxRuntimeBackend, gpu_command, import_onnxruntime
from .backend_openvino import OpenVinoBackend, import_openvino
from .errors import ResourceError
from .hardware import Machine, has_tensorrt

__all__ = ["DEVICES", "PROVIDERS", "Lack", "Provider", "candidates"]

DEVICES = ("auto", "cpu", "cuda")

_CUDA = {
    "cudnn_conv_algo_search": "HEURISTIC",     # DEFAULT falls back to a slow algorithm with cuDNN 9; EXHAUSTIVE tries all on each new size,
                                               # which a run of one study would wait for and never win back
    "use_tf32": "0",                           # float32 is what the report says; by itself it rounds products to 10 bits on newer cards
    "cudnn_conv_use_max_workspace": "1",       # else the fast algorithms are left out for want of room
    "arena_extend_strategy": "kSameAsRequested",   # doubling would hold twice what a study needs
}


@dataclass(frozen=True)
class Lack:
    """Why a provider cannot run here, and the command that changes it. `notable`: a user would want to hear of it unasked."""

    what: str
    fix: str
    notable: bool = False


@dataclass(frozen=True)
class Provider:
    """One way to run a network.

    name: what --provider, cards and doctor call it.
    device: 'cpu' or 'cuda'.
    lacking: a machine -> what is missing there, None when nothing is.
    load: imports its runtime; raises ResourceError where that is installed and cannot be.
    open: (weights, precision, threads) -> a backend with `run`, `provider` and `precision`.
    automatic: chosen without being asked for.
    """

    name: str
    device: str
    lacking: Callable[[Machine], Lack | None]
    load: Callable[[], object]
    open: Callable[[Path, str, int], object]
    automatic: bool = True


def candidates(device: str, provider: str | None) -> tuple[Provider, ...]:
    """Who may run a network, in this order, for a --device of DEVICES and a --provider, if one was named. Raises ResourceError for unknown ones."""
    if provider is not None:
        named = tuple(one for one in PROVIDERS if one.name == provider)
        if not named:
            raise ResourceError("there is no such provider.", f"Choose one of {', '.join(one.name for one in PROVIDERS)}.")
        return named
    if device not in DEVICES:
        raise ResourceError(f"there is no device '{device}'.", f"Choose one of {', '.join(DEVICES)}; CUDA_VISIBLE_DEVICES picks the card.")
    return tuple(one for one in PROVIDERS if one.automatic and device in ("auto", one.device))


def _lacks_cuda(machine: Machine) -> Lack | None:
    """Asked before ONNX Runtime is to start there: on a machine without a driver it prints pages, and says nothing of the reason."""
    both = {"onnxruntime", "onnxruntime-gpu"} <= machine.packages.keys()
    wheel = machine.packages.get("onnxruntime-gpu")
    if both:
        return Lack("onnxruntime and onnxruntime-gpu are both installed and overwrite each other",
                    "pip uninstall -y onnxruntime onnxruntime-gpu, then " + gpu_command(machine.driver_cuda), notable=True)
    if machine.driver_cuda is None:
        if wheel:
            return Lack("onnxruntime-gpu is installed, and this machine has no NVIDIA driver",
                        "Install NVIDIA's driver, or the CPU's runtime: pip uninstall -y onnxruntime-gpu, then pip install onnxruntime openvino",
                        notable=True)
        return Lack("this machine has no NVIDIA driver", "Install NVIDIA's driver and then the runtime for it: pip uninstall -y onnxruntime, then "
                                                         + gpu_command(None))
    has = ".".join(map(str, machine.driver_cuda))
    if machine.driver_cuda < (12, 0):
        return Lack(f"NVIDIA's driver runs CUDA {has}, and ONNX Runtime needs 12 or newer", "Update NVIDIA's driver to 525 or newer", notable=True)
    if not wheel and _built_for_cuda():
        return None   # which CUDA it needs only a session tells
    if not wheel:
        return Lack("there is an NVIDIA driver, and onnxruntime-gpu is not installed",
                    "pip uninstall -y onnxruntime, then " + gpu_command(machine.driver_cuda), notable=True)
    if _number(wheel) >= FIRST_CUDA_13 and machine.driver_cuda < (13, 0):
        return Lack(f"onnxruntime-gpu {wheel} needs CUDA 13, and NVIDIA's driver runs CUDA {has}",
                    f"Update NVIDIA's driver to 580 or newer, or take an older runtime: {gpu_command(machine.driver_cuda)}", notable=True)
    return None


def _built_for_cuda() -> bool:
    """Whether ONNX Runtime runs on CUDA whatever its package is called: only PyPI's wheels are known by their name."""
    try:
        return "CUDAExecutionProvider" in import_onnxruntime().get_available_providers()
    except (ResourceError, AttributeError):   # there is none, or it cannot be loaded, or an empty folder was left of it
        return False


def _lacks_tensorrt(machine: Machine) -> Lack | None:
    lack = _lacks_cuda(machine)
    if lack is None and not has_tensorrt():
        return Lack("NVIDIA's TensorRT 10 is not where ONNX Runtime looks for it",
                    "Install TensorRT 10 and add the folder of its libraries to LD_LIBRARY_PATH (Windows: PATH)")
    return lack


def _number(version: str) -> tuple[int, int]:
    major, minor, *_ = (*version.split("."), "0")
    return int(major), int(minor)


def _lacks_openvino(machine: Machine) -> Lack | None:
    if not machine.x86:
        return Lack(f"OpenVINO is for x86-64 processors, and this is {machine.processor}", "Leave out --provider")
    if "openvino" not in machine.packages:
        return Lack("the package openvino is not installed", "pip install openvino makes the network faster on this processor",
                    notable=machine.system != "Darwin" and "onnxruntime-gpu" not in machine.packages)  # with it the panel installs no other
    return None


def _lacks_onnxruntime(machine: Machine) -> Lack | None:
    if not {"onnxruntime", "onnxruntime-gpu"} & machine.packages.keys():
        return Lack("no ONNX Runtime is installed", "Add one of the two: pip install onnxruntime, or for an NVIDIA GPU: "
                                                    + gpu_command(machine.driver_cuda))
    return None


def _cuda(weights: Path, precision: str, threads: int) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(weights, "CUDAExecutionProvider", _CUDA, precision, threads)


def _tensorrt(weights: Path, precision: str, threads: int) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(weights, "TensorrtExecutionProvider", None, precision, threads)


def _onnxruntime(weights: Path, precision: str, threads: int) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(weights, "CPUExecutionProvider", None, precision, threads)


PROVIDERS = (
    # Not automatic: it builds an engine for each size of input, which takes minutes, and needs NVIDIA's TensorRT besides.
    Provider("tensorrt", "cuda", _lacks_tensorrt, import_onnxruntime, _tensorrt, automatic=False),
    Provider("cuda", "cuda", _lacks_cuda, import_onnxruntime, _cuda),
    Provider("openvino", "cpu", _lacks_openvino, import_openvino, OpenVinoBackend),
    Provider("onnxruntime", "cpu", _lacks_onnxruntime, import_onnxruntime, _onnxruntime),
)
