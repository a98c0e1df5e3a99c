"""Pixels: every compression a PACS sends, signs, bits, scales, and what happens when they are damaged."""

import shutil
import subprocess
from io import BytesIO

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from braintumorseg.errors import NotAnImage
from braintumorseg.io.dicom import read_stack, scan_dicom
from braintumorseg.io.itk import from_itk
from dicom_toys import enhanced, same_place, save, slices_of_volume, toy_volume

# dcmtk's coders (Debian dcmtk) are not the library that reads here. Lossless, and then lossy with the largest error it makes.
DCMTK = {"JPEG Lossless SV1": ("dcmcjpeg", "+e1"), "JPEG Lossless P14": ("dcmcjpeg", "+el"), "JPEG-LS": ("dcmcjpls", "+el")}
LOSSY = {"JPEG Extended 12 bit": ("dcmcjpeg", "+ee"), "JPEG-LS near lossless": ("dcmcjpls", "+en")}


def read(folder):
    scan = scan_dicom([folder])
    assert scan.left_aside == ()
    (stack,) = scan.stacks
    return read_stack(stack)


def packed_by(tool: tuple[str, ...], paths) -> None:
    if shutil.which(tool[0]) is None:
        pytest.skip(f"{tool[0]} is not installed (Debian package dcmtk)")
    for path in paths:
        subprocess.run([*tool, path, path.with_suffix(".packed")], check=True, capture_output=True)
        path.with_suffix(".packed").replace(path)


def smooth_volume(most=4000):
    """Like an image: neighbours are alike, so that lossy coders stay close."""
    i, j, k = np.meshgrid(np.arange(32), np.arange(24), np.arange(3), indexing="ij")
    volume = toy_volume((32, 24, 3))
    return volume.with_voxels((most / 2 * (1 + np.sin(i / 9) * np.cos(j / 7 + k / 3))).astype(np.uint16))


@pytest.mark.parametrize("tool", DCMTK.values(), ids=DCMTK.keys())
def test_16_bits_that_dcmtk_packed_without_loss_are_read_bit_by_bit(tmp_path, tool):
    volume = smooth_volume(most=(1 << 16) - 1)
    packed_by(tool, save(slices_of_volume(volume, BitsStored=16, HighBit=15), tmp_path))
    assert pydicom.dcmread(tmp_path / "0001.dcm").file_meta.TransferSyntaxUID.is_compressed
    assert same_place(read(tmp_path), volume)


@pytest.mark.parametrize("tool", DCMTK.values(), ids=DCMTK.keys())
def test_signed_pixels_that_dcmtk_packed_keep_their_sign(tmp_path, tool):
    volume = smooth_volume()
    signed = volume.voxels.astype(np.int16) - 2000
    slices = slices_of_volume(volume, PixelRepresentation=1, BitsStored=16, HighBit=15)
    for k, one in enumerate(slices):
        one.PixelData = np.ascontiguousarray(signed[:, :, k].T).tobytes()
    packed_by(tool, save(slices, tmp_path))
    assert np.array_equal(read(tmp_path).voxels, signed)


@pytest.mark.parametrize("tool", LOSSY.values(), ids=LOSSY.keys())
def test_what_dcmtk_packed_with_loss_is_read_as_dcmtk_reads_it(tmp_path, tool):
    paths = save(slices_of_volume(smooth_volume()), tmp_path)
    packed_by(tool, paths)
    found = read(tmp_path).voxels
    packed_by(("dcmdjpls" if "pls" in tool[0] else "dcmdjpeg",), paths)
    assert np.abs(found.astype(int) - read(tmp_path).voxels).max() <= 1  # two inverse cosine transforms may round apart
    assert np.abs(found.astype(int) - smooth_volume().voxels).max() < 60


def test_jpeg_baseline_of_8_bits_is_read_as_dcmtk_reads_it(tmp_path):
    slices = slices_of_volume(smooth_volume(most=255), BitsAllocated=8, BitsStored=8, HighBit=7)
    for one in slices:
        one.PixelData = one.PixelData[::2]
        one["PixelData"].VR = "OB"
    paths = save(slices, tmp_path)
    packed_by(("dcmcjpeg", "+eb"), paths)
    scan = scan_dicom([tmp_path])
    found = read_stack(scan.stacks[0]).voxels
    packed_by(("dcmdjpeg",), paths)
    assert found.dtype == np.uint8 and np.abs(found.astype(int) - read(tmp_path).voxels).max() <= 1


