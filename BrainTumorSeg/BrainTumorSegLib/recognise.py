"""Which loaded volume is which sequence, told by the engine's rules from names and DICOM headers; in Slicer's process, in no time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from slicer.i18n import tr as _

from .checks import FIELD_NAMES, ROLES

__all__ = ["Candidate", "Recognition", "from_study", "recognise"]


@dataclass(frozen=True)
class Candidate:
    """A volume node, its name, and its header as the engine's io.dicom_series.Facts (None for a volume from a file)."""

    node_id: str
    name: str
    facts: object = None


@dataclass(frozen=True)
class Recognition:
    """Role -> node ID, role -> why in a few words, and role -> what is not clear."""

    roles: Mapping = field(default_factory=dict)
    why: Mapping = field(default_factory=dict)
    unclear: Mapping = field(default_factory=dict)


def recognise(candidates: Iterable[Candidate]) -> Recognition:
    """The role of each candidate; where two volumes fit one role equally well, none is taken and the role is said to be unclear."""
    from braintumorseg.io.dicom_series import Facts
    from braintumorseg.sequence_order import judge_study
    from braintumorseg.sequences import judge

    candidates = list(candidates)
    judged = judge_study([candidate.facts or Facts() for candidate in candidates])
    by_name = [judge(Facts(description=candidate.name)) for candidate in candidates]  # a name that is silent about contrast means T1
    found: dict = {role: [] for role in ROLES}
    for candidate, header, name in zip(candidates, judged, by_name):  # noqa: B905  Slicer 5.8 runs Python 3.9
        judgement = header if candidate.facts is not None and (header.confidence > 0 or header.left_out) else replace(name, why=_by_name(name))
        if judgement.role:
            found[judgement.role].append((candidate, judgement))
    return _decide(found)


def from_study(found: Mapping, series_of_node: Mapping) -> Recognition:
    """What the engine's verb `study` found, as nodes; `series_of_node` is node ID -> SeriesInstanceUID."""
    node_of = {uid: node_id for node_id, uid in series_of_node.items() if uid}
    roles, reasons = {}, {}
    for series in found.get("series", []):
        role, uid = series.get("role"), series.get("series_uid")
        if role in ROLES and uid in node_of and not series.get("left_out"):
            roles[role], reasons[role] = node_of[uid], series.get("why", "")
    return Recognition(roles, reasons)


def _decide(found: Mapping) -> Recognition:
    from braintumorseg.sequences import SURE

    roles, reasons, unclear = {}, {}, {}
    for role, fitting in found.items():
        best = [pair for pair in fitting if not pair[1].reserve] or fitting
        if len(best) == 1:
            candidate, judgement = best[0]
            roles[role], reasons[role] = candidate.node_id, judgement.why
            if judgement.confidence < SURE:
                reasons[role] += _("; not certain, please check")
        elif best:
            unclear[role] = _("{role}: {count} volumes fit; choose one.").format(count=len(best), role=FIELD_NAMES[role])
    return Recognition(roles, reasons, unclear)


def _by_name(judgement) -> str:
    return _("by its name ({words})").format(words=judgement.why)
