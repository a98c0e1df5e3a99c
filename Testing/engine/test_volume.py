import itertools

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

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


def test_grids_a_hundredth_of_a_voxel_apart_are_the_same_and_the_distance_is_told():
    moved = np.diag([5.0, 4.0, 3.0, 1.0])
    moved[2, 3] = 0.025
    moved[0, 0] += 0.004
    one, other = Grid((4, 3, 4), np.diag([5.0, 4.0, 3.0, 1.0])), Grid((4, 3, 4), moved)
    assert one.apart_mm(other) == pytest.approx(0.025)
    assert one.same_as(other)
    assert not one.same_as(other, tolerance_mm=0.02)
    fine, beside = Grid((4, 3, 4), np.diag([0.5, 0.5, 0.5, 1.0])), np.diag([0.5, 0.5, 0.5, 1.0])
    beside[2, 3] = 0.025
    assert not fine.same_as(Grid((4, 3, 4), beside))


def test_a_place_that_a_header_holds_twice_in_single_precision_is_one_grid():
    rng = np.random.default_rng(0)
    for _ in range(200):
        affine = nibabel.affines.from_matvec(Rotation.from_rotvec(rng.normal(size=3) * 0.25).as_matrix() @ np.diag([-1, -1, 1]),
                                             rng.uniform(-150, 150, 3))
        header = nibabel.Nifti1Header()
        header.set_sform(affine, 1)
        header.set_qform(affine, 1)
        assert Grid((240, 240, 155), header.get_sform()).same_as(Grid((240, 240, 155), header.get_qform()))


@pytest.mark.parametrize("affine", [TURNED.T, np.diag([1.0, 1, 1, 2])])
def test_an_affine_the_wrong_way_round_is_refused_with_the_way_out(affine):
    with pytest.raises(BadImage, match=r"last row .* is not 0 0 0 1.*transpose it"):
        Grid((2, 2, 2), affine)


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.diag([1.0, 1, 0, 1]), np.full((4, 4), np.nan), np.eye(3), np.eye(4) * 1j,
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


def test_a_grid_turned_to_canonical_axes_covers_the_same_corners_however_they_run():
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = np.diag(signs)[:, order] * (1, 2, 3)
            grid = Grid((2, 3, 4), affine)
            turned = grid.canonical()
            places = [sorted(map(tuple, (one.corners @ one.affine.T)[:, :3].round(6).tolist())) for one in (grid, turned)]
            assert turned.orientation == "RAS" and places[0] == places[1], (order, signs)


def test_a_part_of_a_grid_is_found_in_it_in_whatever_order_both_are_stored_and_however_they_are_turned():
    whole, box = Grid((7, 8, 9), np.diag([-1.0, -2, 3, 1])), (slice(1, 6), slice(-1, 8), slice(2, 11))
    for turn in (np.eye(3), Rotation.from_euler("xyz", (17, -11, 45), degrees=True).as_matrix()):
        world = nibabel.affines.from_matvec(turn, (3.1, -200, 55))
        other = Grid(whole.shape, world @ whole.affine)
        part = other.part(box)
        for order in itertools.permutations(range(3)):
            for signs in itertools.product((1, -1), repeat=3):
                stored = np.array(list(zip(order, signs, strict=True)))
                shape = tuple(int(n) for n in np.array(part.shape)[np.argsort(order)])
                own = Grid(shape, part.affine @ nibabel.orientations.inv_ornt_aff(stored, part.shape))
                assert own.place_in(other) == box, (order, signs)
                assert not own.same_as(part) or (order, signs) == ((0, 1, 2), (1, 1, 1))


def test_voxels_between_those_of_a_grid_or_of_another_size_have_no_place_in_it():
    whole = Grid((7, 8, 9), TURNED)
    beside, turned = TURNED.copy(), nibabel.affines.from_matvec(Rotation.from_rotvec((0, 0, 0.1)).as_matrix()) @ TURNED
    beside[:3, 3] += beside[:3, 0] / 2
    rounded = TURNED + 0
    rounded[0, 3] += 0.005
    assert Grid((7, 8, 9), rounded).place_in(whole) == (slice(0, 7), slice(0, 8), slice(0, 9))
    for affine in (beside, turned, TURNED @ np.diag([2, 1, 1, 1])):
        assert Grid((4, 5, 6), affine).place_in(whole) is None


def test_voxels_cannot_be_changed_through_a_volume_and_the_callers_array_stays_writable():
    mine = np.zeros((2, 2, 2))
    volume = Volume(mine, np.eye(4))
    with pytest.raises(ValueError, match="read-only"):
        volume.voxels[0, 0, 0] = 1
    mine[0, 0, 0] = 1


@pytest.mark.parametrize("degrees, tilt", [(0, 0), (20, 20), (-30, 30), (45, 45), (70, 20), (180, 0)])
def test_the_tilt_is_how_far_axes_are_off_their_nearest_direction(degrees, tilt):
    affine = TURNED.copy()
    affine[:3, :3] = Rotation.from_euler("y", degrees, degrees=True).as_matrix() @ affine[:3, :3]
    assert Grid((2, 3, 4), affine).tilt_deg == pytest.approx(tilt, abs=1e-5)


def test_an_assumed_orientation_stays_assumed_with_other_voxels_and_axes():
    assumed = Volume(np.zeros((2, 3, 4)), TURNED, assumed=True)
    assert assumed.with_voxels(np.ones((2, 3, 4))).assumed and assumed.canonical().assumed
    assert not Volume(np.zeros((2, 3, 4)), TURNED).canonical().assumed
