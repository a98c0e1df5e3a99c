"""One file's header: what counts as DICOM, and whether the pixels behind it are all there."""

import pytest
from pydicom.uid import HTJ2K, MPEG2MPML, ExplicitVRLittleEndian, JPEGLosslessSV1, RLELossless

from braintumorseg.io import dicom_header
from braintumorseg.io.dicom_header import Header, is_dicom, missing_decoder, read_header
from braintumorseg.io.dicom_series import LeftAside
from deflated import deflate
from dicom_toys import save, slices_of_volume, toy_volume

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value")  # pydicom's, where a UID is cut off; a scan silences them


@pytest.mark.parametrize("start, expected", [
    (bytes(128) + b"DICM", True), (b"x" * 128 + b"DICM", True),
    (b"\x08\0\x05\0CS\x0a\0ISO_IR 100", True), (b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100", True),
    (b"\x02\0\0\0UL\4\0\0\0\0\0", True), (b"", False), (b"DICM", False), (b"\x89PNG\r\n\x1a\n" + bytes(200), False), (b"\x08\0\x05\0", False),
    (bytes(300), False), (b"\x08\0\x05\0\xff\xff\xff\x7fISO_IR 100", False)], ids=lambda value: repr(value)[:30])
def test_dicom_is_known_by_how_it_begins(tmp_path, start, expected):
    (tmp_path / "file").write_bytes(start)
    assert is_dicom(tmp_path / "file") == expected


def test_a_whole_file_has_no_trouble_and_no_pixels_in_memory(tmp_path):
    (path, *_) = save(slices_of_volume(toy_volume()), tmp_path)
    header = read_header(path)
    assert isinstance(header, Header) and header.trouble == "" and "PixelData" not in header.dataset and "StudyDescription" not in header.dataset


@pytest.mark.parametrize("pad, trouble", [(0, False), (2, False), (12, False), (14, True), (100, True)])
def test_padding_below_one_row_is_accepted_and_more_is_a_wrong_header(tmp_path, pad, trouble):
    slices = slices_of_volume(toy_volume())
    slices[0].PixelData += bytes(pad)
    (path, *_) = save(slices, tmp_path)
    assert bool(read_header(path).trouble) == trouble


def test_every_byte_that_is_cut_off_is_noticed(tmp_path):
    (path, *_) = save(slices_of_volume(toy_volume((3, 2, 1))), tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        found = read_header(path)
        assert isinstance(found, LeftAside) or found.trouble, length


def test_every_byte_that_is_cut_off_compressed_pixels_is_noticed(tmp_path):
    (one,) = slices_of_volume(toy_volume((3, 2, 1)))
    one.compress(RLELossless, generate_instance_uid=False)
    (path,) = save([one], tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole) - 200, len(whole)):
        path.write_bytes(whole[:length])
        found = read_header(path)
        assert isinstance(found, LeftAside) or found.trouble, length


def test_decoders_that_are_there_are_not_missed():
    assert missing_decoder(ExplicitVRLittleEndian) == missing_decoder(JPEGLosslessSV1) == missing_decoder(RLELossless) == ("", "")


@pytest.mark.parametrize("syntax, named", [(HTJ2K, "High-Throughput JPEG 2000"), (MPEG2MPML, "MPEG2"), ("1.2.3.4", "1.2.3.4")], ids=str)
def test_a_missing_decoder_names_the_compression_and_what_to_do(syntax, named):
    why, fix = missing_decoder(syntax)
    assert named in why and fix


def test_a_file_that_is_deflated_from_more_than_memory_should_hold_is_damaged(tmp_path, monkeypatch):
    paths = save(slices_of_volume(toy_volume()), tmp_path)
    for path, size in zip(paths, (1 << 19, 3 << 20), strict=False):
        deflate(path, size)
    assert isinstance(read_header(paths[1]), Header)
    monkeypatch.setattr(dicom_header, "_MOST_INFLATED", 1 << 20)
    assert isinstance(read_header(paths[0]), Header)
    found = read_header(paths[1])
    assert isinstance(found, LeftAside) and found.damaged and "deflated" in found.why


def test_a_deflated_file_is_not_inflated_to_find_out_that_it_is_too_large(tmp_path, monkeypatch):
    import tracemalloc

    (path, *_) = save(slices_of_volume(toy_volume()), tmp_path)
    deflate(path, 64 << 20)
    monkeypatch.setattr(dicom_header, "_MOST_INFLATED", 8 << 20)
    tracemalloc.start()
    assert isinstance(read_header(path), LeftAside)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.filterwarnings("ignore:Expected explicit VR")
@pytest.mark.parametrize("implicit", [False, True])
def test_a_deflated_file_is_known_whatever_way_its_meta_header_is_written(tmp_path, monkeypatch, implicit):
    (path, *_) = save(slices_of_volume(toy_volume()), tmp_path)
    deflate(path, 3 << 20)
    if implicit:
        content = path.read_bytes()
        begin, end = 132, 144 + int.from_bytes(content[140:144], "little")
        kind = b"1.2.840.10008.1.2.1.99"
        path.write_bytes(content[:begin] + b"\2\0\x10\0" + len(kind).to_bytes(4, "little") + kind + content[end:])
    monkeypatch.setattr(dicom_header, "_MOST_INFLATED", 1 << 20)
    assert isinstance(read_header(path), LeftAside)
