"""Which patients a network learns from, which it is watched on, and which nobody looks at before the end.

Splits are made by patient: all time points of one patient are on one side. They follow the cohorts and the tumours' sizes, so that every part
is a small picture of the whole, and are a function of the cases and the seed alone.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from braintumorseg.errors import InputError, MissingFile, OutputError

from .case_table import CaseRow, patient_of
from .packing import PHANTOM, SYNTHETIC, UNLABELLED, PackedFacts, packed_names, read_facts

__all__ = ["Split", "leave_out", "make_folds", "make_split", "read_split", "refuse_shared_patients", "split_cases", "write_splits"]

_SHOWN = 3
_SIZES = 4  # classes of tumour size within a cohort, equally many patients in each


@dataclass(frozen=True)
class Split:
    """Names of cases. `test` may be empty. Raises InputError when a case is in two parts."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    reason: str = ""
    test: tuple[str, ...] = ()

    def __post_init__(self):
        parts = {"training": self.train, "validation": self.validation, "test": self.test}
        for one, other in (("training", "validation"), ("training", "test"), ("validation", "test")):
            both = sorted(set(parts[one]) & set(parts[other]))
            if both:
                raise InputError(f"The split has {', '.join(both)} in {one} and in {other}.", "Keep each patient on one side.")


