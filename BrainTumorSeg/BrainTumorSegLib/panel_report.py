"""The report on a failure that a user can copy and send: one button in each section where work can fail."""

from __future__ import annotations

import platform

import slicer

from .process import Outcome, without_paths

__all__ = ["ErrorReport", "error_report"]


class ErrorReport:
    """`button` copies the report on the last failure, and is there only while there is one."""

    def __init__(self, button):
        self._button = button
        self._text = ""
        button.connect("clicked(bool)", lambda: slicer.app.clipboard().setText(self._text))

    def offer(self, outcome: Outcome) -> None:
        self._text = error_report(outcome)
        self._button.visible = True

    def forget(self) -> None:
        self._text = ""
        self._button.visible = False


def error_report(outcome: Outcome) -> str:
    """What a user can copy and send: no names, no paths, no patient data."""
    from braintumorseg import __version__

    what, fix = (without_paths(text, outcome.paths) for text in (outcome.what, outcome.fix))
    lines = [f"BrainTumorSeg {__version__}, Slicer {slicer.app.applicationVersion}, {platform.system()} {platform.machine()}",
             f"{outcome.error_kind or 'cancelled'} (exit code {outcome.exit_code})", what, fix, "", outcome.stderr]
    return "\n".join(lines).strip() + "\n"
