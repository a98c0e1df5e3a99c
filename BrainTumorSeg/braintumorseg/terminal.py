"""How a verb talks: text for people, or JSON lines for programs (the child protocol), and when to stop listening.

The child protocol: one JSON object a line on stdout, {"step", "done", "eta_s"}; the last is {"result": ...} or
{"error": {"kind", "what", "fix"}}, or has both where a run came to its end and not all went well: a cohort of which studies failed.
Closing stdin cancels.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import unicodedata

from .errors import BrainTumorSegError
from .progress import Progress, Update

__all__ = ["Talk", "escape_unknown_letters"]

_GRACE_S = 30.0

_WORDS = {"read": "reading", "align": "aligning sequences", "brain": "finding the brain", "prepare": "preparing", "predict": "segmenting",
          "decide": "deciding labels", "measure": "measuring", "draw": "drawing", "write": "writing", "retrieve": "fetching images",
          "send": "sending results", "cohort": "segmenting", "summary": "writing the summary"}


class Talk:
    """`json_lines`: speak the child protocol. `json_result`: only the result is JSON, one line at the end of stdout. `owns_process`: this
    process exists for the run, so a run that hangs after it was cancelled takes the process with it."""

    def __init__(self, json_lines: bool = False, json_result: bool = False, owns_process: bool = False):
        self.json_lines = json_lines
        self._owns_process = owns_process
        self.json_result = json_result
        self._shown = 0   # letters of the line that says how far the run is
        self._last_said = False

    def progress(self) -> Progress:
        """A Progress that is shown as it goes; with the child protocol, the end of stdin cancels it."""
        cancel = threading.Event()
        if self.json_lines:
            threading.Thread(target=_cancel_at_end_of_stdin, args=(cancel, self._owns_process), daemon=True).start()
        return Progress(self.show, cancel)

    def show(self, update: Update) -> None:
        """How far the run is: a line of the child protocol, or the last line of a terminal; nothing where neither is."""
        if self.json_lines:
            self._json_update(update)
        elif sys.stderr.isatty():
            self._text_update(update)

    def text(self, *lines: str) -> None:
        """For people: shown unless stdout carries JSON."""
        if not (self.json_lines or self.json_result):
            self._clear()
            print(*map(_plain, lines), sep="\n", flush=True)

    def result(self, value: object, failure: BrainTumorSegError | None = None) -> None:
        """For programs: shown only where JSON was asked for. `failure`: what is wrong nevertheless, and about to be raised."""
        self._clear()
        if self.json_lines:
            _print_json({"result": value, **(_as_json(failure) if failure is not None else {})})
            self._last_said = True
        elif self.json_result:
            _print_json(value)

    def error(self, error: BrainTumorSegError) -> None:
        self._clear()
        if self.json_lines and not self._last_said:
            _print_json(_as_json(error))
            self._last_said = True
        print(_plain(f"braintumorseg: {error}"), file=sys.stderr, flush=True)

    def _json_update(self, update: Update) -> None:
        _print_json({"step": update.step, "done": round(update.done, 4), "eta_s": None if update.eta_s is None else round(update.eta_s, 1),
                     **update.counts})

    def _text_update(self, update: Update) -> None:
        left = "" if update.eta_s is None else f", about {_span(update.eta_s)} left"
        counts = "".join(f", {name} {number}" for name, number in update.counts.items())
        self._over_shown(f"{update.done:4.0%} {_WORDS[update.step]}{counts}{left}")

    def _clear(self) -> None:
        if self._shown:
            self._over_shown("")
            print("\r", end="", file=sys.stderr, flush=True)

    def _over_shown(self, text: str) -> None:
        """Write over what the line says, with spaces: an old Windows console prints the sign that deletes a line."""
        print(f"\r{text:<{self._shown}}", end="", file=sys.stderr, flush=True)
        self._shown = len(text)


def escape_unknown_letters() -> None:
    """From now on write letters that the terminal's or file's encoding lacks (a name, ±) as their code: no good work ends in a traceback."""
    if hasattr(sys.stdout, "reconfigure"):   # stderr does so by itself
        sys.stdout.reconfigure(errors="backslashreplace")


def _plain(text: str) -> str:
    """Letters that a terminal would obey (in a name from a header, a card, an archive) as their code; our own ends of lines and tabs stay."""
    return "".join(letter if letter in "\n\t" or letter.isprintable() or unicodedata.category(letter) == "Zs"
                   else letter.encode("unicode_escape").decode() for letter in text)


def _span(seconds: float) -> str:
    """'40 s', '12 min' or '3.5 h'."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _as_json(error: BrainTumorSegError) -> dict:
    return {"error": {"kind": error.kind, "what": error.what, "fix": error.fix}}


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=True, allow_nan=False), flush=True)


def _cancel_at_end_of_stdin(cancel: threading.Event, owns_process: bool) -> None:
    if sys.stdin is None:  # started without one: nobody can close it
        return
    try:
        while sys.stdin.buffer.raw.read(4096):  # unbuffered: a lock held on the buffer would hang the interpreter's exit
            pass
    except (OSError, ValueError):
        pass
    cancel.set()
    if owns_process:
        time.sleep(_GRACE_S)  # the run looks at `cancel` between steps and patches; one that hangs must not outlive its parent
        os._exit(130)
