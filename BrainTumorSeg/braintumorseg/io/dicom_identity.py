"""Who a DICOM header says that the patient is: for reports in which the user asked for it, and for nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["identity_of"]

_SHOWN = {"Patient": "PatientName", "Patient ID": "PatientID", "Born": "PatientBirthDate", "Sex": "PatientSex", "Study date": "StudyDate",
          "Accession number": "AccessionNumber", "Study": "StudyDescription", "Series": "SeriesDescription"}


def identity_of(header: Dataset) -> dict[str, str]:
    """What is there of name, ID, birth date, sex, study date, accession number and descriptions, by words for people."""
    found = {words: str(header.get(name, "")).strip() for words, name in _SHOWN.items()}
    found["Patient"] = ", ".join(part for part in found["Patient"].partition("=")[0].split("^") if part)  # the alphabetic group of a PN
    return {words: value for words, value in found.items() if value and value != "None"}
