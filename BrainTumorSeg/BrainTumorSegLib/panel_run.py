"""The panel's network, device and run: Segment turns into Cancel, a bar with the step and the time left, and why a run failed."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from .checks import FIELD_NAMES, INPUTS, ROLES, field_of_error
from .gpus import find_gpus
from .messages import provider_name, show
from .model_info import list_model_infos
from .panel_report import ErrorReport
from .process import Outcome
from .run import Options

__all__ = ["RunSection"]

_LAST_PROVIDER = "BrainTumorSeg/LastProvider"
_STEPS = 1000  # of the progress bar


class RunSection:
    """`inputs` is the InputsSection; `on_result(segmentation)` when a run has brought one, `on_engine_error(text)` when the engine needs care."""

    def __init__(self, ui, logic, inputs, on_result, on_engine_error):
        self._ui, self._logic, self._inputs = ui, logic, inputs
        self._on_result, self._on_engine_error = on_result, on_engine_error
        self.parameters = None
        self._models: dict = {}
        self._report = ErrorReport(ui.copyErrorButton)
        self._model_error = ""  # what the last run said about the network
        self._filling = False
        self._cancelling = False  # the user pressed Cancel, and the run has not ended yet
        self._said_about: dict | None = None  # the choice, role -> node ID, at which the last run's failure or end was said
        logic.on_changed = self.refresh
        self._fill_models()
        self._fill_devices()
        ui.modelComboBox.connect("currentIndexChanged(int)", lambda index: self._choose("model", ui.modelComboBox, index))
        ui.deviceComboBox.connect("currentIndexChanged(int)", lambda index: self._choose("device", ui.deviceComboBox, index))
        ui.segmentButton.connect("clicked(bool)", lambda: self._segment_or_cancel())
        ui.queueButton.connect("clicked(bool)", lambda: self._start())

    @property
    def busy(self) -> bool:
        return bool(self._logic.runs)

    def refresh(self) -> None:
        """Everything that depends on the choice and on the runs."""
        ui, runs = self._ui, self._logic.runs
        if self._said_about not in (None, self._choice()):  # perhaps the next patient's
            self._hush()
        if self.parameters is not None:
            self._show_choice(ui.modelComboBox, self.parameters.model)
            self._show_choice(ui.deviceComboBox, self.parameters.device)
            self._show_model()
        blocking = self._inputs.blocking() or self._lacking()
        ui.segmentButton.text = _("Cancel") if runs else _("Segment")
        ui.segmentButton.enabled = bool(runs) or (self.parameters is not None and not blocking)
        ui.segmentButton.toolTip = _("Stop this run; those that wait go on.") if runs else blocking or _("Segment the tumour.")
        ui.queueButton.visible = bool(runs)
        ui.queueButton.enabled = self.parameters is not None and not blocking
        ui.progressBar.visible = bool(runs)
        if not runs:
            show(ui.progressLabel, "")
        waiting = [run.label for run in runs[1:]]
        show(ui.queueLabel, _("Waiting: {names}").format(names=", ".join(waiting)) if waiting else "")

    def forget(self) -> None:
        """The scene is closing, and its runs were cancelled."""
        self._cancelling = False
        self._hush()

    def _hush(self) -> None:
        """Take back what was said of a run."""
        self._said_about, self._model_error = None, ""
        show(self._ui.runWarning, "")
        self._report.forget()
        self._show_device_note()

    def _choice(self) -> dict:
        return {role: node.GetID() for role, node in self._inputs.chosen.items()}

    def _segment_or_cancel(self) -> None:
        if self._logic.runs:
            self._cancelling = True
            self._logic.runs[0].cancel()
        else:
            self._start()

    def _start(self) -> None:
        self._inputs.refresh()  # a volume may have changed since it was chosen
        state = self._logic.engine.state()
        if not state.ready:
            show(self._ui.runWarning, _("The engine is not ready: see the section Engine below."), warning=True)
            self._on_engine_error(state.text)
            return
        if self._inputs.blocking() or self._lacking():
            return
        self._inputs.forget_errors()
        self._hush()
        show(self._ui.modelWarning, "")
        parameters = self.parameters
        options = Options(model=parameters.model, device=parameters.device, registered=parameters.registered, brain_only=parameters.brainOnly,
                          thorough=parameters.thorough, surfaces=parameters.showSurfaces, opacity=parameters.opacity)
        run = self._logic.segment(self._inputs.chosen, options, on_progress=lambda *what: self._progress(run, *what), on_finished=self._finished)

    def _progress(self, run, step: str, done: float, eta_s) -> None:
        if self._logic.runs and run is self._logic.runs[0]:
            self._ui.progressBar.value = round(_STEPS * done)
            show(self._ui.progressLabel, _step_text(step) + _time_left(eta_s))

    def _finished(self, outcome: Outcome, segmentation) -> None:
        if self._logic.closed:
            return
        cancelling, self._cancelling = self._cancelling, False
        if segmentation is not None:
            self._remember_provider(segmentation)
            self._on_result(segmentation)
        elif not outcome.cancelled:
            self._show_failure(outcome)
            self._said_about = self._choice()
        elif cancelling:  # and not the closing of the scene
            show(self._ui.runWarning, _("The run was cancelled; nothing was left behind."))
            self._said_about = self._choice()

    def _show_failure(self, outcome: Outcome) -> None:
        text = f"{outcome.what} {outcome.fix}".strip()
        self._report.offer(outcome)
        field = field_of_error(outcome.error_kind, outcome.what)
        if field in (*ROLES, INPUTS):
            self._inputs.show_error(field, text)
            show(self._ui.runWarning, _("The run stopped: see the message in Inputs."), warning=True)
        elif field == "model":
            self._model_error = text
            show(self._ui.modelWarning, text, warning=True)
            show(self._ui.runWarning, _("The run stopped: see the message in Network."), warning=True)
        elif field == "device":
            show(self._ui.deviceMessage, text, warning=True)
            show(self._ui.runWarning, _("The run stopped: see the message in Network."), warning=True)
        else:
            show(self._ui.runWarning, text, warning=True)
            if field == "engine":
                self._on_engine_error(text)

    def _fill_models(self) -> None:
        from braintumorseg.errors import BrainTumorSegError

        try:
            infos = list_model_infos()
        except BrainTumorSegError as error:
            show(self._ui.modelWarning, str(error), warning=True)
            return
        self._models = {info.name: info for info in infos}
        self._filling = True
        for number, info in enumerate(infos):
            self._ui.modelComboBox.addItem(info.title, info.name)
            self._ui.modelComboBox.setItemData(number, info.summary, qt.Qt.ToolTipRole)
        self._filling = False

    def _fill_devices(self) -> None:
        self._filling = True
        for text, name in ((_("Automatic"), "auto"), (_("CPU"), "cpu"), (_("NVIDIA GPU (CUDA)"), "cuda")):
            self._ui.deviceComboBox.addItem(text, name)
        self._filling = False
        self._show_device_note()
        find_gpus(self._add_gpus)

    def _add_gpus(self, names: list) -> None:
        """Several GPUs can be chosen one by one; a single one gets its name."""
        self._filling = True
        if len(names) == 1:
            self._ui.deviceComboBox.setItemText(self._ui.deviceComboBox.findData("cuda"), names[0])
        else:
            for number, name in enumerate(names):
                index = self._ui.deviceComboBox.findData(f"cuda:{number}")  # there already where the scene named it before it was found
                if index >= 0:
                    self._ui.deviceComboBox.setItemText(index, f"{number}: {name}")
                else:
                    self._ui.deviceComboBox.addItem(f"{number}: {name}", f"cuda:{number}")
        self._filling = False
        self.refresh()

    def _choose(self, parameter: str, box, index: int) -> None:
        if not self._filling and self.parameters is not None and index >= 0:
            self._model_error = ""
            setattr(self.parameters, parameter, box.itemData(index))

    def _show_choice(self, box, name: str) -> None:
        """Also a name that a scene brings from another computer: the box shows what would run."""
        if box.findData(name) < 0:
            self._filling = True
            box.addItem(_("{name} (not on this computer)").format(name=name), name)
            self._filling = False
        index = box.findData(name)
        if index != box.currentIndex:
            box.setCurrentIndex(index)

    def _show_model(self) -> None:
        if not self._models:  # their cards cannot be read, which is said already
            return
        info = self._models.get(self.parameters.model)
        show(self._ui.modelWarning, self._lacking() or self._model_error, warning=True)
        self._ui.modelComboBox.toolTip = info.summary if info is not None else ""
        if self._ui.modelInfo.property("shown") != self.parameters.model:
            self._ui.modelInfo.setHtml(info.html if info is not None else "")
            self._ui.modelInfo.setProperty("shown", self.parameters.model)

    def _lacking(self) -> str:
        """What keeps the chosen network from running, or from reading the chosen sequences."""
        info = self._models.get(self.parameters.model) if self.parameters is not None else None
        if info is None and self._models and self.parameters is not None:
            return _("The network {name} is not on this computer. Choose another.").format(name=self.parameters.model)
        lacking = [FIELD_NAMES[role] for role in info.needs if role not in self._inputs.chosen] if info is not None and self._inputs.chosen else []
        return _("This network was not trained to do without {sequences}. Choose them above, or another network.").format(
            sequences=_(" and ").join(lacking)) if lacking else ""

    def _remember_provider(self, segmentation) -> None:
        from .mrml_segmentation import report_of

        report = report_of(segmentation)
        note = f" ({report['provider_note']})" if report.get("provider_note") else ""
        slicer.app.settings().setValue(_LAST_PROVIDER, f"{provider_name(report['provider'])}, {sum(report['seconds'].values()):.0f} s{note}")
        self._show_device_note()

    def _show_device_note(self) -> None:
        last = slicer.app.settings().value(_LAST_PROVIDER) or ""
        show(self._ui.deviceMessage, _("The last run used: {provider}").format(provider=last) if last else "")


def _step_text(step: str) -> str:
    words = {"hand over": _("Handing the images over"), "read": _("Reading"), "align": _("Aligning the sequences"), "brain": _("Finding the brain"),
             "prepare": _("Preparing"), "predict": _("Segmenting"), "decide": _("Deciding labels"), "measure": _("Measuring"), "draw": _("Drawing"),
             "write": _("Writing"), "show": _("Showing the result")}
    return words.get(step, step)


def _time_left(eta_s) -> str:
    if eta_s is None:
        return ""
    seconds = max(1, round(eta_s))
    if seconds < 90:
        return _(", about {seconds} s left").format(seconds=seconds)
    return _(", about {minutes} min left").format(minutes=round(seconds / 60))
