"""Nothing beside the picture goes along: no comment of a compressed stream, no bit that no pixel uses. The picture stays."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from braintumorseg.clean_pixels import UnknownPixels, _without_comments_2000, clean_pixels
from braintumorseg.io.dicom_facts import damage
from dicom_toys import slices_of_volume, toy_volume

SAID = b"PatID 4711998 Wang Li 19530217"   # digits and short words, which no search for a name finds
SEGMENT = (len(SAID) + 2).to_bytes(2, "big") + SAID


def image(**values):
    (ds, *_) = slices_of_volume(toy_volume((6, 5, 1)))
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 0
    ds.PixelData = np.arange(30, dtype="<u2").tobytes()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def compressed(syntax=JPEGLSLossless, change=lambda stream: stream, **values):
    ds = image(**values)
    ds.compress(syntax, generate_instance_uid=False)
    (stream,) = generate_frames(ds.PixelData, number_of_frames=1)
    ds.PixelData = encapsulate([change(bytes(stream))])
    return ds


def jpeg_2000(change=lambda stream: stream):
    """12 bits stored in a stream that has room for 16, as common programs write it."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)).save(stream, "JPEG2000", no_jp2=True)
    ds = image(Rows=40, Columns=40, PixelData=encapsulate([change(stream.getvalue())]))
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    return ds


def pixels(ds):
    return pydicom.pixels.pixel_array(ds, raw=True)


def cleaned(ds):
    """(its pixels before, after; the clean value)"""
    before, value = pixels(ds), clean_pixels(ds)
    ds.PixelData = value
    return before, pixels(ds), value


def in_jpeg(stream):
    """With a comment, application segments and bytes after the end; padding between segments is allowed, too."""
    words = b"\xff\xfe" + SEGMENT + b"\xff\xff\xe1" + SEGMENT + b"\xff\xef" + SEGMENT
    return stream[:2] + words + stream[2:].rstrip(b"\0") + SAID


def in_jpeg_2000(stream):
    com = b"\xff\x64" + (len(SAID) + 4).to_bytes(2, "big") + b"\0\1" + SAID
    at, part = stream.index(b"\xff\x52"), stream.index(b"\xff\x90")
    length = int.from_bytes(stream[part + 6:part + 10], "big") + len(com)
    tile = stream[part:part + 6] + length.to_bytes(4, "big") + stream[part + 10:part + 12] + com + stream[part + 12:]
    return stream[:at] + com + stream[at:part] + tile.rstrip(b"\0") + SAID


@pytest.mark.parametrize("make", [lambda: compressed(JPEGLSLossless, in_jpeg), lambda: jpeg_2000(in_jpeg_2000)], ids=["JPEG-LS", "JPEG 2000"])
def test_comments_go_and_the_picture_stays(make):
    ds = make()
    assert ds.PixelData.count(SAID) == (4 if ds.file_meta.TransferSyntaxUID == JPEGLSLossless else 3)
    before, after, value = cleaned(ds)
    np.testing.assert_array_equal(after, before)
    assert b"4711998" not in value


def test_a_comment_of_a_jpeg_with_restarts_and_several_scans_goes():
    picture = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    for options in ({"progressive": True}, {"restart_marker_rows": 1}):
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "JPEG", comment=SAID, exif=b"Exif\0\0" + SAID, **options)
        ds = image(Rows=64, Columns=64, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=encapsulate([stream.getvalue() + SAID]))
        ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        (frame,) = generate_frames(clean_pixels(ds), number_of_frames=1)
        assert b"4711998" not in frame and b"Exif" not in frame and b"JFIF" not in frame
        np.testing.assert_array_equal(Image.open(io.BytesIO(frame)), Image.open(stream))


def test_every_frame_is_cleaned_and_what_lies_between_fragments_is_gone():
    ds = compressed(JPEGLSLossless, in_jpeg)
    (stream,) = generate_frames(ds.PixelData, number_of_frames=1)
    ds.NumberOfFrames, ds.PixelData = 2, encapsulate([stream, stream])
    value = clean_pixels(ds)
    assert len(list(generate_frames(value, number_of_frames=2))) == 2 and b"4711998" not in value


