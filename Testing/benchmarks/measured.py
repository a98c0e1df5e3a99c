"""A command in a process of its own: how long it took, the most memory that it and its children held, and the last line of JSON that it printed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent

THREAD_LIMITS = ("OMP_", "MKL_", "KMP_", "GOTO_", "OPENBLAS_", "ONEDNN_MAX_THREADS", "NUMEXPR_")   # variables that bind some runtimes and not others
PACKAGES = ("braintumorseg", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "monai", "nnunetv2")
_SAMPLE_S = 0.25   # a look takes some milliseconds of a core

# Linux counts what a process held before it became another program: a small one in between keeps our own memory out of the count.
_BETWEEN = """import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, seconds, used.ru_maxrss, used.ru_utime + used.ru_stime, done.stdout, done.stderr]))"""


def run_child(arguments: Sequence[str | Path], best_of: int = 1, by: Callable[[dict], float] = lambda run: run["seconds"]) -> dict:
    """{"seconds", "runs", "peak_gb", "cores_used", "printed"} of a Python command, the fastest `by` its seconds of `best_of` runs.

    printed: the JSON of its last line; cores_used: seconds of processor time a second. Raises SystemExit with the command's own last words.
    """
    runs = [_once([sys.executable, *map(str, arguments)]) for _ in range(best_of)]
    return {**min(runs, key=by), "runs": best_of}


def free_threads(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which every runtime takes all cores: what limits some of them is left out, nnU-Net's own limit of 8 raised."""
    kept = {name: value for name, value in environment.items() if not name.startswith(THREAD_LIMITS)}
    return {**kept, "nnUNet_def_n_proc": str(os.cpu_count() or 1)}


def fastest(run: Callable[[], object], times: int) -> tuple[object, float]:
    """What `run` returns and the seconds of its fastest call of `times`, after one that does not count."""
    found, seconds = run(), []
    for _ in range(times):
        began = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - began)
    return found, min(seconds)


class TreeMemory:
    """While it is entered: the most that the processes under `root` held together, in bytes. A page that several share counts for each."""

    def __init__(self, root: int, every: float = _SAMPLE_S):
        self.peak, self._root, self._every, self._ended = 0, root, every, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> TreeMemory:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self.peak = max(self.peak, sum(held for held in map(_held, descendants(self._root))))


def descendants(root: int) -> list[int]:
    """Process ids under `root`, itself not counted; none when it has ended."""
    import psutil

    try:
        return [process.pid for process in psutil.Process(root).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _held(process: int) -> int:
    import psutil

    try:
        return psutil.Process(process).memory_info().rss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


class OtherWork:
    """While it is entered: the share 0..1 of the machine's cores that other processes took. A measurement is worth that much less."""

    def __enter__(self) -> OtherWork:
        self._began, self.share = self._busy_and_own(), 0.0
        return self

    def __exit__(self, *_) -> None:
        busy, own, wall = (now - then for now, then in zip(self._busy_and_own(), self._began, strict=True))
        self.share = round(max(0.0, busy - own) / max(wall * (os.cpu_count() or 1), 1e-9), 3)

    @staticmethod
    def _busy_and_own() -> tuple[float, float, float]:
        """Seconds of all cores at work, of our own threads and ended children, and of the clock."""
        import psutil

        all_cores, own = psutil.cpu_times(), os.times()
        idle = all_cores.idle + getattr(all_cores, "iowait", 0.0) + getattr(all_cores, "guest", 0.0) + getattr(all_cores, "guest_nice", 0.0)
        return sum(all_cores) - idle, own.user + own.system + own.children_user + own.children_system, time.perf_counter()


def _once(command: list[str]) -> dict:
    with subprocess.Popen([sys.executable, "-S", "-c", _BETWEEN, *command], stdout=subprocess.PIPE, text=True, env=free_threads()) as between, \
            TreeMemory(between.pid) as together:
        status, seconds, largest, computed, printed, said = json.loads(between.communicate()[0])
    if status:
        lines = [line for line in said.splitlines() if line.strip()] or [f"it ended with {status} and said nothing"]
        raise SystemExit(f"{' '.join(Path(part).name for part in command[1:4])} ... failed: {lines[-1].strip()}")
    largest *= 1 if sys.platform == "darwin" else 1024
    return {"seconds": round(seconds, 2), "peak_gb": round(max(largest, together.peak) / 1e9, 2), "cores_used": round(computed / seconds, 2),
            "printed": json.loads(printed.strip().splitlines()[-1])}


def model_of(card) -> dict:
    """Which network the numbers are of."""
    return {"name": card.name, "version": card.version, "sha256": card.sha256}


def machine() -> dict:
    """What the numbers were measured on."""
    from importlib.metadata import PackageNotFoundError, version

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "absent"

    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        named = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = named[0] if named else processor
    return {"processor": processor, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version(),
            **{package: of(package) for package in PACKAGES}}
