"""Where retrieved images are put: each one that was promised, once, under a running number."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["Inbox"]


class Inbox:
    """`promised` lists the SOP instance UIDs of each series; they go into `folder`/01/0001.dcm, /02/ ... Names say nothing of the patient.

    Images that nobody asked for are refused: while we listen for a C-MOVE, anyone who reaches the port could send some.
    """

    def __init__(self, folder: Path, promised: Sequence[Sequence[str]], total: int, progress: Callable[[float], None] = lambda done: None):
        self.trouble: OSError | None = None
        self._places = {uid: folder / f"{number:02d}" / f"{index:04d}.dcm"
                        for number, uids in enumerate(promised, start=1) for index, uid in enumerate(uids, start=1)}
        self._came: set[str] = set()
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()   # C-MOVE's images come in threads of their own

    @property
    def count(self) -> int:
        return len(self._came)

    def put(self, uid: str, content: bytes) -> None:
        """Write one image. Raises OSError, and KeyError for one that was not promised."""
        place = self._places[uid]
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_suffix(".partial")
        partial.write_bytes(content)
        os.replace(partial, place)
        with self._lock:
            self._came.add(uid)
            self._progress(len(self._came) / self._total)

    def take(self, event) -> int:
        """The answer to a C-STORE of pynetdicom: a DICOM status."""
        try:
            self.put(str(event.request.AffectedSOPInstanceUID), event.encoded_dataset())
        except KeyError:
            return 0xA900   # not what was asked for
        except OSError as error:
            self.trouble = error
            return 0xA700   # out of resources
        return 0x0000