def test_a_lossy_series_says_so(tmp_path):
    packed_by(("dcmcjpeg", "+ee"), save(slices_of_volume(smooth_volume()), tmp_path))
    assert scan_dicom([tmp_path]).stacks[0].facts.lossy


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=lambda uid: uid.name)
def test_what_pydicom_packed_is_read_bit_by_bit(tmp_path, syntax):
    volume = smooth_volume()
    slices = slices_of_volume(volume)
    for one in slices:
        one.compress(syntax, generate_instance_uid=False)
    save(slices, tmp_path)
    assert same_place(read(tmp_path), volume)


def test_jpeg_2000_by_pillow_is_read_bit_by_bit(tmp_path):
    volume = smooth_volume()
    slices = slices_of_volume(volume, BitsStored=16, HighBit=15)
    for one in slices:
        stream = BytesIO()
        Image.fromarray(one.pixel_array).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
        one.PixelData = encapsulate([stream.getvalue()])
        one["PixelData"].is_undefined_length = True
        one["PixelData"].VR = "OB"
        one.file_meta.TransferSyntaxUID = JPEG2000Lossless
    save(slices, tmp_path)
    assert same_place(read(tmp_path), volume)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name)
def test_every_uncompressed_syntax_is_read(tmp_path, syntax):
    volume = toy_volume()
    for number, one in enumerate(slices_of_volume(volume)):
        if syntax == ExplicitVRBigEndian:
            one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
        one.file_meta.TransferSyntaxUID = syntax
        one.save_as(tmp_path / str(number), implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian,
                    enforce_file_format=True)
    assert same_place(read(tmp_path), volume)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble_and_meta_header_are_read(tmp_path, implicit):
    volume = toy_volume()
    for number, one in enumerate(slices_of_volume(volume)):
        del one.file_meta
        one.save_as(tmp_path / str(number), implicit_vr=implicit, little_endian=True)
    assert (tmp_path / "0").read_bytes()[128:132] != b"DICM"
    assert same_place(read(tmp_path), volume)


@pytest.mark.parametrize("frames_in_fragments", [1, 2], ids=["whole", "in two fragments"])
def test_compressed_enhanced_frames_are_read_one_by_one(tmp_path, frames_in_fragments):
    volume = smooth_volume()
    dataset = enhanced([volume])
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData = encapsulate(frames, fragments_per_frame=frames_in_fragments)
    save(dataset, tmp_path)
    assert same_place(read(tmp_path), volume)


def test_an_unknown_compression_is_named_with_its_decoder(tmp_path):
    slices = slices_of_volume(toy_volume())
    for one in slices:
        one.PixelData = encapsulate([b"1234"])
        one["PixelData"].is_undefined_length = True
        one["PixelData"].VR = "OB"
        one.file_meta.TransferSyntaxUID = HTJ2KLossless
    save(slices, tmp_path)
    (aside,) = scan_dicom([tmp_path]).left_aside
    assert "High-Throughput JPEG 2000" in aside.why and "pylibjpeg-openjpeg" in aside.why + aside.fix and aside.damaged


# values

def test_a_scale_of_its_own_per_slice_gives_float(tmp_path):
    volume = toy_volume()
    slices = slices_of_volume(volume)
    for k, one in enumerate(slices):
        one.RescaleSlope, one.RescaleIntercept = 0.5 + k / 4, -3.5
    save(slices, tmp_path)
    found = read(tmp_path)
    assert found.voxels.dtype == np.float32
    assert np.allclose(found.voxels, volume.voxels * (0.5 + np.arange(8) / 4) - 3.5)


