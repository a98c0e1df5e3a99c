"""What this machine can compute with: the processor's instructions, NVIDIA's driver and cards, and the runtimes that are installed."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["FEATURES", "RUNTIMES", "Machine", "cpu_features", "driver_cuda_version", "has_tensorrt", "installed_version", "nvidia_gpus",
           "this_machine"]

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino")

# Our name of an instruction set -> the names that Linux and NumPy have for it, each of which is enough. What it is good for:
FEATURES = {
    "avx2": ("avx2",),                        # float32, 8 at a time
    "avx512": ("avx512f",),                   # float32, 16 at a time
    "vnni": ("avx512_vnni", "avx_vnni", "avx512vnni"),   # products of 8-bit integers, four at a time
    "avx512_bf16": ("avx512_bf16", "avx512bf16"),        # products of bfloat16
    "amx_bf16": ("amx_bf16",),                # the same for whole tiles of a matrix
    "amx_int8": ("amx_int8",),
}


@dataclass(frozen=True)
class Machine:
    """The facts that the choice of a provider hangs on; tests make their own."""

    system: str                                   # 'Linux', 'Windows', 'Darwin'
    processor: str                                # 'x86_64', 'AMD64', 'arm64', ...
    features: frozenset[str] = frozenset()        # of FEATURES
    driver_cuda: tuple[int, int] | None = None    # newest CUDA that NVIDIA's driver runs; None without a driver
    packages: Mapping[str, str] = field(default_factory=dict)   # those of RUNTIMES that are installed -> version

    @property
    def x86(self) -> bool:
        return self.processor.lower() in ("x86_64", "amd64")


def this_machine() -> Machine:
    return Machine(platform.system(), platform.machine(), cpu_features(), driver_cuda_version(),
                   {name: found for name in RUNTIMES if (found := installed_version(name))})


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo"), numpy_features: Mapping[str, bool] | None = None) -> frozenset[str]:
    """Those of FEATURES that processor and system offer: Linux says it; elsewhere NumPy knows all but AMX, which then counts as absent."""
    try:
        flags = next(line.split(":")[1].split() for line in cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
                     if line.startswith("flags"))
    except (OSError, StopIteration):
        flags = [name.lower() for name, there in (_numpy_features() if numpy_features is None else numpy_features).items() if there]
    return frozenset(name for name, signs in FEATURES.items() if set(signs) & set(flags))


def driver_cuda_version(load: Callable = ctypes.CDLL) -> tuple[int, int] | None:
    """The newest CUDA that the installed NVIDIA driver runs, asked of the driver's own library; None without a driver.

    Takes no time and touches no GPU (cuDriverGetVersion works before cuInit).
    """
    try:
        library = load("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        number = ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(number)) != 0 or number.value <= 0:
            return None
    except (OSError, AttributeError):  # not there, or not a driver
        return None
    return number.value // 1000, number.value % 1000 // 10


def has_tensorrt(load: Callable = ctypes.CDLL) -> bool:
    """True when the loader finds NVIDIA's TensorRT 10, the one that ONNX Runtime's wheels are built with."""
    try:
        load("nvinfer_10.dll" if sys.platform == "win32" else "libnvinfer.so.10")
    except OSError:
        return False
    return True


def installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def nvidia_gpus(run: Callable = subprocess.run) -> list[dict]:
    """name, memory_gb and driver of each card, as nvidia-smi tells them; [] without it."""
    try:
        done = run(["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"], capture_output=True, text=True,
                   timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode != 0:
        return []
    cards = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines()]
    return [{"name": name, "memory_gb": round(float(memory) / 1024, 1), "driver": driver}
            for name, memory, driver in (card for card in cards if len(card) == 3) if memory.replace(".", "", 1).isdigit()]


def _numpy_features() -> Mapping[str, bool]:
    try:
        from numpy._core._multiarray_umath import __cpu_features__
    except ImportError:  # it is NumPy's own affair; without it the processor counts as a plain one
        return {}
    return __cpu_features__
