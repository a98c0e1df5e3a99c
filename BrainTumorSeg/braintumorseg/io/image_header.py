"""What the text header of an NRRD or MetaImage file says, and how the voxels that it describes are read.

Not left to ITK: that opens no path with letters beyond Windows' code page, takes the voxels from any file on the disk that a header names, and
memory for as many as it promises.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO

import numpy as np

from ..errors import BadImage, MissingFile, NotAnImage
from .files import check_room, existing_file

__all__ = ["ImageHeader", "affine_from_lps", "numbers", "read_voxels", "whole_numbers"]

_ANY_FORMAT = 47       # for zlib: a gzip or a zlib stream, whichever it is
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class ImageHeader:
    """An image of one value a voxel along three axes, fastest first. Raises BadImage for any other.

    sizes: of all axes in space and time; those after the third are 1.
    values: numbers a voxel.
    affine: 4x4, voxel to world in mm, RAS+.
    stored: the type of the voxels, with its byte order.
    packed: as a gzip or zlib stream.
    data: the name of the file with the voxels; '' is this file itself.
    start: how many bytes of that file come before them; -1 where they end with the file.
    skip_lines, skip_bytes: lines to leave out from there, and then bytes, of what is unpacked.
    assumed: it does not say how the patient lay; the directions of the affine are the format's default.
    """

    sizes: tuple[int, ...]
    values: int
    affine: np.ndarray
    stored: np.dtype
    packed: bool
    data: str
    start: int
    skip_lines: int = 0
    skip_bytes: int = 0
    assumed: bool = False

    def __post_init__(self):
        if len(self.sizes) < 3:
            raise BadImage(f"The file holds an image of {len(self.sizes)} dimensions; a volume has 3.", "Give one 3-D volume per sequence.")
        if min(*self.sizes, self.values) < 1:
            raise BadImage(f"The image is empty: {' x '.join(map(str, self.sizes))} voxels.")
        volumes = math.prod(self.sizes[3:]) * self.values
        if volumes > 1:
            raise BadImage(f"The file holds {volumes} values a voxel ({' x '.join(map(str, self.sizes))}); one was expected.",
                           "Give one 3-D grey-scale volume per sequence (split a time series, echoes or colours first).")


def read_voxels(path: Path, header: ImageHeader) -> np.ndarray:
    """(I, J, K) in this machine's byte order, of the image file `path` with this header.

    Raises NotAnImage, before any memory is taken when the header promises more than there is; ValueError for what is cut short.
    """
    place = _beside(path, header.data) if header.data else path
    promised = math.prod(header.sizes) * header.stored.itemsize
    check_room(place, header.skip_bytes + promised, header.packed)
    with place.open("rb") as file:
        file.seek(*((header.start, 0) if header.start >= 0 else (-promised, 2)))
        for _ in range(header.skip_lines):
            if not file.readline():
                raise ValueError("its voxels are cut short or missing")
        content = _content(file, header.skip_bytes + promised, header.packed)
    voxels = content[header.skip_bytes:].view(header.stored).reshape(header.sizes[:3], order="F")
    return voxels.astype(header.stored.newbyteorder("="), copy=False)


def affine_from_lps(axes: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The affine to RAS+ of voxel steps, the columns of `axes`, and a first voxel in LPS+, mm."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def numbers(text: str, name: str, count: int) -> list[float]:
    """The numbers of a header's line. Raises ValueError when they are not `count`."""
    try:
        found = [float(word) for word in text.split()]
    except ValueError:
        found = []
    if len(found) != count:
        raise ValueError(f"its '{name}' should be {count} number{'s' if count != 1 else ''}")
    return found


def whole_numbers(text: str, name: str, count: int = 1) -> list[int]:
    found = numbers(text, name, count)
    if not all(number.is_integer() and abs(number) < 2**53 for number in found):
        raise ValueError(f"its '{name}' should be whole")
    return [int(number) for number in found]


def _beside(path: Path, name: str) -> Path:
    """The file of this name in the header's folder: one elsewhere may be another patient's, or none of the user's images at all."""
    parts = PureWindowsPath(name).parts   # which splits at both kinds of slash, and at a drive
    if len(parts) != 1 or parts[0] == ".." or "\0" in name:
        raise NotAnImage(f"{path.name} names a file in another folder as its voxels, and only its own folder is looked into.",
                         "Put the two beside each other and correct the header, or convert the image again.")
    try:
        return existing_file(path.with_name(parts[0]))
    except MissingFile:
        raise NotAnImage(f"{path.name} is only a header: the file with its voxels, {parts[0]}, is not beside it.",
                         "Copy that file too, or convert the image again into one file.") from None


def _content(file: IO[bytes], count: int, packed: bool) -> np.ndarray:
    """The next `count` bytes, unpacked. Raises ValueError when there are fewer, or not the ones that were packed."""
    content, unpack, filled = np.empty(count, np.uint8), zlib.decompressobj(_ANY_FORMAT), 0
    if not packed:
        filled = file.readinto(content)
    left = b""
    while packed and not (filled == count and unpack.eof):   # to the end of the stream, where its checksum is
        if unpack.eof:
            left, unpack = unpack.unused_data, zlib.decompressobj(_ANY_FORMAT)
        left = left or file.read(_CHUNK_BYTES)
        if not left:
            break
        try:
            piece = unpack.decompress(left, min(count - filled, _CHUNK_BYTES) or _CHUNK_BYTES)
        except zlib.error as error:
            raise ValueError(f"its compressed voxels are damaged: {error}") from None
        left = unpack.unconsumed_tail
        piece = piece[:count - filled]   # more than was promised is left out
        content[filled:filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    if filled < count or (packed and not unpack.eof):
        raise ValueError("its voxels are cut short or missing")
    return content