def test_whole_intercepts_keep_whole_numbers_as_simpleitk_does(tmp_path):
    save(slices_of_volume(toy_volume(), RescaleSlope=1, RescaleIntercept=-1024), tmp_path)
    found = read(tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    assert found.voxels.dtype == np.int16 and same_place(found, from_itk(reader.Execute()))


def test_values_above_int16_stay_whole(tmp_path):
    slices = slices_of_volume(toy_volume(), BitsStored=16, HighBit=15)
    slices[0].PixelData = b"\xff" * len(slices[0].PixelData)
    save(slices, tmp_path)
    found = read(tmp_path).voxels
    assert found.dtype == np.uint16 and found.max() == 65535


@pytest.mark.parametrize("signed", [0, 1])
def test_bits_above_those_stored_are_no_part_of_a_value(tmp_path, signed):
    """Old files keep overlays there."""
    volume = toy_volume()
    slices = slices_of_volume(volume, PixelRepresentation=signed)
    for one in slices:
        one.PixelData = (np.frombuffer(one.PixelData, "<u2") | 0x8000).tobytes()
    save(slices, tmp_path)
    assert np.array_equal(read(tmp_path).voxels, volume.voxels)


def test_monochrome1_becomes_bright_where_there_is_much(tmp_path):
    volume = toy_volume()
    save(slices_of_volume(volume, PhotometricInterpretation="MONOCHROME1"), tmp_path)
    assert np.array_equal(read(tmp_path).voxels, 4095 - volume.voxels.astype(int))


# padding: pixels that are no part of the picture

def padded(volume, value, *, signed=True, **attributes):
    """Slices of `volume` whose first row is padding with the stored `value`."""
    slices = slices_of_volume(volume, PixelRepresentation=int(signed), BitsStored=16, HighBit=15, **attributes)
    for k, one in enumerate(slices):
        pixels = volume.voxels[:, :, k].T.astype("<i4")
        pixels[0] = value
        one.PixelData = pixels.astype("<i2" if signed else "<u2").tobytes()
    return slices


@pytest.mark.parametrize(("value", "signed", "stated"), [(-32768, True, -32768), (-2000, True, -2000), (63536, False, 63536), (-1, True, -1),
                                                         (-2000, True, ("US", 63536)), (63536, False, ("SS", -2000))], ids=str)
def test_padding_is_read_as_the_lowest_value_of_the_picture_with_a_note(tmp_path, value, signed, stated):
    volume = toy_volume()
    slices = padded(volume, value, signed=signed)
    for one in slices:
        one.add_new("PixelPaddingValue", *(stated if isinstance(stated, tuple) else ("SS" if signed else "US", stated)))
    save(slices, tmp_path)
    (stack,) = scan_dicom([tmp_path]).stacks
    expected = volume.voxels.copy()
    expected[:, 0] = expected[:, 1:].min()
    assert np.array_equal(read_stack(stack).voxels, expected)
    assert stack.notes == (f"the header calls pixels of {value} padding: where there are any, they are read as background",)


def test_a_range_of_padding_is_read_as_the_lowest_value_whichever_end_is_stated_first(tmp_path):
    volume = toy_volume()
    for ends in ((-2000, -1900), (-1900, -2000)):
        slices = padded(volume, -1950, PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1])
        save(slices, tmp_path)
        (stack,) = scan_dicom([tmp_path]).stacks
        assert read_stack(stack).voxels.min() == volume.voxels[:, 1:].min() and "pixels from -2000 to -1900" in stack.notes[0]


