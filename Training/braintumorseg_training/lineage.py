"""What weights have learned from, in their own run and in those before it: kept with them, so that later runs, cards and validations know it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .case_table import cohort_of, patient_of
from .packing import UNLABELLED, PackedFacts, read_facts

__all__ = ["Learned", "Lineage", "is_published", "joined", "learned", "learned_by_name", "learned_here", "lineage_from", "names_alone",
           "plain_lineage", "remembered_digests", "same_case", "same_patient"]

_OTHER = "other"        # what `cohort_of` says of names that it does not know
_DIGITS = 16            # of a digest: 64 bits tell images apart
_ALIKE, _ALIKE_ML = 0.1, 0.3    # two packings of one tumour, be they at 1 and at 2 mm, differ by less


@dataclass(frozen=True)
class Learned:
    """A case that weights learned from, as whoever begins from them has to know it; '' and () where nobody kept it.

    images: of each sequence, the beginning of the digest of what it shows. ml: NCR, ED, ET in ml.
    """

    name: str
    patient: str = ""
    cohort: str = ""
    images: tuple[str, ...] = ()
    ml: tuple[float, ...] = ()


@dataclass(frozen=True)
class Lineage:
    """All that weights have learned from, as far as it is known.

    complete: False when they learned from more, of which nobody knows (another tool's weights, or an older version's, were the start of one of
    the runs). data_sets: cohort -> name, licence and citation, where a card before gave them; rows: of such a card's data sets, with numbers of
    cases, what `cases` does not count.
    """

    cases: tuple[Learned, ...] = ()
    complete: bool = True
    data_sets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rows: tuple[Mapping, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(case.name for case in self.cases)


def learned(facts: PackedFacts) -> Learned:
    """What a packed case is remembered by."""
    return Learned(facts.name, facts.patient, facts.cohort, remembered_digests(facts.digests),
                   tuple(round(ml, 3) for ml in facts.ml))


def remembered_digests(digests: Iterable[str]) -> tuple[str, ...]:
    return tuple(digest[:_DIGITS] for digest in digests if digest)


def learned_here(packed: Path, name: str) -> Learned:
    """The same by name: of a case that is not packed there what its name tells."""
    return learned(read_facts(packed, name)) if (packed / f"{name}.npz").is_file() else learned_by_name(name)


def learned_by_name(name: str) -> Learned:
    cohort = cohort_of(name)
    return Learned(name, patient_of(name), "" if cohort == _OTHER else cohort)


def names_alone(names: Iterable[str], complete: bool) -> Lineage:
    """The lineage of weights of an older version, which kept no more."""
    return Lineage(tuple(learned_by_name(name) for name in dict.fromkeys(names)), complete)


def same_case(one: Learned, other: Learned) -> bool:
    """Whether two cases of one name are one case: unless they are known to show something else."""
    return one.name == other.name and (is_published(one.name) or not _differ(one, other))


def same_patient(one: Learned, other: Learned, namesake: Learned | None) -> bool:
    """Whether `other` is of the patient of `one`, which weights learned from. namesake: the case that has the name of `one` where `other` is.

    Published names are one patient's everywhere. Others tell nothing where the namesake shows something else, or both cohorts are stated and differ.
    """
    if set(one.images) & set(other.images):
        return True
    if is_published(one.name):
        return one.name == other.name or one.patient == other.patient
    if namesake is not None and _differ(one, namesake):
        return False
    return one.patient == other.patient and not (_is_stated(one.cohort) and _is_stated(other.cohort) and one.cohort != other.cohort)


def is_published(name: str) -> bool:
    """Whether the name is of a data set that everybody knows by it; other names are given anew in every hospital."""
    return cohort_of(name) != _OTHER


def joined(lineages: Iterable[Lineage]) -> Lineage:
    """All of them as one; a case that is in several stands there once."""
    cases: list[Learned] = []
    places: dict[str, list[int]] = defaultdict(list)
    data_sets, rows, complete = {}, [], True
    for lineage in lineages:
        for case in lineage.cases:
            at = next((at for at in places[case.name] if same_case(cases[at], case)), None)
            if at is None:
                places[case.name].append(len(cases))
                cases.append(case)
            elif not cases[at].images:
                cases[at] = case        # the one of which more is known
            else:                       # packed in two ways, or two cases after all: whatever was shown is known again
                cases[at] = replace(cases[at], images=tuple(dict.fromkeys((*cases[at].images, *case.images))))
        complete = complete and lineage.complete
        data_sets.update(lineage.data_sets)
        rows += [row for row in lineage.rows if row not in rows]
    return Lineage(tuple(cases), complete, data_sets, tuple(rows))


def plain_lineage(lineage: Lineage) -> dict:
    """As JSON and checkpoints hold it, without what says nothing."""
    cases = [{key: list(value) if isinstance(value, tuple) else value for key, value in vars(case).items() if value} for case in lineage.cases]
    return {"complete": lineage.complete, "cases": cases, **({"data_sets": {key: dict(one) for key, one in lineage.data_sets.items()}}
                                                             if lineage.data_sets else {}),
            **({"rows": [dict(row) for row in lineage.rows]} if lineage.rows else {})}


def lineage_from(given: Mapping) -> Lineage:
    """What `plain_lineage` wrote. Raises KeyError, TypeError, ValueError or AttributeError for what it did not."""
    cases = tuple(Learned(str(one["name"]), str(one.get("patient", "")), str(one.get("cohort", "")), tuple(map(str, one.get("images", ()))),
                          tuple(map(float, one.get("ml", ())))) for one in given["cases"])
    return Lineage(cases, given["complete"] is True, {str(key): dict(one) for key, one in given.get("data_sets", {}).items()},
                   tuple(dict(row) for row in given.get("rows", ())))


def _differ(one: Learned, other: Learned) -> bool:
    """Whether images and tumours of both are known and not the same. Digests alone do not tell: packed at another spacing they differ, too."""
    if set(one.images) & set(other.images) or not (one.images and other.images and any(one.ml) and any(other.ml)):
        return False
    return any(abs(a - b) > _ALIKE * max(a, b) + _ALIKE_ML for a, b in zip(one.ml, other.ml, strict=True))


def _is_stated(cohort: str) -> bool:
    return cohort not in ("", _OTHER, UNLABELLED)
