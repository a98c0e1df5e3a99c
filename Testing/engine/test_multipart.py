"""The envelope of DICOMweb; oracle: Python's own e-mail parser."""

import email

import pytest

from braintumorseg.pacs.multipart import pack, unpack

PARTS = [b"DICM" + bytes(range(256)), b"\r\n--\r\n\r\n", b""]


def test_what_is_packed_is_what_the_standard_library_unpacks():
    body, kind = pack([b"first", b"second"])
    message = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    assert [part.get_payload() for part in message.walk() if not part.is_multipart()] == ["first", "second"]
    assert message.get_param("type") == "application/dicom"


def test_any_bytes_come_back():
    assert unpack(*pack(PARTS)) == PARTS


def test_a_preamble_and_unquoted_parameters_are_read():
    body = b"This is a preamble\r\n--x\r\nContent-Type: application/dicom\r\nContent-Length: 3\r\n\r\nabc\r\n--x--\r\nepilogue"
    assert unpack(body, "multipart/related; boundary=x; type=application/dicom") == [b"abc"]


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_body_that_is_cut_off_is_no_body(cut):
    body, kind = pack([b"abc"])
    assert unpack(body[:-2 - cut], kind) is None


@pytest.mark.parametrize("kind", ["", "application/dicom", "multipart/related", "text/html; charset=utf-8"])
def test_something_else_is_no_body(kind):
    assert unpack(b"<html>", kind) is None
