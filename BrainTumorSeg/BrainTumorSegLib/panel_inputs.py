"""The panel's inputs: four selectors, what is wrong with each choice, and the button that fills them."""

from __future__ import annotations

import time

import slicer
from slicer.i18n import tr as _

from .checks import FIELD_NAMES, INPUTS, ROLES
from .messages import show
from .recognise import Recognition

__all__ = ["InputsSection"]

_ONE_LOAD_S = 10.0  # between two volumes of a study that are loaded together


class InputsSection:
    """`parameters` is the parameter node wrapper, or None while a scene closes; `on_changed()` after every look at the choice."""

    def __init__(self, ui, logic, on_changed):
        self._ui, self._logic, self._on_changed = ui, logic, on_changed
        self.parameters = None
        self.problems: dict = {}
        self._engine_errors: dict[str, str] = {}  # what the last run said about a field, until the choice changes
        self._chosen_ids: dict = {}
        self._filled: dict = {}  # role -> node ID as fill() left it, and when (s)
        self._filled_at = 0.0
        self._asked = 0  # questions to the engine; an answer to an earlier one is too late
        ui.recogniseButton.connect("clicked(bool)", lambda: self.recognise())

    @property
    def chosen(self) -> dict:
        """Role -> node, for the fields that hold one."""
        if self.parameters is None:
            return {}
        nodes = {role: getattr(self.parameters, role) for role in ROLES}
        return {role: node for role, node in nodes.items() if node is not None}

    def blocking(self) -> str:
        """The message that keeps a run from starting; '' when nothing does."""
        return next((problem.text for problem in self.problems.values() if problem.blocking), "")

    def refresh(self) -> None:
        chosen, ids = self.chosen, self._ids()
        if self.parameters is None:
            self._hand_over()
        if ids != self._chosen_ids:
            self._chosen_ids, self._engine_errors = ids, {}
        self.problems = self._logic.problems(chosen) if self.parameters is not None else {}
        for field in (*ROLES, INPUTS):
            problem = self.problems.get(field)
            show(getattr(self._ui, f"{field}Warning"), problem.text if problem else self._engine_errors.get(field, ""), warning=True)
        self._on_changed()

    def show_error(self, field: str, text: str) -> None:
        """What the engine found wrong with a field."""
        self._engine_errors[field] = text
        self.refresh()

    def forget_errors(self) -> None:
        """A run starts."""
        self._engine_errors = {}
        self._hand_over()
        self.refresh()

    def fill(self, more: bool = False) -> None:
        """Without a click: where nothing is chosen; with `more` also what was filled so far, as the other volumes of the same load arrive.

        What comes later, after a click or after a run may be another patient's.
        """
        if self.parameters is None:
            return
        same_load = more and self._ids() == self._filled and time.monotonic() - self._filled_at < _ONE_LOAD_S
        if same_load or not self.chosen:
            self._apply(self._logic.recognise(_volumes()))
            self._filled, self._filled_at = self._ids(), time.monotonic()

    def recognise(self) -> None:
        """Names and headers at once; then the engine's look at the files, where there are files and an engine."""
        if self.parameters is None:
            return
        volumes = _volumes()
        if not volumes:
            show(self._ui.recogniseMessage, _("No volume is loaded. Load a study first: Add Data, Add DICOM Data, or Sample Data."))
            return
        found = self._logic.recognise(volumes)
        self._apply(found)
        self._say(found)
        self._hand_over()
        asked, ids = self._asked, self._ids()

        def answered(found: Recognition) -> None:
            if asked == self._asked and ids == self._ids() and found.roles:
                self._apply(found)
                self._say(found)

        self._logic.recognise_by_engine(volumes, answered)

    def _ids(self) -> dict:
        """Role -> node ID, for the fields that hold a node."""
        return {role: node.GetID() for role, node in self.chosen.items()}

    def _hand_over(self) -> None:
        """From now on nothing changes the choice without a click."""
        self._filled = {}
        self._asked += 1

    def _apply(self, found: Recognition) -> None:
        taken = set(found.roles.values())
        with slicer.util.NodeModify(self.parameters):
            for role in ROLES:
                present = getattr(self.parameters, role)
                if role in found.roles:
                    setattr(self.parameters, role, slicer.mrmlScene.GetNodeByID(found.roles[role]))
                elif present is not None and present.GetID() in taken:
                    setattr(self.parameters, role, None)  # it turned out to be another sequence
        self.refresh()

    def _say(self, found: Recognition) -> None:
        lines = [f"{FIELD_NAMES[role]}: {found.why.get(role, '')}" for role in ROLES if role in found.roles]
        lines += [text for text in found.unclear.values()]
        show(self._ui.recogniseMessage, "\n".join(lines) or _("No volume tells by its name or header which sequence it is. Choose in the fields."))


def _volumes() -> list:
    """The plain volumes that a user sees, in the order in which they were loaded."""
    return [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()]
