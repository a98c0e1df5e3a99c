"""What pydicom and GDCM leave to do for JPEG streams: the size that a stream states itself, and JPEG Extended with 12 bits.

GDCM decodes a JPEG-LS stream into whatever Rows and Columns the header says, so the two must be compared. It decodes JPEG Extended
with 12 bits too, and pydicom's way to it does not ask it to.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["decode_jpeg12", "is_jpeg12", "packed_frame", "stated_size"]

_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF markers of T.81 B.1.1.3, and SOF55 of JPEG-LS (T.87)


def is_jpeg12(dataset: Dataset, syntax: str) -> bool:
    from pydicom.uid import JPEGExtended12Bit

    return syntax == JPEGExtended12Bit and dataset.BitsAllocated == 16 and dataset.PixelRepresentation == 0


def packed_frame(dataset: Dataset, index: int) -> bytes:
    """The stream of one compressed frame."""
    from pydicom.encaps import get_frame

    return get_frame(dataset.PixelData, index, number_of_frames=int(dataset.get("NumberOfFrames") or 1))


def stated_size(stream: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 stream says it has; None where it says nothing."""
    if stream.startswith(b"\xff\x4f\xff\x51") and len(stream) >= 24:  # SOC and SIZ of JPEG 2000 (T.800 A.5.1)
        columns, rows, left, top = struct.unpack(">4I", stream[8:24])
        return rows - top, columns - left
    at = 2
    while stream.startswith(b"\xff\xd8") and at + 9 <= len(stream) and stream[at] == 0xFF:
        if stream[at + 1] in _FRAME_HEADERS:
            return struct.unpack(">2H", stream[at + 5:at + 9])
        at += 2 + struct.unpack(">H", stream[at + 2:at + 4])[0]
    return None


def decode_jpeg12(dataset: Dataset, index: int) -> np.ndarray:
    """Frame `index` as uint16 (rows, columns). Raises ValueError when it cannot be decoded."""
    import gdcm
    from pydicom.uid import JPEGExtended12Bit

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(packed_frame(dataset, index))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, dataset.BitsStored, dataset.BitsStored - 1, 0))
    buffer = image.GetBuffer()
    if buffer is None:
        raise ValueError("GDCM cannot decode the frame")
    return np.frombuffer(buffer.encode("utf-8", "surrogateescape"), "<u2").reshape(dataset.Rows, dataset.Columns)
