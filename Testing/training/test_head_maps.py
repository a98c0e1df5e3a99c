import nibabel
import numpy as np
import pytest
from scipy import ndimage

from braintumorseg.errors import MissingFile, UnknownLabels
from braintumorseg_training.head_maps import TISSUES, brain_of, read_head, read_heads


def test_a_head_comes_in_tissues_with_a_brain_of_one_piece_without_holes(label_maps):
    head = read_head(label_maps / "one.nii.gz")
    assert set(np.unique(head.tissues)) <= set(range(len(TISSUES)))
    for tissue in ("white", "cortex", "ventricle", "csf", "dura", "bone", "outer_soft", "skin", "eye"):
        assert (head.tissues == TISSUES.index(tissue)).any(), tissue
    assert ndimage.label(head.brain)[1] == 1
    assert not (ndimage.binary_fill_holes(head.brain) & ~head.brain).any()
    assert all(side % 2 == 0 for side in head.tissues.shape)
    assert head.halved.shape == (2, *(side // 2 for side in head.tissues.shape))
    assert head.halved[0].sum() * 8 == pytest.approx(head.brain.sum())


def test_the_brain_holds_ventricles_narrow_sulci_and_a_millimetre_of_fluid_but_no_bone():
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[5:55, 5:55, 5:55] = 215
    labels[10:50, 10:50, 10:50] = 24
    labels[14:46, 14:46, 14:46] = 2
    labels[25:35, 25:35, 25:35] = 4
    labels[28:32, 14:46, 40:46] = 24       # a sulcus 4 mm wide
    labels[40, 40, 30] = 0                 # a hole in the map
    brain = brain_of(labels)
    assert brain[30, 30, 30]
    assert brain[40, 40, 30]
    assert brain[30, 30, 42]
    assert brain[20, 20, 46]
    assert not brain[20, 20, 48]
    assert not brain[30, 30, 52]
    assert brain.sum() == pytest.approx(34**3, rel=0.04)  # with its coat; corners are rounded


def test_orientation_of_the_file_does_not_matter(label_maps, tmp_path):
    image = nibabel.load(label_maps / "one.nii.gz")
    nibabel.save(image.as_reoriented(nibabel.orientations.axcodes2ornt("SRA")), tmp_path / "turned.nii.gz")
    one, turned = read_head(label_maps / "one.nii.gz"), read_head(tmp_path / "turned.nii.gz")
    assert np.array_equal(one.tissues, turned.tissues)
    assert np.array_equal(one.brain, turned.brain)


def test_a_map_that_is_missing_and_a_value_that_is_unknown_are_said(label_maps, tmp_path):
    with pytest.raises(MissingFile, match="lacks the label maps three"):
        read_heads(label_maps, ["one", "three"])
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:15] = 2
    labels[8, 8, 8] = 99
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "odd.nii.gz")
    with pytest.raises(UnknownLabels, match=r"odd.nii.gz has the labels \[99\]"):
        read_head(tmp_path / "odd.nii.gz")
