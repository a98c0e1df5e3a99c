"""A research copy of DICOM images: no identity, UIDs replaced consistently, dates shifted. See `confidentiality` for what stays.

T1 and FLAIR of a whole head show the face, and this does not remove it: every copy says RecognizableVisualFeatures YES.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .confidentiality import CODING_SCHEMES, DATES, KEPT, SEQUENCES, clean_description, option_codes, why_not_kept
from .errors import InputError, MissingFile
from .io.atomic import MARKER, output_folder
from .pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

__all__ = ["FACES", "anonymise"]

FACES = ("Images of a whole head show the face, and it was not removed: a person may be recognised from it. Share these files only under an "
         "agreement that forbids it, or remove the face first.")
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


@dataclass(frozen=True)
class _Image:
    path: Path
    patient: str           # the patient's key: never written
    study_uid: str
    series_uid: str
    order: tuple[int, int]  # number of the series, of the image


def anonymise(paths: Iterable[Path], out: Path, pseudonyms: Pseudonyms, *, keep_dates: bool = False, keep_age_sex: bool = False) -> dict:
    """Write `out`/001/0001.dcm ... (a folder per series) and report.json, all or nothing; returns the report.

    What cannot be cleaned is left out, with its reason and number in the report. Files without DICOM content are left out too.
    Raises MissingFile, InputError when nothing can be used, OutputError.
    """
    import warnings

    left_out: Counter[str] = Counter()
    with warnings.catch_warnings(), output_folder(out) as folder:
        warnings.simplefilter("ignore")   # pydicom quotes unusual values, names among them
        images, words = _survey(paths, left_out)
        by_series = defaultdict(list)
        for image in images:
            key = (pseudonyms.patient(image.patient), pseudonyms.uid(image.study_uid), image.order[0], pseudonyms.uid(image.series_uid))
            by_series[key].append(image)
        written: Counter[tuple] = Counter()
        for key in sorted(by_series):
            place = folder / f"{len(written) + 1:03d}"
            for image in sorted(by_series[key], key=lambda one: one.order):
                cleaner = _Cleaner(pseudonyms, image.patient, words[image.patient], keep_dates, keep_age_sex)
                if reason := cleaner.copy(image.path, place / f"{written[key] + 1:04d}.dcm"):
                    left_out[reason] += 1
                else:
                    written[key] += 1
        if not written:
            raise InputError("Nothing here can be made a research copy" + (f": {_listed(left_out)}." if left_out else ": there are no files."),
                             "Give DICOM images of MR or CT, or segmentations.")
        report = {
            "format": "braintumorseg anonymised 1", "patients": len({key[0] for key in written}), "studies": len({key[:2] for key in written}),
            "series": len(written), "images": sum(written.values()), "left_out": dict(left_out),
            "profile": [meaning for _, meaning in option_codes(keep_dates, keep_age_sex)], "faces": FACES,
        }
        (folder / MARKER).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _survey(paths: Iterable[Path], left_out: Counter[str]) -> tuple[list[_Image], dict[str, frozenset[str]]]:
    """Every usable image, and for each patient the words of the identity, from all of the patient's files (the left out too)."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    images, words = [], defaultdict(set)
    for path in _files(paths):
        try:
            header = dcmread(path, stop_before_pixels=True)
            patient = str(header.get("PatientID") or "") or f"{header.get('PatientName', '')}\0{header.get('PatientBirthDate', '')}"
            words[patient] |= set(_identity(header))
            reason = "a directory of files" if "DirectoryRecordSequence" in header else why_not_kept(header)
            if not reason and not all(header.get(key) for key in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")):
                reason = "an image without UIDs"
        except (InvalidDicomError, OSError):
            reason = "not a DICOM file, or damaged"
        except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError):
            reason = "a DICOM file with a damaged header"
        if reason:
            left_out[reason] += 1
        else:
            images.append(_Image(path, patient, str(header.StudyInstanceUID), str(header.SeriesInstanceUID),
                                 (_int(header.get("SeriesNumber")), _int(header.get("InstanceNumber")))))
    return images, {patient: frozenset(found - _TERMS) for patient, found in words.items()}


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from (file for file in sorted(path.rglob("*")) if file.is_file())
        elif path.exists():
            yield path
        else:
            raise MissingFile(f"There is no file or folder {path.name} at the place given.", "Check the path and its spelling.")


def _identity(dataset: Dataset) -> Iterator[str]:
    """The words of names and numbers in a header and its sequences, lower case, from three letters on."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _identity(item)
        elif element.VR == "PN" or element.keyword in _NAMING:
            for value in _values(element):
                yield from (word for word in _words(str(value)) if len(word) > 2)


class _Cleaner:
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


def _int(value: object) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _listed(left_out: Counter[str]) -> str:
    return "; ".join(f"{count} x {reason}" for reason, count in left_out.items())
