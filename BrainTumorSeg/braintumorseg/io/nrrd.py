"""NRRD and MetaImage files (.nrrd, .nhdr, .mha, .mhd) to `Volume` and back, through SimpleITK."""

from __future__ import annotations

import math
import re
from pathlib import Path

from ..errors import BadImage, NotAnImage
from ..volume import Volume
from .files import check_room, existing_file, naming
from .itk import from_itk, to_itk

__all__ = ["NRRD_SUFFIXES", "read_nrrd", "write_nrrd"]

NRRD_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")

_HEADER_ONLY = (".nhdr", ".mhd")  # their voxels are in a second file
# Where a header says how large a voxel is, NRRD's in the lines up to an empty one; without it ITK takes 1 mm.
_NRRD_SPACING = re.compile(rb"^(spacings:(?!=)([ \t]+(?!nan)\S+){3}|space directions:(?!=).*\d)", re.IGNORECASE | re.MULTILINE)
_META_SPACING = re.compile(rb"^\s*(ElementSpacing|ElementSize)\s*[=:].*\d", re.MULTILINE)


def read_nrrd(path: Path | str) -> Volume:
    """The volume (I, J, K) in an NRRD or MetaImage file, voxels in their stored type. Trailing axes of length 1 are dropped.

    Raises MissingFile; NotAnImage for an empty, damaged or truncated file or another format; BadImage for a 4-D or
    colour image, a header without a spacing, or directions that cannot place voxels.
    """
    import SimpleITK as sitk

    path = existing_file(path)
    header = _checked_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with naming(path):
        try:
            reader.ReadImageInformation()
            _check_axes(reader.GetSize(), reader.GetNumberOfComponents())
            if not (_NRRD_SPACING if header.startswith(b"NRRD") else _META_SPACING).search(header):
                raise BadImage("The file does not say how large its voxels are (its header has no spacing).",
                               "Convert it from its source again, or set its spacing.")
            if path.suffix.lower() not in _HEADER_ONLY:
                check_room(path, math.prod(reader.GetSize()))  # one byte a voxel is the least
            image = reader.Execute()
        except RuntimeError as error:
            raise _refusal(path, str(error)) from None
        while image.GetDimension() > 3:
            image = image[(slice(None),) * (image.GetDimension() - 1) + (0,)]
        return from_itk(image)


def write_nrrd(volume: Volume, path: Path | str) -> None:
    """Write `volume` to an .nrrd, .mha or .mhd file, compressed. Raises BadImage for a sheared affine."""
    import SimpleITK as sitk

    sitk.WriteImage(to_itk(volume), str(path), useCompression=True)


def _checked_header(path: Path) -> bytes:
    """The lines before the voxels. Raises NotAnImage unless they are those of one of these formats: ITK's own refusal is a page of stderr."""
    with path.open("rb") as file:
        start = file.read(1 << 20)
    if start.startswith(b"NRRD"):
        return re.split(rb"\r?\n\r?\n", start, maxsplit=1)[0]
    if b"ElementDataFile" in start:
        return start.partition(b"ElementDataFile")[0]
    raise NotAnImage(f"{path.name} is not an NRRD or MetaImage file: it does not begin with such a header.",
                     "Give the file as its converter wrote it.")


def _check_axes(size: tuple[int, ...], components: int) -> None:
    if len(size) < 3:
        raise BadImage(f"The file holds an image of {len(size)} dimensions; a volume has 3.", "Give one 3-D volume per sequence.")
    volumes = math.prod(size[3:]) * components
    if volumes > 1:
        raise BadImage(f"The file holds {volumes} values a voxel ({' x '.join(map(str, size))}); one was expected.",
                       "Give one 3-D grey-scale volume per sequence (split a time series, echoes or colours first).")


def _refusal(path: Path, message: str) -> NotAnImage | BadImage:
    """What an ITK message means, in our words: its own name source files of ITK and folders of the user."""
    message = message.replace(str(path), "the file")
    if "determinant" in message or "spacing" in message:
        return BadImage("The voxel directions or spacings are singular: the image says that its voxels have no volume.",
                        "Convert the image from its source again; its orientation or spacing was lost.")
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reason = lines[-1].rstrip(".") if lines and "[nrrd]" in lines[-1] else "its header or its voxels are cut short or missing"
    return NotAnImage(f"{path.name} is damaged or truncated ({reason}).", "Copy, download or convert it again.")
