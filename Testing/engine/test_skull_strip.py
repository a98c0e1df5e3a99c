import numpy as np
import pytest

from braintumorseg import skull_strip
from braintumorseg.errors import BadImage
from braintumorseg.skull_strip import find_study_brain, shows_heads
from braintumorseg.study import Study
from braintumorseg.volume import Volume

SHAPE = (30, 32, 28)
AFFINE = np.diag([-8.0, 8.0, 8.0, 1.0])


def ball(radius, centre=(15, 16, 14)):
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    return ((index - centre) ** 2).sum(-1) < radius**2


BRAIN = ball(8)  # 1.1 l


def head(seed=0, affine=AFFINE):
    rng = np.random.default_rng(seed)
    return Volume(np.where(ball(12), rng.normal(100, 10, SHAPE), rng.normal(5, 1, SHAPE)).astype(np.float32), affine)


def alone(mask=BRAIN):
    return Volume(np.where(mask, np.random.default_rng(1).normal(100, 10, SHAPE), 0).astype(np.float32), AFFINE)


def says(**masks):
    """A finder that gives each volume (by its first voxel) the mask of its role."""
    def of(study):
        return lambda volume: volume.with_voxels(next(masks[role] for role, one in study.volumes.items() if one is volume).astype(np.uint8))
    return of


def test_heads_are_told_from_brains_that_were_cut_out():
    assert shows_heads(Study({"t1": head(), "t2": alone(), "flair": head(2)})) == ("t1", "flair")


def test_one_that_seems_to_show_the_brain_alone_is_held_against_its_brain_where_others_show_heads():
    heads, asked = Study({"t1": head(), "flair": alone()}), []

    def find(brain):
        def of(volume):
            asked.append(volume)
            return volume.with_voxels(brain.astype(np.uint8))
        return of

    assert shows_heads(heads, find(ball(7.5))) == ("t1",)          # it shows 1.2 times what the brain measures,
    assert shows_heads(heads, find(ball(6))) == ("t1", "flair")    # and now 2.3 times
    assert all(volume is heads.volumes["flair"] for volume in asked)
    asked.clear()
    assert shows_heads(Study({"t2": alone(), "flair": alone()}), find(ball(6))) == ()
    assert not asked


def test_each_voxel_goes_with_the_majority_and_each_sequence_is_held_against_it():
    study = Study({role: head(n) for n, role in enumerate(("t1ce", "t1", "t2", "flair"))})
    wild = ball(8, (15, 16, 22))
    found = find_study_brain(study, study.roles, says(t1ce=BRAIN, t1=BRAIN, t2=BRAIN, flair=wild)(study), {})
    assert np.array_equal(found.mask.voxels, BRAIN)
    assert found.agreement["t1"] == 1.0
    assert found.agreement["flair"] == pytest.approx(2 * (BRAIN & wild).sum() / (BRAIN.sum() + wild.sum()))
    assert found.text == "found in t1ce, t1, t2, flair"


@pytest.mark.parametrize("radius", [5, 11])
def test_of_two_that_differ_the_reference_is_believed(radius):
    study = Study({"t1ce": head(0), "t2": head(1)})
    found = find_study_brain(study, study.roles, says(t1ce=BRAIN, t2=ball(radius))(study), {})
    assert np.array_equal(found.mask.voxels, BRAIN)


def test_one_sequence_decides_alone_and_there_is_nothing_to_agree_with():
    study = Study({"flair": head()})
    found = find_study_brain(study, study.roles, says(flair=BRAIN)(study), {})
    assert np.array_equal(found.mask.voxels, BRAIN)
    assert found.agreement == {}


def test_a_sequence_that_shows_the_brain_alone_decides_for_the_heads():
    study = Study({"t1ce": head(), "flair": alone()})

    def never(volume):
        raise AssertionError("the network must not be asked")

    found = find_study_brain(study, ("t1ce",), never, {})
    assert np.array_equal(found.mask.voxels, BRAIN)
    assert found.text == "shown alone by flair"


def test_a_sequence_whose_place_is_doubtful_is_not_asked():
    study = Study({"t1ce": head(0), "t2": head(1)})
    assert find_study_brain(study, study.roles, says(t1ce=BRAIN)(study), {}, ("t2",)).text == "found in t1ce"


def test_what_another_sequence_says_is_carried_to_the_reference_by_its_motion():
    moved = np.eye(4)
    moved[:3, 3] = [16.0, -8.0, 24.0]  # a point of the reference lies there in the T2: two, one and three voxels away
    study = Study({"t1ce": head(0), "t2": head(1)})
    there = np.roll(BRAIN, (-2, -1, 3), (0, 1, 2))
    found = find_study_brain(study, study.roles, says(t1ce=BRAIN, t2=there)(study), {"t2": moved})
    assert found.agreement["t2"] == 1.0


def test_a_sequence_that_does_not_reach_as_far_has_no_vote_where_it_sees_nothing():
    high = AFFINE.copy()
    high[2, 3] = 8.0 * 14  # sees the upper half alone
    study = Study({"t1ce": head(0), "t1": head(1, high), "t2": head(2, high), "flair": head(3)})
    upper = np.zeros(SHAPE, bool)
    upper[:, :, :14] = BRAIN[:, :, 14:]
    found = find_study_brain(study, study.roles, says(t1ce=BRAIN, t1=upper, t2=upper, flair=BRAIN)(study), {})
    assert np.array_equal(found.mask.voxels, BRAIN)
    assert found.agreement["t1"] == 1.0


def test_nothing_that_could_be_a_brain_is_an_error_with_the_way_out():
    study = Study({"t1": head()})
    with pytest.raises(BadImage, match=r"No brain was found in the images \(they show 0 ml.*--stripped"):
        find_study_brain(study, study.roles, says(t1=np.zeros(SHAPE))(study), {})
    assert skull_strip.LEAST_BRAIN_ML < 200
