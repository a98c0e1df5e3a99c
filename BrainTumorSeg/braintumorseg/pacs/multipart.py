"""multipart/related (RFC 2387), the envelope in which DICOMweb carries files."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from email.message import Message

__all__ = ["pack", "unpack"]


def pack(parts: Sequence[bytes]) -> tuple[bytes, str]:
    """(body, its Content-Type) for some DICOM files."""
    boundary = secrets.token_hex(16)
    opening = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(opening + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
    return body, f'multipart/related; type="application/dicom"; boundary={boundary}'


def unpack(body: bytes, content_type: str) -> list[bytes] | None:
    """The parts of a body; None when it is not one, or is cut off before its closing boundary."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if not boundary or header.get_content_maintype() != "multipart":
        return None
    mark = b"--" + boundary.encode()
    start = 0 if body.startswith(mark) else body.find(b"\r\n" + mark) + 2
    if start < 2 and not body.startswith(mark):
        return None
    parts = []
    at = start + len(mark)
    while not body.startswith(b"--", at):
        head = body.find(b"\r\n\r\n", at)
        end = body.find(b"\r\n" + mark, head + 2)
        if head < 0 or end < 0:
            return None
        parts.append(body[head + 4:end])
        at = end + 2 + len(mark)
    return parts
