"""What a DICOM header says, read so that a damaged or missing value is None or '' and never an exception."""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from functools import cache
from typing import TYPE_CHECKING

from ..person_names import words_of_name
from .dicom_series import Facts

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["FACT_TAGS", "b_value", "contrast_agent", "damage", "facts_of", "integer", "number", "text", "texts", "uid"]

# Keywords and private tags that `facts_of` asks for: only these are read from a file.
FACT_TAGS: tuple = (
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "SeriesNumber", "Modality", "SeriesDescription", "ProtocolName",
    "SequenceName", "PulseSequenceName", "ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "RepetitionTime",
    "EchoTime", "InversionTime", "FlipAngle", "EchoTrainLength", "EchoNumbers", "DiffusionBValue", "ContrastBolusAgent",
    "ContrastBolusAgentSequence", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ContentDate", "ContentTime", "SeriesDate",
    "SeriesTime", "StudyDate", "StudyTime", "BodyPartExamined", "Manufacturer", "ManufacturerModelName", "SliceThickness",
    "LossyImageCompression", 0x00190010, 0x0019100C, 0x00430010, 0x00431039, 0x20010010, 0x20011003,
)


@cache
def damage() -> tuple[type[Exception], ...]:
    """What pydicom raises when bytes are damaged: it lets through whatever its own steps ran into."""
    from pydicom.errors import BytesLengthException

    return (ValueError, TypeError, ArithmeticError, AttributeError, LookupError, NotImplementedError, EOFError, OSError, MemoryError,
            RecursionError, struct.error, zlib.error, BytesLengthException)


def text(dataset: Dataset, name: str | int) -> str:
    """The value as text without spaces around it, its first item if there are several."""
    return next(iter(texts(dataset, name)), "")


def texts(dataset: Dataset, name: str | int) -> tuple[str, ...]:
    """The values of an attribute as texts; () where it is missing, empty or damaged."""
    from pydicom.multival import MultiValue

    try:
        value = dataset[name].value if name in dataset else None
        if value is None:
            return ()
        if isinstance(value, bytes):  # a private attribute whose type the file does not say
            value = value.decode("ascii", errors="ignore").split("\\")
        values = value if isinstance(value, (MultiValue, list, tuple)) else [value]
        return tuple(stripped for one in values if (stripped := str(one).strip("\0 ")))
    except damage():
        return ()


def uid(dataset: Dataset, name: str) -> str:
    """A UID; '' where there is none."""
    return text(dataset, name)


def number(dataset: Dataset, name: str | int) -> float | None:
    """The (first) value as a finite number, None where there is none."""
    try:
        found = float(text(dataset, name))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def integer(dataset: Dataset, name: str | int) -> int | None:
    found = number(dataset, name)
    return None if found is None else int(found)


def facts_of(dataset: Dataset, salt: bytes) -> Facts:
    """The facts of one image. `salt` (random, one per scan) keeps `patient_key` and the keys of the name from being looked up in a table."""
    return Facts(
        study_uid=uid(dataset, "StudyInstanceUID"), series_uid=uid(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=uid(dataset, "FrameOfReferenceUID"), patient_key=_patient_key(dataset, salt),
        name_key=_digest(salt, name) if (name := _name(dataset)) else "",
        name_words=frozenset(_digest(salt, word) for word in words_of_name(text(dataset, "PatientName")) if word.isascii()),
        number=integer(dataset, "SeriesNumber"), modality=text(dataset, "Modality"), sop_class_uid=uid(dataset, "SOPClassUID"),
        image_type=texts(dataset, "ImageType"), description=text(dataset, "SeriesDescription"), protocol=text(dataset, "ProtocolName"),
        sequence_name=text(dataset, "SequenceName") or text(dataset, "PulseSequenceName"),
        scanning_sequence=texts(dataset, "ScanningSequence"), sequence_variant=texts(dataset, "SequenceVariant"),
        scan_options=texts(dataset, "ScanOptions"), acquisition_type=text(dataset, "MRAcquisitionType"),
        repetition_ms=number(dataset, "RepetitionTime"), echo_ms=number(dataset, "EchoTime"), inversion_ms=number(dataset, "InversionTime"),
        flip_deg=number(dataset, "FlipAngle"), echo_train=integer(dataset, "EchoTrainLength"), echo_number=integer(dataset, "EchoNumbers"),
        b_value=b_value(dataset), contrast_agent=contrast_agent(dataset), acquired=_acquired(dataset), body_part=text(dataset, "BodyPartExamined"),
        manufacturer=text(dataset, "Manufacturer"), model=text(dataset, "ManufacturerModelName"),
        thickness_mm=number(dataset, "SliceThickness"), lossy=text(dataset, "LossyImageCompression") == "01",
    )


def b_value(dataset: Dataset) -> float | None:
    """The b value in s/mm²: the standard's attribute, else that of Siemens, GE or Philips (private, from their conformance statements)."""
    standard = number(dataset, "DiffusionBValue")
    if standard is not None:
        return standard
    if text(dataset, 0x00190010).startswith("SIEMENS MR"):
        return number(dataset, 0x0019100C)
    if text(dataset, 0x00430010).startswith("GEMS_PARM"):
        coded = number(dataset, 0x00431039)
        return None if coded is None else coded % 100000  # GE adds 1e9 where the gradients are scaled
    if text(dataset, 0x20010010).startswith("Philips"):
        return number(dataset, 0x20011003)
    return None


def _patient_key(dataset: Dataset, salt: bytes) -> str:
    """Equal for images of one patient. With no identity at all, one study is one patient.

    A name counts only where ID and birth date are not both there: it may be written in several ways.
    """
    patient, birth = text(dataset, "PatientID"), text(dataset, "PatientBirthDate")
    identity = [patient, "" if patient and birth else _name(dataset), birth]
    return _digest(salt, *(identity if any(identity) else [uid(dataset, "StudyInstanceUID")]))


def _name(dataset: Dataset) -> str:
    return " ".join(text(dataset, "PatientName").replace("^", " ").casefold().split())


def _digest(salt: bytes, *words: str) -> str:
    return hashlib.sha256(salt + "\n".join(words).encode(errors="replace")).hexdigest()[:16]


def contrast_agent(dataset: Dataset) -> str:
    """The header's words for it; 'yes' where only a sequence of items says that there was one, '' where nothing does."""
    if agent := text(dataset, "ContrastBolusAgent"):
        return agent
    try:
        return "yes" if len(dataset.get("ContrastBolusAgentSequence") or ()) else ""
    except damage():
        return ""


def _acquired(dataset: Dataset) -> str:
    """YYYYMMDDHHMMSS.ffffff of the acquisition, else of the content, series or study; '' where none is known."""
    if both := text(dataset, "AcquisitionDateTime"):
        return both
    for kind in ("Acquisition", "Content", "Series", "Study"):
        date, time = text(dataset, f"{kind}Date"), text(dataset, f"{kind}Time")
        if date and time:
            return date + time
    return text(dataset, "StudyDate")
