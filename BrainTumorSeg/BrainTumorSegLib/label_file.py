"""The label files that go between the panel and the engine: NIfTI-1 with one byte a voxel, read and written without any package."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["BadLabelFile", "LabelFile", "read_labels", "write_labels"]

_HEADER_BYTES = 348
_UINT8 = 2
_CHUNK_BYTES = 4 << 20  # unpacked at a time: about 10 ms


class BadLabelFile(Exception):
    """The file is not what the engine writes: it says in one line why."""


@dataclass
class LabelFile:
    """`labels` (K, J, I) uint8 and the `affine` (4, 4) voxel to world RAS, in float32's precision."""

    labels: np.ndarray
    affine: np.ndarray


def read_labels(path: Path, into: list) -> Iterator[None]:
    """Read a .nii.gz of the engine piece by piece and append the LabelFile to `into`. Raises BadLabelFile or OSError."""
    data = bytearray()
    try:
        with gzip.open(path, "rb") as file:
            while piece := file.read(_CHUNK_BYTES):
                data += piece
                yield
    except (EOFError, gzip.BadGzipFile):
        raise BadLabelFile(f"{path.name} is damaged or cut short.") from None
    if len(data) < _HEADER_BYTES or struct.unpack_from("<i", data, 0)[0] != _HEADER_BYTES:
        raise BadLabelFile(f"{path.name} is no NIfTI-1 file.")
    dimensions, kind = struct.unpack_from("<8h", data, 40), struct.unpack_from("<h", data, 70)[0]
    size, start = dimensions[1:4], int(struct.unpack_from("<f", data, 108)[0])
    count = int(np.prod(size, dtype=np.int64))
    if dimensions[0] != 3 or kind != _UINT8 or len(data) < start + count:
        raise BadLabelFile(f"{path.name} is not a label map of one byte a voxel.")
    affine = np.vstack([np.frombuffer(data, "<f4", 12, 280).reshape(3, 4).astype(float), [0, 0, 0, 1]])
    into.append(LabelFile(np.frombuffer(data, np.uint8, count, start).reshape(size[::-1]), affine))


def write_labels(labels: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write labels (K, J, I) uint8 that lie at `affine` (4, 4; voxel to RAS) as .nii.gz. Raises OSError."""
    header = bytearray(352)  # the header and four bytes that say that no extension follows
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    struct.pack_into("<i", header, 0, _HEADER_BYTES)
    struct.pack_into("<8h", header, 40, 3, *labels.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, _UINT8, 8)
    struct.pack_into("<8f", header, 76, 1, *spacing, 0, 0, 0, 0)
    struct.pack_into("<f", header, 108, len(header))
    struct.pack_into("<f", header, 112, 1)   # slope; the offset is 0
    header[123] = 2                          # mm
    struct.pack_into("<hh", header, 252, 0, 1)  # only the sform, 1: scanner's coordinates
    struct.pack_into("<12f", header, 280, *np.asarray(affine, float)[:3].ravel())
    header[344:348] = b"n+1\0"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(bytes(header))
        file.write(np.ascontiguousarray(labels, np.uint8).tobytes())
