"""Which ONNX Runtime suits this computer: a pure function of the system, the processor and what the GPU's driver can do."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RUNTIMES", "Runtime", "choose_runtime", "read_requirements", "this_runtime"]


@dataclass(frozen=True)
class Runtime:
    """One way to run networks: its pip requirements, and the MB of all the engine's packages with it (measured on Linux, Python 3.11)."""

    name: str
    requirements: tuple[str, ...]
    download_mb: int
    disk_mb: int
    text: str


RUNTIMES = {one.name: one for one in (
    Runtime("cpu", ("onnxruntime>=1.23",
                    "openvino>=2025.4; sys_platform != 'darwin' and (platform_machine == 'x86_64' or platform_machine == 'AMD64')"),
            220, 900, "runs on the processor"),
    # The last ONNX Runtime with wheels for macOS on Intel, which is what Slicer is on every Mac.
    Runtime("cpu-macos", ("onnxruntime>=1.23,<1.24",), 165, 750, "runs on the processor"),
    Runtime("cuda12", ("onnxruntime-gpu[cuda,cudnn]>=1.23,<1.27",), 2100, 4400, "runs on an NVIDIA GPU (CUDA 12)"),
    Runtime("cuda13", ("onnxruntime-gpu[cuda,cudnn]>=1.31",), 1700, 3500, "runs on an NVIDIA GPU (CUDA 13)"),
)}


def choose_runtime(system: str, machine: str, cuda: tuple[int, int] | None) -> Runtime:
    """`system` and `machine` as platform.system() and .machine() say them; `cuda` is the newest CUDA that the driver runs, None without one."""
    intel = machine.lower() in ("x86_64", "amd64")
    if system == "Darwin":
        return RUNTIMES["cpu-macos" if intel else "cpu"]
    if cuda is None or cuda < (12, 0) or not intel or system not in ("Linux", "Windows"):  # no GPU wheels elsewhere
        return RUNTIMES["cpu"]
    return RUNTIMES["cuda13" if cuda >= (13, 0) else "cuda12"]


def this_runtime() -> Runtime:
    from braintumorseg.hardware import driver_cuda_version

    return choose_runtime(platform.system(), platform.machine(), driver_cuda_version())


def read_requirements(file: Path) -> tuple[str, ...]:
    """The lines of a requirements file without comments."""
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line)
