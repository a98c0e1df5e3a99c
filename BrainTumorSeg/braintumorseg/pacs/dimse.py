"""An archive of the classic DICOM network: C-ECHO, C-FIND, C-GET or C-MOVE, C-STORE (PS3.4, annexes A to C)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NotAnImage, PacsError
from .config import DimseSettings
from .dimse_link import TRANSFER_SYNTAXES, associate, check_status, listening, storage_contexts
from .inbox import Inbox
from .node import Patience, Query, SeriesFound, StudyFound, check_uid, newest_first, of_modality, stop_if, with_retries

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["DimseNode"]

_VERIFICATION = "1.2.840.10008.1.1"
_FIND, _MOVE, _GET = (f"1.2.840.10008.5.1.4.1.2.2.{n}" for n in (1, 2, 3))   # Study Root
# For archives that do not say of what class an image is: MR, enhanced MR and its colour and legacy kin, CT, secondary captures, SEG, SRs, PDF.
_USUAL_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{n}" for n in (
    "4", "4.1", "4.3", "4.4", "2", "2.1", "7", "7.4", "66.4", "88.22", "88.33", "88.34", "104.1"))
_MOST_CONTEXTS = 128   # of one association (PS3.8 9.3.2.2)


class DimseNode:
    """See `Node`. One association per action, so nothing is held open while the network computes."""

    def __init__(self, settings: DimseSettings):
        self.settings = settings
        self.name = settings.name

    def echo(self) -> None:
        def ask() -> None:
            with associate(self.settings, [_context(_VERIFICATION)]) as link:
                check_status(self.settings, link.send_c_echo(), "echoing")

        with_retries(ask)

    def find(self, query: Query) -> list[StudyFound]:
        keys = {"StudyInstanceUID": query.study_uid, "PatientID": query.patient_id, "AccessionNumber": query.accession,
                "StudyDate": query.date_range, "ModalitiesInStudy": query.modality, "PatientName": "", "PatientBirthDate": "",
                "StudyDescription": ""}
        answers = with_retries(lambda: self._ask("STUDY", keys))
        # An archive that does not know a key ignores it and answers with other patients' studies.
        answers = [one for one in answers if all(not wanted or str(one.get(key, "")).strip() == wanted for key, wanted in (
            ("StudyInstanceUID", query.study_uid), ("PatientID", query.patient_id), ("AccessionNumber", query.accession)))]
        studies = [StudyFound(str(one.StudyInstanceUID), str(one.get("StudyDate", "")), tuple(self._series(one.StudyInstanceUID)), {
            "patient_name": str(one.get("PatientName", "")), "patient_id": str(one.get("PatientID", "")),
            "birth_date": str(one.get("PatientBirthDate", "")), "accession": str(one.get("AccessionNumber", "")),
            "description": str(one.get("StudyDescription", ""))}) for one in answers]
        return newest_first(studies, query)

    def retrieve(self, study_uid: str, folder: Path, *, modality: str = "", progress: Callable[[float], None] = lambda done: None,
                 cancel: threading.Event | None = None) -> int:
        wanted = of_modality(self.name, self._series(check_uid(study_uid), cancel), modality)
        classes = {one.uid: self._images(study_uid, one.uid, cancel) for one in wanted}
        promised = sum(max(len(classes[one.uid]), one.images or 0) for one in wanted)
        inbox = Inbox(study_uid, folder, [list(classes[one.uid]) for one in wanted], promised, progress)
        with inbox.whole(self.name):
            for one in wanted:
                with_retries(lambda one=one: self._fetch(study_uid, one.uid, classes[one.uid], inbox, cancel), cancel)
        return inbox.count

    def store(self, files: Sequence[Path], *, progress: Callable[[float], None] = lambda done: None,
              cancel: threading.Event | None = None) -> None:
        waiting = [(file, *_kind(file)) for file in files]
        while waiting:
            with_retries(lambda: self._send(waiting, len(files), progress, cancel), cancel)

    def _send(self, waiting: list, total: int, progress, cancel) -> None:
        """Send as many files as one association can carry, each taken off `waiting` once the archive has it: a second call goes on."""
        offers = _offers(waiting)[:_MOST_CONTEXTS]
        with associate(self.settings, [_context(*offer) for offer in offers]) as link:
            while waiting and _offers(waiting[:1])[0] in offers:
                stop_if(cancel)
                file, sop_class, _ = waiting[0]
                try:
                    status = link.send_c_store(file)
                except ValueError:
                    raise PacsError(f"{self.name} does not accept {file.name}: not its kind ({_uid_name(sop_class)}) or not its compression.",
                                    "Ask those who run it to allow this kind of object.") from None
                except RuntimeError:  # the association is gone
                    status = {}
                check_status(self.settings, status, f"storing {file.name}")
                waiting.pop(0)
                progress(1 - len(waiting) / total)

    def _series(self, study_uid: str, cancel: threading.Event | None = None) -> list[SeriesFound]:
        keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": "", "Modality": "", "SeriesNumber": "", "SeriesDescription": "",
                "NumberOfSeriesRelatedInstances": ""}
        return [SeriesFound(str(one.SeriesInstanceUID), str(one.get("Modality", "")), _number(one, "NumberOfSeriesRelatedInstances"),
                            _number(one, "SeriesNumber"), str(one.get("SeriesDescription", "")))
                for one in with_retries(lambda: self._ask("SERIES", keys, cancel), cancel) if one.get("SeriesInstanceUID")]

    def _images(self, study_uid: str, series_uid: str, cancel: threading.Event | None) -> dict[str, str]:
        """SOP instance UID -> SOP class UID ('' where the archive does not say)."""
        keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": "", "SOPClassUID": "", "InstanceNumber": ""}
        answers = with_retries(lambda: self._ask("IMAGE", keys, cancel), cancel)
        answers.sort(key=lambda one: _number(one, "InstanceNumber") or 0)
        return {str(one.SOPInstanceUID): str(one.get("SOPClassUID", "")) for one in answers if one.get("SOPInstanceUID")}

    def _ask(self, level: str, keys: dict[str, str], cancel: threading.Event | None = None) -> list[Dataset]:
        answers, patience = [], Patience(self.settings, cancel)
        with associate(self.settings, [_context(_FIND)]) as link:
            for status, answer in link.send_c_find(_identifier(level, keys), _FIND):
                patience.check(len(answers))
                if check_status(self.settings, status, "searching") in (0xFF00, 0xFF01) and answer is not None:
                    answers.append(answer)
        return answers

    def _fetch(self, study_uid: str, series_uid: str, classes: dict[str, str], inbox: Inbox, cancel) -> None:
        """One series by C-GET or C-MOVE."""
        from pynetdicom import build_role, evt

        found = tuple(dict.fromkeys(classes.values()))
        sop_classes = (found if found and all(found) else _USUAL_CLASSES)[:15]
        handlers = [(evt.EVT_C_STORE, inbox.take), (evt.EVT_PDU_RECV, inbox.coming), (evt.EVT_DIMSE_RECV, inbox.came_whole),
                    (evt.EVT_CONN_CLOSE, inbox.came_whole)]
        identifier = _identifier("SERIES", {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid})
        if self.settings.retrieve == "get":
            roles = [build_role(sop_class, scp_role=True) for sop_class in sop_classes]
            with associate(self.settings, [_context(_GET), *storage_contexts(sop_classes, asking=True)], roles, handlers) as link:
                self._follow(link.send_c_get(identifier, _GET), inbox, cancel)
        else:
            storage = storage_contexts(sop_classes, asking=False)
            with listening(self.settings, storage, handlers, inbox.turned_away), associate(self.settings, [_context(_MOVE)]) as link:
                self._follow(link.send_c_move(identifier, self.settings.our_ae, _MOVE), inbox, cancel)

    def _follow(self, responses: Iterator, inbox: Inbox, cancel) -> None:
        for status, _ in responses:
            stop_if(cancel)
            if inbox.trouble is not None:
                raise inbox.trouble
            check_status(self.settings, status, "sending images")
        if inbox.trouble is not None:
            raise inbox.trouble


def _context(sop_class: str, syntaxes: Sequence[str] = TRANSFER_SYNTAXES[:2]):
    from pynetdicom import build_context

    return build_context(sop_class, list(syntaxes))


def _identifier(level: str, keys: dict[str, str]) -> Dataset:
    from pydicom import Dataset

    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    if not all(value.isascii() for value in keys.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    for key, value in keys.items():
        setattr(identifier, key, value or None)
    return identifier


def _kind(file: Path) -> tuple[str, str]:
    """(SOP class, transfer syntax) of a file. Raises NotAnImage when it is no DICOM."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        meta = dcmread(file, stop_before_pixels=True, specific_tags=[]).file_meta
        return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except (InvalidDicomError, AttributeError, OSError):
        raise NotAnImage(f"{file.name} is not a DICOM file that can be sent.", "Send the .dcm files of the results.") from None


def _offers(files: Sequence) -> list[tuple[str, tuple[str, ...]]]:
    """(class, transfer syntaxes) to offer for some (file, class, syntax): compressed as it is, otherwise what the archive likes."""
    kinds = dict.fromkeys((sop_class, syntax if syntax not in TRANSFER_SYNTAXES[:2] else "") for _, sop_class, syntax in files)
    return [(sop_class, (syntax,) if syntax else TRANSFER_SYNTAXES[:2]) for sop_class, syntax in kinds]


def _number(answer: Dataset, key: str) -> int | None:
    try:
        return int(answer.get(key))
    except (TypeError, ValueError):
        return None


def _uid_name(uid: str) -> str:
    from pydicom.uid import UID

    return UID(uid).name
