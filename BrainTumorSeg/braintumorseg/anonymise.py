"""A research copy of DICOM images: no identity, UIDs replaced consistently, dates shifted. See `confidentiality` for what stays.

T1 and FLAIR of a whole head show the face, and this does not remove it: every copy says RecognizableVisualFeatures YES.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .clean_image import DAMAGED_HEADER, Cleaner, identity_words
from .confidentiality import option_codes, why_not_kept
from .errors import InputError
from .io.atomic import MARKER, output_folder
from .io.dicom_facts import damage
from .io.dicom_header import inflates_beyond_reason
from .io.dicom_walk import find_files
from .person_names import are_several_people, words_of_name
from .pseudonyms import Pseudonyms

__all__ = ["FACES", "anonymise"]

FACES = ("Images of a whole head show the face, and it was not removed: a person may be recognised from it. Share these files only under an "
         "agreement that forbids it, or remove the face first.")


@dataclass(frozen=True)
class _Image:
    path: Path
    patient: str           # the patient's key: never written
    study_uid: str
    series_uid: str
    sop_uid: str
    order: tuple[int, int]  # number of the series, of the image


def anonymise(paths: Iterable[Path], out: Path, pseudonyms: Pseudonyms, *, keep_dates: bool = False, keep_age_sex: bool = False) -> dict:
    """Write `out`/001/0001.dcm ... (a folder per series) and report.json, all or nothing; returns the report.

    What cannot be opened or cleaned is left out, with its reason and number in the report. Files without DICOM content are left out too.
    Raises MissingFile, InputError when nothing can be used or one patient ID is that of several people, OutputError.
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
        copied: set[str] = set()
        for key in sorted(by_series):
            place = folder / f"{len(written) + 1:03d}"
            for image in sorted(by_series[key], key=lambda one: one.order):
                cleaner = Cleaner(pseudonyms, image.patient, words[image.patient], keep_dates, keep_age_sex)
                if image.sop_uid in copied:
                    left_out["an image that was there before"] += 1
                elif reason := cleaner.copy(image.path, place / f"{written[key] + 1:04d}.dcm"):
                    left_out[reason] += 1
                else:
                    copied.add(image.sop_uid)
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
    """Every usable image, and for each patient the words of the identity, from all of the patient's files (the left out too).

    A patient is a PatientID, so that a seed file gives the same pseudonym as ever. Raises InputError where its images tell of several people.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    images, words, people = [], defaultdict(set), defaultdict(set)
    files, closed = find_files(paths)
    left_out.update(f"a folder: {one.why}" for one in closed)
    for path in files:
        try:
            with path.open("rb") as file:
                if inflates_beyond_reason(file):
                    raise ValueError("deflated from more than memory should hold")
            header = dcmread(path, stop_before_pixels=True)
            patient = str(header.get("PatientID") or "") or f"{header.get('PatientName', '')}\0{header.get('PatientBirthDate', '')}"
            birth = re.sub(r"\D", "", str(header.get("PatientBirthDate") or ""))
            name = words_of_name(str(header.get("PatientName") or ""))
            words[patient] |= set(identity_words(header))
            reason = "a directory of files" if "DirectoryRecordSequence" in header else why_not_kept(header)
            if not reason and not all(header.get(key) for key in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")):
                reason = "an image without UIDs"
        except PermissionError:
            reason = "a file: this user may not open it"
        except (InvalidDicomError, OSError):
            reason = "not a DICOM file, or damaged"
        except damage():
            reason = DAMAGED_HEADER
        if reason:
            left_out[reason] += 1
        else:
            people[patient].add((name, birth))
            images.append(_Image(path, patient, str(header.StudyInstanceUID), str(header.SeriesInstanceUID), str(header.SOPInstanceUID),
                                 (_int(header.get("SeriesNumber")), _int(header.get("InstanceNumber")))))
    why = ""
    if any(len({birth for _, birth in records} - {""}) > 1 for records in people.values()):
        why = "different birth dates"
    elif any(are_several_people(records) for records in people.values()):
        why = "names with no word in common, and no birth date that says whose they are"
    if why:
        raise InputError(f"Images with one patient ID have {why}: they seem to be of several people, who would get one pseudonym.",
                         "Anonymise each person's files in a run of its own, without --seed-file or with one of its own. If it is one person all the "
                         "same, give those runs the same --seed-file.")
    return images, {patient: frozenset(found) for patient, found in words.items()}


def _int(value: object) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _listed(left_out: Counter[str]) -> str:
    return "; ".join(f"{count} x {reason}" for reason, count in left_out.items())
