"""One run of the engine as a child process that speaks JSON lines (the protocol is described in braintumorseg/terminal.py).

Nothing here waits: every event comes from Qt's event loop, so the panel stays usable. However a run ends, it ends in one Outcome.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

from .qt_process import QtProcess

__all__ = ["NAMED_PYTHON", "EngineProcess", "Outcome", "without_paths"]

NAMED_PYTHON = "BRAINTUMORSEG_PYTHON"  # a site's own Python for the engine; in the environment of its child, too

CANCELLED = 130  # the engine's exit code after a cancel
_USAGE = 2
_LONGEST_LINE = 16_000_000  # bytes: a result is far smaller; more without a line's end is not the protocol
_STDERR_KEPT = 64_000  # bytes
_REPAIR = "Press Repair in the Engine section; if that does not help, copy the error report and send it to us."
_REPAIR_NAMED = (f"Install the packages of the module's Resources/requirements.txt into the Python that {NAMED_PYTHON} (or the setting "
                 f"BrainTumorSeg/Python) names and press Self-test, or unset it and restart Slicer.")
_MEMORY_FIX = "Close other programs or choose the CPU as device, and try again."

# Words of a dying child that tell why; first match wins. (pattern, kind, what, fix)
_REASONS = tuple((re.compile(pattern, re.I), kind, what, fix) for pattern, kind, what, fix in (
    (r"no space left|disk quota exceeded|errno 28|winerror 112", "DiskFull", "The disk is full.",
     "Free some space on the disk of the temporary folder and of the results, and try again."),
    (r"no module named|modulenotfounderror|importerror|dll load failed", "EngineDamaged", "The engine's packages are incomplete.", _REPAIR),
    (r"winerror (?:5|32)\b", "FileHeld",  # the number alone: Windows says the rest in its own language
     "Windows did not let a file be read or written: another program, often a virus scanner, holds it, or this user may not.",
     "Wait a minute and try again; if that does not help, choose a folder of your own."),
    (r"permission denied|access is denied|errno 13|read-only file system", "NoPermission", "A file or folder may not be written by this user.",
     "Choose a folder of your own, and try again."),
    (r"memoryerror|bad_alloc|out of memory|cannot allocate|failed to allocate", "OutOfMemory", "There was not enough memory.", _MEMORY_FIX),
))
_CRASHED_IN_LAUNCHER = re.compile(r"^error: \[.*\] exit abnormally", re.M)  # Slicer's launcher of Python then ends with code 1


@dataclass(frozen=True)
class Outcome:
    """How a run ended: with a `result`, or cancelled, or with an error (`error_kind`, `what` happened and why, the `fix`).

    `stderr` is what the child wrote there, its last 64 kB, without the paths that it was given: for the error report that a user
    copies and sends. `paths` are those that it was given: `what` and `fix`, which the user is shown, may name them.
    """

    result: object = None
    error_kind: str = ""
    what: str = ""
    fix: str = ""
    cancelled: bool = False
    exit_code: int | None = None
    stderr: str = ""
    paths: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not (self.error_kind or self.cancelled)


class EngineProcess:
    """One run of the engine.

    `on_progress(step, done, eta_s)` is called as progress lines come, `on_finished(outcome)` once. `make_process` makes the child
    (QtProcess, or a fake in tests). A verb run with --json (one plain JSON line at the end instead of the protocol) has that line as
    its result.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *,
                 on_progress: Callable[[str, float, float | None], None] | None = None, on_finished: Callable[[Outcome], None],
                 make_process=QtProcess, grace_s: float = 10.0):
        self.command = tuple(command)
        self._environment = dict(environment)
        self._on_progress = on_progress or (lambda step, done, eta_s: None)
        self._on_finished = on_finished
        self._process = make_process(self._stdout, self._stderr, self._ended)
        self._grace_s = grace_s
        self._state = "new"
        self._cancelled = False
        self._step = ""
        self._line = b""  # of stdout, not complete yet
        self._last: dict = {}  # the protocol's last line
        self._plain: object = None  # the last line that is JSON but not the protocol
        self._errors = b""

    @property
    def running(self) -> bool:
        return self._state == "running"

    def start(self) -> None:
        if self._state != "new":
            raise RuntimeError("An EngineProcess runs once.")
        self._state = "running"
        self._process.start(self.command, self._environment)

    def cancel(self) -> None:
        """Ask the child to stop, and stop it after the grace time. The outcome arrives as always; a second call does nothing."""
        if self._cancelled or self._state == "ended":
            return
        self._cancelled = True
        if self._state == "new":
            self._state = "running"
            self._ended(None, "")
            return
        self._process.close_stdin()
        self._process.after(self._grace_s, self._process.terminate)
        self._process.after(2 * self._grace_s, self._process.kill)

    def _stdout(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        told = [update for line in lines if (update := self._read_line(line))]
        if len(self._line) > _LONGEST_LINE:
            self._line = b""
        if told and not self._cancelled:  # the latest, when several came at once; last of all, for it calls the panel
            self._on_progress(*told[-1])

    def _stderr(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-_STDERR_KEPT:]

    def _read_line(self, line: bytes) -> tuple | None:
        """Keep what the line says; (step, done, eta_s) if it tells progress."""
        try:
            message = json.loads(line.decode("utf-8"))
        except ValueError:  # a library that prints; not for us
            return None
        if isinstance(message, dict) and isinstance(message.get("done"), (int, float)):
            self._step = str(message.get("step", ""))
            eta = message.get("eta_s")
            return self._step, min(max(float(message["done"]), 0.0), 1.0), eta if isinstance(eta, (int, float)) else None
        if isinstance(message, dict) and ("result" in message or isinstance(message.get("error"), dict)):
            self._last = message
        elif isinstance(message, (dict, list)):
            self._plain = message
        return None

    def _ended(self, code: int | None, reason: str) -> None:
        if self._state == "ended":
            return
        self._state = "ended"
        if self._line:  # a last line without its end
            self._read_line(self._line)
        paths = tuple(argument for argument in self.command[1:] if Path(argument).is_absolute())
        stderr = without_paths(self._errors.decode("utf-8", "replace"), paths)
        self._on_finished(replace(self._outcome(code, reason, stderr), paths=paths))

    def _outcome(self, code: int | None, reason: str, stderr: str) -> Outcome:
        def failed(kind: str, what: str, fix: str) -> Outcome:
            if fix == _REPAIR and self._environment.get(NAMED_PYTHON):
                fix = _REPAIR_NAMED
            return Outcome(error_kind=kind, what=what, fix=fix, exit_code=code, stderr=stderr)

        said = self._last.get("error") or {}
        if self._cancelled or code == CANCELLED or reason == "quit" or said.get("kind") == "Cancelled":
            return Outcome(cancelled=True, what="The run was cancelled.", exit_code=code, stderr=stderr)
        if said:
            return failed(str(said.get("kind", "EngineError")), str(said.get("what", "")), str(said.get("fix", "")))
        if code == 0 and ("result" in self._last or self._plain is not None):
            return Outcome(result=self._last.get("result", self._plain), exit_code=code, stderr=stderr)
        for line in reversed(stderr.splitlines()):
            if code == 1 and line.startswith("braintumorseg: "):  # a verb without the protocol
                return failed("EngineError", line.removeprefix("braintumorseg: "), "")
        if code is None and reason != "crashed":
            return failed("EngineNotStarted", f"The engine could not be started ({reason or 'no reason given'}).", _REPAIR)
        for pattern, kind, what, fix in _REASONS:
            if code != 0 and pattern.search(stderr):
                return failed(kind, what, fix)
        during = f" during the step '{self._step}'" if self._step else ""
        if code is None or (code != 0 and _CRASHED_IN_LAUNCHER.search(stderr)):
            return failed("EngineKilled", f"The engine was stopped from outside or crashed{during}; often the computer ran out of memory.",
                          _MEMORY_FIX)
        if code == _USAGE:
            return failed("EngineDamaged", "The engine did not understand the panel: they are not of the same version.", _REPAIR)
        if code == 0:
            return failed("EngineSilent", f"The engine ended{during} without a result.", _REPAIR)
        return failed("EngineFailed", f"The engine stopped{during} with code {code} and gave no reason.",
                      "Try again; if it happens again, copy the error report and send it to us.")


def without_paths(text: str, paths: Sequence[str]) -> str:
    """The text without these files and folders (their names may be a patient's), and without the user's home."""
    home = Path.home()
    windows = isinstance(home, PureWindowsPath)
    for path in sorted(paths, key=len, reverse=True):
        text = re.sub(_spelled(path, windows) + r"[^\"'\r\n:]*", "<path>", text)
    return re.sub(_spelled(str(home), windows), "~", text)


def _spelled(path: str, windows: bool) -> str:
    """A pattern of the path; on Windows in any case and with any slashes: Python's messages double them, other programs turn them."""
    if not windows:
        return re.escape(path)
    return "(?i:" + r"[\\/]+".join(re.escape(part) for part in re.split(r"[\\/]+", path)) + ")"
