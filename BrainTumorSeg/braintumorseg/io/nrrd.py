"""NRRD and MetaImage files (.nrrd, .nhdr, .mha, .mhd) to `Volume` and back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..errors import NotAnImage
from ..volume import Volume
from .files import existing_file, naming
from .image_header import ImageHeader, read_voxels
from .itk import to_itk
from .metaimage_header import parse_metaimage
from .nrrd_header import parse_nrrd

__all__ = ["NRRD_SUFFIXES", "read_nrrd", "write_nrrd"]

NRRD_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")

_HEADER_ONLY = (".nhdr", ".mhd")   # their voxels are in a second file
_HEADER_BYTES = 1 << 20            # more than any has
_END_OF_NRRD = re.compile(rb"\r?\n\r?\n")
_END_OF_META = re.compile(rb"^[ \t]*ElementDataFile[^\n]*(\n|\Z)", re.MULTILINE)


def read_nrrd(path: Path | str) -> Volume:
    """The volume (I, J, K) in an NRRD or MetaImage file, voxels in their stored type. Trailing axes of length 1 are dropped.

    A header alone (.nhdr, .mhd) may name one file in its own folder as its voxels. Raises MissingFile; NotAnImage for an empty, damaged or
    truncated file or another format; BadImage for a 4-D or colour image, a header without a spacing, or directions that cannot place voxels.
    """
    path = existing_file(path)
    with naming(path), np.errstate(all="ignore"):   # numbers that are too large make an affine that is refused
        try:
            header = _header(path)
            if header.data and path.suffix.lower() not in _HEADER_ONLY:
                raise NotAnImage(f"{path.name} names another file as its voxels, and only a .nhdr or .mhd file is read so.",
                                 "Save the image as one file.")
            return Volume(read_voxels(path, header), header.affine, header.assumed)
        except ValueError as error:
            raise NotAnImage(f"{path.name} is damaged or truncated ({error}).", "Copy, download or convert it again.") from None
        except OSError as error:
            raise NotAnImage(f"{path.name} cannot be read ({error.strerror or type(error).__name__}).", "Copy or download it again.") from None


def write_nrrd(volume: Volume, path: Path | str) -> None:
    """Write `volume` to an .nrrd, .mha or .mhd file, compressed. Raises BadImage for a sheared affine."""
    import SimpleITK as sitk

    sitk.WriteImage(to_itk(volume), str(path), useCompression=True)


def _header(path: Path) -> ImageHeader:
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    if start.startswith(b"NRRD"):
        end, parse = _END_OF_NRRD.search(start), parse_nrrd
    elif b"ElementDataFile" in start:
        end, parse = _END_OF_META.search(start), parse_metaimage
    else:
        raise NotAnImage(f"{path.name} is not an NRRD or MetaImage file: it does not begin with such a header.",
                         "Give the file as its converter wrote it.")
    if end is None and len(start) == _HEADER_BYTES:
        raise ValueError("its header has no end")
    length = len(start) if end is None else end.end()
    return parse(start[:length], length)
