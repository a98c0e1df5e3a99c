"""Pixel data without what stands beside the picture: bits that no pixel uses, comments and free room of compressed streams.

Whoever reads the copy sees the pixels that readers of the original saw.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["UnknownPixels", "clean_pixels"]

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", _BIG_ENDIAN, "1.2.840.10008.1.2.1.99")
_RLE = "1.2.840.10008.1.2.5"
_JPEG = tuple(f"1.2.840.10008.1.2.4.{n}" for n in ("50", "51", "57", "70", "80", "81"))   # JPEG-LS, too
_JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{n}" for n in ("90", "91", "201", "202", "203"))
# Markers without a length (T.81 B.1.1.3): TEM, RST0 to RST7.
_ALONE = {0x01, *range(0xD0, 0xD8)}
_EOI, _SOS = 0xD9, 0xDA
_FREE = {0xFE, *range(0xE0, 0xF0)}   # COM, APP0 to APP15
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_MARKERS = {*range(0xC0, 0xE0), 0xF7, 0xF8} | _ALONE | _FREE   # those that JPEG and JPEG-LS (T.87) define
_COM_2000, _SOT, _SOD = 0x64, 0x90, 0x93
_MARKERS_2000 = {*range(0x50, 0x65), _SOT}   # T.800 A.2, T.814 A
_DAMAGED = "an image whose compressed pixels are damaged"


class UnknownPixels(ValueError):
    """Why pixel data cannot be cleaned, as words for a report."""


def clean_pixels(original: Dataset) -> bytes:
    """The value of Pixel Data for the copy. Raises UnknownPixels, and what pydicom raises for damaged data."""
    syntax = original.file_meta.TransferSyntaxUID
    if syntax in _NATIVE:
        return _native(original, ">" if syntax == _BIG_ENDIAN else "<")
    if syntax not in (_RLE, *_JPEG, *_JPEG_2000):
        raise UnknownPixels("an image compressed in a way that this does not know how to clean")
    return _compressed(original, syntax)


def _native(original: Dataset, order: str) -> bytes:
    """Uncompressed pixels; bits beside the stored ones become what the value has there: its sign, or 0 (PS3.5 8.1.1)."""
    pixels = original.PixelData
    bits = original.Rows * original.Columns * original.SamplesPerPixel * original.BitsAllocated * int(original.get("NumberOfFrames") or 1)
    size = -(-bits // 8)
    if len(pixels) != size + size % 2 or pixels[size:].strip(b"\0"):   # more could be anything
        raise UnknownPixels("an image whose pixel data do not have its size")
    allocated, stored, signed = original.BitsAllocated, original.BitsStored, original.get("PixelRepresentation", 0)
    if stored == allocated:
        return pixels
    if allocated not in (8, 16, 32) or original.HighBit != stored - 1 or not 0 < stored < allocated:
        raise UnknownPixels("an image whose header contradicts itself about the bits of a pixel")
    values = np.frombuffer(pixels[:size], f"{order}{'i' if signed else 'u'}{allocated // 8}")
    unused = allocated - stored
    values = ((values << unused) >> unused).astype(values.dtype)
    return values.tobytes() + pixels[size:]


def _compressed(original: Dataset, syntax: str) -> bytes:
    from pydicom.encaps import encapsulate, generate_frames

    count = int(original.get("NumberOfFrames") or 1)
    frames = [bytes(frame) for frame in generate_frames(original.PixelData, number_of_frames=count)]
    precision = original.BitsAllocated
    if syntax != _RLE:
        cleaned = [_without_comments_2000(frame) if syntax in _JPEG_2000 else _without_comments(frame) for frame in frames]
        frames, precision = [frame for frame, _ in cleaned], max(bits for _, bits in cleaned)
    if precision > original.BitsStored:   # the stream has room for more bits than are stored
        _refuse_hidden_bits(original)
    return encapsulate(frames)


def _refuse_hidden_bits(original: Dataset) -> None:
    """Raises UnknownPixels when bits beside the stored ones hold anything but a sign, which cannot be mended in a compressed image."""
    from pydicom.pixels import pixel_array

    stored = original.BitsStored
    try:
        original.BitsStored, original.HighBit = original.BitsAllocated, original.BitsAllocated - 1   # so that all are seen
        values = pixel_array(original, raw=True)
    except (RuntimeError, NotImplementedError) as error:
        raise UnknownPixels("a compressed image that cannot be decoded here, to see what its unused bits hold") from error
    finally:
        original.BitsStored, original.HighBit = stored, stored - 1
    values = values.view(values.dtype.str.replace("i", "u"))
    beside, sign = values >> stored, (values >> (stored - 1)) & 1
    extended = np.where(sign, (1 << (original.BitsAllocated - stored)) - 1, 0)
    if beside.any() and not (original.get("PixelRepresentation", 0) and (beside == extended).all()):
        raise UnknownPixels("an image with something hidden in bits that its pixels do not use")


def _without_comments(stream: bytes) -> tuple[bytes, int]:
    """(a JPEG or JPEG-LS stream without comments, application segments and what follows its end, bits of a sample)."""
    if not stream.startswith(b"\xff\xd8"):
        raise UnknownPixels(_DAMAGED)
    kept, at, bits = [b"\xff\xd8"], 2, 0
    while True:
        if at + 2 > len(stream) or stream[at] != 0xFF:
            raise UnknownPixels(_DAMAGED)
        marker = stream[at + 1]
        if marker == 0xFF:   # fill
            at += 1
            continue
        if marker == _EOI:
            content = b"".join([*kept, b"\xff\xd9"])
            return content + bytes(len(content) % 2), bits
        if marker not in _MARKERS:
            raise UnknownPixels(_DAMAGED)
        end = at + 2 if marker in _ALONE else at + 2 + _length(stream, at + 2)
        if marker in _FRAME_HEADERS:
            bits = max(bits, stream[at + 4])
        if marker == _SOS:
            end = _end_of_scan(stream, end)
        if marker not in _FREE:
            kept.append(stream[at:end])
        at = end


def _end_of_scan(stream: bytes, at: int) -> int:
    """Where the marker after a scan begins: within it a byte FF has 00 (JPEG) or less than 80 (JPEG-LS) after it, or restarts."""
    while (at := stream.find(b"\xff", at)) >= 0 and at + 1 < len(stream):
        following = stream[at + 1]
        if following >= 0x80 and following not in _ALONE and following != 0xFF:
            return at
        at += 1
    raise UnknownPixels(_DAMAGED)


def _without_comments_2000(stream: bytes) -> tuple[bytes, int]:
    """(a JPEG 2000 stream whose comments are blank and which ends where it says, bits of a sample).

    Comments keep their length, for other segments count the bytes of a tile.
    """
    if not stream.startswith(b"\xff\x4f\xff\x51"):   # also one in a JP2 file, whose boxes may hold anything
        raise UnknownPixels(_DAMAGED)
    content, at, tile = bytearray(stream), 2, 0
    bits = max((depth & 0x7F) + 1 for depth in stream[42:42 + 3 * struct.unpack(">H", stream[40:42])[0]:3])
    while stream[at:at + 2] != b"\xff\xd9":
        if at + 2 > len(stream) or stream[at] != 0xFF:
            raise UnknownPixels(_DAMAGED)
        marker = stream[at + 1]
        if marker == _SOD:
            end = tile or len(stream.rstrip(b"\0")) - 2
            if end <= at:
                raise UnknownPixels(_DAMAGED)
            at = end
            continue
        if marker not in _MARKERS_2000:
            raise UnknownPixels(_DAMAGED)
        end = at + 2 + _length(stream, at + 2)
        if marker == _SOT:
            part = struct.unpack(">I", stream[at + 6:at + 10])[0]
            tile = at + part if part else 0   # 0: up to the end of the stream
        if marker == _COM_2000:
            content[at + 6:end] = bytes(max(end - at - 6, 0))
        at = end
    return bytes(content[:at + 2]) + bytes(at % 2), bits


def _length(stream: bytes, at: int) -> int:
    if at + 2 > len(stream) or (length := struct.unpack(">H", stream[at:at + 2])[0]) < 2:
        raise UnknownPixels(_DAMAGED)
    return length
