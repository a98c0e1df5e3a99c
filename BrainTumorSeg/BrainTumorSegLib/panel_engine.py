"""The panel's engine: whether it is there and whole, and the buttons that install, check, repair and remove it."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from .messages import provider_name, show
from .panel_report import ErrorReport
from .process import Outcome

__all__ = ["EngineSection"]

_STEPS = 1000


class EngineSection:
    """`on_changed()` when the engine was installed, repaired or removed."""

    def __init__(self, ui, logic, on_changed):
        self._ui, self._logic, self._on_changed = ui, logic, on_changed
        self._job = None  # an installation, repair or removal that runs
        self._removing = False
        self._said_at = ""  # the kind of state in which the message was said
        self._report = ErrorReport(ui.copyEngineErrorButton)
        for button, call in ((ui.installButton, self._install), (ui.installFromFolderButton, self._install_from_folder),
                             (ui.repairButton, self._repair), (ui.removeButton, self._remove), (ui.selfTestButton, self._self_test),
                             (ui.cancelInstallButton, self._cancel)):
            button.connect("clicked(bool)", lambda checked=False, call=call: self._call(call))

    def refresh(self) -> None:
        """Show the state; the section is open while it needs the user, and folded once all is well."""
        state, ui = self._logic.engine.state(), self._ui
        ui.engineStateLabel.text = state.text
        if self._said_at not in ("", state.kind) and self._job is None:  # it is true no more
            self._say("")
            self._report.forget()
        busy, chosen = self._job is not None, self._logic.engine.chosen  # a Python that the site chose is the site's to care for
        there = state.kind not in ("missing", "unsupported") and not chosen
        ui.engineProgressBar.visible = busy
        ui.cancelInstallButton.visible = busy and not self._removing
        ui.installButton.visible = ui.installFromFolderButton.visible = not busy and state.kind in ("missing", "outdated", "broken") and not chosen
        ui.selfTestButton.enabled = (state.ready or chosen) and not busy  # a chosen Python is looked at again once its site has mended it
        ui.repairButton.enabled = there and not busy
        ui.removeButton.enabled = self._logic.engine.removable and not busy

    def fold(self) -> None:
        """When the panel opens: out of the way if there is nothing to do."""
        self._ui.engineCollapsibleButton.collapsed = bool(self._logic.engine.state().ready)

    def open_with(self, text: str) -> None:
        """Show the section, with what is wrong."""
        self._ui.engineCollapsibleButton.collapsed = False
        self._say("" if text == self._logic.engine.state().text else text, warning=True)  # the state is shown above
        self.refresh()

    def _call(self, call) -> None:
        """Not while a run uses the packages: they would be exchanged beneath it."""
        if self._logic.runs and call not in (self._cancel, self._self_test):
            self._say(_("A run is going on. Wait for it, or cancel it first."), warning=True)
            return
        call()

    def _install(self) -> None:
        question = self._logic.engine.question
        if slicer.util.confirmOkCancelDisplay(question, windowTitle=_("Install the engine")):
            self._begin(self._logic.install_engine)

    def _install_from_folder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of wheels"))
        if folder:
            self._begin(lambda *calls: self._logic.install_engine(*calls, wheels=Path(folder)))

    def _repair(self) -> None:
        self._begin(self._logic.install_engine)

    def _remove(self) -> None:
        question = _("Delete the engine's packages? Results in the scene stay as they are.")
        if slicer.util.confirmOkCancelDisplay(question, windowTitle=_("Remove the engine")):
            self._begin(self._logic.remove_engine, removing=True)

    def _self_test(self) -> None:
        self._report.forget()
        self._say(_("Running the network once ..."))
        self._ui.selfTestButton.enabled = False
        self._logic.test_engine(self._tested)

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def _begin(self, start, removing: bool = False) -> None:
        self._report.forget()
        self._removing = removing
        self._ui.engineProgressBar.value = 0
        self._say(_("Deleting the engine's packages ...") if removing else "")
        job = start(self._progress, self._finished)
        self._job = job if job.running else None  # it may have failed within the call
        self.refresh()

    def _progress(self, step: str, done: float, eta_s) -> None:
        self._ui.engineProgressBar.value = round(_STEPS * done)
        words = {"download": _("Downloading"), "install": _("Unpacking"), "check": _("Checking"),
                 "remove": _("Deleting the engine's packages ...")}
        self._say(words.get(step, step))

    def _finished(self, outcome: Outcome) -> None:
        self._job = None
        if outcome.cancelled:
            self._say(_("Stopped. Install goes on where it was."))
        elif not outcome.ok:
            self._say_failure(outcome)
        elif self._removing:
            self._say(_("The engine was removed."))
        else:
            self._say(_("The engine is installed. Self-test shows which device it uses."))
        self.refresh()
        self._on_changed()

    def _tested(self, outcome: Outcome) -> None:
        if not outcome.ok:
            self._say_failure(outcome)
        else:
            self._say(_found_text(outcome.result), warning=bool(outcome.result.get("problems")))
        self.refresh()

    def _say(self, text: str, warning: bool = False) -> None:
        self._said_at = self._logic.engine.state().kind if text else ""
        show(self._ui.engineMessage, text, warning=warning)

    def _say_failure(self, outcome: Outcome) -> None:
        self._say(f"{outcome.what} {outcome.fix}".strip(), warning=True)
        self._report.offer(outcome)


def _found_text(found) -> str:
    """What `doctor` found, in a few lines."""
    session = found.get("session")
    lines = [_("The network could not be run.")]
    if session:
        lines = [_("{model} really ran on {provider}: {seconds} s.").format(**{**session, "provider": provider_name(session["provider"])})]
    lines += [f"{problem['what']} {problem['fix']}" for problem in found.get("problems", [])]
    return "\n".join(lines)
