"""The header of a MetaImage file (.mha, .mhd), as ITK's own library reads it: https://itk.org/Wiki/ITK/MetaIO/Documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ..errors import BadImage
from .image_header import ImageHeader, affine_from_lps, numbers, whole_numbers

__all__ = ["parse_metaimage"]

_TYPES = {"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4",
          "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}
_SIGN = re.compile("[=:]")   # between a field's name and its value
# The same under several names; the first that is there holds.
_MATRIX, _POSITION, _SPACING = ("TransformMatrix", "Rotation", "Orientation"), ("Origin", "Offset", "Position"), ("ElementSpacing", "ElementSize")
_BIG_ENDIAN = ("ElementByteOrderMSB", "BinaryDataByteOrderMSB")


def parse_metaimage(header: bytes, start: int) -> ImageHeader:
    """`header`: its lines, of which the voxels begin `start` bytes into the file, if they are in the same one.

    Raises ValueError for what is damaged; BadImage for a header without a spacing, or voxels in a form that is not read here.
    """
    lines = (_SIGN.split(line, maxsplit=1) for line in header.decode("utf-8", "surrogateescape").split("\n"))
    fields = {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}
    (dimension,) = whole_numbers(fields.get("NDims", ""), "NDims")
    if not 1 <= dimension <= 10:   # the most that there are in a MetaImage
        raise ValueError(f"an image has no {dimension} dimensions")
    sizes = tuple(whole_numbers(fields.get("DimSize", ""), "DimSize", dimension))
    (values,) = whole_numbers(fields.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels")
    data = fields.get("ElementDataFile", "")
    if not data:
        raise ValueError("its header has no 'ElementDataFile'")
    if data.upper().startswith("LIST") or "%" in data:
        raise BadImage("The header names several files as its voxels.", "Save the image as one .mha file.")
    if not _is_true(fields, ("BinaryData",), default=True):
        raise BadImage("Its voxels are written as text, which is not read here.", "Save the image in binary form.")
    local, packed = data.upper() == "LOCAL", _is_true(fields, ("CompressedData",))
    (before,) = whole_numbers(fields.get("HeaderSize", "0"), "HeaderSize")
    if before < -1 or (before < 0 and packed):
        raise ValueError("its 'HeaderSize' cannot be")
    return ImageHeader(sizes, values, _affine(fields, dimension), _stored(fields), packed, "" if local else data,
                       before or (start if local else 0), assumed=not any(name in fields for name in _MATRIX))


def _stored(fields: Mapping[str, str]) -> np.dtype:
    kind = fields.get("ElementType", "")
    if kind not in _TYPES:
        raise BadImage(f"Its voxels are of the type '{kind[:20]}', which is not read here.", "Save the image with a plain type of number.")
    return np.dtype((">" if _is_true(fields, _BIG_ENDIAN) else "<") + _TYPES[kind])


def _affine(fields: Mapping[str, str], dimension: int) -> np.ndarray:
    """Of the first three axes; np.eye(4) for fewer, which an ImageHeader refuses. Each row of the matrix is the direction of an axis, LPS+."""
    if dimension < 3:
        return np.eye(4)
    spacing = _first(fields, _SPACING, dimension)
    if spacing is None or not np.isfinite(spacing).all():
        raise BadImage("The file does not say how large its voxels are (its header has no spacing).",
                       "Convert it from its source again, or set its spacing.")
    matrix, position = _first(fields, _MATRIX, dimension**2), _first(fields, _POSITION, dimension)
    rows = np.eye(dimension) if matrix is None else matrix.reshape(dimension, dimension)
    return affine_from_lps((rows[:3, :3] * spacing[:3, None]).T, np.zeros(3) if position is None else position[:3])


def _first(fields: Mapping[str, str], names: tuple[str, ...], count: int) -> np.ndarray | None:
    return next((np.array(numbers(fields[name], name, count)) for name in names if name in fields), None)


def _is_true(fields: Mapping[str, str], names: tuple[str, ...], default: bool = False) -> bool:
    said = next((fields[name] for name in names if name in fields), None)
    return default if said is None else said[:1] in ("T", "t", "1")
