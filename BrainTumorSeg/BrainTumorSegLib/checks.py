"""What is wrong with the chosen volumes: one message per field, with its fix, before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slicer.i18n import tr as _

from .mrml_volumes import VolumeFacts

__all__ = ["FIELD_NAMES", "INPUTS", "ROLES", "Problem", "field_of_error", "find_problems"]

ROLES = ("t1", "t1ce", "t2", "flair")
FIELD_NAMES = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "FLAIR"}
INPUTS = "inputs"  # the message below all four

_THINNEST = 2  # voxels along each axis


@dataclass(frozen=True)
class Problem:
    """`text` says what, why and the fix. A blocking one keeps the run from starting; the others are shown and left to the user."""

    text: str
    blocking: bool = True


def find_problems(chosen: Mapping[str, VolumeFacts]) -> dict[str, Problem]:
    """Field (a role of ROLES, or INPUTS) -> its problem, for the volumes chosen per role; {} when a run may start."""
    if not chosen:
        return {INPUTS: Problem(_("No volume is chosen. Choose at least one sequence (T1ce and FLAIR tell most), "
                                  "or load a study and press Recognise sequences."))}
    problems: dict[str, Problem] = {}
    for role in ROLES:
        if role in chosen:
            problem = _own_problem(chosen[role]) or _same_node(role, chosen) or _other_identity(role, chosen)
            if problem is not None:
                problems[role] = problem
    return problems


def field_of_error(kind: str, what: str) -> str:
    """The field by which an error of the engine belongs: a role, 'inputs', 'model', 'device', 'engine' or 'run'."""
    if kind == "ModelError":
        return "model"
    if kind in ("ResourceError", "OutOfMemory"):
        return "device"
    if kind in ("EngineDamaged", "EngineNotStarted", "EngineMissing"):
        return "engine"
    if kind in ("BadImage", "NotAnImage", "MissingFile", "GridMismatch", "UnclearRoles", "InputError"):
        words = what.replace(".", " ").replace(",", " ").split()
        return next((word for word in words[:4] if word in ROLES), INPUTS)
    return "run"


def _own_problem(facts: VolumeFacts) -> Problem | None:
    if facts.kind == "labelmap":
        return Problem(_("This is a label map, not an MR image. Choose the image that was segmented."))
    if not all(facts.size):
        return Problem(_("This volume has no voxels: it was not loaded, or its file is missing. Load it again, or choose another."))
    if facts.components > 1:
        return Problem(_("This volume has {count} values a voxel (colours, vectors or a 4-D series); a grey-scale volume has one. "
                         "Choose a 3-D grey-scale volume, or make one with the module Vector to Scalar Volume.").format(count=facts.components))
    if facts.kind != "scalar":
        return Problem(_("This is not a plain MR volume but a {kind}. Choose a 3-D grey-scale volume.").format(kind=facts.kind))
    if facts.time_series:
        return Problem(_("This volume is one frame of a 4-D series. Choose a 3-D volume; to use this frame, clone it in the "
                         "Data module (right click, Clone) and choose the copy."))
    if min(facts.size) < _THINNEST:
        return Problem(_("This is a single slice ({size} voxels). Choose a volume that covers the brain.").format(
            size=" x ".join(str(n) for n in facts.size)))
    if facts.sheared:
        return Problem(_("A transform shears this volume, so its axes are not perpendicular. Harden the transform with the module "
                         "Resample Scalar/Vector/DWI Volume, or use a rigid one."))
    return None


def _same_node(role: str, chosen: Mapping[str, VolumeFacts]) -> Problem | None:
    others = [other for other in ROLES if other in chosen and other != role and chosen[other].node_id == chosen[role].node_id]
    if not others:
        return None
    return Problem(_("The same volume is chosen as {others}. One image is one sequence: choose another here, or none.").format(
        others=_(" and ").join(FIELD_NAMES[other] for other in others)))


def _other_identity(role: str, chosen: Mapping[str, VolumeFacts]) -> Problem | None:
    """Compared with the first chosen volume that has an identity, so that one field gets the message and not all."""
    own = chosen[role]
    for other in ROLES[:ROLES.index(role)]:
        facts = chosen.get(other)
        if facts is None:
            continue
        if facts.patient and own.patient and facts.patient != own.patient:
            return Problem(_("This series belongs to another patient than {other}. Choose sequences of one patient.").format(
                other=FIELD_NAMES[other]))
        if facts.study and own.study and facts.study != own.study:
            return Problem(_("This series is from another examination than {other}: a tumour changes between two dates. Choose "
                             "sequences of one examination if you can.").format(other=FIELD_NAMES[other]), blocking=False)
    return None
