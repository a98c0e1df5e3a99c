import numpy as np
import pytest

from braintumorseg.errors import UnknownLabels
from braintumorseg.labels import from_convention, region_mask


def test_regions_are_nested_as_brats_defines_them():
    labels = np.array([0, 1, 2, 3])
    assert region_mask(labels, "WT").tolist() == [False, True, True, True]
    assert region_mask(labels, "TC").tolist() == [False, True, False, True]
    assert region_mask(labels, "ET").tolist() == [False, False, False, True]


def test_enhancing_tumour_of_brats2021_becomes_three():
    assert from_convention(np.array([0, 1, 2, 4]), "brats2021").tolist() == [0, 1, 2, 3]
    assert from_convention(np.array([0.0, 3.0]), "brats2023").dtype == np.uint8


def test_a_value_outside_the_declared_convention_is_refused_and_the_fitting_one_named():
    with pytest.raises(UnknownLabels, match=r"values 4.*--labels brats2021"):
        from_convention(np.array([0, 1, 4]), "brats2023")
    with pytest.raises(UnknownLabels, match="not an image"):
        from_convention(np.array([0, 17, 255]), "brats2023")


@pytest.mark.parametrize("values, shown", [([0, 1.0000001, 2.0000002, 3.0], r"\(1\.0000001, 2\.0000002\)"), ([0, 1, float("nan")], r"\(nan\)"),
                                           ([0, 17, 2.5], r"\(2\.5\)")])
def test_values_that_are_not_whole_numbers_are_said_to_be_that(values, shown):
    with pytest.raises(UnknownLabels, match=rf"^seg\.nii holds values that are not whole numbers {shown}, as labels are\. .*whole numbers"):
        from_convention(np.array(values), "brats2023", "seg.nii")


def test_colours_and_complex_numbers_are_no_labels():
    for voxels in (np.zeros((2, 2, 2), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])), np.ones((2, 2, 2), np.complex64)):
        with pytest.raises(UnknownLabels, match=r"seg\.nii holds colours or complex numbers"):
            from_convention(voxels, "brats2023", "seg.nii")
