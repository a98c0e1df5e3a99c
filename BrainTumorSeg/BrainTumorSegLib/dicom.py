"""Slicer's DICOM database: which files a volume came from, what their headers say, and new files into it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import slicer

__all__ = ["Person", "add_file", "facts_of", "files_of", "identity_of", "instance_uids", "is_open", "series_uid_of"]

_SALT = os.urandom(16)  # the facts hold no name, only what tells two names of this session apart
_PATIENT, _NAME, _BORN, _STUDY, _SERIES = "0010,0020", "0010,0010", "0010,0030", "0020,000d", "0020,000e"


@dataclass(frozen=True, eq=False)
class Person:
    """Whose images a header says they are, to compare and never to show. Equal where they may be one person, False when nothing is told.

    An ID is not enough: it may be empty, or one placeholder for all (the engine's survey refuses these, too). Words of the name are compared
    in Latin letters, for scanners write other scripts as they like.
    """

    patient_id: str
    words: frozenset
    born: str
    study: str

    def __bool__(self) -> bool:
        return bool(self.patient_id or self.words or self.born)

    def __eq__(self, other) -> bool:
        if not isinstance(other, Person):
            return NotImplemented
        if self.patient_id and other.patient_id and self.patient_id != other.patient_id:
            return False
        if self.study and self.study == other.study:
            return True
        if self.born and other.born and self.born != other.born:
            return False
        if not (self.words and other.words):
            return True
        if self.patient_id and other.patient_id:
            return not self.words.isdisjoint(other.words)  # the name may be spelled or have changed
        return self.words <= other.words or other.words <= self.words

    __hash__ = None  # what may be one person is no class of equals


def is_open() -> bool:
    database = _database()
    return database is not None and bool(database.isOpen)


def instance_uids(node) -> list:
    """The SOPInstanceUIDs that Slicer wrote on a volume when it loaded it from its database; [] for a file."""
    return (node.GetAttribute("DICOM.instanceUIDs") or "").split()


def files_of(node) -> list:
    """The files of a volume's series as Paths; [] when one is not in the database or not on disk any more."""
    if not is_open():
        return []
    files = [Path(path) if path else None for path in (_database().fileForInstance(uid) for uid in instance_uids(node))]
    return files if all(path is not None and path.is_file() for path in files) else []


def facts_of(node):
    """The header of the volume's first file as the engine reads it, for recognising only; None when the volume did not come from the database.

    Of a file that is gone or damaged meanwhile only study and series are told.
    """
    from braintumorseg.io.dicom_facts import damage
    from braintumorseg.io.dicom_series import Facts

    uid = _first(node)
    if not uid:
        return None
    file = _database().fileForInstance(uid)
    try:
        return _facts(file, uid)
    except damage():
        series = _database().seriesForFile(file)
        return Facts(study_uid=_database().studyForSeries(series), series_uid=series)


def identity_of(node) -> tuple:
    """(Person, study) to compare with those of other volumes, never to show; ('', '') when it is not known."""
    uid = _first(node)
    return _identity(uid) if uid else ("", "")


def series_uid_of(node) -> str:
    uid = _first(node)
    return _database().instanceValue(uid, _SERIES) if uid else ""


def add_file(path: Path, sop_instance_uid: str) -> bool:
    """Copy a DICOM file into Slicer's database; True when the database then knows the instance and has its file."""
    import ctk

    if not is_open():
        return False
    indexer = ctk.ctkDICOMIndexer()
    indexer.addFile(_database(), str(path), True)
    indexer.waitForImportFinished()
    stored = _database().fileForInstance(sop_instance_uid)
    return bool(stored) and Path(stored).is_file()


@lru_cache(maxsize=256)
def _identity(uid: str) -> tuple:
    """Kept, for the panel asks at every change of a choice, and the database may open a file to answer."""
    from braintumorseg.person_names import words_of_name

    patient, name, born, study = (_database().instanceValue(uid, tag).strip() for tag in (_PATIENT, _NAME, _BORN, _STUDY))
    return Person(patient, frozenset(word for word in words_of_name(name) if word.isascii()), born, study), study


@lru_cache(maxsize=256)
def _facts(file: str, uid: str):
    """Kept, for the panel asks at every load for all volumes, and a file is read to answer."""
    from pydicom import dcmread

    from braintumorseg.io import dicom_facts

    header = dcmread(file, specific_tags=list(dicom_facts.FACT_TAGS), stop_before_pixels=True, force=True)
    return dicom_facts.facts_of(header, _SALT)


def _first(node) -> str:
    uids = instance_uids(node) if is_open() else []
    return uids[0] if uids and _database().fileForInstance(uids[0]) else ""


def _database():
    return getattr(slicer, "dicomDatabase", None)
