"""Label files between panel and engine; nibabel is the oracle."""

import nibabel
import numpy as np
import pytest
from made_up import AFFINES, make_labels


@pytest.fixture
def files(host):
    from BrainTumorSegLib import label_file

    return label_file


def read(files, path):
    found = []
    for _ in files.read_labels(path, found):
        pass
    return found[0]


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_what_is_written_is_read_by_nibabel_at_the_same_place(files, affine, tmp_path):
    files.write_labels(make_labels(), affine, tmp_path / "labels.nii.gz")
    image = nibabel.load(tmp_path / "labels.nii.gz")
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(image.dataobj), make_labels().T)
    assert np.abs(image.affine - affine).max() < 1e-5  # float32 of about 100 mm
    assert image.header.get_xyzt_units()[0] == "mm"
    assert int(image.header["sform_code"]) == 1


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_what_nibabel_writes_is_read_at_the_same_place(files, affine, tmp_path):
    nibabel.save(nibabel.Nifti1Image(make_labels().T.copy(), affine), tmp_path / "labels.nii.gz")
    found = read(files, tmp_path / "labels.nii.gz")
    assert np.array_equal(found.labels, make_labels())
    assert np.abs(found.affine - affine).max() < 1e-5


def test_what_the_engine_writes_is_read(files, tmp_path):
    from braintumorseg.io.nifti import write_nifti
    from braintumorseg.volume import Volume

    write_nifti(Volume(make_labels().T.copy(), AFFINES["oblique"]), tmp_path / "segmentation.nii.gz")
    assert np.array_equal(read(files, tmp_path / "segmentation.nii.gz").labels, make_labels())


def test_a_file_that_is_cut_short_is_refused(files, tmp_path):
    files.write_labels(make_labels(), np.eye(4), tmp_path / "labels.nii.gz")
    data = (tmp_path / "labels.nii.gz").read_bytes()
    (tmp_path / "labels.nii.gz").write_bytes(data[:-20])
    with pytest.raises(files.BadLabelFile, match="damaged or cut short"):
        read(files, tmp_path / "labels.nii.gz")


def test_an_image_is_no_label_file(files, tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "t1.nii.gz")
    with pytest.raises(files.BadLabelFile, match="one byte a voxel"):
        read(files, tmp_path / "t1.nii.gz")
