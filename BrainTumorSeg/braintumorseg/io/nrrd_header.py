"""The header of an NRRD file (.nrrd, .nhdr) in the words of its definition, https://teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from ..errors import BadImage
from .image_header import ImageHeader, affine_from_lps, numbers, whole_numbers

__all__ = ["parse_nrrd"]

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_CODES = {name: code for code, names in _TYPES.items() for name in names}
# Where the axes of a space point in LPS+; one that does not say how the patient lies in it counts as LPS+, as in ITK.
_RAS, _LAS, _LPS = (-1.0, -1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, 1.0)
_IN_LPS = {"ras": _RAS, "right-anterior-superior": _RAS, "las": _LAS, "left-anterior-superior": _LAS, "lps": _LPS, "left-posterior-superior": _LPS,
           "scanner-xyz": _LPS, "3d-right-handed": _LPS, "3d-left-handed": _LPS}
_DOMAIN = ("domain", "space", "time", "???", "none")   # kinds of the axes along which an image extends; the others are values of a voxel
_BY_ENDIAN = {"little": "<", "big": ">"}


def parse_nrrd(header: bytes, start: int) -> ImageHeader:
    """`header`: the lines up to the empty one, of which the voxels begin `start` bytes into the file, if they are in the same one.

    Raises ValueError for what is damaged; BadImage for a header without a spacing, or voxels in a form that is not read here.
    """
    fields = _fields(header.decode("utf-8", "surrogateescape"))
    (dimension,) = whole_numbers(fields["dimension"], "dimension")
    if not 1 <= dimension <= 16:   # the most that there are in an NRRD
        raise ValueError(f"an image has no {dimension} dimensions")
    sizes = whole_numbers(fields["sizes"], "sizes", dimension)
    kinds = fields.get("kinds", "domain " * dimension).lower().split()
    if len(kinds) != dimension:
        raise ValueError(f"its 'kinds' should be {dimension}")
    along = [axis for axis, kind in enumerate(kinds) if kind in _DOMAIN]
    data = fields.get("datafile", "")
    if data.upper().startswith("LIST") or "%" in data:
        raise BadImage("The header names several files as its voxels.", "Save the image as one .nrrd file.")
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", "gz", "gzip"):
        raise BadImage(f"Its voxels are in the encoding '{encoding[:20]}', which is not read here.", "Save the image with the encoding raw or gzip.")
    (lines,), (skip,) = (whole_numbers(fields.get(name, "0"), name) for name in ("lineskip", "byteskip"))
    if lines < 0 or skip < -1 or (skip < 0 and encoding != "raw"):
        raise ValueError("it skips a number of lines or bytes that cannot be")
    start = 0 if data else start
    return ImageHeader(tuple(sizes[axis] for axis in along), math.prod(sizes) // max(1, math.prod(sizes[axis] for axis in along)),
                       _affine(fields, along, dimension), _stored(fields), encoding != "raw", data, -1 if skip < 0 else start,
                       0 if skip < 0 else lines, max(0, skip), assumed=fields.get("space", "").lower()[:1] not in ("r", "l"))


def _fields(text: str) -> Mapping[str, str]:
    """Field -> what it says, names in lower case without spaces (some have two spellings); comments and key:=value are none."""
    fields = _Fields()
    for line in text.split("\n")[1:]:
        name, colon, value = line.partition(": ")
        name = name.lower().replace(" ", "")
        if not colon or line.startswith("#") or ":=" in name:
            continue
        if name in fields:
            raise ValueError(f"it says '{name[:20]}' twice")
        fields[name] = value.strip()
    return fields


class _Fields(dict):
    def __missing__(self, name: str) -> str:
        raise ValueError(f"its header has no '{name}'")


def _stored(fields: Mapping[str, str]) -> np.dtype:
    kind = " ".join(fields["type"].lower().split())
    if kind not in _CODES:
        raise BadImage(f"Its voxels are of the type '{kind[:20]}', which is not read here.", "Save the image with a plain type of number.")
    code = _CODES[kind]
    if code.endswith("1"):
        return np.dtype(code)
    endian = fields["endian"].lower()
    if endian not in _BY_ENDIAN:
        raise ValueError("its 'endian' is neither little nor big")
    return np.dtype(_BY_ENDIAN[endian] + code)


def _affine(fields: Mapping[str, str], along: list[int], dimension: int) -> np.ndarray:
    """Of the first three axes; np.eye(4) for fewer, which an ImageHeader refuses."""
    if len(along) < 3:
        return np.eye(4)
    first = along[:3]
    if "spacedirections" in fields:
        steps = re.findall(r"none|\([^()]*\)", fields["spacedirections"], re.IGNORECASE)
        if len(steps) != dimension:
            raise ValueError(f"its 'space directions' should be {dimension}")
        flips = _flips(fields)
        if not any(steps[axis].startswith("(") for axis in first):
            raise _no_spacing()
        vectors = [_vector(steps[axis], "space directions") for axis in first]
        origin = fields.get("spaceorigin", "none")
        where = np.zeros(3) if origin.lower() == "none" else _vector(origin, "space origin")
        return affine_from_lps(flips[:, None] * np.transpose(vectors), flips * where)
    if "spacings" not in fields:
        raise _no_spacing()
    if "space" in fields or "spacedimension" in fields:
        raise ValueError("it has a space and no 'space directions'")
    spacing = np.array(numbers(fields["spacings"], "spacings", dimension))[first]
    if not np.isfinite(spacing).all():
        raise _no_spacing()
    return affine_from_lps(np.diag(spacing), _first_voxel(fields, first, dimension, spacing))


def _flips(fields: Mapping[str, str]) -> np.ndarray:
    if "space" not in fields:
        whole_numbers(fields["spacedimension"], "space dimension")
        return np.ones(3)
    space = fields["space"].lower()
    plain = space.removesuffix("-time") if "-" in space else space.removesuffix("t")
    if plain not in _IN_LPS:
        raise ValueError("its 'space' is none of NRRD's")
    return np.array(_IN_LPS[plain])


def _vector(text: str, name: str) -> np.ndarray:
    """The first three numbers of '(a,b,c)', of which there may be a fourth, in time."""
    words = text.strip().strip("()").split(",")
    if len(words) not in (3, 4):
        raise ValueError(f"its '{name}' should be vectors of 3 numbers")
    return np.array(numbers(" ".join(words), name, len(words))[:3])


def _first_voxel(fields: Mapping[str, str], first: list[int], dimension: int, spacing: np.ndarray) -> np.ndarray:
    """Where its middle lies; the least position along an axis is the edge of a voxel, unless the header says that it is the middle."""
    if "axismins" not in fields:
        return np.zeros(3)
    least = np.array(numbers(fields["axismins"], "axis mins", dimension))[first]
    centers = fields.get("centers", fields.get("centerings", "cell " * dimension)).lower().split()
    if len(centers) != dimension:
        raise ValueError(f"its 'centerings' should be {dimension}")
    return least + [0 if centers[axis] == "node" else spacing[place] / 2 for place, axis in enumerate(first)]


def _no_spacing() -> BadImage:
    return BadImage("The file does not say how large its voxels are (its header has no spacing).",
                    "Convert it from its source again, or set its spacing.")
