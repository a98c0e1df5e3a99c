"""The panel's inputs: four selectors, what is wrong with each choice, and the button that fills them."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
        self._said: list = []  # (role -> node ID of which it was said, text, whether it is a doubt)
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
            self._show_said()
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
        self._said = []
        self._show_said()

    def fill(self, more: bool = False) -> None:
        """Without a click: where nothing is chosen; with `more` also what was filled so far, as the other volumes of the same load arrive.

        What comes later, after a click or after a run may be another patient's.
        """
        if self.parameters is None:
            return
        same_load = more and self._ids() == self._filled and time.monotonic() - self._filled_at < _ONE_LOAD_S
        if same_load or not self.chosen:
            found, before = self._look(_volumes()), self._ids()
            remarks = self._apply(found)
            self._filled, self._filled_at = self._ids(), time.monotonic()
            if found.note or before.keys() - self._filled.keys():
                self._say(found, remarks)

    def recognise(self) -> None:
        """Names and headers at once; then the engine's look at the files, where there are files and an engine."""
        if self.parameters is None:
            return
        volumes = _volumes()
        if not volumes:
            show(self._ui.recogniseMessage, _("No volume is loaded. Load a study first: Add Data, Add DICOM Data, or Sample Data."))
            return
        found = self._look(volumes)
        remarks = self._apply(found)
        self._say(found, remarks)
        self._hand_over()
        asked, ids = self._asked, self._ids()

        def answered(by_engine: Recognition) -> None:
            if asked == self._asked and ids == self._ids() and by_engine.roles:
                earlier = {role: text for role, text in remarks.items() if role not in by_engine.roles}  # the engine knows better
                self._say(replace(by_engine, note=found.note), {**earlier, **self._apply(by_engine)})

        together = found.together
        self._logic.recognise_by_engine([node for node in volumes if together is None or node.GetID() in together], answered)

    def node_goes(self, node) -> None:
        """A chosen volume leaves the scene: its fields are empty from now on, and say so."""
        roles = [role for role, chosen in self.chosen.items() if chosen is node]
        if roles:
            text = _("{fields}: the chosen volume was removed from the scene. Choose another, or leave the field empty.").format(
                fields=", ".join(FIELD_NAMES[role] for role in roles))
            self._said = [(dict.fromkeys(roles), text, True)]
            show(self._ui.recogniseMessage, text, warning=True)

    def _ids(self) -> dict:
        """Role -> node ID, for the fields that hold a node."""
        return {role: node.GetID() for role, node in self.chosen.items()}

    def _hand_over(self) -> None:
        """From now on nothing changes the choice without a click."""
        self._filled = {}
        self._asked += 1

    def _by_hand(self) -> dict:
        """Role -> node ID, for the fields that the user filled."""
        return {role: node_id for role, node_id in self._ids().items() if self._put.get(role) != node_id}

    def _look(self, volumes: list) -> Recognition:
        """By names and headers, of one examination only; what the user chose says of which."""
        return recognise((_candidate(node) for node in volumes), self._by_hand().values())

    def _apply(self, found: Recognition) -> dict:
        """Choose what was found; nothing that the user chose is taken out. Role -> what there is to say where one was emptied or is doubtful."""
        before, chosen = self._ids(), self._by_hand()
        moved = _moves(found.roles, chosen)
        by_hand = {moved.get(role, role): node_id for role, node_id in chosen.items()}
        free = {role: node_id for role, node_id in found.roles.items() if role not in by_hand and node_id not in by_hand.values()}
        kept = {role: node_id for role, node_id in before.items()  # the others may be another sequence, or of another person
                if role not in found.unclear and node_id not in (*free.values(), *by_hand.values()) and _may_stay(found, node_id)}
        after = {**kept, **free, **by_hand}
        with slicer.util.NodeModify(self.parameters):
            for role in ROLES:
                if before.get(role) != after.get(role):
                    setattr(self.parameters, role, slicer.mrmlScene.GetNodeByID(after[role]) if role in after else None)
        self._put = {role: node_id for role, node_id in after.items() if role not in by_hand}
        self.refresh()
        emptied = [role for role in before if role not in after and role not in found.unclear and role not in moved]
        doubtful = [role for role, node_id in by_hand.items() if role in found.unclear or not _may_stay(found, node_id)
                    or found.roles.get(role, node_id) != node_id or any(other != role and node_id == one for other, one in found.roles.items())]
        said = ((moved, _("{field}: your choice is now in {other}, as which it was recognised.")),
                (emptied, _("{field}: what was filled in is taken out again, for it may be another sequence or of another examination.")),
                (doubtful, _("{field}: your choice is kept, but it may be another sequence or of another examination. Please check.")))
        return {role: text.format(field=FIELD_NAMES[role], other=FIELD_NAMES.get(moved.get(role), "")) for roles, text in said for role in roles}

    def _say(self, found: Recognition, remarks: Mapping) -> None:
        chosen = self._ids()
        doubts = [({}, found.note), *(({role: None}, text) for role, text in found.unclear.items() if role not in chosen),
                  *(({role: chosen.get(role)}, text) for role, text in remarks.items())]
        lines = [({role: chosen[role]}, f"{FIELD_NAMES[role]}: {found.why.get(role, '')}") for role in ROLES
                 if role in found.roles and chosen.get(role) == found.roles[role]]
        self._said = [*((of, text, True) for of, text in doubts if text), *((of, text, False) for of, text in lines)]
        if not self._said:
            nothing = _("No volume tells by its name or header which sequence it is. Choose in the fields.")
            self._said = [({role: chosen.get(role) for role in ROLES}, nothing, False)]
        self._show_said()

    def _show_said(self) -> None:
        """What was said of a field is taken back once it holds something else."""
        ids = self._ids()
        self._said = [one for one in self._said if all(ids.get(role) == node_id for role, node_id in one[0].items())]
        show(self._ui.recogniseMessage, "\n".join(text for _of, text, _doubt in self._said), warning=any(doubt for _of, _text, doubt in self._said))


def _moves(roles: dict, by_hand: dict) -> dict:
    """Field -> the field into which the user's choice belongs as it was recognised, where that one is not the user's, too.

    Not between T1 and T1ce: names are often silent about contrast, and the user may know.
    """
    home = {node_id: role for role, node_id in roles.items()}
    moves = {role: home[node_id] for role, node_id in by_hand.items() if home.get(node_id, role) != role and {role, home[node_id]} != {"t1", "t1ce"}}
    while True:
        stuck = [role for role, other in moves.items() if other in by_hand and other not in moves and by_hand[other] != by_hand[role]]
        if not stuck:
            return moves
        for role in stuck:
            del moves[role]


def _may_stay(found: Recognition, node_id: str) -> bool:
    return found.together is None or node_id in found.together


def _candidate(node) -> Candidate:
    facts = dicom.facts_of(node)
    return Candidate(node.GetID(), node.GetName() or "", facts, origin_of(node, facts.study_uid if facts is not None else ""))


def _volumes() -> list:
    """The plain volumes that a user sees, in the order in which they were loaded."""
    return [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()]
