"""`read_volume`: the suffix chooses the reader; NRRD and MetaImage against SimpleITK; what is refused says what is accepted."""

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from braintumorseg.errors import BadImage, MissingFile, NotAnImage
from braintumorseg.io.nifti import write_nifti
from braintumorseg.io.nrrd import write_nrrd
from braintumorseg.io.readers import READERS, SUFFIXES, is_seg, label_suffix, read_volume
from braintumorseg.volume import Volume

VOLUME = Volume(np.arange(1, 61, dtype=np.int16).reshape(3, 4, 5),
                [[0, 0, 3.0, 1], [-2, 0, 0, 2], [0, 1.5, 0, 3], [0, 0, 0, 1]])
ITK_SUFFIXES = [".nrrd", ".nhdr", ".mha", ".mhd"]
_NRRD_DIRECTIONS = rb"space: .*\n(.*\n)space directions: .*\n((?:.*\n)*?)space origin: .*\n"


def written(path):
    (write_nifti if ".nii" in path.name.lower() else write_nrrd)(VOLUME, path)
    return path


def uncompressed(path):
    """VOLUME in a file of plain bytes."""
    sitk.WriteImage(sitk.ReadImage(str(written(path))), str(path))
    return path


def changed(path, pattern, replacement):
    """The file with a line of its text header replaced."""
    content, count = re.subn(pattern, replacement, path.read_bytes(), count=1)
    assert count == 1
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_volume(tmp_path, suffix):
    volume = read_volume(written(tmp_path / f"a{suffix}"))
    assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels, VOLUME.voxels)
    np.testing.assert_allclose(volume.affine, VOLUME.affine, atol=1e-12)


def test_every_reader_is_a_function_with_suffixes():
    for suffixes, reader in READERS:
        assert callable(reader)
        assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)


@pytest.mark.parametrize("name", ["A.NII.GZ", "größe α 脳.nii.gz", "with space.nrrd", "çé ü.mha", "a.b.c.nii"])
def test_unusual_names_simply_work(tmp_path, name):
    folder = tmp_path / "Ünï cödé folder"
    folder.mkdir()
    written(folder / "plain.nii.gz" if name == "A.NII.GZ" else folder / name)
    if name == "A.NII.GZ":
        (folder / "plain.nii.gz").rename(folder / name)
    np.testing.assert_array_equal(read_volume(folder / name).voxels, VOLUME.voxels)


def test_a_string_path_works(tmp_path):
    assert read_volume(str(written(tmp_path / "a.nii"))).shape == (3, 4, 5)


