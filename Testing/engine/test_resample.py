import numpy as np
import pytest

from braintumorseg.resample import canonical_grid, resample, seen_by, within_reach
from braintumorseg.volume import Grid, Volume


def rotation(degrees, axis=2):
    a, b = [n for n in range(3) if n != axis]
    matrix = np.eye(4)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix[a, a] = matrix[b, b] = c
    matrix[a, b], matrix[b, a] = -s, s
    return matrix


def world(grid):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def test_a_linear_ramp_in_the_world_is_met_exactly_on_an_oblique_grid():
    grid = Grid((20, 20, 20), np.diag([-1.0, -1, 1, 1]) @ np.diag([1, 1.5, 2, 1.0]))
    ramp = Volume((world(grid) @ [1.0, 2.0, 3.0]), grid.affine)
    centre = grid.affine @ [6, 6, 6, 1]
    oblique = rotation(17) @ np.diag([0.7, 1.1, 0.9, 1])
    oblique[:3, 3] = centre[:3]
    target = Grid((5, 4, 6), oblique)
    assert np.allclose(resample(ramp, target).voxels, world(target) @ [1.0, 2.0, 3.0], atol=1e-3)


def test_a_rigid_motion_is_applied_from_the_grid_to_the_volume():
    volume = Volume(np.zeros((9, 9, 9), np.float32), np.eye(4))
    voxels = volume.voxels.copy()
    voxels[6, 4, 4] = 1.0
    moved = np.eye(4)
    moved[0, 3] = 2.0  # anatomy at x of the grid lies at x + 2 of the volume
    out = resample(Volume(voxels, np.eye(4)), volume.grid, moved=moved)
    assert np.argwhere(out.voxels > 0.5).tolist() == [[4, 4, 4]]


def test_labels_from_the_nearest_voxel_keep_their_type_and_values():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[2:] = 3
    out = resample(Volume(labels, np.eye(4)), canonical_grid(Grid((4, 4, 4), np.eye(4)), (0.5, 0.5, 0.5)), linear=False)
    assert out.voxels.dtype == np.uint8
    assert np.unique(out.voxels).tolist() == [0, 3]
    assert out.shape == (8, 8, 8)


def test_fine_stripes_fade_instead_of_aliasing():
    stripes = np.tile(np.array([0.0, 100.0]), 32)[:, None, None] * np.ones((1, 8, 8))
    out = resample(Volume(stripes, np.diag([0.5, 1, 1, 1])), Grid((10, 8, 8), np.diag([3.0, 1, 1, 1])))
    assert out.voxels[1:-1].std() < 5


def test_the_canonical_grid_of_its_own_spacing_is_the_grid_itself_turned():
    grid = Grid((4, 5, 6), np.diag([-1.0, -1, 1, 1]))
    own = canonical_grid(grid, (1, 1, 1))
    assert own.orientation == "RAS"
    assert own.affine[:3, 3].tolist() == pytest.approx([-3, -4, 0])


def test_the_canonical_grid_covers_the_field_of_view_and_shares_its_corner():
    grid = Grid((10, 10, 5), np.diag([0.5, 0.5, 4, 1.0]))
    own = canonical_grid(grid, (1, 1, 1))
    assert own.shape == (5, 5, 20)
    assert (own.affine @ [-0.5, -0.5, -0.5, 1])[:3] == pytest.approx((grid.affine @ [-0.5, -0.5, -0.5, 1])[:3])


def test_a_grid_is_seen_where_it_lies_within_the_field_of_view_half_voxels_included():
    own, grid = Grid((4, 4, 4), np.eye(4)), Grid((7, 4, 4), np.diag([0.7, 1, 1, 1.0]))
    seen = seen_by(own, grid)
    assert seen[:, 0, 0].tolist() == [True] * 6 + [False]  # 0 to 3.5, then 4.2
    moved = np.eye(4)
    moved[0, 3] = 1.0                                   # 1.0, 1.7, ... 5.2
    assert seen_by(own, grid, moved)[:, 2, 1].tolist() == [True, True, True, True, False, False, False]
    assert seen_by(own, own) is True


