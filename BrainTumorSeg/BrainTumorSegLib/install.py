"""The engine's Python packages: in a private folder that only the engine's process sees, so nothing that Slicer brought is changed.

A site may instead name a Python that has them (environment variable BRAINTUMORSEG_PYTHON, or the setting BrainTumorSeg/Python).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .manifest import Manifest, requirements_hash
from .process import NAMED_PYTHON, EngineProcess, Outcome
from .qt_process import QtProcess
from .runtime_choice import RUNTIMES, Runtime, read_requirements, this_runtime

__all__ = ["OLDEST_PYTHON", "Installation", "State"]

OLDEST_PYTHON = (3, 11)
_PATH = "BRAINTUMORSEG_PATH"  # folders of packages that come before all others in the child
_LAST_TEST = "self-test.json"


@dataclass(frozen=True)
class State:
    """`kind`: ready, missing, broken, outdated or unsupported; `text` is for the user."""

    kind: str
    text: str

    @property
    def ready(self) -> bool:
        return self.kind == "ready"


class Installation:
    """The packages of one Slicer, in `folder`.

    `module_folder` holds the packages braintumorseg and BrainTumorSegLib, and Resources. `python` runs the engine; it is `chosen` when
    a site named it, and then nothing is installed. `environment` is what its process inherits: Slicer's own for Slicer's Python, that
    from before Slicer started for a chosen one.
    """

    def __init__(self, folder: Path, module_folder: Path, python: str, *, chosen: bool = False, environment: Mapping[str, str] | None = None,
                 python_version: tuple[int, int] = sys.version_info[:2], runtime: Runtime | None = None, make_process=QtProcess):
        self.folder = Path(folder)
        self.python = str(python)
        self.chosen = chosen
        self._module_folder = Path(module_folder)
        self._environment = dict(os.environ if environment is None else environment)
        self._python_version = tuple(python_version)
        self._runtime = runtime
        self._make_process = make_process
        self._removal: EngineProcess | None = None

    @property
    def runtime(self) -> Runtime:
        """The ONNX Runtime that an installation brings."""
        if self._runtime is None:
            self._runtime = this_runtime()
        return self._runtime

    @property
    def download_mb(self) -> int:
        return self.runtime.download_mb

    @property
    def question(self) -> str:
        """What the user is asked before anything is downloaded."""
        return (f"The engine needs Python packages (ONNX Runtime, SimpleITK, SciPy, pydicom and others): about {_size(self.runtime.download_mb)} to "
                f"download, {_size(self.runtime.disk_mb)} on the disk. It then {self.runtime.text}.\n\nThey go into a private folder,\n"
                f"{self.folder}\nand change nothing of Slicer's own Python. Remove deletes them again. Install them now?")

    def state(self) -> State:
        """Fast: two small files and one listing; nothing is imported."""
        if self.chosen:
            return self._state_of_chosen()
        if self._python_version < OLDEST_PYTHON:
            return State("unsupported", f"This Slicer has Python {_dotted(self._python_version)}; the engine needs {_dotted(OLDEST_PYTHON)} "
                                        "or newer. Use Slicer 5.10 or newer, or name a Python that has the engine's packages in "
                                        "BRAINTUMORSEG_PYTHON.")
        if self._removal is not None and self._removal.running:
            return State("missing", "The engine is being removed.")
        manifest = Manifest.read(self.folder)
        if manifest is None:
            return State("missing", "The engine is not installed yet. Press Install.")
        if not manifest.is_whole(self.folder) or manifest.runtime not in RUNTIMES:
            return State("broken", "Parts of the engine's packages are gone. Press Repair.")
        if manifest.requirements != requirements_hash(self._requirements()):
            return State("outdated", "This version of the module needs newer packages. Press Install.")
        if manifest.runtime != self.runtime.name:
            return State("ready", f"Ready; it {RUNTIMES[manifest.runtime].text}. The GPU driver has changed: Repair brings the engine that "
                                  f"{self.runtime.text}.")
        return State("ready", f"Ready; it {RUNTIMES[manifest.runtime].text}.")

    @property
    def removable(self) -> bool:
        """Whether anything of ours lies on the disk: the engine, what a stopped installation had downloaded, or the rest of a removal."""
        try:
            return not self.chosen and bool(set(os.listdir(self.folder)) - {"install.lock"})
        except OSError:
            return False

    def command(self) -> list[str]:
        """To be followed by a verb and its options."""
        return self._start("braintumorseg")

    def environment(self) -> dict[str, str]:
        """The engine's environment: our folders come first, and nothing else of the user's Python is seen."""
        manifest = None if self.chosen else Manifest.read(self.folder)
        ours = [str(self.folder / manifest.packages)] if manifest else []
        return self._with_path([str(self._module_folder), *ours])

    def install(self, on_progress: Callable[[str, float, float | None], None], on_finished: Callable[[Outcome], None], *,
                wheels: Path | None = None) -> EngineProcess:
        """Start an installation (a running one's `cancel()` stops it; what it downloaded is kept) and return its process.

        Always afresh: nothing of what is there is trusted, so this repairs, too.
        `wheels`: a folder of wheels to install from, without a network. What is installed stays in use until the new one is complete.
        """
        options = ["--runtime", self.runtime.name, "--requirements", str(self._requirements_file)]
        if wheels is not None:
            options += ["--wheels", str(wheels)]
        process = self._child(options, on_progress, on_finished)
        process.start()
        return process

    def remove(self, on_progress: Callable[[str, float, float | None], None], on_finished: Callable[[Outcome], None]) -> EngineProcess:
        """Start deleting the packages and return the process; a thread would stand still, for Slicer's event loop keeps Python's lock."""
        self._removal = self._child(["--remove"], on_progress, on_finished)
        self._removal.start()
        return self._removal

    def self_test(self, on_finished: Callable[[Outcome], None]) -> EngineProcess:
        """Run `doctor`: its findings are the outcome's result, and are kept as `last_self_test`."""
        def finished(outcome: Outcome) -> None:
            if not outcome.cancelled:
                self._keep(outcome)
            on_finished(outcome)

        process = EngineProcess([*self.command(), "doctor", "--json"], self.environment(), on_finished=finished, make_process=self._make_process)
        process.start()
        return process

    @property
    def last_self_test(self) -> dict | None:
        """The findings of the last self-test of this Python ({"error": ...} when it could not run), None before the first."""
        try:
            kept = json.loads((self.folder / _LAST_TEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return kept["found"] if isinstance(kept, dict) and kept.get("python") == self.python else None

    @property
    def _requirements_file(self) -> Path:
        return self._module_folder / "Resources" / "requirements.txt"

    def _requirements(self) -> tuple[str, ...]:
        return read_requirements(self._requirements_file)

    def _state_of_chosen(self) -> State:
        if shutil.which(self.python) is None:
            return State("broken", f"The Python named for the engine is not there: {self.python}. Correct BRAINTUMORSEG_PYTHON, or unset it.")
        found = self.last_self_test
        if found is not None and "error" in found:
            return State("broken", f"The Python named for the engine cannot run it: {found['error']}")
        if found is None:
            return State("ready", f"Not tested yet: press Self-test. It uses the Python named for it: {self.python}")
        return State("ready", f"Ready; it uses the Python named for it: {self.python}")

    def _keep(self, outcome: Outcome) -> None:
        found = outcome.result if isinstance(outcome.result, dict) else {"error": f"{outcome.what} {outcome.fix}".strip()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / _LAST_TEST).write_text(json.dumps({"python": self.python, "found": found}), encoding="utf-8")
        except OSError:  # only a convenience: the outcome itself is shown
            pass

    def _child(self, options: list[str], on_progress: Callable, on_finished: Callable[[Outcome], None]) -> EngineProcess:
        return EngineProcess([*self._start("BrainTumorSegLib.install_child"), "--folder", str(self.folder), *options],
                             self._with_path([str(self._module_folder)]), on_progress=on_progress, on_finished=on_finished,
                             make_process=self._make_process)

    def _start(self, module: str) -> list[str]:
        """`python -m module`, with the folders of `_with_path` before all others: a launcher of Python may put its own before PYTHONPATH,
        or drop ours from it."""
        return [self.python, "-c", f"import os, runpy, sys; sys.path[:0] = os.environ['{_PATH}'].split(os.pathsep); "
                                   f"runpy.run_module('{module}', run_name='__main__', alter_sys=True)"]

    def _with_path(self, folders: list[str]) -> dict[str, str]:
        environment = dict(self._environment)
        if self.chosen:
            environment.pop("PYTHONHOME", None)  # Slicer's
            environment[NAMED_PYTHON] = self.python
        else:
            environment.pop(NAMED_PYTHON, None)
            environment["PYTHONNOUSERSITE"] = "1"
        joined = os.pathsep.join(folders)
        environment.update({"PYTHONPATH": joined, _PATH: joined}, PYTHONSAFEPATH="1", PYTHONIOENCODING="utf-8")
        return environment


def _size(mb: int) -> str:
    return f"{mb / 1000:.1f} GB" if mb >= 1000 else f"{mb} MB"


def _dotted(version: tuple) -> str:
    return ".".join(str(part) for part in version[:2])
