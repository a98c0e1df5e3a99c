"""What an archive can do for us, whatever it speaks: answer, find, retrieve, store."""

from __future__ import annotations

import importlib
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import Cancelled, ConfigError, ConnectionLost, PacsError
from .config import DimseSettings, WebSettings

__all__ = ["Node", "Patience", "Query", "SeriesFound", "StudyFound", "check_uid", "newest_first", "of_modality", "open_node", "stop_if",
           "with_retries"]

_ATTEMPTS = 3
_FIRST_WAIT_S = 1.0   # doubled before each further attempt
_SEARCH_WAITS, _MOST_ANSWERS = 10, 100_000   # a search may take so many times timeout_s, and find so many


@dataclass(frozen=True)
class Query:
    """Which studies are wanted; dates are YYYYMMDD, '' leaves that side open."""

    patient_id: str = ""
    study_uid: str = ""
    accession: str = ""
    date_from: str = ""
    date_to: str = ""
    modality: str = ""

    def __post_init__(self):
        if not (self.patient_id or self.study_uid or self.accession or self.date_from or self.date_to):
            raise ConfigError("A search without a patient, study, accession number or date would list the whole archive.",
                              "Give --patient-id-file, --study-uid, --accession-file or --date.")
        for text in (self.patient_id, self.accession, self.study_uid):
            if set(text) & set("*?\\"):  # DICOM's wildcards (PS3.4 C.2.2.2.4) would find other patients' studies too
                raise ConfigError("A patient's ID, an accession number and a UID must be exact, without * ? or \\.")
        if self.study_uid:
            check_uid(self.study_uid)
        for date in (self.date_from, self.date_to):
            if date and not re.fullmatch(r"[0-9]{8}", date):
                raise ConfigError("A date is written YYYYMMDD, a range YYYYMMDD-YYYYMMDD.")

    @property
    def date_range(self) -> str:
        """As DICOM writes it: one day, or FROM-TO with an open side."""
        return self.date_from if self.date_from == self.date_to else f"{self.date_from}-{self.date_to}"


@dataclass(frozen=True)
class SeriesFound:
    uid: str
    modality: str
    images: int | None           # as the archive counts them; None where it does not say
    number: int | None
    description: str             # free text: identity may be in it


@dataclass(frozen=True, repr=False)
class StudyFound:
    """A study as the archive describes it. `identity` and the series' descriptions are shown only on request."""

    uid: str
    date: str
    series: tuple[SeriesFound, ...]
    identity: dict[str, str]     # patient_name, patient_id, birth_date, accession, description

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(sorted({one.modality for one in self.series if one.modality}))


class Patience:
    """What one search may take of an archive that would never end."""

    def __init__(self, settings: DimseSettings | WebSettings, cancel: threading.Event | None = None):
        self._name, self._cancel = settings.name, cancel
        self._end = time.monotonic() + _SEARCH_WAITS * settings.timeout_s

    def check(self, answers: int = 0) -> None:
        """Raises Cancelled once it is cancelled, PacsError when it takes too long or finds too much."""
        stop_if(self._cancel)
        if answers > _MOST_ANSWERS:
            raise PacsError(f"{self._name} finds more than {_MOST_ANSWERS} entries.", "Ask for less: a patient, or fewer days.")
        if time.monotonic() > self._end:
            raise PacsError(f"{self._name} takes too long over a search.", "Ask for less, or raise timeout_s in the settings.")


class Node(Protocol):
    """One archive. Every method raises PacsError (ConnectionLost after the last attempt), and Cancelled once `cancel` is set."""

    name: str

    def echo(self) -> None:
        """Ask for a sign of life, with the same credentials and encryption as everything else."""

    def find(self, query: Query) -> list[StudyFound]:
        """The studies that fit, newest first."""

    def retrieve(self, study_uid: str, folder: Path, *, modality: str = "", progress: Callable[[float], None] = lambda done: None,
                 cancel: threading.Event | None = None) -> int:
        """Fetch a study (or its series of one modality) into `folder`/01/0001.dcm ...; returns how many images came.

        Their data sets are as the archive keeps them, compression and all. Raises PartialRetrieve when fewer came than the archive says it has.
        """

    def store(self, files: Sequence[Path], *, progress: Callable[[float], None] = lambda done: None,
              cancel: threading.Event | None = None) -> None:
        """Send DICOM files; each is known to be accepted when this returns."""


def open_node(settings: DimseSettings | WebSettings) -> Node:
    """The archive behind some settings; nothing is connected yet. Raises PacsError when the package it needs is missing."""
    module, name, package = (".dimse", "DimseNode", "pynetdicom") if isinstance(settings, DimseSettings) else (".web", "WebNode", "requests")
    try:
        importlib.import_module(package)
    except ImportError:
        raise PacsError(f"Talking to an archive needs the package {package}, which is not installed.",
                        "Run: python -m pip install pynetdicom requests") from None
    return getattr(importlib.import_module(module, __package__), name)(settings)


def check_uid(uid: str) -> str:
    """`uid` itself. Raises ConfigError when it is none (PS3.5 9.1): it goes into queries and addresses."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)+", uid) or len(uid) > 64:
        raise ConfigError("A study's UID is numbers joined by dots, at most 64 characters.", "Copy it from 'braintumorseg pacs find'.")
    return uid


def of_modality(node: str, series: Sequence[SeriesFound], modality: str) -> list[SeriesFound]:
    """Those of a study's `series` that are of `modality` ('' for all). Raises PacsError, naming the archive, when there is none."""
    wanted = [one for one in series if modality in ("", one.modality)]
    if not wanted:
        raise PacsError(f"{node} has no {modality + ' series' if modality else 'series'} of that study.",
                        "Copy the UID from 'braintumorseg pacs find'.")
    return wanted


def newest_first(studies: Sequence[StudyFound], query: Query) -> list[StudyFound]:
    """Sorted for a person to read, without those of other modalities (an archive may ignore that wish)."""
    fitting = [study for study in studies if query.modality in ("", *study.modalities)]
    return sorted(fitting, key=lambda study: study.date, reverse=True)


def stop_if(cancel: threading.Event | None) -> None:
    """Raises Cancelled once `cancel` is set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled("The transfer was cancelled.")


def with_retries(action: Callable[[], object], cancel: threading.Event | None = None, attempts: int = _ATTEMPTS):
    """What `action` returns; after ConnectionLost it is called again, a few times and after growing pauses."""
    cancel = cancel or threading.Event()
    for attempt in range(attempts):
        stop_if(cancel)
        try:
            return action()
        except ConnectionLost:
            if attempt == attempts - 1:
                raise
        cancel.wait(_FIRST_WAIT_S * 2 ** attempt)
    return None
