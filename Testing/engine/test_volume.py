import numpy as np
import pytest

from braintumorseg.errors import BadImage
from braintumorseg.volume import Grid, Volume

TURNED = np.array([[0, -2.0, 0, 10], [1.0, 0, 0, -5], [0, 0, 3.0, 7], [0, 0, 0, 1]])  # axes grow A, L, S


def test_a_grid_knows_its_spacing_orientation_and_voxel_volume():
    grid = Grid((2, 3, 4), TURNED)
    assert grid.spacing_mm == (1.0, 2.0, 3.0)
    assert grid.orientation == "ALS"
    assert grid.voxel_ml == pytest.approx(0.006)
    assert grid.size_mm == (2.0, 6.0, 12.0)


def test_grids_that_differ_by_a_tenth_of_a_millimetre_are_not_the_same():
    moved = TURNED.copy()
    moved[0, 3] += 0.1
    assert not Grid((2, 3, 4), TURNED).same_as(Grid((2, 3, 4), moved))
    assert Grid((2, 3, 4), TURNED).same_as(Grid((2, 3, 4), TURNED + 0))
    assert not Grid((2, 3, 4), TURNED).same_as(Grid((2, 3, 5), TURNED))


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.diag([1.0, 1, 0, 1]), np.full((4, 4), np.nan), np.eye(3),
                                    np.array([[1.0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])])
def test_an_affine_that_cannot_place_voxels_is_refused(affine):
    with pytest.raises(BadImage):
        Grid((2, 2, 2), affine)


def test_a_volume_of_four_dimensions_is_refused_with_the_way_out():
    with pytest.raises(BadImage, match=r"4 dimensions.*one 3-D volume"):
        Volume(np.zeros((2, 2, 2, 2)), np.eye(4))


def test_canonical_moves_no_voxel_in_the_world():
    voxels = np.arange(24).reshape(2, 3, 4)
    volume = Volume(voxels, TURNED)
    turned = volume.canonical()
    assert turned.orientation == "RAS"
    for index in np.ndindex(*volume.shape):
        world = volume.affine @ [*index, 1]
        at = tuple(np.round(np.linalg.inv(turned.affine) @ world)[:3].astype(int))
        assert turned.voxels[at] == voxels[index]


def test_voxels_cannot_be_changed_through_a_volume_and_the_callers_array_stays_writable():
    mine = np.zeros((2, 2, 2))
    volume = Volume(mine, np.eye(4))
    with pytest.raises(ValueError, match="read-only"):
        volume.voxels[0, 0, 0] = 1
    mine[0, 0, 0] = 1
