"""The panel's inputs: four selectors, what is wrong with each choice, and the button that fills them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

import slicer
from slicer.i18n import tr as _

from . import dicom
from .belonging import origin_of
from .checks import FIELD_NAMES, INPUTS, ROLES
from .messages import show
from .recognise import Candidate, Recognition, recognise

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
        self._put: dict = {}  # role -> node ID as the panel itself chose last; what differs is the user's choice
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
            self._put = {}
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

    def forget(self) -> None:
        """The scene is closing: what was said of its volumes goes with it."""
        show(self._ui.recogniseMessage, "")

    def fill(self, more: bool = False) -> None:
        """Without a click: where nothing is chosen; with `more` also what was filled so far, as the other volumes of the same load arrive.

        What comes later, after a click or after a run may be another patient's.
        """
        if self.parameters is None:
            return
        same_load = more and self._ids() == self._filled and time.monotonic() - self._filled_at < _ONE_LOAD_S
        if same_load or not self.chosen:
            found = self._look(_volumes())
            self._apply(found)
            self._filled, self._filled_at = self._ids(), time.monotonic()
            if found.note:
                self._say(found)

    def recognise(self) -> None:
        """Names and headers at once; then the engine's look at the files, where there are files and an engine."""
        if self.parameters is None:
            return
        volumes = _volumes()
        if not volumes:
            show(self._ui.recogniseMessage, _("No volume is loaded. Load a study first: Add Data, Add DICOM Data, or Sample Data."))
            return
        found = self._look(volumes)
        removed = self._apply(found)
        self._say(found, removed)
        self._hand_over()
        asked, ids = self._asked, self._ids()

        def answered(by_engine: Recognition) -> None:
            if asked == self._asked and ids == self._ids() and by_engine.roles:
                self._say(replace(by_engine, note=found.note), [*removed, *self._apply(by_engine)])

        together = found.together
        self._logic.recognise_by_engine([node for node in volumes if together is None or node.GetID() in together], answered)

    def node_goes(self, node) -> None:
        """A chosen volume leaves the scene: its fields are empty from now on, and say so."""
        roles = [role for role, chosen in self.chosen.items() if chosen is node]
        if roles:
            show(self._ui.recogniseMessage, _("{fields}: the chosen volume was removed from the scene. Choose another, or leave the field empty.")
                 .format(fields=", ".join(FIELD_NAMES[role] for role in roles)), warning=True)

    def _ids(self) -> dict:
        """Role -> node ID, for the fields that hold a node."""
        return {role: node.GetID() for role, node in self.chosen.items()}

    def _hand_over(self) -> None:
        """From now on nothing changes the choice without a click."""
        self._filled = {}
        self._asked += 1

    def _look(self, volumes: list) -> Recognition:
        """By names and headers, of one examination only; what the user chose says of which."""
        by_hand = {node_id for role, node_id in self._ids().items() if self._put.get(role) != node_id}
        return recognise((_candidate(node) for node in volumes), by_hand)

    def _apply(self, found: Recognition) -> list:
        """Choose what was found. Roles from which it took what the user had chosen, so that one examination is left."""
        taken, before, put = set(found.roles.values()), self._ids(), self._put
        with slicer.util.NodeModify(self.parameters):
            for role in ROLES:
                present = before.get(role)
                if role in found.roles:
                    setattr(self.parameters, role, slicer.mrmlScene.GetNodeByID(found.roles[role]))
                elif present is not None and (role in found.unclear or present in taken
                                              or (found.together is not None and present not in found.together)):
                    setattr(self.parameters, role, None)  # it may be another sequence, or of another person
        after = self._ids()
        self._put = {role: node_id for role, node_id in after.items() if node_id in taken or put.get(role) == node_id}
        self.refresh()
        return [role for role, node_id in before.items() if put.get(role) != node_id and node_id not in after.values()]

    def _say(self, found: Recognition, removed: Iterable = ()) -> None:
        lines = [f"{FIELD_NAMES[role]}: {found.why.get(role, '')}" for role in ROLES if role in found.roles]
        doubts = [text for text in (found.note, *found.unclear.values()) if text]
        doubts += [_("{field}: your choice was taken out, as it may be another sequence or of another examination. Choose it again if it is right.")
                   .format(field=FIELD_NAMES[role]) for role in removed]
        show(self._ui.recogniseMessage, "\n".join([*doubts, *lines])
             or _("No volume tells by its name or header which sequence it is. Choose in the fields."), warning=bool(doubts))


def _candidate(node) -> Candidate:
    facts = dicom.facts_of(node)
    return Candidate(node.GetID(), node.GetName() or "", facts, origin_of(node, facts.study_uid if facts is not None else ""))


def _volumes() -> list:
    """The plain volumes that a user sees, in the order in which they were loaded."""
    return [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()]
