"""Padding (PS3.3 C.7.5.1.1.2): pixels with a value that the header sets aside for what is no part of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .dicom_facts import integer

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["darken", "padding_in", "padding_of"]


def padding_of(dataset: Dataset) -> tuple[int, int] | None:
    """The lowest and the highest stored value that are padding; None where there is none, or none that the pixels can have."""
    bits, stored = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    first, last = integer(dataset, "PixelPaddingValue"), integer(dataset, "PixelPaddingRangeLimit")
    if first is None or not bits or not stored:
        return None
    signed = integer(dataset, "PixelRepresentation") == 1
    ends = sorted(_cast(value, bits, signed) for value in (first, first if last is None else last))
    lowest = -(1 << stored - 1) if signed else 0
    return (ends[0], ends[1]) if lowest <= ends[0] and ends[1] < lowest + (1 << stored) else None


def padding_in(dataset: Dataset, pixels: np.ndarray) -> np.ndarray | None:
    """Where the stored `pixels` (rows, columns) are padding; None where none is."""
    ends = padding_of(dataset)
    if ends is None:
        return None
    padded = (pixels >= ends[0]) & (pixels <= ends[1])
    return padded if padded.any() else None


def darken(voxels: np.ndarray, padded: Sequence[np.ndarray | None]) -> None:
    """Give padding the lowest value that `voxels` (columns, rows, n) have elsewhere, in place; `padded`: per slice (rows, columns).

    Padding between that value and 0 stays: it is as dark as air, and around a brain without its skull it must be 0.
    """
    if all(mask is None for mask in padded):
        return
    slices = [(voxels[:, :, k], None if mask is None else mask.T) for k, mask in enumerate(padded)]
    seen = [pixels if mask is None else pixels[~mask] for pixels, mask in slices]
    low = min((pixels.min().item() for pixels in seen if pixels.size), default=None)
    for pixels, mask in slices:
        if mask is not None and low is not None:
            pixels[mask & ((pixels < min(low, 0)) | (pixels > max(low, 0)))] = low


def _cast(value: int, bits: int, signed: bool) -> int:
    """With the sign of the pixels, whatever sign the attribute was written with."""
    value %= 1 << bits
    return value - (1 << bits) if signed and value >= 1 << bits - 1 else value
