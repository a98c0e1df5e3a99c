"""The pixels of a stack as one volume: decompressed, in their true type, rescaled slice by slice, their padding dark."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadImage, NotAnImage, ResourceError
from ..volume import Volume
from .dicom_enhanced import frames_of, is_enhanced
from .dicom_facts import damage, number, text
from .dicom_grid import grid_of, place_of, slots_of
from .dicom_header import missing_decoder
from .dicom_jpeg import decode_jpeg12, is_jpeg12, packed_frame, stated_size
from .dicom_padding import darken, padding_in
from .dicom_quiet import quiet
from .dicom_series import Frame, Stack
from .dicom_tilt import upright

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["read_pixels"]

_WHOLE = (np.uint8, np.int16, np.uint16)
_AGAIN = "Copy it or export it from the PACS again."


def read_pixels(stack: Stack) -> Volume:
    """The voxels (I, J, K) of `stack` on its grid: uint8, int16 or uint16 as stored, float32 where the header scales them.

    Raises NotAnImage or BadImage with the name of a file that cannot be read or has changed since it was checked; ResourceError.
    """
    try:
        with quiet():
            return _read(stack)
    except MemoryError:
        raise ResourceError(f"A DICOM series of {stack.grid.describe()} does not fit into this machine's memory.", "Close other programs.") from None


def _read(stack: Stack) -> Volume:
    slices, places, padded = [], [], []
    opened: Path | None = None
    for frame in stack.frames:
        if frame.path != opened:
            dataset, headers = _open(frame.path)
            opened = frame.path
        if frame.index >= len(headers):
            raise _changed(frame)
        header = headers[frame.index]
        try:
            places.append(place_of(header))
        except BadImage as error:
            raise BadImage(f"{frame.path.name}: {error.what}", error.fix) from None
        pixels = _decoded(dataset, frame)
        padded.append(padding_in(dataset, pixels))
        slices.append((_bright(dataset, pixels), *_scale(header, frame)))
    if _looks_exchanged(slices[len(slices) // 2][0]):
        raise NotAnImage(f"Rows and Columns seem to be exchanged in the header of {stack.frames[0].path.name}: the picture falls apart.", _AGAIN)
    try:
        grid = grid_of(places, fill_gaps=bool(stack.missing))
    except BadImage:
        raise _changed(stack.frames[0]) from None
    voxels = _joined(slices)
    darken(voxels, padded)
    volume = Volume(_filled(voxels, slots_of(places, grid), grid.shape), grid.affine)
    volume = upright(volume) if stack.shear_deg else volume
    if not volume.grid.same_as(stack.grid):
        raise _changed(stack.frames[0])
    return Volume(volume.voxels, stack.grid.affine)


def _open(path: Path) -> tuple[Dataset, list[Dataset]]:
    """The whole file and the header of each of its frames."""
    import pydicom

    try:
        dataset = pydicom.dcmread(path, force=True)
        _put_syntax(dataset)
        return dataset, frames_of(dataset) if is_enhanced(dataset) else [dataset]
    except FileNotFoundError:
        raise NotAnImage(f"{path.name} is not there any more.", "Scan the folder again.") from None
    except damage() as error:
        raise NotAnImage(f"{path.name} cannot be read: its header is damaged ({type(error).__name__}).", _AGAIN) from None


def _put_syntax(dataset: Dataset) -> None:
    """Say how the pixels are stored where the file has no meta header that does."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _decoded(dataset: Dataset, frame: Frame) -> np.ndarray:
    """One frame (rows, columns) as the integers that are stored, with the sign and the bits that the header states."""
    from pydicom.pixels import pixel_array
    from pydicom.uid import UID

    name = frame.path.name
    syntax = text(dataset.file_meta, "TransferSyntaxUID")
    if (missing := missing_decoder(syntax))[0]:
        raise NotAnImage(f"{name} is {missing[0]}.", missing[1])
    try:
        size = stated_size(packed_frame(dataset, frame.index)) if UID(syntax).is_compressed else None
        if size not in (None, (dataset.Rows, dataset.Columns)):
            raise ValueError("the stream and the header state different sizes")
        pixels = decode_jpeg12(dataset, frame.index) if is_jpeg12(dataset, syntax) else pixel_array(dataset, index=frame.index, raw=True)
    except (*damage(), RuntimeError) as error:
        raise NotAnImage(f"The pixels of {name} cannot be decoded: they are damaged or cut short ({type(error).__name__}).", _AGAIN) from None
    if pixels.shape != (dataset.Rows, dataset.Columns):
        raise NotAnImage(f"The pixels of {name} are {' x '.join(map(str, pixels.shape))}, and its header says {dataset.Rows} x {dataset.Columns}.",
                         _AGAIN)
    return pixels