def test_padding_is_compared_before_the_scale_and_before_monochrome1_is_turned(tmp_path):
    volume = toy_volume()
    save(padded(volume, -2000, PixelPaddingValue=-2000, RescaleSlope=2.5, RescaleIntercept=10), tmp_path / "scaled")
    found = read(tmp_path / "scaled").voxels
    assert np.allclose(found[:, 1:], volume.voxels[:, 1:] * 2.5 + 10) and (found[:, 0] == found[:, 1:].min()).all()
    save(padded(volume, 0, signed=False, PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1"), tmp_path / "turned")
    found = read(tmp_path / "turned").voxels
    assert np.array_equal(found[:, 1:], 65535 - volume.voxels[:, 1:].astype(int)) and (found[:, 0] == found[:, 1:].min()).all()


@pytest.mark.parametrize("low", [0, 100, -30], ids=lambda low: f"lowest {low}")
def test_padding_as_dark_as_air_changes_nothing_and_is_not_spoken_of(tmp_path, low):
    """Zeros around a brain without its skull must stay zeros."""
    volume = toy_volume()
    shifted = volume.with_voxels(volume.voxels.astype(np.int16) + low - 1)
    save(padded(shifted, 0, PixelPaddingValue=0), tmp_path)
    (stack,) = scan_dicom([tmp_path]).stacks
    expected = shifted.voxels.copy()
    expected[:, 0] = 0
    assert np.array_equal(read_stack(stack).voxels, expected) and stack.notes == ()


def test_padding_that_fills_a_whole_slice_takes_the_lowest_value_of_the_others(tmp_path):
    volume = toy_volume()
    slices = slices_of_volume(volume, PixelRepresentation=1, BitsStored=16, HighBit=15, PixelPaddingValue=-2000)
    slices[2].PixelData = np.full(volume.shape[1::-1], -2000, "<i2").tobytes()
    save(slices, tmp_path / "one")
    found = read_stack(scan_dicom([tmp_path / "one"]).stacks[0]).voxels
    assert (found[:, :, 2] == 1).all() and np.array_equal(found[:, :, 3], volume.voxels[:, :, 3])


@pytest.mark.parametrize("stated", [[1, 2], None, 70], ids=["several", "empty", "more than 12 bits hold"])
def test_padding_that_is_damaged_or_cannot_be_is_ignored(tmp_path, stated):
    volume = toy_volume()
    slices = slices_of_volume(volume)
    for one in slices:
        one.add_new("PixelPaddingValue", "US", 0x8000 + 70 if stated == 70 else stated)
    save(slices, tmp_path)
    (stack,) = scan_dicom([tmp_path]).stacks
    assert np.array_equal(read_stack(stack).voxels, volume.voxels)


def test_padding_in_an_enhanced_file_is_read_as_the_lowest_value(tmp_path):
    volume = toy_volume()
    dataset = enhanced([volume], PixelRepresentation=1, BitsStored=16, HighBit=15, PixelPaddingValue=-2000)
    pixels = volume.voxels.transpose(2, 1, 0).astype("<i2")
    pixels[:, 0] = -2000
    dataset.PixelData = pixels.tobytes()
    save(dataset, tmp_path)
    (stack,) = scan_dicom([tmp_path]).stacks
    found = read_stack(stack).voxels
    assert (found[:, 0] == volume.voxels[:, 1:].min()).all() and np.array_equal(found[:, 1:], volume.voxels[:, 1:]) and "-2000" in stack.notes[0]


# damage

def test_a_compressed_frame_that_ends_early_is_refused_and_its_file_named(tmp_path):
    paths = save(slices_of_volume(smooth_volume()), tmp_path)
    packed_by(("dcmcjpeg", "+e1"), paths)
    dataset = pydicom.dcmread(paths[2])
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[:len(frame) // 2]])
    dataset.save_as(paths[2])
    with pytest.raises(NotAnImage, match=r"0003\.dcm cannot be decoded"):
        read_stack(scan_dicom([tmp_path]).stacks[0])


@pytest.mark.parametrize("tool", [*DCMTK.values(), *LOSSY.values()], ids=[*DCMTK, *LOSSY])
def test_a_compressed_picture_of_another_size_than_its_header_says_is_refused(tmp_path, tool):
    paths = save(slices_of_volume(smooth_volume()), tmp_path)
    packed_by(tool, paths)
    for rows, columns in ((20, 32), (32, 24), (25, 32), (24, 30)):
        for path in paths:
            dataset = pydicom.dcmread(path)
            dataset.Rows, dataset.Columns = rows, columns
            dataset.save_as(path)
        with pytest.raises(NotAnImage, match=r"0001\.dcm"):
            read_stack(scan_dicom([tmp_path]).stacks[0])


def test_rows_and_columns_that_are_exchanged_everywhere_are_noticed_by_the_picture(tmp_path):
    save(slices_of_volume(smooth_volume(), Rows=32, Columns=24), tmp_path)
    with pytest.raises(NotAnImage, match="exchanged"):
        read_stack(scan_dicom([tmp_path]).stacks[0])


@pytest.mark.parametrize("cut", [1, 8, 9, 100])
def test_a_compressed_file_that_ends_early_is_refused_at_the_scan(tmp_path, cut):
    slices = slices_of_volume(smooth_volume())
    for one in slices:
        one.compress(RLELossless, generate_instance_uid=False)
    paths = save(slices, tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:-cut])
    (aside,) = scan_dicom([tmp_path]).left_aside
    assert "0002.dcm: cut short" in aside.why and aside.damaged


@pytest.mark.parametrize("values", [dict(BitsAllocated=12), dict(BitsStored=17), dict(HighBit=3), dict(HighBit=15), dict(PixelRepresentation=2),
                                    dict(RescaleSlope=0, RescaleIntercept=0)], ids=str)
def test_a_header_that_contradicts_itself_about_pixels_is_refused(tmp_path, values):
    save(slices_of_volume(toy_volume(), **values), tmp_path)
    scan = scan_dicom([tmp_path])
    if scan.stacks:
        with pytest.raises(NotAnImage):
            read_stack(scan.stacks[0])
    else:
        assert scan.left_aside[0].damaged


def test_the_transfer_syntax_of_the_test_series_is_plain(tmp_path):
    (path, *_) = save(slices_of_volume(toy_volume()), tmp_path)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
