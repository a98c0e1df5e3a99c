"""One image without identity: a new data set of what may stay (see `confidentiality`), never the old one with parts removed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .confidentiality import CODING_SCHEMES, DATES, KEPT, SEQUENCES, clean_description, option_codes
from .pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

__all__ = ["Cleaner", "identity_words"]

# Attributes, beside every person name, whose words must not turn up in what is kept.
_NAMING = ("PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber", "StudyID", "InstitutionName", "InstitutionAddress", "StationName",
           "DeviceSerialNumber", "PatientAddress", "PatientTelephoneNumbers", "RequestedProcedureID", "PerformedProcedureStepID",
           "ScheduledProcedureStepID", "InstitutionalDepartmentName")
_BODY_PARTS = frozenset({"HEAD", "BRAIN", "SKULL", "NECK", "HEADNECK", "SPINE", "CSPINE", "WHOLEBODY"})
_TERMS = frozenset({"original", "derived", "primary", "secondary", "mixed", "yes", "no", "none", "other"})   # as surnames they give nothing away
_TEXT = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "CS"})
_NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "SV", "UV", "AT"})
# Type 2 in every image: present and empty.
_EMPTY = ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDate", "StudyTime")


def identity_words(dataset: Dataset) -> Iterator[str]:
    """The words of names and numbers in a header and its sequences, lower case, from three letters on."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from identity_words(item)
        elif element.VR == "PN" or element.keyword in _NAMING:
            for value in _values(element):
                yield from (word for word in _words(str(value)) if len(word) > 2 and word not in _TERMS)


