"""What lies at the paths that a user gave: every DICOM series and image file with its role or the reason why it is not used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from .errors import UnclearRoles
from .io.dicom import read_stack, scan_dicom
from .io.dicom_series import LeftAside, Stack
from .io.files import printable
from .io.readers import read_volume
from .places import Places, sort_places
from .roles import Recognised, left_out, recognise_roles
from .roles_by_image import recognise_by_image
from .series_roles import SeriesRole, recognise_series, series_name
from .study import REFERENCE_ORDER, ROLES
from .volume import Volume

__all__ = ["Found", "Survey", "survey"]


@dataclass(frozen=True, eq=False)
class Found:
    """One series (`stack`) or file (`path`): its role of ROLES and why, or '' and why it is left out.

    may_be: what it may be, where that is not certain. notes: what its reader noticed and dealt with.
    """

    role: str = ""
    why: str = ""
    left_out: str = ""
    may_be: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stack: Stack | None = None
    path: Path | None = None

    @property
    def name(self) -> str:
        """'series 4' or a file's name; never a folder, never a word of the header."""
        return printable(self.path.name) if self.path is not None else series_name(self.stack)

    def read(self) -> Volume:
        return read_volume(self.path) if self.path is not None else read_stack(self.stack)


@dataclass(frozen=True, eq=False)
class Survey:
    """Everything found, series in the order of their numbers, then files; and what is no image of ours (`left_aside`)."""

    found: tuple[Found, ...]
    left_aside: tuple[LeftAside, ...] = ()

    @property
    def chosen(self) -> dict[str, Found]:
        """Role -> what has it, in the order of ROLES."""
        by_role = {one.role: one for one in self.found if one.role}
        return {role: by_role[role] for role in ROLES if role in by_role}

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(role for role in ROLES if role not in self.chosen)

    @property
    def reference(self) -> str:
        """The role whose grid would carry the result; '' when no role was found."""
        return next((role for role in REFERENCE_ORDER if role in self.chosen), "")

    @property
    def question(self) -> str:
        """What the user must say before this can be segmented; '' for nothing."""
        open_ones = [one for one in self.found if one.may_be and (set(one.may_be) != set(ROLES) or not self.chosen)
                     and set(one.may_be) & set(self.missing)]
        return "; ".join(f"{one.name} may be {' or '.join(one.may_be)}" for one in open_ones)


def survey(paths: Iterable[Path | str] = (), given: Mapping[str, Path | str] | None = None, *, study: int | None = None,
           fill_gaps: bool = False, progress: Callable[[float], None] = lambda done: None, cancel: threading.Event | None = None) -> Survey:
    """Look through files and folders (DICOM, NIfTI, NRRD, MHA) of one patient; images are read only where headers and names do not tell.

    Args:
        paths: files or folders.
        given: role -> what the user says it is: an image file, a DICOM series' folder or one of its files, or a series number as text, with
            the number of a volume behind a point where a series has several ('7.2').
        study: which of several DICOM studies, counted from the earliest, 1.
        fill_gaps: make up slices that are missing from a series from their neighbours, instead of refusing it.
        progress: is told the share of the DICOM files looked at, 0..1.
        cancel: when set, the scan stops.

    Raises UnclearRoles for several patients or studies, for contradictions, and for file names that do not tell; MissingFile,
    NotAnImage or BadImage for what cannot be read; Cancelled.
    """
    places = sort_places(paths, given or {})
    series, aside = _series(places, study, fill_gaps, progress, cancel)
    by_series = {one.role for one in series if one.role}
    files = _files(places, set(given or {}))
    for one in files:
        if one.role in by_series:
            raise UnclearRoles(f"{one.name} and a DICOM series may both be {one.role}.", f"Choose one with --{one.role}.")
    return Survey(tuple(_with_differences_noted([*series, *files])), aside)


def _series(places: Places, study: int | None, fill_gaps: bool, progress, cancel) -> tuple[list[Found], tuple[LeftAside, ...]]:
    if not places.dicom:
        if study is not None:
            raise UnclearRoles("--study chooses among DICOM studies, and there is none.", "Leave it out.")
        return [], ()
    scan = scan_dicom(places.dicom, progress=progress, cancel=cancel, fill_gaps=fill_gaps)
    stacks = [stack for stack in scan.stacks if places.asked_for(stack) or places.given_by_place(stack)]
    if study is None:   # with --study, other studies' patients do not matter
        _refuse_patients(stacks)
    mine, others = _one_study(stacks, len(places.given_places), study)
    given = places.given_stacks(stacks, mine, study)
    stacks = [stack for stack in stacks if any(stack is one for one in given.values())
              or (places.asked_for(stack) and any(stack is one for one in mine))]
    _refuse_patients(stacks)
    found = [_found(one) for one in recognise_series(stacks, given, read_stack)]
    return [_yielding(one, places.given_files) for one in found], (*scan.left_aside, *others)


def _yielding(one: Found, files: Mapping[str, Path]) -> Found:
    """A series gives its role up to a file that the user gave for it."""
    return replace(one, role="", left_out=f"a file was given as --{one.role}") if one.role in files else one


