"""Volumes and lesions of label maps small enough to count by hand, and against SimpleITK on a random one."""

import numpy as np
import pytest
import SimpleITK as sitk

from braintumorseg.io.itk import to_itk
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.measure import estimated, measure
from braintumorseg.model_card import Label
from braintumorseg.segmentation import Provenance, Segmentation
from braintumorseg.volume import Volume

TABLE = tuple(Label(value, name, ("1", "SCT", name), (255, 0, 0)) for value, name in ((NCR, "n"), (ED, "e"), (ET, "t")))


def segmentation(labels: np.ndarray, affine: np.ndarray | None = None) -> Segmentation:
    affine = np.diag([1.0, 1, 1, 1]) if affine is None else affine
    return Segmentation(Volume(labels.astype(np.uint8), affine), TABLE, Provenance("made up", "1", "0" * 64, "CPU"))


def test_voxels_become_ml_by_label_and_region():
    labels = np.zeros((6, 6, 6))
    labels[0, 0, :5] = ED
    labels[0, 1, :3] = NCR
    labels[0, 2, :2] = ET
    found = measure(segmentation(labels, np.diag([2.0, 5, 10, 1])))  # voxels of 0.1 ml
    assert found.label_ml == pytest.approx({"NCR": 0.3, "ED": 0.5, "ET": 0.2})
    assert found.region_ml == pytest.approx({"WT": 1.0, "TC": 0.5, "ET": 0.2})


def test_lesions_come_largest_first_with_their_parts_and_places():
    labels = np.zeros((10, 10, 10))
    labels[1, 1, 1] = ET
    labels[5, 5, 4:7] = ED
    affine = np.array([[-2.0, 0, 0, 100], [0, -2, 0, 50], [0, 0, 3, -20], [0, 0, 0, 1]])  # LPS storage
    large, small = measure(segmentation(labels, affine)).lesions
    assert (large.ml, small.ml) == pytest.approx((0.036, 0.012))
    assert large.region_ml == pytest.approx({"WT": 0.036, "TC": 0.0, "ET": 0.0})
    assert small.region_ml == pytest.approx({"WT": 0.012, "TC": 0.012, "ET": 0.012})
    assert large.centre_mm == pytest.approx((90, 40, -5))
    assert small.centre_mm == pytest.approx((98, 48, -17))


def test_voxels_that_share_only_a_corner_are_one_lesion_whatever_their_labels():
    labels = np.zeros((4, 4, 4))
    labels[0, 0, 0], labels[1, 1, 1], labels[3, 3, 3] = ET, ED, NCR
    assert [lesion.ml for lesion in measure(segmentation(labels)).lesions] == pytest.approx([0.002, 0.001])


def test_an_empty_result_has_zeros_and_no_lesions():
    found = measure(segmentation(np.zeros((3, 3, 3))))
    assert found.label_ml == {"NCR": 0.0, "ED": 0.0, "ET": 0.0}
    assert found.region_ml == {"WT": 0.0, "TC": 0.0, "ET": 0.0}
    assert found.lesions == ()


def test_sizes_and_centres_agree_with_simpleitk_on_an_oblique_grid():
    labels = np.where(np.random.default_rng(0).random((20, 18, 16)) < 0.06, 2, 0)
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [0.9, 0.9, 5.5], (-80, -100, 30)
    made = segmentation(labels, affine)
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(sitk.ConnectedComponent(to_itk(made.labels) > 0, True))
    wanted = [(*np.array(shapes.GetCentroid(n)) * (-1, -1, 1), shapes.GetPhysicalSize(n) / 1000) for n in shapes.GetLabels()]
    found = [(*lesion.centre_mm, lesion.ml) for lesion in measure(made).lesions]
    assert len(found) > 10
    assert {tuple(np.round(one, 2)) for one in found} == {tuple(np.round(one, 2)) for one in wanted}


def test_without_t1ce_the_core_and_its_parts_are_estimates():
    assert set(estimated(("t1", "t1ce"))) == {"TC", "ET", "NCR"}
    assert estimated(("t1", "t2", "flair")) == ()