@pytest.mark.parametrize("degrees", [0, 9])
def test_what_is_seen_is_what_lies_between_the_six_faces_of_the_field_of_view(degrees):
    own = Grid((9, 8, 7), rotation(30, 1) @ np.diag([1.5, 1, 2, 1]))
    grid = Grid((14, 12, 11), np.diag([1.0, -1, 1, 1]) @ rotation(degrees))
    moved = rotation(7, 0)
    moved[:3, 3] = [3.3, 2.1, -1.7]
    places = (world(grid) @ moved[:3, :3].T + moved[:3, 3] - own.affine[:3, 3]) @ np.linalg.inv(own.affine[:3, :3]).T
    within = ((places >= -0.5) & (places <= np.array(own.shape) - 0.5)).all(-1)
    assert 0 < within.sum() < within.size
    assert np.array_equal(seen_by(own, grid, moved), within)


def test_a_part_of_a_grid_gets_what_the_whole_would_get_there():
    rng = np.random.default_rng(1)
    volume = Volume(rng.normal(size=(16, 18, 20)).astype(np.float32), np.eye(4))
    grid = Grid((20, 20, 20), rotation(12) @ np.diag([0.9, 0.9, 0.9, 1]))
    part = Grid((20, 1, 6), grid.affine @ [[1, 0, 0, 0], [0, 1, 0, 7], [0, 0, 1, 4], [0, 0, 0, 1]])
    assert np.allclose(resample(volume, part, fill=3).voxels, resample(volume, grid, fill=3).voxels[:, 7:8, 4:10], atol=1e-5)
    far = np.eye(4)
    far[0, 3] = 100.0
    assert (resample(volume, Grid((2, 3, 4), far), fill=3).voxels == 3).all()


STEPS = {"fine": (0.4, 0.7, 0.9), "smoothed": (1.6, 1, 2.9), "blocks first": (4.3, 1, 7.1), "far": (13, 2, 16)}


@pytest.mark.parametrize("degrees", [0, 11])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_part_of_a_grid_gets_what_the_whole_would_get_there_however_much_is_smoothed(step, degrees):
    rng = np.random.default_rng(2)
    volume = Volume(rng.normal(size=(91, 30, 131)).astype(np.float32), np.eye(4))
    affine = rotation(degrees, 1) @ np.diag([*step, 1])
    affine[:3, 3] -= affine[:3, :3] @ [9, 9, 9]          # steps around the volume, where nothing is seen
    grid = Grid(tuple(int(side / mm) + 20 for side, mm in zip(volume.shape, step, strict=True)), affine)
    whole = resample(volume, grid, fill=7).voxels
    for number in range(60):
        low = [int(rng.integers(0, n)) for n in grid.shape]
        most = [1 if number % 3 else n - at for at, n in zip(low, grid.shape, strict=True)]
        box = tuple(slice(at, at + int(rng.integers(1, 1 + side))) for at, side in zip(low, most, strict=True))
        assert np.allclose(resample(volume, grid.part(box), fill=7).voxels, whole[box], atol=1e-5)


@pytest.mark.parametrize("degrees", [0, 11])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_voxel_is_within_reach_of_every_sample_that_reads_it(step, degrees):
    rng = np.random.default_rng(4)
    own = Grid((90, 30, 130), np.diag([-1.0, 1, 1, 1]))
    grid = Grid(tuple(int(side / mm) + 2 for side, mm in zip(own.shape, step, strict=True)), rotation(degrees, 1) @ np.diag([*step, 1]))
    grid = Grid(grid.shape, np.array([[1, 0, 0, -90], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]) @ grid.affine)
    read = 0
    for _ in range(12):
        spot = [int(rng.integers(0, n)) for n in own.shape]
        voxels = np.zeros(own.shape, np.float32)
        voxels[tuple(spot)] = 1e6
        box = within_reach(own, tuple(slice(at, at + 1) for at in spot), grid)
        found = resample(Volume(voxels, own.affine), grid).voxels != 0
        read += np.count_nonzero(found)
        if box is not None:
            found[box] = False
        assert not found.any()
    assert read


def test_what_lies_elsewhere_is_within_no_reach():
    far = np.eye(4)
    far[0, 3] = 100.0
    assert within_reach(Grid((9, 9, 9), np.eye(4)), (slice(2, 5), slice(0, 9), slice(0, 9)), Grid((9, 9, 9), far)) is None
