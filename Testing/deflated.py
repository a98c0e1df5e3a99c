"""DICOM files that are small on the disk and large in memory."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import pydicom

__all__ = ["deflate"]


def deflate(path: Path, padding: int) -> None:
    """Deflate a file (PS3.5 A.5), with so many bytes of nothing behind its pixels."""
    ds = pydicom.dcmread(path)
    stream = BytesIO()
    ds.save_as(stream, enforce_file_format=False, implicit_vr=False, little_endian=True)
    plain = stream.getvalue()
    meta = pydicom.filereader.read_file_meta_info(path)
    start = 144 + meta.FileMetaInformationGroupLength
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    head = BytesIO()
    pydicom.filewriter.write_file_meta_info(head, meta)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    nothing = struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, padding) + bytes(padding)
    path.write_bytes(bytes(128) + b"DICM" + head.getvalue() + packer.compress(plain[start:] + nothing) + packer.flush())
