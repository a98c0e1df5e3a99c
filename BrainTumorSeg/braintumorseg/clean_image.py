"""One image without identity: a new data set of what may stay (see `confidentiality`), never the old one with parts removed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from .clean_pixels import UnknownPixels, clean_pixels
from .confidentiality import DATES, KEPT, SEQUENCES, clean_description, option_codes, published_meaning
from .io.dicom_facts import contrast_agent, damage
from .io.dicom_series import Facts
from .pseudonyms import Pseudonyms
from .sequences import agent_given

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

__all__ = ["DAMAGED_HEADER", "Cleaner", "identity_words"]

METHOD = "DICOM PS3.15 Basic Profile by BrainTumorSeg"
DAMAGED_HEADER = "a DICOM file with a damaged header"

# Attributes, beside every person name, whose words must not turn up in what is kept.
_NAMING = ("PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber", "StudyID", "InstitutionName", "InstitutionAddress", "StationName",
           "DeviceSerialNumber", "PatientAddress", "PatientTelephoneNumbers", "RequestedProcedureID", "PerformedProcedureStepID",
           "ScheduledProcedureStepID", "InstitutionalDepartmentName")
_BODY_PARTS = frozenset({"HEAD", "BRAIN", "SKULL", "NECK", "HEADNECK", "SPINE", "CSPINE", "WHOLEBODY"})
# As surnames, or in the name of a hospital or a station, these give nothing away.
_TERMS = frozenset({"original", "derived", "primary", "secondary", "mixed", "yes", "no", "none", "other"})
_MAKERS = frozenset({"philips", "siemens", "healthineers", "general", "electric", "toshiba", "canon", "hitachi", "fujifilm", "bruker", "biospin",
                     "esaote", "paramed", "hyperfine", "neusoft", "alltech", "united", "imaging", "shimadzu", "fonar", "medical", "systems",
                     "healthcare", "health", "corporation", "gmbh"})
# Where the name of the algorithm stands, who made the segment may: type 1 unless it was drawn by hand.
_ALGORITHMS = {"AUTOMATIC": "Automatic", "SEMIAUTOMATIC": "Semiautomatic"}
# Words that every copy holds, so that finding them says nothing.
_OURS = " ".join([METHOD, "CONTRAST NONE UNKNOWN SEGMENTATION PYDICOM", *_ALGORITHMS.values(),
                  *(meaning for keep_dates in (False, True) for _, meaning in option_codes(keep_dates, True))]).lower()
_MOST_NUMBERS = 32   # where the standard sets no limit
_TEXT = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "CS"})
_NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "SV", "UV", "AT"})
# Type 2 in every image: present and empty.
_EMPTY = ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDate", "StudyTime", "Manufacturer")
# Type 1 in Enhanced General Equipment, which all but classic images have; the number of the device is one more.
_CLASSIC = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2")
_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions")


def identity_words(dataset: Dataset) -> Iterator[str]:
    """The words of names and numbers in a header and its sequences, lower case, from three letters on."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from identity_words(item)
        elif element.VR == "PN" or element.keyword in _NAMING:
            for value in _values(element):
                yield from (word for word in _words(str(value)) if len(word) > 2 and word not in _TERMS | _MAKERS)


