"""NIfTI reading and writing against nibabel and SimpleITK, and every damaged file that a user may bring."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from braintumorseg.errors import BadImage, MissingFile, NotAnImage
from braintumorseg.io.itk import from_itk
from braintumorseg.io.nifti import read_nifti, write_nifti
from braintumorseg.volume import Volume

VOXELS = np.arange(1, 61, dtype=np.int16).reshape(3, 4, 5)
# Spacings 2, 1.5 and 3 mm, turned about two axes, far from the origin.
TURN = np.array([[0.8, -0.6, 0.0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]])
OBLIQUE = nibabel.affines.from_matvec(TURN * (2.0, 1.5, 3.0), (-91.25, 126.5, -72.125))


def stored(path, voxels=VOXELS, affine=OBLIQUE, kind=nibabel.Nifti1Image):
    nibabel.save(kind(voxels, affine), path)
    return path


def header_only(path, shape, dtype=np.float64):
    """A file that promises `shape` voxels and holds none."""
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    packed = gzip.open if path.suffix == ".gz" else open
    with packed(path, "wb") as file:
        file.write(header.binaryblock + bytes(500))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_voxels_keep_their_stored_type_and_place(tmp_path, suffix, dtype):
    volume = read_nifti(stored(tmp_path / f"a{suffix}", VOXELS.astype(dtype)))
    assert volume.voxels.dtype == dtype
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_array_equal(volume.affine, OBLIQUE.astype(np.float32))


def test_nifti_2_is_read(tmp_path):
    np.testing.assert_array_equal(read_nifti(stored(tmp_path / "a.nii", kind=nibabel.Nifti2Image)).affine, OBLIQUE)


def test_big_endian_voxels_become_native(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(VOXELS.astype(">i2"), OBLIQUE, header), tmp_path / "a.nii")
    voxels = read_nifti(tmp_path / "a.nii").voxels
    assert voxels.dtype.isnative
    np.testing.assert_array_equal(voxels, VOXELS)


def test_scaled_voxels_are_float32_with_the_scale_applied(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, OBLIQUE)
    image.header.set_slope_inter(0.5, 10)
    image.header["vox_offset"] = 352
    (tmp_path / "a.nii").write_bytes(image.header.binaryblock + bytes(4) + VOXELS.tobytes(order="F"))
    volume = read_nifti(tmp_path / "a.nii")
    assert volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(volume.voxels, VOXELS * 0.5 + 10)


def test_the_sform_wins_over_the_qform(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, None)
    image.set_qform(np.diag([9.0, 9, 9, 1]), 1)
    image.set_sform(OBLIQUE, 1)
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii").affine, OBLIQUE, atol=1e-5)


def without_codes(path):
    image = nibabel.Nifti1Image(VOXELS, None)
    image.header.set_zooms((2.0, 1.5, 3.0))
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nibabel.save(image, path)
    return path


def test_without_any_code_the_spacing_is_kept(tmp_path):
    volume = read_nifti(without_codes(tmp_path / "a.nii"))
    assert volume.spacing_mm == (2.0, 1.5, 3.0)
    assert volume.orientation == "LAS"


def with_a_spacing_of_zero(path, kind=nibabel.Nifti1Image, affine=None, qform_code=0):
    """As some programs write them; nibabel would not."""
    header = kind(VOXELS, affine).header
    header["pixdim"][1:4] = 0
    header["qform_code"] = qform_code
    path.write_bytes(header.binaryblock + bytes(4) + VOXELS.tobytes(order="F"))
    return path


@pytest.mark.parametrize("qform_code", [0, 1])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_file_that_does_not_say_how_large_its_voxels_are_is_refused_without_a_word_of_nibabels(tmp_path, capfd, caplog, kind, qform_code):
    path = with_a_spacing_of_zero(tmp_path / "a.nii", kind, None, qform_code)
    with pytest.raises(BadImage, match=r"a\.nii: .*does not say how large its voxels are"):
        read_nifti(path)
    assert not capfd.readouterr().err
    assert not caplog.records


def test_a_spacing_that_only_the_sform_holds_is_enough(tmp_path, capfd, caplog):
    volume = read_nifti(with_a_spacing_of_zero(tmp_path / "a.nii", affine=OBLIQUE))
    assert volume.spacing_mm == pytest.approx((2.0, 1.5, 3.0))
    assert not capfd.readouterr().err
    assert not caplog.records


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0), ("unknown", 1.0)])
def test_lengths_come_out_in_mm_whatever_the_unit(tmp_path, unit, mm):
    image = nibabel.Nifti1Image(VOXELS, np.diag([2 / mm, 1.5 / mm, 3 / mm, 1]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii").spacing_mm, (2.0, 1.5, 3.0), rtol=1e-6)


def test_trailing_axes_of_length_one_are_dropped(tmp_path):
    volume = read_nifti(stored(tmp_path / "a.nii", VOXELS[..., None, None]))
    np.testing.assert_array_equal(volume.voxels, VOXELS)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_written_is_read_back_at_the_same_place(tmp_path, suffix):
    write_nifti(Volume(VOXELS, OBLIQUE), tmp_path / f"a{suffix}")
    back = read_nifti(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.voxels, VOXELS)
    np.testing.assert_allclose(back.affine, OBLIQUE, atol=1e-5, rtol=1e-6)  # a NIfTI-1 header holds float32


def test_itk_reads_what_is_written_at_the_same_place(tmp_path):
    write_nifti(Volume(VOXELS, OBLIQUE), tmp_path / "a.nii.gz")
    itk = from_itk(sitk.ReadImage(str(tmp_path / "a.nii.gz")))
    np.testing.assert_array_equal(itk.voxels, VOXELS)
    np.testing.assert_allclose(itk.affine, OBLIQUE, atol=1e-4)


def test_sform_and_qform_are_both_written_with_code_1_in_mm(tmp_path):
    write_nifti(Volume(VOXELS, OBLIQUE), tmp_path / "a.nii")
    header = nibabel.load(tmp_path / "a.nii").header
    sform, s_code = header.get_sform(coded=True)
    qform, q_code = header.get_qform(coded=True)
    assert (s_code, q_code, header.get_xyzt_units()[0]) == (1, 1, "mm")
    np.testing.assert_allclose(sform, OBLIQUE, atol=1e-5)
    np.testing.assert_allclose(qform, OBLIQUE, atol=1e-4)


def test_a_sheared_affine_is_kept_in_the_sform_alone(tmp_path):
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    write_nifti(Volume(VOXELS, sheared), tmp_path / "a.nii")
    assert nibabel.load(tmp_path / "a.nii").header["qform_code"] == 0
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii").affine, sheared, atol=1e-6)


@pytest.mark.parametrize(("voxels", "dtype"), [
    (VOXELS > 5, np.uint8), (VOXELS.astype(np.int64), np.uint8), (-VOXELS.astype(np.int64), np.int16),
    (VOXELS.astype(np.int64) * 1000, np.float32), (VOXELS.astype(np.float64), np.float32),
    (VOXELS.astype(np.float16), np.float32)])
def test_other_types_are_written_as_the_smallest_that_viewers_read(tmp_path, voxels, dtype):
    write_nifti(Volume(voxels, OBLIQUE), tmp_path / "a.nii")
    back = read_nifti(tmp_path / "a.nii").voxels
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, voxels)


def test_a_gzip_file_without_gz_in_its_name_is_read(tmp_path):
    stored(tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii").voxels, VOXELS)


def test_a_missing_file_is_named_without_its_folder(tmp_path):
    with pytest.raises(MissingFile, match=r"t1\.nii") as caught:
        read_nifti(tmp_path / "t1.nii")
    assert tmp_path.name not in str(caught.value)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0, 3, 10, 100, 351, 400, -1])
def test_a_file_cut_anywhere_is_refused_by_name_and_without_its_folder(tmp_path, suffix, kept):
    voxels = np.random.default_rng(0).integers(0, 30000, (8, 8, 8)).astype(np.int16)
    path = stored(tmp_path / f"a{suffix}", voxels)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(NotAnImage, match=rf"a{suffix}") as caught:
        read_nifti(path)
    assert tmp_path.name not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.fix


def test_one_wrong_byte_in_a_gzip_file_is_noticed(tmp_path):
    path = stored(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 30000, (16, 16, 16)).astype(np.int16))
    content = bytearray(path.read_bytes())
    content[-5000] ^= 1  # among the voxels: stored nearly as they are, for noise does not shrink
    path.write_bytes(content)
    with pytest.raises(NotAnImage, match=r"a\.nii\.gz is a damaged"):
        read_nifti(path)


@pytest.mark.parametrize("content", [b"hello " * 100, gzip.compress(b"hello " * 100), b"\x1f\x8b" + bytes(100), bytes(1000)],
                         ids=["text", "packed text", "no packed stream", "zeros"])
def test_a_file_that_is_no_nifti_is_refused(tmp_path, content):
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(NotAnImage, match=r"a\.nii\.gz"):
        read_nifti(tmp_path / "a.nii.gz")


def test_flipped_bytes_never_end_in_a_foreign_error(tmp_path):
    good = stored(tmp_path / "a.nii").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(good)
        for place in random.integers(0, 352, 4):
            damaged[place] = random.integers(256)
        (tmp_path / "b.nii").write_bytes(damaged)
        try:
            read_nifti(tmp_path / "b.nii")
        except (NotAnImage, BadImage) as error:
            assert "b.nii" in str(error)


@pytest.mark.parametrize("offset", [np.inf, -np.inf, np.nan, 1e30, -5])
def test_voxels_that_begin_nowhere_are_refused(tmp_path, offset):
    path = stored(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    content[108:112] = np.float32(offset).tobytes()   # vox_offset
    path.write_bytes(content)
    with pytest.raises(NotAnImage, match=r"a\.nii is a damaged NIfTI file"):
        read_nifti(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_promises_more_than_its_file_is_refused_before_memory_is_taken(tmp_path, name):
    with pytest.raises(NotAnImage, match="480000000000 bytes"):
        read_nifti(header_only(tmp_path / name, (3000, 4000, 5000)))


def test_a_4d_image_is_refused_with_its_number_of_volumes(tmp_path):
    with pytest.raises(BadImage, match=r"a\.nii.*7 volumes"):
        read_nifti(stored(tmp_path / "a.nii", np.zeros((3, 4, 5, 7), np.int16)))


def test_a_2d_image_is_refused(tmp_path):
    with pytest.raises(BadImage, match=r"a\.nii.*2 dimensions"):
        read_nifti(stored(tmp_path / "a.nii", np.zeros((3, 4), np.int16)))


def test_a_singular_affine_is_refused_with_the_files_name(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, None)
    image.set_sform(np.diag([1.0, 0, 1, 1]), 1)
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(BadImage, match=r"a\.nii.*singular"):
        read_nifti(tmp_path / "a.nii")


def test_a_real_case_reads_as_nibabel_does(data_folder):
    path = data_folder / "cases" / "BraTS2021_01657" / "t1ce.nii.gz"
    image = nibabel.load(path)
    volume = read_nifti(path)
    np.testing.assert_array_equal(volume.voxels, np.asanyarray(image.dataobj))
    np.testing.assert_array_equal(volume.affine, image.affine)


def test_an_orientation_that_no_code_tells_is_assumed_and_labels_on_it_lie_where_other_programs_put_the_image(tmp_path):
    volume = read_nifti(without_codes(tmp_path / "a.nii"))
    assert volume.assumed
    write_nifti(volume.with_voxels(VOXELS > 5), tmp_path / "labels.nii")
    one, other = (sitk.ReadImage(str(tmp_path / name)) for name in ("a.nii", "labels.nii"))
    assert (one.GetOrigin(), one.GetDirection(), one.GetSpacing()) == (other.GetOrigin(), other.GetDirection(), other.GetSpacing())
    assert read_nifti(tmp_path / "labels.nii").affine == pytest.approx(volume.affine)
    image = nibabel.Nifti1Image(VOXELS, None)
    for code in ((1, 0), (0, 1)):
        image.set_sform(OBLIQUE, code[0])
        image.set_qform(OBLIQUE, code[1])
        nibabel.save(image, tmp_path / "b.nii")
        assert not read_nifti(tmp_path / "b.nii").assumed