NOT_UNDERSTOOD = {
    "JPEG of another kind": (compressed, lambda stream: b"GIF" + stream), "JPEG without an end": (compressed, lambda stream: stream[:-8]),
    "JPEG without a picture": (compressed, lambda stream: stream[:20]),
    "JPEG with a marker of no standard": (compressed, lambda stream: stream[:2] + b"\xff\x40" + SEGMENT + stream[2:]),
    "JPEG 2000 in a file of boxes": (jpeg_2000, lambda stream: b"\0\0\0\x0cjP  " + stream),
    "JPEG 2000 without a picture": (jpeg_2000, lambda stream: stream[:60]),
    "JPEG 2000 with a marker of no standard": (jpeg_2000, lambda stream:
                                               stream.replace(b"\xff\x90\0\x0a", b"\xff\x30" + SEGMENT + b"\xff\x90\0\x0a")),
    "JPEG 2000 whose tile ends where it begins": (jpeg_2000, lambda stream: stream[:stream.index(b"\xff\x90") + 6] + b"\0\0\0\x0c"
                                                  + stream[stream.index(b"\xff\x90") + 10:]),
}


@pytest.mark.parametrize(("make", "change"), NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_a_stream_that_is_not_understood_to_its_end_has_no_copy(make, change):
    ds = make(change=change)
    with pytest.raises(damage()):
        clean_pixels(ds)


def test_a_jpeg_2000_stream_changed_anywhere_in_its_headers_is_read_to_an_end():
    whole = bytes(next(generate_frames(jpeg_2000(in_jpeg_2000).PixelData, number_of_frames=1)))
    for at in range(whole.index(b"\xff\x93") + 2):
        for stream in (whole[:at], whole[:at] + b"\0" + whole[at + 1:], whole[:at] + b"\xff" + whole[at + 1:]):
            try:
                clean, _ = _without_comments_2000(stream)
            except damage():
                continue
            assert len(clean) <= len(whole)


def test_a_compression_that_is_not_known_has_no_copy():
    ds = image(PixelData=encapsulate([b"\xff\x0a" + SAID]))
    ds.file_meta.TransferSyntaxUID = pydicom.uid.UID("1.2.840.10008.1.2.4.110")   # JPEG XL
    with pytest.raises(UnknownPixels, match="does not know how to clean"):
        clean_pixels(ds)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("signed", [0, 1])
def test_a_picture_drawn_in_bits_that_no_pixel_uses_is_gone_and_values_are_as_readers_see_them(order, signed):
    values = np.array([5, 2047, -1, -2048, -7, 0] * 5) if signed else np.array([5, 4095, 0, 2048, 7, 1] * 5)
    stored = (values & 0x0FFF) | np.where(np.arange(30) % 7 == 0, 0x9000, 0)
    ds = image(PixelRepresentation=signed, PixelData=stored.astype(f"{order}u2").tobytes())
    if order == ">":
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    before, after, value = cleaned(ds)
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(np.frombuffer(value, f"{order}{'i' if signed else 'u'}2"), values)


@pytest.mark.parametrize("signed", [0, 1])
def test_pixels_whose_unused_bits_are_empty_or_a_sign_are_as_they_were(signed):
    values = (np.arange(30) - (15 if signed else 0)).astype("<i2").tobytes()
    assert clean_pixels(image(PixelRepresentation=signed, PixelData=values)) == values


@pytest.mark.parametrize(("values", "signed", "hidden"), [
    (np.arange(30), 0, False), (np.arange(30) | 0x9000, 0, True), (np.arange(30) - 15, 1, False), ((np.arange(30) - 15) & 0x0FFF, 1, False),
    ((np.arange(30) - 15) ^ 0x4000, 1, True)], ids=["empty", "drawn", "sign", "sign left out", "drawn beside a sign"])
def test_a_compressed_image_with_a_picture_in_unused_bits_has_no_copy(values, signed, hidden):
    ds = compressed(RLELossless, BitsStored=16, HighBit=15, PixelRepresentation=signed, PixelData=values.astype("<i2").tobytes())
    ds.BitsStored, ds.HighBit = 12, 11
    if not hidden:
        np.testing.assert_array_equal(*cleaned(ds)[:2])
        assert (ds.BitsStored, ds.HighBit) == (12, 11)
        return
    with pytest.raises(UnknownPixels, match="hidden"):
        clean_pixels(ds)
