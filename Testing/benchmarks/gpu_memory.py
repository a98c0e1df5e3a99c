"""How much of a GPU's memory the processes of a benchmark hold: NVML where the package nvidia-ml-py is, else the program nvidia-smi."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from measured import descendants

# Bytes that each process holds by its id, and what the whole card holds.
Reading = tuple[dict[int, int], int]
MIB = 1 << 20


@dataclass
class GpuMemory:
    """While it is entered, what the processes under this one hold is read every so often; then `peak`, and `at` for a stretch of time.

    Where the driver does not tell a process's memory (containers with process ids of their own, Windows), it is what the whole card holds more than
    at the beginning: `of` says which.
    """

    read: Callable[[], Reading]
    every: float = 0.1
    under: Callable[[], Iterable[int]] = lambda: descendants(os.getpid())
    samples: list[tuple[float, int, int]] = field(default_factory=list)   # time, of the processes, of the card more than at the beginning
    failed: str = ""

    def __enter__(self) -> GpuMemory:
        self._ended = threading.Event()
        first = self._read()
        self._thread = threading.Thread(target=self._watch, args=(first[1] if first else 0,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def of(self) -> str:
        return "its processes" if self._told else "the whole card, less what it held before"

    @property
    def peak(self) -> int:
        return max((sample[self._column] for sample in self.samples), default=0)

    def at(self, began: float, ended: float) -> int | None:
        """The most between two times of `time.time`; None when nothing was read then."""
        return max((sample[self._column] for sample in self.samples if began <= sample[0] <= ended), default=None)

    @property
    def _told(self) -> bool:
        return any(held for _, held, _ in self.samples)

    @property
    def _column(self) -> int:
        return 1 if self._told else 2

    def _watch(self, before: int) -> None:
        while not self.failed and not self._ended.wait(self.every):
            if found := self._read():
                (by_process, card), ours = found, {*self.under(), os.getpid()}
                self.samples.append((time.time(), sum(held for process, held in by_process.items() if process in ours), max(0, card - before)))

    def _read(self) -> Reading | None:
        try:
            return self.read()
        except Exception as error:  # NVML's own kinds, too; what is measured meanwhile goes on
            self.failed = f"{type(error).__name__}: {error}"
            return None


def reader(card: str = "") -> Callable[[], Reading]:
    """What reads the card's memory here; `card` by number or UUID, "" is the first that CUDA_VISIBLE_DEVICES names. Raises OSError without any."""
    card = card or os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
    try:
        return nvml_reader(card)
    except ImportError:
        pass
    except Exception as error:  # NVML's own errors; nvidia-smi may still do
        print(f"NVML does not answer ({error}); asking nvidia-smi")
    smi_reading(card)
    return lambda: smi_reading(card)


def nvml_reader(card: str) -> Callable[[], Reading]:
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(int(card)) if card.isdecimal() else pynvml.nvmlDeviceGetHandleByUUID(card)

    def read() -> Reading:
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        return {one.pid: one.usedGpuMemory or 0 for one in processes}, pynvml.nvmlDeviceGetMemoryInfo(handle).used

    return read


def smi_reading(card: str, run: Callable = subprocess.run) -> Reading:
    def ask(what: str) -> list[list[str]]:
        done = run(["nvidia-smi", f"--id={card}", what, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=20, check=True)
        return [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines() if line.strip()]

    by_process: dict[int, int] = {}
    for process, held in ask("--query-compute-apps=pid,used_memory"):
        if process.isdecimal() and held.isdecimal():   # "[N/A]" where the driver does not tell
            by_process[int(process)] = by_process.get(int(process), 0) + int(held) * MIB
    return by_process, sum(int(used) * MIB for (used,) in ask("--query-gpu=memory.used") if used.isdecimal())


def host_reading() -> Reading:
    """In a rehearsal without a GPU: the memory of the machine that the processes hold."""
    import psutil

    held = {}
    for process in descendants(os.getpid()):
        try:
            held[process] = psutil.Process(process).memory_info().rss
        except psutil.Error:
            continue
    return held, sum(held.values())
