"""Who a DICOM header says that the patient is: for reports in which the user asked for it, and for nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

    from .dicom_series import Stack

__all__ = ["identity_asked_for", "identity_of"]

_SHOWN = {"Patient": "PatientName", "Patient ID": "PatientID", "Born": "PatientBirthDate", "Sex": "PatientSex", "Study date": "StudyDate",
          "Accession number": "AccessionNumber", "Study": "StudyDescription", "Series": "SeriesDescription"}


def identity_of(header: Dataset) -> dict[str, str]:
    """What is there of name, ID, birth date, sex, study date, accession number and descriptions, by words for people."""
    found = {words: str(header.get(name, "")).strip() for words, name in _SHOWN.items()}
    found["Patient"] = ", ".join(part for part in found["Patient"].partition("=")[0].split("^") if part)  # the alphabetic group of a PN
    return {words: value for words, value in found.items() if value and value != "None"}


def identity_asked_for(series: Stack | None) -> dict[str, str]:
    """`identity_of` the reference's series, for --with-identity. Raises InputError when it came as a file."""
    from .dicom import stack_headers

    if series is None:
        raise InputError("--with-identity takes the patient's name from DICOM headers, and the reference came as a file.", "Leave it out.")
    return identity_of(stack_headers(series)[0])
