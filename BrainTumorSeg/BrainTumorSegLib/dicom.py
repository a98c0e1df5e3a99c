"""Slicer's DICOM database: which files a volume came from, what their headers say, and new files into it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import slicer

__all__ = ["Person", "add_file", "facts_of", "files_of", "identity_of", "instance_uids", "is_open", "series_uid_of"]

# Attributes of the engine's Facts -> tag; texts, then texts of several values, then numbers.
_TEXTS = {"study_uid": "0020,000d", "series_uid": "0020,000e", "modality": "0008,0060", "sop_class_uid": "0008,0016", "description": "0008,103e",
          "protocol": "0018,1030", "sequence_name": "0018,0024", "acquisition_type": "0018,0023", "contrast_agent": "0018,0010",
          "body_part": "0018,0015", "manufacturer": "0008,0070", "model": "0008,1090"}
_LISTS = {"image_type": "0008,0008", "scanning_sequence": "0018,0020", "sequence_variant": "0018,0021", "scan_options": "0018,0022"}
_NUMBERS = {"repetition_ms": "0018,0080", "echo_ms": "0018,0081", "inversion_ms": "0018,0082", "flip_deg": "0018,1314", "thickness_mm": "0018,0050",
            "number": "0020,0011", "echo_train": "0018,0091", "b_value": "0018,9087"}
_WHEN = (("0008,0022", "0008,0032"), ("0008,0023", "0008,0033"), ("0008,0021", "0008,0031"))  # date and time: acquisition, content, series
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
    """The header as the engine's Facts, for recognising only; None when the volume did not come from the database."""
    from braintumorseg.io.dicom_series import Facts

    uid = _first(node)
    if not uid:
        return None
    value = _database().instanceValue
    texts = {name: value(uid, tag).strip() for name, tag in _TEXTS.items()}
    lists = {name: tuple(one.strip() for one in value(uid, tag).split("\\") if one.strip()) for name, tag in _LISTS.items()}
    numbers = {name: _number(value(uid, tag)) for name, tag in _NUMBERS.items()}
    acquired = next((date + time for date, time in ((value(uid, a), value(uid, b)) for a, b in _WHEN) if date and time), "")
    return Facts(**texts, **lists, **numbers, acquired=acquired)


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


def _number(text: str):
    try:
        return float(text.split("\\")[0])
    except ValueError:
        return None


def _first(node) -> str:
    uids = instance_uids(node) if is_open() else []
    return uids[0] if uids and _database().fileForInstance(uids[0]) else ""


def _database():
    return getattr(slicer, "dicomDatabase", None)
