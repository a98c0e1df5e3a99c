"""What a made-up DICOMweb archive answers."""

import json

__all__ = ["IMAGE", "SERIES", "STUDY", "as_json", "in_envelope"]

STUDY, SERIES, IMAGE = "0020000D", "0020000E", "00080018"   # tags as DICOM JSON writes them


def as_json(*answers):
    datasets = [{tag: {"vr": "UI", "Value": [value]} for tag, value in one.items()} for one in answers]
    return 200, "application/dicom+json", json.dumps(datasets).encode()


def in_envelope(content):
    """The answer that carries one image."""
    return 200, 'multipart/related; type="application/dicom"; boundary=x', b"--x\r\n\r\n" + content + b"\r\n--x--"
