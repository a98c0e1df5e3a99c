"""Where retrieved images are put: each one that was promised, once, under a running number."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from ..errors import BrainTumorSegError, Cancelled, OutputError, PacsError, PartialRetrieve
from ..io.dicom_facts import damage, text
from ..io.dicom_header import inflates_beyond_reason
from ..io.replacing import put

__all__ = ["MOST_BYTES", "Inbox"]

MOST_BYTES = 2 << 30   # of images that are on their way and held in memory; the largest of MR (functional, multi-frame) have less
_MOST_UNASKED = 64 << 20   # of one that is refused when it is whole


class Inbox:
    """`promised` lists the SOP instance UIDs of each series; they go into `folder`/01/0001.dcm, /02/ ... Names say nothing of the patient.

    Images that nobody asked for are refused, those in whose header another image or study stands, and a second copy that is not the
    first one's: what a damaged index mixes up, or whoever reaches the port sends while we listen for a C-MOVE.
    """

    def __init__(self, study_uid: str, folder: Path, promised: Sequence[Sequence[str]], total: int,
                 progress: Callable[[float], None] = lambda done: None):
        self.trouble: BrainTumorSegError | None = None
        self.turned_away: set[str] = set()   # addresses that tried to send and are not the archive's
        self._study_uid = study_uid
        self._places = {uid: folder / f"{number:02d}" / f"{index:04d}.dcm"
                        for number, uids in enumerate(promised, start=1) for index, uid in enumerate(uids, start=1)}
        self._came: set[str] = set()
        self._total = total
        self._progress = progress
        self._coming: dict[object, _Message] = {}   # by association
        self._lock = threading.Lock()   # C-MOVE's images come in threads of their own

    @property
    def count(self) -> int:
        return len(self._came)

    @contextmanager
    def whole(self, name: str) -> Iterator[None]:
        """Around the transfer from archive `name`: raises PartialRetrieve, with the count, when it ends or fails half way."""
        why, fix = "", "Try again; if it stays so, ask those who run the archive whether the study is complete there."
        try:
            yield
        except PacsError as error:
            if not (self.count or self.turned_away):
                raise
            why, fix = f" ({error.what.rstrip('.')})", error.fix
        if self.trouble is not None:   # though all may have come
            raise self.trouble
        if self.count >= self._total:
            return
        if self.turned_away:
            fix = (f"Turned away was {', '.join(sorted(self.turned_away))}, which is not the address of host: if the archive sends from there, "
                   "name it in sends_from in the settings.")
        raise PartialRetrieve(f"Only {self.count} of {self._total} images came from {name}{why}; nothing is used of an incomplete study.", fix)

    def put(self, uid: str, content: bytes) -> None:
        """Write one image, a file's bytes, unless it came before.

        Raises OutputError, PacsError for another image than `uid` or another copy of it, and KeyError for one that was not promised.
        """
        place = self._places[uid]
        self._check(uid, content)
        partial = place.with_suffix(".partial")
        with self._lock:
            try:
                if uid in self._came:   # sent again after a broken connection
                    if _data_set(place.read_bytes()) != _data_set(content):
                        raise PacsError("An image came twice, and the two are not the same: somebody else may have sent one.",
                                        "Nothing of them is used; ask those who run the archive and the network.")
                    return
                place.parent.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(content)
                put(partial, place)
            except OSError as error:
                raise OutputError(f"An image cannot be written ({error.strerror}).",
                                  "Free some space, or choose a folder on another disk.") from error
            self._came.add(uid)
            self._progress(len(self._came) / self._total)

    def take(self, event) -> int:
        """The answer to a C-STORE of pynetdicom: a DICOM status."""
        try:
            self.put(str(event.request.AffectedSOPInstanceUID), event.encoded_dataset())
        except KeyError:
            return 0xA900   # not what was asked for
        except PacsError as error:
            self.trouble = error
            return 0xA900
        except OutputError as error:
            self.trouble = error
            return 0xA700   # out of resources
        except Cancelled:   # by `progress`; the transfer asks for itself and ends
            return 0xFE00
        return 0x0000

    def coming(self, event) -> None:
        """Follow a message that an association of pynetdicom receives, and end the association before memory holds too much of it."""
        message = self._coming.setdefault(event.assoc, _Message())
        for item in getattr(event.pdu, "presentation_data_value_items", ()):
            message.add(item.presentation_data_value)
        unasked = message.uid not in self._places
        if not unasked and sum(one.size for one in list(self._coming.values())) > MOST_BYTES:
            self.trouble = PacsError(f"The archive sends more than {MOST_BYTES >> 20} MB at once.", "Ask those who run it what it sends.")
        if self.trouble is not None or (unasked and message.size > _MOST_UNASKED):
            event.assoc.dul.socket.close()

    def came_whole(self, event) -> None:
        """A message has come whole, or its association is over."""
        self._coming.pop(event.assoc, None)

    def _check(self, asked: str, content: bytes) -> None:
        """Raises PacsError when the header of a file is not that of the image `asked` for."""
        from pydicom import dcmread

        file = BytesIO(content)
        try:
            if inflates_beyond_reason(file):
                raise ValueError
            header = dcmread(file, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "StudyInstanceUID"])
        except damage():
            raise PacsError("An image that came has a damaged header.", "Ask those who run the archive to check the study there.") from None
        if (text(header, "SOPInstanceUID"), text(header, "StudyInstanceUID")) != (asked, self._study_uid):
            raise PacsError("An image that came is not the one that was asked for: its header names another image or study.",
                            "Nothing of it is used; ask those who run the archive to check its index.")


class _Message:
    """A message of the DICOM network (PS3.7, PS3.8 E.2) that is not whole yet: how large it is, and which image its command announces."""

    def __init__(self):
        self.size, self.uid = 0, ""
        self._command = bytearray()

    def add(self, fragment: bytes) -> None:
        from pynetdicom.dsutils import decode

        self.size += len(fragment)
        control = fragment[0] if fragment else 0
        if control & 1:   # of the command
            self._command += fragment[1:]
            if control & 2:   # its last
                self.uid = text(decode(BytesIO(self._command), True, True), "AffectedSOPInstanceUID")


def _data_set(content: bytes) -> bytes:
    """What follows the meta header of a file, which each transfer writes anew."""
    from pydicom.filereader import read_dataset

    file = BytesIO(content)
    file.seek(132)
    read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    return content[file.tell():]