class Cleaner:
    """Copies of one patient's images. `identity` are words, lower case, that must not be left anywhere."""

    def __init__(self, pseudonyms: Pseudonyms, patient: str, identity: frozenset[str], keep_dates: bool, keep_age_sex: bool):
        self._pseudonyms, self._patient, self._identity = pseudonyms, patient, identity
        self._keep_dates, self._keep_age_sex = keep_dates, keep_age_sex
        self._meanings: set[str] = set()   # of codes that the copy holds

    def copy(self, source: Path, target: Path) -> str:
        """Write a clean copy; returns '' or why there is none."""
        from pydicom import dcmread

        try:
            original = dcmread(source)
            if "PixelData" in original:
                original.PixelData = clean_pixels(original)
            clean = self.clean(original)
            self._finish(clean, original)
            content = _as_file(clean, original.file_meta.TransferSyntaxUID)
        except UnknownPixels as error:
            return str(error)
        except damage():
            return DAMAGED_HEADER
        if self._is_named_in(content):   # whatever way it came there: as numbers, in a comment of a compressed image
            return "an image in which the patient's name or number was still found"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
        return ""

    def clean(self, original: Dataset) -> Dataset:
        """A new data set of what may stay of `original`."""
        from pydicom import DataElement, Dataset

        result = Dataset()
        for element in original:
            if element.tag.is_private:
                continue
            if element.keyword in SEQUENCES and element.VR == "SQ":
                items = [self.clean(item) for item in element.value if _meaning(item) is not None]
                if items or element.is_empty:
                    result.add(DataElement(element.tag, "SQ", items))
            elif element.keyword in DATES | KEPT and _is_regular(element):
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
        for keyword in ("SeriesDescription", "ProtocolName"):
            if keyword in original:
                setattr(result, keyword, clean_description(str(original[keyword].value or ""), self._identity))
        if agent := agent_given(Facts(contrast_agent=contrast_agent(original))):   # whether there was some decides which sequence it is
            result.ContrastBolusAgent = "CONTRAST" if agent == "yes" else "NONE"
        if "SegmentNumber" in original and result.get("SegmentedPropertyTypeCodeSequence"):
            result.SegmentLabel = str(result.SegmentedPropertyTypeCodeSequence[0].get("CodeMeaning", "Segment"))[:64]
        if (kind := original.get("SegmentAlgorithmType")) in _ALGORITHMS:
            result.SegmentAlgorithmName = _ALGORITHMS[kind]
        if meaning := _meaning(original):
            result.CodeMeaning = meaning
            self._meanings.add(meaning.lower())
        if original.get("TrackingID"):
            result.TrackingID = f"Segment {original.get('SegmentNumber', '')}".strip()
        if "PositionReferenceIndicator" in original:
            result.PositionReferenceIndicator = ""
        if "ContentLabel" in original:
            result.ContentLabel, result.ContentDescription, result.ContentCreatorName = "SEGMENTATION", "", ""

    def _finish(self, clean: Dataset, original: Dataset) -> None:
        from pydicom import Dataset

        clean.SpecificCharacterSet = "ISO_IR 192"
        if clean.SOPClassUID not in _CLASSIC:
            clean.DeviceSerialNumber = self._pseudonyms.device(str(original.get("DeviceSerialNumber") or ""))
            for keyword in _EQUIPMENT:
                if not clean.get(keyword):
                    setattr(clean, keyword, "UNKNOWN")
        for keyword in _EMPTY:
            if keyword not in clean:
                setattr(clean, keyword, "")
        clean.PatientName = clean.PatientID = self._pseudonyms.patient(self._patient)
        if self._keep_age_sex:
            clean.PatientSex = original.get("PatientSex") if original.get("PatientSex") in ("M", "F", "O") else ""
            if re.fullmatch(r"\d{3}[DWMY]", age := str(original.get("PatientAge") or "")):
                clean.PatientAge = min(age, "090Y") if age.endswith("Y") else age
        clean.PatientIdentityRemoved, clean.RecognizableVisualFeatures = "YES", "YES"
        clean.DeidentificationMethod = METHOD
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
        """Whether a file holds a word of the identity as text; digits and short words would be found by chance."""
        ours = " ".join([_OURS, *self._meanings])
        found = [word for word in self._identity if len(word) > 4 and not word.isdigit() and word not in ours]
        return any(form.encode(coding, "replace") in content for word in found for form in (word, word.upper(), word.capitalize())
                   for coding in ("latin-1", "utf-8", "utf-16-le"))


def _as_file(dataset: Dataset, transfer_syntax: str) -> bytes:
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    stream = BytesIO()
    FileDataset(stream, dataset, preamble=bytes(128), file_meta=meta).save_as(stream, enforce_file_format=True)
    return stream.getvalue()


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


def _meaning(item: Dataset) -> str | None:
    """What the code in an item means in its vocabulary; '' when there is no code in it, None for one of no published vocabulary."""
    if "CodingSchemeDesignator" not in item:
        return ""
    return published_meaning(str(item.get("CodeValue") or item.get("LongCodeValue") or ""), str(item.CodingSchemeDesignator))


def _is_regular(element: DataElement) -> bool:
    """Whether an element has the value representation of its attribute, and no more values: a damaged one can swallow its neighbours."""
    from pydicom.datadict import dictionary_VM, dictionary_VR

    if element.VR not in dictionary_VR(element.tag).split(" or "):
        return False
    most = dictionary_VM(element.tag).rpartition("-")[2]
    count = len(_values(element))
    return element.VR in ("DS", "IS", "CS", "UI") or count <= (int(most) if most.isdigit() else _MOST_NUMBERS)