def read_split(path: Path) -> Split:
    """A split file: JSON with `train`, `validation` and, better than not, `test` and the `reason` for the choice."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return Split(tuple(given["train"]), tuple(given["validation"]), given.get("reason", ""), tuple(given.get("test", ())))
    except (OSError, ValueError) as error:
        raise InputError(f"The split {path.name} cannot be read ({error.__class__.__name__}).", "Check its path and that it is JSON.") from None
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"The split {path.name} lacks a list of train or validation cases.",
                         'Write it as {"train": [...], "validation": [...]}.') from None


def refuse_shared_patients(packed: Path, split: Split) -> None:
    """Raises InputError when a patient to learn from is one to watch or to test on, too: packed cases say whose they are, of others the name does."""
    trained = {_patient(packed, name): name for name in split.train}
    for part in ("validation", "test"):
        names = {name: trained.get(_patient(packed, name)) for name in getattr(split, part)}
        shared = [f"{other} and {name}" for name, other in names.items() if other is not None]
        if shared:
            more = f" and {len(shared) - _SHOWN} more" if len(shared) > _SHOWN else ""
            raise InputError(f"The split has one patient in training and in {part}: {', '.join(shared[:_SHOWN])}{more}.",
                             "Keep each patient on one side, as braintumorseg-train split does; or, if they are different people, say so when they "
                             "are packed: prepare --table.")


def _patient(packed: Path, name: str) -> str:
    return read_facts(packed, name).patient if (packed / f"{name}.npz").is_file() else patient_of(name)


def split_cases(packed: Path, table: Mapping[str, CaseRow] | None = None) -> list[PackedFacts]:
    """What is known of every packed case but the made-up and unlabelled ones; cohort and patient as the table says, where it says something.

    Raises MissingFile when none is packed.
    """
    facts = [read_facts(packed, name) for name in packed_names(packed)]
    rows = table or {}
    known = [replace(case, cohort=rows[case.name].cohort or case.cohort, patient=rows[case.name].patient or case.patient)
             if case.name in rows else case for case in facts if case.cohort not in (PHANTOM, SYNTHETIC, UNLABELLED)]
    if not known:
        raise MissingFile(f"There is no packed case in {packed.name}.", "Run braintumorseg-train prepare first.")
    return known


def make_split(cases: Sequence[PackedFacts], *, validation: float, test: float, seed: int) -> Split:
    """One split with these shares of the patients (0..1, less than 1 together) in validation and test; the rest trains.

    Raises InputError when a part that was asked for would be empty.
    """
    if validation + test >= 1:
        raise InputError(f"Validation and test take {validation + test:.0%} of the patients.", "Leave some to train on.")
    train, watched, tested = _dealt(cases, (1 - validation - test, validation, test), seed)
    for name, share, part in (("validation", validation, watched), ("test", test, tested), ("training", 1.0, train)):
        if share and not part:
            raise InputError(f"{len(_patients(cases))} patients are too few for a {name} part of {share:.0%}.", "Ask for a larger share, or for 0.")
    return _told(Split(train, watched, test=tested), cases, f"Seed {seed}")


def make_folds(cases: Sequence[PackedFacts], folds: int, *, test: float, seed: int) -> list[Split]:
    """`folds` splits in which every patient is in validation once; `test`, the share that no fold sees, is the same in all of them.

    Raises InputError for fewer patients than folds.
    """
    rest, tested = _dealt(cases, (1 - test, test), seed)
    left = [case for case in cases if case.name in set(rest)]
    if len(_patients(left)) < folds:
        raise InputError(f"{len(_patients(left))} patients cannot be dealt into {folds} folds.", "Ask for fewer folds.")
    parts = _dealt(left, (1 / folds,) * folds, seed)
    return [_told(Split(tuple(name for other in parts if other is not part for name in other), part, test=tested), cases,
                  f"Seed {seed}, fold {number} of 0 to {folds - 1}") for number, part in enumerate(parts)]


def leave_out(cases: Sequence[PackedFacts], cohort: str, *, validation: float, seed: int) -> Split:
    """Test is the whole cohort, and none of its patients is in the rest; validation is a share of the others.

    Raises InputError for a cohort that is not there or that is all there is.
    """
    cohorts = sorted({case.cohort for case in cases})
    tested = [case for case in cases if case.cohort == cohort]
    patients = {case.patient for case in tested}
    others = [case for case in cases if case.patient not in patients]
    if not tested or not others:
        raise InputError(f"The cohort {cohort} is " + ("not among the packed cases." if not tested else "all there is."),
                         f"The cohorts are {', '.join(cohorts)}; a table with the columns case and cohort can say otherwise (--cohorts).")
    made = make_split(others, validation=validation, test=0.0, seed=seed)
    shared = [case.name for case in cases if case.patient in patients and case.cohort != cohort]
    why = f"Seed {seed}, cohort {cohort} left out" + (f"; in no part, for they are of its patients: {', '.join(shared)}" if shared else "")
    return _told(replace(made, test=tuple(sorted(case.name for case in tested))), cases, why)


def write_splits(splits: Sequence[Split], path: Path, *, force: bool = False) -> list[Path]:
    """One split as `path`; several as NAME_fold0.json and so on beside it. Returns the paths. Nothing is overwritten without `force`."""
    paths = [path] if len(splits) == 1 else [path.with_name(f"{path.stem}_fold{number}{path.suffix}") for number in range(len(splits))]
    there = [one.name for one in paths if one.exists()]
    if there and not force:
        raise OutputError(f"{', '.join(there)} exists already, and a split is never overwritten: runs hang on it.",
                          "Choose another name, or add --force.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for one, split in zip(paths, splits, strict=True):
            partial = one.with_name(f".{one.name}.partial")
            fields = {"reason": split.reason, "validation": split.validation, "test": split.test, "train": split.train}
            partial.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
            partial.replace(one)
    except OSError as error:
        raise OutputError(f"The split {path.name} cannot be written: {error.strerror or error}.", "Choose another place.") from None
    return paths


def _dealt(cases: Sequence[PackedFacts], shares: Sequence[float], seed: int) -> list[tuple[str, ...]]:
    """The cases' names in as many parts as shares, by patient.

    Patients are lined up by cohort, within it by class of tumour size, and within that by chance; then each goes to the part that is furthest
    behind its share. So every part is within one patient of its share, in the whole and nearly so in each cohort and class.
    """
    rng = np.random.default_rng(seed)
    behind = np.where(np.array(shares) > 0, rng.uniform(0, 1e-3, len(shares)), -np.inf)  # chance decides between equals
    parts: list[list[str]] = [[] for _ in shares]
    for patient in _lined_up(_patients(cases), rng):
        behind += shares
        part = int(np.argmax(behind))
        behind[part] -= 1
        parts[part] += [case.name for case in patient]
    return [tuple(sorted(part)) for part in parts]


def _patients(cases: Sequence[PackedFacts]) -> list[list[PackedFacts]]:
    """The cases of each patient, patients in the order of their names."""
    by: dict[str, list[PackedFacts]] = defaultdict(list)
    for case in sorted(cases, key=lambda case: case.name):
        by[case.patient].append(case)
    return [by[patient] for patient in sorted(by)]


def _lined_up(patients: list[list[PackedFacts]], rng: np.random.Generator) -> list[list[PackedFacts]]:
    """By cohort and class of size (a patient's largest tumour counts), in random order within each."""
    by: dict[str, list[list[PackedFacts]]] = defaultdict(list)
    for patient in patients:
        by[patient[0].cohort].append(patient)
    line = []
    for cohort in sorted(by):
        sized = sorted(by[cohort], key=lambda patient: max(case.tumour_ml for case in patient))
        for numbers in np.array_split(np.arange(len(sized)), _SIZES):
            line += [sized[number] for number in rng.permutation(numbers)]
    return line


def _told(split: Split, cases: Sequence[PackedFacts], how: str) -> Split:
    """The split with its reason: how it was made and what is in each part."""
    known = {case.name: case for case in cases}
    words = []
    for name, part in (("train", split.train), ("validation", split.validation), ("test", split.test)):
        if part:
            cohorts = ", ".join(f"{cohort} {count}" for cohort, count in sorted(Counter(known[case].cohort for case in part).items()))
            words.append(f"{name} {len(part)} cases of {len({known[case].patient for case in part})} patients ({cohorts}), "
                         f"median whole tumour {median(known[case].tumour_ml for case in part):.0f} ml")
    return replace(split, reason=f"{how}; by patient, stratified by cohort and size of the tumour: {'; '.join(words)}.")
