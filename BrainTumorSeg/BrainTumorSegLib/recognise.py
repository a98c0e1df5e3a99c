"""Which loaded volume is which sequence, told by its name and its DICOM header; without the engine, and never by guessing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from slicer.i18n import tr as _

from .checks import FIELD_NAMES, ROLES

__all__ = ["Candidate", "Recognition", "from_study", "recognise"]

# T2-FLAIR inverts and waits long for the echo; a T1 after inversion (MPRAGE) does not.
_FLAIR_INVERSION_MS, _FLAIR_ECHO_MS = 1500.0, 60.0
_T1_ECHO_MS, _T2_ECHO_MS, _T2_REPETITION_MS = 30.0, 60.0, 2000.0


@dataclass(frozen=True)
class Candidate:
    """A volume node, its name, and what its DICOM header says ({} for a file): 'description', 'protocol', 'contrast', 'repetition',
    'echo', 'inversion' as texts."""

    node_id: str
    name: str
    header: Mapping = field(default_factory=dict)


@dataclass(frozen=True)
class Recognition:
    """Role -> node ID, role -> why in a few words, and role -> what is not clear."""

    roles: Mapping = field(default_factory=dict)
    why: Mapping = field(default_factory=dict)
    unclear: Mapping = field(default_factory=dict)


def recognise(candidates: Iterable[Candidate]) -> Recognition:
    """The role of each candidate; where two volumes fit one role, none is taken and the role is said to be unclear."""
    found: dict = {role: [] for role in ROLES}
    for candidate in candidates:
        role, why = _role(candidate)
        if role:
            found[role].append((candidate, why))
    roles, reasons, unclear = {}, {}, {}
    for role, fitting in found.items():
        if len(fitting) == 1:
            roles[role], reasons[role] = fitting[0][0].node_id, fitting[0][1]
        elif fitting:
            unclear[role] = _("{count} volumes may be {role}; choose one.").format(count=len(fitting), role=FIELD_NAMES[role])
    return Recognition(roles, reasons, unclear)


def from_study(found: Mapping, series_of_node: Mapping) -> Recognition:
    """What the engine's verb `study` found, as nodes; `series_of_node` is node ID -> SeriesInstanceUID."""
    node_of = {uid: node_id for node_id, uid in series_of_node.items() if uid}
    roles, reasons = {}, {}
    for series in found.get("series", []):
        role, uid = series.get("role"), series.get("series_uid")
        if role in ROLES and uid in node_of and not series.get("left_out"):
            roles[role], reasons[role] = node_of[uid], series.get("why", "")
    return Recognition(roles, reasons)


def _role(candidate: Candidate) -> tuple:
    from braintumorseg.sequence_words import read_words

    header = candidate.header
    said = [text for text in (header.get("description"), header.get("protocol"), candidate.name) if text]
    for text in said:
        words = read_words(text)
        if words.kinds - words.weightings:
            return "", ""
        role = _role_of_words(words, text, header)
        if role:
            return role, _("by its name and header") if header else _("by its name")
    role = _role_of_times(header)
    return (role, _("by its echo, repetition and inversion times")) if role else ("", "")


def _role_of_words(words, text: str, header: Mapping) -> str:
    weightings = set(words.weightings)
    if not weightings and (words.contrast == "yes" and "t1" in text.lower() or {"mprage", "spgr"} & words.techniques):
        weightings = {"t1"}
    if "flair" in weightings:
        return "" if "t1" in weightings else "flair"
    if len(weightings) != 1 or words.contrast == "both":
        return ""
    weighting = next(iter(weightings))
    if weighting == "t1":
        return "t1ce" if words.contrast == "yes" or not words.contrast and header.get("contrast") else "t1"
    return "t2" if weighting == "t2" else ""


def _role_of_times(header: Mapping) -> str:
    repetition, echo, inversion = (_number(header.get(name)) for name in ("repetition", "echo", "inversion"))
    if not repetition or not echo:
        return ""
    if inversion > _FLAIR_INVERSION_MS and echo > _FLAIR_ECHO_MS:
        return "flair"
    if echo < _T1_ECHO_MS and repetition < _T2_REPETITION_MS:
        return "t1ce" if header.get("contrast") else "t1"
    return "t2" if echo > _T2_ECHO_MS and repetition > _T2_REPETITION_MS and not inversion else ""


def _number(text) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
