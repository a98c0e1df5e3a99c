"""One DICOM file without its pixels: the attributes that are needed, and whether the pixels are all there."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .dicom_facts import FACT_TAGS, damage, integer, text
from .dicom_series import LeftAside

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Header", "inflates_beyond_reason", "is_dicom", "missing_decoder", "read_header"]

_TAGS = [
    *FACT_TAGS, "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames",
    "SliceLocation", "SpacingBetweenSlices", "ImagesInAcquisition", "TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime",
    "DiffusionGradientOrientation", 0x0019100E, "StackID", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "DimensionIndexSequence",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DirectoryRecordSequence",
]
_START = 132            # preamble and 'DICM'
_UNDEFINED = 0xFFFFFFFF
_MOST_INFLATED, _MOST_FOLD = 512 << 20, 1032   # bytes that a deflated file may hold; zlib packs no tighter
_ITEM, _END = 0xE000, 0xE0DD
_AGAIN = "Copy it or export it from the PACS again."
_NO_IMAGES = {  # objects with Rows and Columns that are none
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation, not an image",
    "1.2.840.10008.5.1.4.1.1.66.7": "a segmentation, not an image",
    "1.2.840.10008.5.1.4.1.1.30": "a map of computed values, not an image",
    "1.2.840.10008.5.1.4.1.1.4.2": "spectra, not an image",
}


@dataclass(frozen=True, eq=False)
class Header:
    """A file that holds an image: the attributes that are needed of it, and its `trouble` ('' when its pixels are there and can be read)."""

    path: Path
    dataset: Dataset
    trouble: str = ""
    fix: str = ""


def is_dicom(path: Path | str) -> bool:
    """True when a file begins as DICOM does, with or without its preamble; its name says nothing."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(_START)
    except OSError:
        return False
    return start[128:] == b"DICM" or _bare_start(start)


def read_header(path: Path) -> Header | LeftAside:
    """The header of a file, or why it is none of an image. Never raises for what a file holds."""
    import pydicom

    try:
        if path.stat().st_size == 0:
            return LeftAside.of_file(path, "empty (0 bytes)", _AGAIN, damaged=True)
        if not is_dicom(path):
            return LeftAside.of_file(path, "not a DICOM file")
        with path.open("rb") as file:
            if inflates_beyond_reason(file):
                return LeftAside.of_file(path, f"damaged: deflated from more than {_MOST_INFLATED >> 20} MB", _AGAIN, damaged=True)
            dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            return _judged(path, dataset, file)
    except PermissionError:
        return LeftAside.of_file(path, "this user may not read it", "Change its permissions or copy it first.", damaged=True)
    except damage():
        return LeftAside.of_file(path, "a DICOM file with a damaged header", _AGAIN, damaged=True)