def _bright(dataset: Dataset, pixels: np.ndarray) -> np.ndarray:
    """`pixels`, bright meaning much."""
    if dataset.get("PhotometricInterpretation") != "MONOCHROME1":  # there the lowest value is the brightest (PS3.3 C.7.6.3.1.2)
        return pixels
    return (-1 if dataset.PixelRepresentation else (1 << int(dataset.BitsStored)) - 1) - pixels.astype(np.int64)


def _looks_exchanged(pixels: np.ndarray) -> bool:
    """True when neighbours down a column differ far more than pixels that would be neighbours with Rows and Columns exchanged.

    Nothing else in a header tells the two apart, and a file of one frame more or less is as long either way.
    """
    rows, columns = pixels.shape
    flat = pixels.ravel().astype(np.float32)
    stated, exchanged = (float(np.abs(flat[step:] - flat[:-step]).mean()) for step in (columns, rows))
    return rows != columns and exchanged < 0.5 * stated


def _scale(header: Dataset, frame: Frame) -> tuple[float, float]:
    """(slope, intercept) of the modality, (1, 0) where there is none."""
    slope, intercept = number(header, "RescaleSlope"), number(header, "RescaleIntercept")
    if slope == 0 or (slope is None) != (intercept is None):
        raise NotAnImage(f"The rescaling in the header of {frame.path.name} is damaged.", _AGAIN)
    return (1.0, 0.0) if slope is None else (slope, intercept)


def _joined(slices: Sequence[tuple[np.ndarray, float, float]]) -> np.ndarray:
    """(columns, rows, n) in the smallest type that holds every value exactly, float32 where a scale is not whole."""
    if all(slope == 1 and intercept == round(intercept) for _, slope, intercept in slices):
        low = min(int(pixels.min()) + int(intercept) for pixels, _, intercept in slices)
        high = max(int(pixels.max()) + int(intercept) for pixels, _, intercept in slices)
        kind = next((kind for kind in _WHOLE if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max), np.float32)
    else:
        kind = np.float32
    voxels = np.empty((len(slices), *slices[0][0].shape), kind)  # as the slices lie in their files, so that each is one copy
    for k, (pixels, slope, intercept) in enumerate(slices):
        voxels[k] = pixels if (slope, intercept) == (1, 0) else pixels * slope + intercept
    return voxels.transpose(2, 1, 0)


def _filled(voxels: np.ndarray, slots: Sequence[int], shape: tuple[int, int, int]) -> np.ndarray:
    """`voxels` (columns, rows, n) at their `slots` along K; slices between them linearly from their neighbours."""
    if len(slots) == shape[2]:
        return voxels
    filled = np.empty(shape, np.float32)
    for at, (a, b) in enumerate(pairwise(slots)):
        for k in range(a, b + 1):
            far = (k - a) / (b - a)
            filled[:, :, k] = (1 - far) * voxels[:, :, at] + far * voxels[:, :, at + 1]
    return filled


def _changed(frame: Frame) -> BadImage:
    return BadImage(f"The series of {frame.path.name} has changed since the folder was scanned.", "Scan the folder again.")