class Cleaner:
    """Copies of one patient's images. `identity` are words, lower case, that must not be left anywhere."""

    def __init__(self, pseudonyms: Pseudonyms, patient: str, identity: frozenset[str], keep_dates: bool, keep_age_sex: bool):
        self._pseudonyms, self._patient, self._identity = pseudonyms, patient, identity
        self._keep_dates, self._keep_age_sex = keep_dates, keep_age_sex

    def copy(self, source: Path, target: Path) -> str:
        """Write a clean copy; returns '' or why there is none."""
        from pydicom import dcmread
        from pydicom.dataset import FileDataset, FileMetaDataset

        try:
            original = dcmread(source)
            pixels = original.get("PixelData")
            if pixels and self._is_named_in(pixels):
                return "an image whose pixel data hold the patient's name or number"
            clean = self.clean(original)
            if pixels and not original.file_meta.TransferSyntaxUID.is_encapsulated:
                clean.PixelData = _exactly(pixels, original)
        except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError, OSError, EOFError):
            return "a DICOM file with a damaged header"
        self._finish(clean, original)
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = original.file_meta.TransferSyntaxUID
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = clean.SOPClassUID, clean.SOPInstanceUID
        target.parent.mkdir(exist_ok=True)
        FileDataset(target, clean, preamble=bytes(128), file_meta=meta).save_as(target, enforce_file_format=True)
        return ""

    def clean(self, original: Dataset) -> Dataset:
        """A new data set of what may stay of `original`."""
        from pydicom import DataElement, Dataset

        result = Dataset()
        for element in original:
            if element.tag.is_private:
                continue
            if element.keyword in SEQUENCES and element.VR == "SQ":
                items = [self.clean(item) for item in element.value if _is_published(item)]
                if items or element.is_empty:
                    result.add(DataElement(element.tag, "SQ", items))
            elif element.keyword in DATES or element.keyword in KEPT:
                value = self._value(element)
                if value is not None:
                    result.add(DataElement(element.tag, element.VR, value))
        self._replace(result, original)
        return result

    def _value(self, element: DataElement):
        """What stays of an element's value; None when nothing may."""
        values = _values(element)
        if element.keyword == "PixelData":
            return element.value
        if element.VR == "UI":
            return [self._pseudonyms.uid(str(value)) for value in values]
        if element.VR in ("DA", "DT") and element.keyword in DATES:
            return [str(value) if self._keep_dates else self._pseudonyms.shifted(str(value), self._patient) for value in values]
        if element.VR == "TM":
            return values if all(re.fullmatch(r"[0-9]{2,6}(\.[0-9]{1,6})?", str(value).strip()) for value in values) else None
        if element.VR in _NUMBERS:
            return element.value if all(_is_number(value) for value in values) else None
        if element.VR not in _TEXT or (element.VR == "CS" and not all(re.fullmatch(r"[A-Z0-9_ ]{0,16}", str(value)) for value in values)):
            return None
        if element.keyword == "BodyPartExamined" and not set(map(str, values)) <= _BODY_PARTS:
            return None
        if element.keyword == "ImageType":   # type 1: a word of the identity in it becomes OTHER
            return ["OTHER" if self._names(str(value)) else value for value in values]
        return None if any(self._names(str(value)) for value in values) else element.value

    def _replace(self, result: Dataset, original: Dataset) -> None:
        """What is neither kept nor dropped: free text of which a recognised part, or a word of ours, takes the place."""
        if "SeriesDescription" in original:
            result.SeriesDescription = clean_description(str(original.SeriesDescription or ""), self._identity)
        if original.get("ContrastBolusAgent"):
            result.ContrastBolusAgent = "CONTRAST"   # that there was some decides which sequence it is
        if "SegmentNumber" in original and result.get("SegmentedPropertyTypeCodeSequence"):
            result.SegmentLabel = result.SegmentedPropertyTypeCodeSequence[0].get("CodeMeaning", "Segment")
        if original.get("TrackingID"):
            result.TrackingID = f"Segment {original.get('SegmentNumber', '')}".strip()
        if "PositionReferenceIndicator" in original:
            result.PositionReferenceIndicator = ""
        if "ContentLabel" in original:
            result.ContentLabel, result.ContentDescription, result.ContentCreatorName = "SEGMENTATION", "", ""

    def _finish(self, clean: Dataset, original: Dataset) -> None:
        from pydicom import Dataset

        clean.SpecificCharacterSet = "ISO_IR 192"
        for keyword in _EMPTY:
            if keyword not in clean:
                setattr(clean, keyword, "")
        clean.PatientName = clean.PatientID = self._pseudonyms.patient(self._patient)
        if self._keep_age_sex:
            clean.PatientSex = original.get("PatientSex") if original.get("PatientSex") in ("M", "F", "O") else ""
            if re.fullmatch(r"\d{3}[DWMY]", age := str(original.get("PatientAge") or "")):
                clean.PatientAge = min(age, "090Y") if age.endswith("Y") else age
        clean.PatientIdentityRemoved, clean.RecognizableVisualFeatures = "YES", "YES"
        clean.DeidentificationMethod = "DICOM PS3.15 Basic Profile by BrainTumorSeg"
        clean.LongitudinalTemporalInformationModified = "UNMODIFIED" if self._keep_dates else "MODIFIED"
        clean.DeidentificationMethodCodeSequence = []
        for code, meaning in option_codes(self._keep_dates, self._keep_age_sex):
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", meaning
            clean.DeidentificationMethodCodeSequence.append(item)

    def _names(self, text: str) -> bool:
        """Whether a word of the identity is a word in `text`, or, from five letters on, a part of one."""
        words = _words(text)
        return bool(self._identity & set(words)) or any(len(word) > 4 and word in "".join(words) for word in self._identity)

    def _is_named_in(self, content: bytes) -> bool:
        """Whether pixel data hold a word of the identity as text; digits and short words would be found by chance."""
        found = [word for word in self._identity if len(word) > 4 and not word.isdigit()]
        return any(form.encode(coding, "replace") in content for word in found for form in (word, word.upper(), word.capitalize())
                   for coding in ("latin-1", "utf-8", "utf-16-le"))


def _values(element: DataElement) -> list:
    if element.is_empty:
        return []
    return list(element.value) if element.VM > 1 else [element.value]


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", text.lower()) if word]


def _is_number(value: object) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_published(item: Dataset) -> bool:
    """False for a code of a private scheme."""
    return "CodingSchemeDesignator" not in item or item.CodingSchemeDesignator in CODING_SCHEMES


def _exactly(pixels: bytes, original: Dataset) -> bytes:
    """Pixel data without what may stand behind the last pixel."""
    bits = original.Rows * original.Columns * original.SamplesPerPixel * original.BitsAllocated * int(original.get("NumberOfFrames") or 1)
    size = -(-bits // 8)
    return pixels[:size] + bytes(size % 2)
