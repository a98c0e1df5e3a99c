"""Whether all of a network lies within its ONNX file, where the SHA-256 of its card covers it.

ONNX lets the numbers of a network lie in other files, by their paths, which runtimes open unasked. The file is a protobuf; only the few
messages that can hold numbers are looked into, and the numbers themselves are jumped over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["why_not_whole"]

# Message -> number of a field -> the message in it, as in onnx.proto: every way from a model to its numbers (tensors).
_WITHIN = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_GRAPH, _EXTERNAL_DATA, _DATA_LOCATION = 7, 13, 14
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


def why_not_whole(path: Path) -> str:
    """What is wrong with the file of a network in this respect; '' when it is a whole one."""
    try:
        with path.open("rb") as file:
            return _look(file, path.stat().st_size)
    except (EOFError, ValueError):
        return "is no ONNX file, or a damaged one"


def _look(file: BinaryIO, size: int) -> str:
    graphs, left = 0, [("model", 0, size)]
    while left:
        message, begin, end = left.pop()
        for number, value, after in _fields(file, begin, end):
            if message == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value)):
                return "keeps numbers in other files, which the SHA-256 of its card does not cover"
            graphs += message == "model" and number == _GRAPH
            if after is not None and number in _WITHIN[message]:
                left.append((_WITHIN[message][number], value, after))
    return "" if graphs else "is no ONNX file, or a damaged one"


def _fields(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """(number, value, None) of every field from byte `begin` to `end`; of one that holds bytes (number, their first, behind their last)."""
    while begin < end:
        file.seek(begin)
        tag, value, after = _varint(file), 0, None
        kind = tag & 7
        if kind == _VARINT:
            value = _varint(file)
            begin = file.tell()
        elif kind == _BYTES:
            length = _varint(file)
            value = file.tell()
            begin = after = value + length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            begin = file.tell() + (8 if kind == _EIGHT_BYTES else 4)
        else:
            raise ValueError("of a kind that ONNX does not use")
        if begin > end or not 0 < tag < 1 << 32:
            raise ValueError("beyond its message")
        yield tag >> 3, value, after


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("longer than a number can be")
