"""The panel as a whole: its sections, and the scene and the parameter node that they look at."""

from __future__ import annotations

from .mrml_display import go_to_tumour, show_reference
from .panel_compare import CompareSection
from .panel_engine import EngineSection
from .panel_export import ExportSection
from .panel_inputs import InputsSection
from .panel_result import ResultSection
from .panel_run import RunSection

__all__ = ["Panel"]


class Panel:
    """`ui` holds the widgets of Resources/UI/BrainTumorSeg.ui by name. `set_parameters(None)` while the scene closes."""

    def __init__(self, ui, logic):
        self.ui, self.logic = ui, logic
        self._parameters = None
        self.engine = EngineSection(ui, logic, self._engine_changed)
        self.inputs = InputsSection(ui, logic, lambda: self.run.refresh())
        self.run = RunSection(ui, logic, self.inputs, self._show_result, self.engine.open_with)
        self.result = ResultSection(ui, logic, lambda: self.export.refresh())
        self.compare = CompareSection(ui, logic)
        self.export = ExportSection(ui, logic, self.result)
        self.engine.fold()

    def set_parameters(self, parameters) -> None:
        self._parameters = parameters
        for section in (self.inputs, self.run, self.result, self.compare):
            section.parameters = parameters
        if parameters is None:
            for section in (self.inputs, self.run, self.result, self.compare, self.export):
                section.forget()
        self.refresh()

    def refresh(self) -> None:
        """After any change of the parameters."""
        self.inputs.refresh()  # and with it the run section
        self.result.refresh()
        self.compare.refresh()

    def enter(self) -> None:
        """The user opens the panel."""
        self.engine.refresh()
        self.inputs.fill()
        self.result.look_again()

    def _show_result(self, segmentation) -> None:
        parameters = self._parameters
        if parameters is None:
            return
        if parameters.compareFirst is None:
            parameters.compareFirst = segmentation
        elif parameters.compareSecond is None:
            parameters.compareSecond = segmentation
        parameters.result = segmentation
        self.refresh()
        if self.result.seen:
            show_reference(segmentation)
            go_to_tumour(segmentation)

    def _engine_changed(self) -> None:
        if self._parameters is not None:
            self.inputs.refresh()
