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
from braintumorseg.io.replacing import replacing

from .case_table import CaseRow, patient_of
from .lineage import Learned, Lineage, is_published, learned_here, lineage_from, names_alone, plain_lineage, same_patient
from .packing import PHANTOM, SYNTHETIC, UNLABELLED, PackedFacts, packed_names, read_facts

__all__ = ["Split", "folds_within", "leave_out", "make_folds", "make_split", "read_split", "refuse_shared_patients", "some_of",
           "split_cases", "write_splits"]

_WRITTEN = 'Write it as {"train": ["case", ...], "validation": ["case", ...]}.'
_SHOWN = 3
_SIZES = 4  # classes of tumour size within a cohort, equally many patients in each


@dataclass(frozen=True)
class Split:
    """Names of cases. `test` may be empty. Raises InputError when a case is in two parts, or twice in one.

    Of a run also `inherited`: what the weights that it began from had learned from, besides `train`, None for fresh weights and where nobody said;
    and `made_up`: the phantoms and synthetic brains that it learns from, None where nobody kept their names.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    reason: str = ""
    test: tuple[str, ...] = ()
    inherited: Lineage | None = None
    made_up: tuple[str, ...] | None = None

    def __post_init__(self):
        parts = {"training": self.train, "validation": self.validation, "test": self.test}
        for part, names in parts.items():
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise InputError(f"The split has {some_of(twice)} more than once in {part}.", "Name each case once.")
        for one, other in (("training", "validation"), ("training", "test"), ("validation", "test")):
            both = sorted(set(parts[one]) & set(parts[other]))
            if both:
                raise InputError(f"The split has {', '.join(both)} in {one} and in {other}.", "Keep each patient on one side.")


def read_split(path: Path) -> Split:
    """A split file: JSON with `train`, `validation` and, better than not, `test` and the `reason` for the choice. Raises InputError."""
    try:
        given = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"The split {path.name} cannot be read ({error.__class__.__name__}).", "Check its path and that it is JSON.") from None
    if not isinstance(given, dict) or not {"train", "validation"} <= set(given):
        raise InputError(f"The split {path.name} lacks a list of train or validation cases.", _WRITTEN)
    known = {"train": (), "validation": (), "test": (), "made_up": None}
    for part in known:
        if part in given and not (isinstance(given[part], list) and all(isinstance(name, str) and name for name in given[part])):
            raise InputError(f"In the split {path.name}, {part} is not a list of cases' names in quotation marks.", _WRITTEN)
    return Split(**{part: tuple(given[part]) if part in given else empty for part, empty in known.items()}, reason=str(given.get("reason") or ""),
                 inherited=_inherited(given.get("inherited"), path.name))


def _inherited(given, name: str) -> Lineage | None:
    """A lineage; of older versions, which wrote names alone, one that is not complete: they forgot weights of unknown origin."""
    if given is None:
        return None
    try:
        return names_alone(map(str, given), complete=False) if isinstance(given, list) else lineage_from(given)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"In the split {name}, inherited is not what a run writes.", "Restore it, or take it from the run's folder.") from None


def refuse_shared_patients(packed: Path, split: Split) -> None:
    """Raises InputError when a patient is in two parts of the split, or when the weights that a run began from learned from one to watch or to
    test on. Packed cases say whose they are, of others the name does."""
    for one, part in (("train", "validation"), ("train", "test"), ("validation", "test")):
        there = {_patient(packed, name): name for name in getattr(split, one)}
        names = {name: there.get(_patient(packed, name)) for name in getattr(split, part)}
        if pairs := [f"{other} and {name}" for name, other in names.items() if other is not None]:
            raise InputError(f"The split has one patient in {one.replace('train', 'training')} and in {part}: {some_of(pairs)}.",
                             "Keep each patient on one side, as braintumorseg-train split does; or, if they are different people, say so when they "
                             "are packed: prepare --table.")
    for part in ("validation", "test"):
        _refuse_inherited(packed, split, part)


def _refuse_inherited(packed: Path, split: Split, part: str) -> None:
    """Raises InputError when the weights before learned from a patient of this part."""
    before = split.inherited.cases if split.inherited else ()
    held_out = [learned_here(packed, name) for name in getattr(split, part)]
    by_image = {image: case for case in held_out for image in case.images}
    by_name: dict[str, list[Learned]] = defaultdict(list)
    for case in held_out:
        for key in {case.patient, case.name}:
            by_name[key].append(case)
    found, local = [], False
    for case in before:
        shown = next((by_image[image] for image in case.images if image in by_image), None)
        called = [one for key in dict.fromkeys((case.name, case.patient)) for one in by_name.get(key, ())]
        other = shown or next((one for one in called if same_patient(case, one, learned_here(packed, case.name))), None)
        if other is not None:
            local = local or (shown is None and not is_published(case.name))
            found.append(case.name if other.name == case.name else f"{case.name} (whose patient is that of {other.name})")
    if found:
        settled = (" If these are other patients of the same names, say so when they are packed: prepare --table, with patients of their own."
                   if local else "")
        raise InputError(f"The weights to start from learned from {some_of(found)}: of patients in the split's {part}, whose scores would not be "
                         "those of unseen patients.",
                         "Start from weights that did not learn from them, or take them out of the split's validation and test." + settled)


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


def folds_within(cases: Sequence[PackedFacts], split: Split, folds: int, *, seed: int) -> list[Split]:
    """Folds of the split's training cases; its validation and test cases are the test of each, which no fold learns from or watches.

    Raises MissingFile when a training case is not among `cases`, InputError for fewer patients than folds.
    """
    inner = [case for case in cases if case.name in set(split.train)]
    if lacking := sorted(set(split.train) - {case.name for case in inner}):
        raise MissingFile(f"Of the split's training cases {some_of(lacking)} {'are' if len(lacking) > 1 else 'is'} not packed.",
                          "Run braintumorseg-train prepare first, or give the --data that the split was made of.")
    kept = (*split.validation, *split.test)
    return [replace(fold, test=kept, reason=f"{fold.reason} Of the training cases of another split; test is the {len(kept)} cases that it holds out.")
            for fold in make_folds(inner, folds, test=0.0, seed=seed)]


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
            fields = {"reason": split.reason, "validation": split.validation, "test": split.test, "train": split.train,
                      **({} if split.inherited is None else {"inherited": plain_lineage(split.inherited)}),
                      **({} if split.made_up is None else {"made_up": split.made_up})}
            with replacing(one) as partial:
                partial.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
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


def some_of(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
