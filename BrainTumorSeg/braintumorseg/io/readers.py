"""One way into every image file: `read_volume`. A reader is a plain function; its suffixes decide who reads what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import NotAnImage
from ..volume import Grid, Volume
from .dicom_header import is_dicom
from .files import existing_file
from .nifti import NIFTI_SUFFIXES, read_nifti
from .nrrd import NRRD_SUFFIXES, read_nrrd

__all__ = ["LABEL_SUFFIXES", "READERS", "SUFFIXES", "image_suffix", "is_seg", "label_suffix", "read_labels", "read_volume", "reader_for"]

# (suffixes, reader), tried in this order.
READERS: list[tuple[tuple[str, ...], Callable[[Path], Volume]]] = [
    (NIFTI_SUFFIXES, read_nifti),
    (NRRD_SUFFIXES, read_nrrd),
]
SUFFIXES = tuple(suffix for suffixes, _ in READERS for suffix in suffixes)
SEG_SUFFIX = ".dcm"
LABEL_SUFFIXES = (*SUFFIXES, SEG_SUFFIX)


def read_volume(path: Path | str) -> Volume:
    """The volume (I, J, K) in an image file of any format in READERS; its name's suffix says which, in any case.

    Raises MissingFile, NotAnImage (a folder, an unknown suffix, a damaged file) or BadImage; each names the file.
    """
    path = existing_file(path)
    return reader_for(path)(path)


def is_seg(path: Path | str) -> bool:
    """True for a label file that is DICOM, by its name or, where that says nothing, by its start: its labels are told by codes, not by a
    convention."""
    suffix = label_suffix(Path(path))
    return suffix == SEG_SUFFIX or (not suffix and is_dicom(path))


def read_labels(path: Path | str, reference: Grid | None = None) -> Volume:
    """The label map (I, J, K) in an image file, as stored, or of a DICOM Segmentation, as our label values.

    reference: where a SEG, which holds only slices with something in them, is to lie; other files keep their own grid.
    Raises as `read_volume`; for a SEG GridMismatch, and BadImage for a segment that is none of our labels.
    """
    if not is_seg(path):
        return read_volume(path)
    from .dicom_seg_reader import read_seg_labels

    return read_seg_labels(path, reference)


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


def label_suffix(path: Path) -> str:
    """As `image_suffix`, with '.dcm' for a DICOM Segmentation."""
    return image_suffix(path) or (SEG_SUFFIX if path.name.lower().endswith(SEG_SUFFIX) else "")
