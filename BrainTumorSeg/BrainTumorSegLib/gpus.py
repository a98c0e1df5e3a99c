"""The NVIDIA GPUs of this computer, by the driver's own tool; asked beside, for it may take a second."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from .qt_process import QtProcess

__all__ = ["device_options", "find_gpus"]


def find_gpus(on_found: Callable[[list], None], *, make_process=QtProcess, which: Callable = shutil.which) -> None:
    """Call `on_found` with the names of the GPUs, in the driver's order; not called when there is no driver or no GPU."""
    tool = which("nvidia-smi")
    if not tool:
        return
    output: list[bytes] = []

    def ended(code, reason: str) -> None:
        names = [line.strip() for line in b"".join(output).decode("utf-8", "replace").splitlines() if line.strip()]
        if code == 0 and names:
            on_found(names)

    make_process(output.append, lambda data: None, ended).start([tool, "--query-gpu=name", "--format=csv,noheader"], dict(os.environ))


def device_options(device: str) -> tuple:
    """(the engine's option, what to add to its environment) for 'auto', 'cpu', 'cuda', or 'cuda:1' for one GPU of several."""
    kind, _, number = device.partition(":")
    return (kind, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": number}) if number else (kind, {})
