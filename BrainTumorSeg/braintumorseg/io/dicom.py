"""Reading DICOM: `scan_dicom` finds the volumes below some paths and checks them by their headers, `read_stack` reads one.

Nothing is guessed: a series whose slices do not make one regular volume is left aside with the reason, never read as if it did.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NotAnImage
from ..volume import Volume
from .dicom_facts import damage
from .dicom_header import is_dicom
from .dicom_pixels import read_pixels
from .dicom_quiet import quiet
from .dicom_series import Scan, Stack
from .dicom_slices import slices_in
from .dicom_stacks import stacks_of
from .dicom_walk import find_files, read_files

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["is_dicom", "read_stack", "scan_dicom", "stack_headers"]


def scan_dicom(paths: Iterable[Path | str], *, progress: Callable[[float], None] = lambda done: None,
               cancel: threading.Event | None = None, fill_gaps: bool = False) -> Scan:
    """Everything in the files and folders `paths`, any nesting, by content: names and suffixes say nothing.

    Args:
        paths: files or folders.
        progress: called with the share done, 0..1.
        cancel: when set, the scan stops with Cancelled.
        fill_gaps: accept series in which slices are missing and make those up from their neighbours; the stack's notes say so.

    Raises MissingFile for a path that is not there, Cancelled. What a file holds never raises: it is in `Scan.left_aside`.
    """
    salt = secrets.token_bytes(16)
    files, closed = find_files(paths)
    slices, aside = read_files(files, lambda path: slices_in(path, salt), progress, cancel)
    stacks, refused = stacks_of(slices, fill_gaps)
    return Scan(tuple(stacks), (*refused, *closed, *aside))


def read_stack(stack: Stack) -> Volume:
    """The volume (I, J, K) of a stack on `stack.grid`: integers as stored, float32 where the header scales them or a tilt is undone.

    Raises NotAnImage or BadImage, with the file's name, when pixels are damaged, cannot be decoded or have changed since the scan.
    """
    return read_pixels(stack)


def stack_headers(stack: Stack) -> list[Dataset]:
    """The full headers of the stack's files without pixels, in slice order; one for each file (an Enhanced file holds many slices).

    They hold the patient's identity: for DICOM objects that refer to the series, not for reports. Raises NotAnImage.
    """
    import pydicom

    headers = []
    for path in dict.fromkeys(frame.path for frame in stack.frames):
        try:
            with quiet():
                headers.append(pydicom.dcmread(path, stop_before_pixels=True, force=True))
        except damage():
            raise NotAnImage(f"The header of {path.name} cannot be read.", "Copy it or export it from the PACS again.") from None
    return headers
