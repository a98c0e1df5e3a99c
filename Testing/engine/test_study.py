import copy
import pickle

import numpy as np
import pytest

from braintumorseg.errors import BadImage, UnclearRoles
from braintumorseg.study import Study
from braintumorseg.volume import Volume


def image(value=0.0):
    return Volume(np.random.default_rng(0).normal(100, 20, (6, 6, 6)) + value, np.eye(4))


def test_the_reference_is_t1ce_then_flair_then_t1_then_t2():
    every = {role: image() for role in ("t2", "t1", "flair", "t1ce")}
    order = []
    while every:
        order.append(Study(every).reference_role)
        del every[order[-1]]
    assert order == ["t1ce", "flair", "t1", "t2"]


def test_roles_come_in_one_order_and_the_missing_ones_are_known():
    study = Study({"flair": image(), "t1": image()})
    assert study.roles == ("t1", "flair")
    assert study.missing == ("t1ce", "t2")


@pytest.mark.parametrize("voxels, words", [
    (np.full((4, 4, 4), np.nan), "NaN"),
    (np.full((4, 4, 4), 7), "constant"),
    (np.arange(64).reshape(4, 4, 4) % 4, "label map"),
    (np.zeros((4, 4, 4), complex), "complex"),
])
def test_what_cannot_be_an_mr_image_is_refused_by_name(voxels, words):
    with pytest.raises(BadImage, match=f"t2 .*{words}"):
        Study({"t2": Volume(voxels, np.eye(4))})


def test_an_empty_study_and_an_unknown_role_are_refused():
    with pytest.raises(UnclearRoles, match="--t1"):
        Study({})
    with pytest.raises(UnclearRoles, match="dwi"):
        Study({"dwi": image()})


def test_an_image_larger_than_any_scanners_field_of_view_is_refused_with_its_spacing():
    voxels = np.random.default_rng(0).normal(100, 20, (8, 6, 6))
    assert Study({"t1": Volume(voxels, np.diag([87.0, 1, 1, 1]))})
    with pytest.raises(BadImage, match=r"t1 has 8 x 6 x 6 voxels of 88\.00 x 1\.00 x 1\.00 mm.*704 mm long.*more than 700 mm.*correct its spacing"):
        Study({"t1": Volume(voxels, np.diag([88.0, 1, 1, 1]))})


def test_a_study_can_be_sent_to_another_process_and_copied_and_stays_read_only():
    study = Study({"t1": Volume(image().voxels, np.eye(4), assumed=True)}, {"t1": "given"})
    for other in (pickle.loads(pickle.dumps(study)), copy.deepcopy(study)):
        assert other.sources == study.sources and other.volumes["t1"].assumed
        assert np.array_equal(other.volumes["t1"].voxels, study.volumes["t1"].voxels)
        assert not other.volumes["t1"].voxels.flags.writeable
