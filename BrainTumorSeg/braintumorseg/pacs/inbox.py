"""Where retrieved images are put: each one that was promised, once, under a running number."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import Cancelled, OutputError, PacsError, PartialRetrieve
from ..io.replacing import put

__all__ = ["Inbox"]


class Inbox:
    """`promised` lists the SOP instance UIDs of each series; they go into `folder`/01/0001.dcm, /02/ ... Names say nothing of the patient.

    Images that nobody asked for are refused: while we listen for a C-MOVE, anyone who reaches the port could send some.
    """

    def __init__(self, folder: Path, promised: Sequence[Sequence[str]], total: int, progress: Callable[[float], None] = lambda done: None):
        self.trouble: OutputError | None = None
        self._places = {uid: folder / f"{number:02d}" / f"{index:04d}.dcm"
                        for number, uids in enumerate(promised, start=1) for index, uid in enumerate(uids, start=1)}
        self._came: set[str] = set()
        self._total = total
        self._progress = progress
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
            if not self.count:
                raise
            why, fix = f" ({error.what.rstrip('.')})", error.fix
        if self.count < self._total:
            raise PartialRetrieve(f"Only {self.count} of {self._total} images came from {name}{why}; nothing is used of an incomplete study.", fix)

    def put(self, uid: str, content: bytes) -> None:
        """Write one image, unless it came before. Raises OutputError, and KeyError for one that was not promised."""
        place = self._places[uid]
        if uid in self._came:   # sent again after a broken connection
            return
        partial = place.with_suffix(".partial")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            put(partial, place)
        except OSError as error:
            raise OutputError(f"An image cannot be written ({error.strerror}).", "Free some space, or choose a folder on another disk.") from error
        with self._lock:
            self._came.add(uid)
            self._progress(len(self._came) / self._total)

    def take(self, event) -> int:
        """The answer to a C-STORE of pynetdicom: a DICOM status."""
        try:
            self.put(str(event.request.AffectedSOPInstanceUID), event.encoded_dataset())
        except KeyError:
            return 0xA900   # not what was asked for
        except OutputError as error:
            self.trouble = error
            return 0xA700   # out of resources
        except Cancelled:   # by `progress`; the transfer asks for itself and ends
            return 0xFE00
        return 0x0000
