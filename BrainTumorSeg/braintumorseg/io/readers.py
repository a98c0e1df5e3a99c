"""One way into every image file: `read_volume`. A reader is a plain function; its suffixes decide who reads what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import NotAnImage
from ..volume import Volume
from .files import existing_file
from .nifti import NIFTI_SUFFIXES, read_nifti
from .nrrd import NRRD_SUFFIXES, read_nrrd

__all__ = ["READERS", "SUFFIXES", "image_suffix", "read_volume", "reader_for"]

# (suffixes, reader), tried in this order.
READERS: list[tuple[tuple[str, ...], Callable[[Path], Volume]]] = [
    (NIFTI_SUFFIXES, read_nifti),
    (NRRD_SUFFIXES, read_nrrd),
]
SUFFIXES = tuple(suffix for suffixes, _ in READERS for suffix in suffixes)


def read_volume(path: Path | str) -> Volume:
    """The volume (I, J, K) in an image file of any format in READERS; its name's suffix says which, in any case.

    Raises MissingFile, NotAnImage (a folder, an unknown suffix, a damaged file) or BadImage; each names the file.
    """
    path = existing_file(path)
    return reader_for(path)(path)


def reader_for(path: Path) -> Callable[[Path], Volume]:
    """The reader that takes a file of this name. Raises NotAnImage when none does."""
    for suffixes, reader in READERS:
        if image_suffix(path) in suffixes:
            return reader
    if path.suffix.lower() in (".dcm", ".ima", ""):
        raise NotAnImage(f"{path.name} is no image file: one DICOM file is a slice of a series.", "Give the folder of the series.")
    raise NotAnImage(f"{path.name} has a suffix that is not read here.", f"Convert it to one of {', '.join(SUFFIXES)}.")


def image_suffix(path: Path) -> str:
    """The known suffix of a file name in lower case ('.nii.gz' for 'A.NII.GZ'), '' when it is none of SUFFIXES."""
    name = path.name.lower()
    return max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default="")
