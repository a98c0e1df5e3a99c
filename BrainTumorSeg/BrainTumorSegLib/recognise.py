"""Which loaded volume is which sequence, told by the engine's rules from names and DICOM headers; in Slicer's process, in no time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from slicer.i18n import tr as _

from .belonging import Origin, origin_of_name, sets_of
from .checks import FIELD_NAMES, ROLES

__all__ = ["Candidate", "Recognition", "from_study", "recognise"]


@dataclass(frozen=True)
class Candidate:
    """A volume node, its name, its header as the engine's io.dicom_series.Facts (None for a volume from a file), and what tells whose it is
    (None: by its name and header)."""

    node_id: str
    name: str
    facts: object = None
    origin: Origin | None = None


@dataclass(frozen=True)
class Recognition:
    """Role -> node ID, role -> why in a few words, and role -> what is not clear.

    together: IDs of the volumes that may be of the same examination as those of `roles`, or, where it is not clear which one is meant, of
    any of them; None when all may.
    note: where volumes of several patients or examinations are loaded, which of them were taken and how to get others.
    """

    roles: Mapping = field(default_factory=dict)
    why: Mapping = field(default_factory=dict)
    unclear: Mapping = field(default_factory=dict)
    together: frozenset | None = None
    note: str = ""


def recognise(candidates: Iterable[Candidate], chosen: Iterable[str] = ()) -> Recognition:
    """The role of each candidate; where two volumes fit one role equally well, none is taken and the role is said to be unclear.

    Only volumes that may be of one examination are put together: those with most of `chosen` (node IDs), then with most sequences.
    """
    candidates = list(candidates)
    chosen = frozenset(chosen) & _ids(candidates)
    sets = [[candidates[index] for index in sorted(one)] for one in sets_of([_origin(candidate) for candidate in candidates])]
    found = [(one, fitting) for one, fitting in ((one, _fitting(one)) for one in sets) if any(fitting.values())]
    if not found:
        return Recognition()
    held = [len(chosen & _ids(one)) for one, fitting in found]
    asked = [pair for pair, count in zip(found, held) if count == max(held)]  # noqa: B905
    most = max(_count(fitting) for _, fitting in asked)
    best = [pair for pair in asked if _count(pair[1]) == most]
    several = _("Volumes of more than one patient or examination are loaded, as headers, names or folders tell. ")
    if len(best) > 1:
        return Recognition(together=frozenset.intersection(*(_ids(one) for one, fitting in best)),
                           note=several + _("Choose one volume of the examination that you mean, and press Recognise sequences."))
    one, fitting = best[0]
    note = several + (_("Those of your choice were taken. ") if max(held) else _("Those with most sequences were taken. ")) + _(
        "For another examination choose one of its volumes, and press Recognise sequences.") if len(found) > 1 else ""
    return replace(_decide(fitting, chosen), together=_ids(one), note=note)


def from_study(found: Mapping, series_of_node: Mapping) -> Recognition:
    """What the engine's verb `study` found, as nodes; `series_of_node` is node ID -> SeriesInstanceUID."""
    node_of = {uid: node_id for node_id, uid in series_of_node.items() if uid}
    roles, reasons = {}, {}
    for series in found.get("series", []):
        role, uid = series.get("role"), series.get("series_uid")
        if role in ROLES and uid in node_of and not series.get("left_out"):
            roles[role], reasons[role] = node_of[uid], series.get("why", "")
    return Recognition(roles, reasons)


def _origin(candidate: Candidate) -> Origin:
    return candidate.origin or replace(origin_of_name(candidate.name), studies=frozenset({getattr(candidate.facts, "study_uid", "")} - {""}))


def _ids(candidates: Iterable[Candidate]) -> frozenset:
    return frozenset(candidate.node_id for candidate in candidates)


def _fitting(candidates: list) -> dict:
    """Role -> the (candidate, judgement) pairs that may be it, of volumes of one examination."""
    from braintumorseg.io.dicom_series import Facts
    from braintumorseg.sequence_order import judge_study
    from braintumorseg.sequences import judge

    judged = judge_study([candidate.facts or Facts() for candidate in candidates])
    by_name = [judge(Facts(description=candidate.name)) for candidate in candidates]  # a name that is silent about contrast means T1
    found: dict = {role: [] for role in ROLES}
    for candidate, header, name in zip(candidates, judged, by_name):  # noqa: B905  Slicer 5.8 runs Python 3.9
        judgement = header if candidate.facts is not None and (header.confidence > 0 or header.left_out) else replace(name, why=_by_name(name))
        if judgement.role:
            found[judgement.role].append((candidate, judgement))
    return found


def _count(fitting: Mapping) -> int:
    """How many sequences an examination has."""
    return sum(bool(pairs) for pairs in fitting.values())


def _decide(found: Mapping, chosen: frozenset) -> Recognition:
    from braintumorseg.sequences import SURE

    roles, reasons, unclear = {}, {}, {}
    for role, fitting in found.items():
        best = [pair for pair in fitting if not pair[1].reserve] or fitting
        preferred = [pair for pair in fitting if pair[0].node_id in chosen]
        best = preferred if len(preferred) == 1 else best
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
