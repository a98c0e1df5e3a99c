"""The panel's comparison of two segmentations: two choices and a click."""

from __future__ import annotations

from slicer.i18n import tr as _

from .messages import show

__all__ = ["CompareSection"]


class CompareSection:
    def __init__(self, ui, logic):
        self._ui, self._logic = ui, logic
        self.parameters = None
        self._table = None
        ui.compareButton.connect("clicked(bool)", lambda: self._compare())

    def refresh(self) -> None:
        parameters = self.parameters
        first, second = (parameters.compareFirst, parameters.compareSecond) if parameters is not None else (None, None)
        ready = first is not None and second is not None and first is not second
        self._ui.compareButton.enabled = ready
        self._ui.compareButton.toolTip = _("Volumes of both and their overlap (Dice), on the grid of the first.") if ready else _(
            "Choose two different segmentations.")

    def forget(self) -> None:
        """The scene is closing."""
        self._table = None
        self._ui.comparisonTableView.setMRMLTableNode(None)
        self._ui.comparisonTableView.visible = False
        show(self._ui.compareMessage, "")

    def _compare(self) -> None:
        try:
            self._table = self._logic.compare(self.parameters.compareFirst, self.parameters.compareSecond, self._table)
        except ValueError as error:
            show(self._ui.compareMessage, str(error), warning=True)
            return
        show(self._ui.compareMessage, "")
        self._ui.comparisonTableView.setMRMLTableNode(self._table)
        self._ui.comparisonTableView.visible = True
        self._ui.comparisonTableView.resizeColumnsToContents()
