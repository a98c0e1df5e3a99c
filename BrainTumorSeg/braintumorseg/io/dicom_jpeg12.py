"""JPEG Extended with 12 bits (transfer syntax 1.2.840.10008.1.2.4.51): GDCM decodes it, and pydicom's way to GDCM does not ask it to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["decode_jpeg12", "is_jpeg12"]


def is_jpeg12(dataset: Dataset, syntax: str) -> bool:
    from pydicom.uid import JPEGExtended12Bit

    return syntax == JPEGExtended12Bit and dataset.BitsAllocated == 16 and dataset.PixelRepresentation == 0


def decode_jpeg12(dataset: Dataset, index: int) -> np.ndarray:
    """Frame `index` as uint16 (rows, columns). Raises ValueError when it cannot be decoded."""
    import gdcm
    from pydicom.encaps import get_frame
    from pydicom.uid import JPEGExtended12Bit

    packed = get_frame(dataset.PixelData, index, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(packed)
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