def test_an_unknown_suffix_is_refused_with_those_accepted(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(NotAnImage, match=r"notes\.txt.*\.nii, \.nii\.gz, \.nrrd, \.nhdr, \.mha, \.mhd"):
        read_volume(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", ["1-037.dcm", "IM0001", "a.IMA"])
def test_a_dicom_file_is_refused_with_a_way_out(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(128) + b"DICM")
    with pytest.raises(NotAnImage, match=r"DICOM file is a slice.*folder of the series"):
        read_volume(tmp_path / name)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(NotAnImage, match="is a folder"):
        read_volume(tmp_path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_and_an_empty_file_are_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(MissingFile, match="a" + suffix):
        read_volume(path)
    path.touch()
    with pytest.raises(NotAnImage, match=rf"a{suffix} is empty"):
        read_volume(path)


def test_a_file_taken_for_a_folder_is_missing(tmp_path):
    with pytest.raises(MissingFile):
        read_volume(written(tmp_path / "a.nii") / "b.nii")


@pytest.mark.parametrize("suffix", ITK_SUFFIXES)
def test_text_in_the_place_of_an_image_is_refused(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_text("hello " * 100)
    with pytest.raises(NotAnImage, match=rf"a{suffix} is not an NRRD or MetaImage file"):
        read_volume(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("packed", [True, False])
def test_truncated_voxels_are_refused_without_the_folder(tmp_path, suffix, packed):
    path = (written if packed else uncompressed)(tmp_path / f"spacing{suffix}")  # a word that ITK's message on geometry holds
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(NotAnImage, match=rf"spacing{suffix} is damaged or truncated") as caught:
        read_volume(path)
    assert tmp_path.name not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_whose_voxel_file_is_gone_is_refused(tmp_path):
    uncompressed(tmp_path / "a.mhd")
    (tmp_path / "a.raw").unlink()
    with pytest.raises(NotAnImage, match=r"a\.mhd"):
        read_volume(tmp_path / "a.mhd")


def test_a_header_that_promises_more_than_its_file_is_refused(tmp_path):
    path = changed(uncompressed(tmp_path / "a.nrrd"), rb"sizes: .*\n", b"sizes: 3000 4000 5000\n")
    with pytest.raises(NotAnImage, match="120000000000 bytes"):
        read_volume(path)


@pytest.mark.parametrize(("suffix", "pattern", "replacement"), [
    (".mha", rb"TransformMatrix = .*\n", b"TransformMatrix = 1 0 0 1 0 0 0 0 1\n"),
    (".mha", rb"ElementSpacing = .*\n", b"ElementSpacing = 0 1 1\n"),
    (".nrrd", rb"space directions: .*\n", b"space directions: (1,0,0) (1,0,0) (0,0,1)\n"),
    (".nrrd", rb"space directions: .*\n", b"space directions: (0,0,0) (0,1,0) (0,0,1)\n"),
])
def test_singular_directions_are_refused_with_the_files_name(tmp_path, suffix, pattern, replacement):
    path = changed(uncompressed(tmp_path / f"determinant of spacing{suffix}"), pattern, replacement)
    with pytest.raises(BadImage, match=rf"spacing{suffix}.*singular"):
        read_volume(path)


@pytest.mark.parametrize(("suffix", "pattern", "replacement"), [
    (".mha", rb"ElementSpacing = .*\n", b""),
    (".mhd", rb"ElementSpacing = .*\n", b""),
    (".nrrd", rb"space directions: .*\n", b""),
    (".nhdr", _NRRD_DIRECTIONS, rb"\1spacings: 2 nan 2\n\2"),
    (".nrrd", _NRRD_DIRECTIONS, rb"\1spacings:=2 3 4\n\2"),
    (".nrrd", rb"space directions: .*\n", b"space directions: none none none\n"),
])
def test_a_header_that_does_not_say_how_large_the_voxels_are_is_refused_with_the_files_name(tmp_path, suffix, pattern, replacement):
    path = changed(uncompressed(tmp_path / f"a{suffix}"), pattern, replacement)
    with pytest.raises(BadImage, match=rf"a{suffix}: .*does not say how large its voxels are"):
        read_volume(path)


@pytest.mark.parametrize(("suffix", "pattern", "replacement"), [
    (".mha", rb"ElementSpacing = .*\n", b"ElementSize = 2 3 4\n"),
    (".mha", rb"ElementSpacing = .*\n", b"ElementSpacing: 2 3 4\n"),
    (".nrrd", _NRRD_DIRECTIONS, rb"\1spacings: 2 3 4\n\2"),
])
def test_a_spacing_is_read_in_the_other_way_of_saying_it_too(tmp_path, suffix, pattern, replacement):
    assert read_volume(changed(uncompressed(tmp_path / f"a{suffix}"), pattern, replacement)).spacing_mm == (2.0, 3.0, 4.0)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_time_series_is_refused_with_its_number_of_volumes(tmp_path, suffix):
    image = sitk.ReadImage(str(written(tmp_path / "a.mha")))
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(tmp_path / f"four{suffix}"))
    with pytest.raises(BadImage, match=rf"four{suffix}.*2 values a voxel"):
        read_volume(tmp_path / f"four{suffix}")
    sitk.WriteImage(sitk.JoinSeries([image]), str(tmp_path / f"one{suffix}"))
    np.testing.assert_array_equal(read_volume(tmp_path / f"one{suffix}").voxels, VOLUME.voxels)


def test_a_colour_image_and_a_flat_one_are_refused(tmp_path):
    image = sitk.ReadImage(str(written(tmp_path / "a.mha")))
    sitk.WriteImage(sitk.Compose(image, image, image), str(tmp_path / "colour.nrrd"))
    with pytest.raises(BadImage, match="3 values a voxel"):
        read_volume(tmp_path / "colour.nrrd")
    sitk.WriteImage(image[:, :, 0], str(tmp_path / "flat.nrrd"))
    with pytest.raises(BadImage, match="2 dimensions"):
        read_volume(tmp_path / "flat.nrrd")


def test_a_dicom_segmentation_is_known_by_its_name_or_its_start(tmp_path):
    (tmp_path / "I0001").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "notes").write_text("nothing")
    assert is_seg("any/SEG.DCM") and is_seg(tmp_path / "I0001")
    assert not any(is_seg(path) for path in ("a.nii.gz", "a.seg.nrrd", tmp_path / "notes", tmp_path / "missing"))
    assert label_suffix(Path("CASE_seg.dcm")) == ".dcm"