def inflates_beyond_reason(file: IO[bytes]) -> bool:
    """Whether a deflated file (PS3.5 A.5) holds so much that reading it would fill the memory. It is then at its start again."""
    from pydicom.filereader import read_dataset, read_preamble

    size = file.seek(0, 2)
    file.seek(0)
    if size * _MOST_FOLD <= _MOST_INFLATED:
        return False
    read_preamble(file, True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    beyond = text(meta, "TransferSyntaxUID") == "1.2.840.10008.1.2.1.99" and _inflated(file) > _MOST_INFLATED
    file.seek(0)
    return beyond


def _inflated(file: IO[bytes]) -> int:
    """How many bytes the rest of a file holds, counted no further than `_MOST_INFLATED`; none of them is kept."""
    inflater, size, packed = zlib.decompressobj(-zlib.MAX_WBITS), 0, file.read(1 << 20)
    while packed and size <= _MOST_INFLATED and not inflater.eof:
        size += len(inflater.decompress(packed, 1 << 20))
        packed = inflater.unconsumed_tail or file.read(1 << 20)
    return size


def missing_decoder(syntax: str) -> tuple[str, str]:
    """(why, fix) when pixels of this transfer syntax cannot be decoded here, ('', '') when they can."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    known = UID(syntax)
    if known.is_valid and known.is_transfer_syntax and not known.is_compressed:
        return "", ""
    try:
        decoder = get_decoder(known)
    except NotImplementedError:
        return f"compressed as {known.name}, which nothing here decodes", "Export it from the PACS uncompressed or as JPEG Lossless."
    if decoder.is_available:
        return "", ""
    needs = " or ".join(plugin.split(" - ")[-1] for plugin in decoder.missing_dependencies)
    return f"compressed as {known.name}, and its decoder is not installed ({needs})", "Install the decoder, or export it uncompressed."


def _bare_start(start: bytes) -> bool:
    """True for a data set without preamble: a first element of group 0002 or 0008 with a low element number."""
    if len(start) < 12:
        return False
    group, element = struct.unpack("<HH", start[:4])
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    short = struct.unpack("<I", start[4:8])[0] < 1024
    return group in (0x0002, 0x0008) and element <= 0x0018 and (explicit or short)


def _judged(path: Path, dataset: Dataset, file: IO[bytes]) -> Header | LeftAside:
    from pydicom.uid import UID

    kind = text(dataset, "SOPClassUID")
    if path.name.upper() == "DICOMDIR" or "DirectoryRecordSequence" in dataset or kind == "1.2.840.10008.1.3.10":
        return LeftAside.of_file(path, "the index of a disc (DICOMDIR); its images are found without it")
    if kind in _NO_IMAGES:
        return LeftAside.of_file(path, _NO_IMAGES[kind])
    name = UID(kind).name
    if "Rows" not in dataset and "Image" not in name:
        return LeftAside.of_file(path, f"DICOM without an image ({name if name != kind else 'unknown kind'})", damaged=not kind)
    if text(dataset, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2", ""):
        return LeftAside.of_file(path, "a colour picture, not an image with one number a voxel")
    return Header(path, dataset, *_trouble(dataset, file))


def _trouble(dataset: Dataset, file: IO[bytes]) -> tuple[str, str]:
    """(why, fix) when the pixels are not all there or cannot be decoded, ('', '') otherwise."""
    from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

    syntax = text(dataset.file_meta, "TransferSyntaxUID") if hasattr(dataset, "file_meta") else ""
    if syntax and (missing := missing_decoder(syntax))[0]:
        return missing
    deflated = syntax == DeflatedExplicitVRLittleEndian  # inflated as a whole, so there is no place in the file to look at
    if not deflated and not file.read(1):
        return "cut short before its pixels", _AGAIN
    file.seek(-1 if not deflated else 0, 1)
    sizes = [integer(dataset, name) for name in ("Rows", "Columns", "BitsAllocated")]
    if any(size is None or size < 1 for size in sizes) or sizes[2] not in (8, 16, 32):
        return "its header does not say how many pixels of how many bits it holds", _AGAIN
    if sizes[0] * sizes[1] > 1 << 24:
        return f"its header speaks of {sizes[0]} x {sizes[1]} pixels, which no slice has", _AGAIN
    stored, high = integer(dataset, "BitsStored"), integer(dataset, "HighBit")
    if stored is None or not 1 <= stored <= sizes[2] or high not in (None, stored - 1):
        return "its header contradicts itself about the bits of a pixel", _AGAIN
    if integer(dataset, "PixelRepresentation") not in (0, 1):
        return "its header does not say whether its pixels have a sign", _AGAIN
    frames = integer(dataset, "NumberOfFrames") or 1
    promised = sizes[0] * sizes[1] * sizes[2] // 8 * (integer(dataset, "SamplesPerPixel") or 1) * frames
    if deflated:
        return "", ""
    return _pixels_cut(dataset, file, promised, frames, sizes[1] * sizes[2] // 8, bool(syntax) and UID(syntax).is_compressed)


def _pixels_cut(dataset: Dataset, file: IO[bytes], promised: int, frames: int, row: int, compressed: bool) -> tuple[str, str]:
    """Compare the Pixel Data element (PS3.5 A.4, 8) with the header and with the file's end."""
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    start = file.read(8)
    if len(start) < 8 or struct.unpack(order + "HH", start[:4]) != (0x7FE0, 0x0010):
        return "cut short before its pixels", _AGAIN
    if implicit:
        length = struct.unpack(order + "I", start[4:])[0]
    else:
        if start[4:6] not in (b"OB", b"OW", b"UN"):
            return "damaged where its pixels begin", _AGAIN
        length = struct.unpack(order + "I", file.read(4))[0]
    begin = file.tell()
    room = file.seek(0, 2) - begin
    if compressed:
        return _fragments_cut(file, begin, frames) if length == _UNDEFINED else ("damaged where its pixels begin", _AGAIN)
    if length == _UNDEFINED:
        return "damaged where its pixels begin", _AGAIN
    if room < min(length, promised):
        return f"cut short: {promised} bytes of pixels are promised, {room} are there", _AGAIN
    if length < promised or length >= promised + max(row, 8):
        return f"damaged: {promised} bytes of pixels are promised, {length} are given", _AGAIN
    return "", ""


def _fragments_cut(file: IO[bytes], begin: int, frames: int) -> tuple[str, str]:
    """Walk over the items of encapsulated pixels to their end."""
    file.seek(begin)
    items = 0
    while True:
        start = file.read(8)
        if len(start) < 8:
            return "cut short within its compressed pixels", _AGAIN
        group, element, length = struct.unpack("<HHI", start)
        if (group, element) == (0xFFFE, _END):
            break
        if (group, element) != (0xFFFE, _ITEM):
            return "damaged within its compressed pixels", _AGAIN
        file.seek(length, 1)
        items += 1
    if items - 1 < frames:  # the first item is the table of offsets
        return f"damaged: {frames} compressed frames are promised, {max(items - 1, 0)} are there", _AGAIN
    return "", ""