def _found(one: SeriesRole) -> Found:
    notes = (*one.stack.notes, *(["compressed with loss"] if one.stack.facts.lossy else []))
    return Found(one.role, one.why, one.left_out, one.may_be, notes, stack=one.stack)


def _refuse_patients(stacks: Sequence[Stack]) -> None:
    patients = {stack.facts.patient_key for stack in stacks}
    if len(patients) > 1:
        raise UnclearRoles(f"These are images of {len(patients)} patients.", "Give the folder of one patient.")
    named = {stack.facts.name_words for stack in stacks if stack.facts.name_words}
    if any(one.isdisjoint(other) for one, other in combinations(named, 2)):   # an ID such as ANON, a birth date such as 1900-01-01
        raise UnclearRoles("These images have one patient ID and birth date, and names without a word in common: they may be of several patients.",
                           "Give the folder of one patient.")


def _one_study(stacks: Sequence[Stack], given: int, number: int | None) -> tuple[Sequence[Stack], list[LeftAside]]:
    """(the stacks of one study; the other studies). Never the newest in silence: it is asked for, unless every role is `given`."""
    studies: dict[str, list[Stack]] = {}
    for stack in stacks:
        if stack.facts.modality in ("", "MR"):
            studies.setdefault(stack.facts.study_uid, []).append(stack)
    ordered = sorted(studies.values(), key=lambda ones: min(stack.facts.acquired for stack in ones))
    judged = [recognise_series(ones) for ones in ordered]
    roles = [[role for role in ROLES if any(one.role == role for one in found)] for found in judged]
    useful = [place for place, found in enumerate(judged) if any(one.role or one.may_be for one in found)]
    if number is not None and not 1 <= number <= len(ordered):
        raise UnclearRoles(f"There is no study {number}: {len(ordered)} stud{'y was' if len(ordered) == 1 else 'ies were'} found.",
                           "Look at them with 'braintumorseg study'.")
    if len(ordered) < 2 or (number is None and len(useful) > 1 and given == len(ROLES)):
        return stacks, []
    if number is None and len(useful) > 1:
        raise UnclearRoles(f"{len(ordered)} studies of this patient were found, the earliest first: {_listed(ordered, roles)}.",
                           "Choose one with --study N.")
    taken = number - 1 if number is not None else useful[0] if useful else 0
    others = [LeftAside(f"study {place + 1}", "another study was chosen" if place in useful else "another study, without a sequence of ours")
              for place in range(len(ordered)) if place != taken]
    return ordered[taken], others


def _listed(studies: Sequence[Sequence[Stack]], roles: Sequence[Sequence[str]]) -> str:
    return "; ".join(f"{number}: {', '.join(found) or 'none for certain'} ({len({stack.facts.series_uid for stack in ones})} series)"
                     for number, (ones, found) in enumerate(zip(studies, roles, strict=True), start=1))


def _files(places: Places, given: set[str]) -> list[Found]:
    files = places.given_files
    taken = {path.resolve() for path in files.values()}
    images = [path for path in places.images if path.resolve() not in taken]
    by_name = _by_name_or_image(images, given)
    reasons = left_out(images)
    used = {one.path for one in by_name.values()}
    return [*(Found(role, f"given as --{role}", path=path) for role, path in files.items()),
            *(Found(role, one.why, path=one.path) for role, one in by_name.items()),
            *(Found("", "", reasons.get(path, "another file has its role"), path=path) for path in images if path not in used)]


def _by_name_or_image(images: list[Path], given: set[str]) -> dict[str, Recognised]:
    try:
        return recognise_roles(images, given)
    except UnclearRoles as error:
        nameless = [path for path in images if "names no sequence" in left_out([path]).get(path, "")]
        if len(nameless) < 2 or {path for path in images if path not in left_out([path])}:
            raise
        found = recognise_by_image(nameless)
        if not found:
            raise UnclearRoles(f"{error.what} Their images do not tell for certain either.", error.fix) from None
        return found


def _with_differences_noted(found: list[Found]) -> list[Found]:
    """A note at every chosen series that was not measured in the reference's coordinates (the patient may have been moved), or that has
    the patient's name in another spelling."""
    chosen = {one.role: one for one in found if one.role and one.stack is not None}
    reference = next((chosen[role] for role in REFERENCE_ORDER if role in chosen), None)
    if reference is None:
        return found
    facts = reference.stack.facts

    def noted(one: Found) -> Found:
        if not one.role or one.stack is None:
            return one
        own, notes = one.stack.facts, list(one.notes)
        if _differ(own.frame_of_reference_uid, facts.frame_of_reference_uid):
            notes.append(f"another frame of reference than {reference.role}: aligned by the images")
        if _differ(own.name_key, facts.name_key):
            notes.append(f"the patient's name is written otherwise than in {reference.role}; ID and birth date are the same")
        return replace(one, notes=tuple(notes))

    return [noted(one) for one in found]


def _differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other
