"""Slicer's DICOM database: which files a volume came from, what their headers say, and new files into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import slicer

__all__ = ["add_file", "files_of", "header_of", "identity_of", "instance_uids", "is_open", "series_uid_of"]

_TAGS = {"description": "0008,103e", "protocol": "0018,1030", "contrast": "0018,0010", "repetition": "0018,0080", "echo": "0018,0081",
         "inversion": "0018,0082"}
_PATIENT, _STUDY, _SERIES = "0010,0020", "0020,000d", "0020,000e"


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


def header_of(node) -> Mapping:
    """What recognising needs of a volume's header; {} when it did not come from the database."""
    uid = _first(node)
    return {name: _database().instanceValue(uid, tag) for name, tag in _TAGS.items()} if uid else {}


def identity_of(node) -> tuple:
    """(patient, study) to compare with those of other volumes, never to show; ('', '') when it is not known."""
    uid = _first(node)
    return (_database().instanceValue(uid, _PATIENT), _database().instanceValue(uid, _STUDY)) if uid else ("", "")


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


def _first(node) -> str:
    uids = instance_uids(node) if is_open() else []
    return uids[0] if uids and _database().fileForInstance(uids[0]) else ""


def _database():
    return getattr(slicer, "dicomDatabase", None)
