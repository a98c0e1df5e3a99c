"""A command in a process of its own: how long it took, the most memory it held, and the last line of JSON that it printed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent

# Linux counts what a process held before it became another program: a small one in between keeps our own memory out of the count.
_BETWEEN = """import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)
seconds = time.perf_counter() - began
print(json.dumps([done.returncode, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.stdout]))"""


def run_child(arguments: Sequence[str | Path], best_of: int = 1) -> dict:
    """{"seconds", "peak_gb", "printed"} of a Python command, the fastest of `best_of`; `printed` is the JSON of its last line."""
    runs = [_once([sys.executable, *map(str, arguments)]) for _ in range(best_of)]
    return min(runs, key=lambda run: run["seconds"])


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
    between = subprocess.run([sys.executable, "-S", "-c", _BETWEEN, *command], stdout=subprocess.PIPE, text=True, check=True)
    status, seconds, peak, printed = json.loads(between.stdout)
    if status:
        raise SystemExit(f"{' '.join(command[1:4])} ... failed")
    return {"seconds": round(seconds, 2), "peak_gb": round(peak / (1e9 if sys.platform == "darwin" else 1e6), 2),
            "printed": json.loads(printed.strip().splitlines()[-1])}


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
            **{package: of(package) for package in ("braintumorseg", "numpy", "onnxruntime", "openvino", "torch", "monai", "nnunetv2")}}
