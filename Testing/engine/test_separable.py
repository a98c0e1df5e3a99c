"""The matrices against ITK's own filters on the whole image."""

import numpy as np
import pytest
from scipy import ndimage

from braintumorseg import resample as module
from braintumorseg.resample import canonical_grid, resample
from braintumorseg.separable import ParallelAxes
from braintumorseg.volume import Grid, Volume

TURNED = np.array([[0.36, 0.48, -0.8, 11], [-0.8, 0.6, 0, -7], [0.48, 0.64, 0.6, 3], [0, 0, 0, 1.0]])


def image(shape, affine, order="F"):
    voxels = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 1.2) * 200
    return Volume(np.asarray(voxels.astype(np.float32), order=order), affine)


def by_matrices(volume, grid, fill=0.0):
    return ParallelAxes.between(volume.grid, grid).resample(volume.voxels, *module._smoothing(volume.grid, grid), fill)


def by_itk(volume, grid, fill):
    return module._with_itk(volume, grid, True, *module._smoothing(volume.grid, grid), fill, None).voxels


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("mm", [0.7, 1.0, 1.9, 2.6, 4.0, 9.0])
@pytest.mark.parametrize("affine", [np.diag([-1.0, -1, 1, 1]), TURNED @ np.diag([1, 1, 5, 1]), TURNED[:, [2, 0, 1, 3]]],
                         ids=["LPS", "slices", "permuted"])
def test_between_parallel_axes_it_is_what_itk_makes_of_the_image(affine, mm, order):
    volume = image((34, 30, 26), affine, order)
    grid = canonical_grid(volume.grid, (mm, mm, mm))
    if min(grid.shape) > 3:  # without the outermost voxels, where both may put a sample on either side of the last face
        grid = Grid(tuple(n - 2 for n in grid.shape), grid.affine @ (np.eye(4) + np.outer([1, 1, 1, 0], [0, 0, 0, 1])))
    wanted = by_itk(volume, grid, -5.0)
    assert np.abs(by_matrices(volume, grid, -5.0) - wanted).max() < 1e-3
    assert np.abs(resample(volume, grid, fill=-5.0).voxels - wanted).max() < 1e-3


def test_beyond_the_outer_half_voxel_lies_the_fill_and_within_it_the_edge():
    volume = Volume(np.arange(1, 5, dtype=np.float32)[:, None, None] * np.ones((1, 3, 3), np.float32), np.eye(4))
    shift = np.eye(4)
    shift[0, 3] = -1.4
    found = by_matrices(volume, Grid((7, 3, 3), shift), fill=-1.0)[:, 1, 1]
    assert found.tolist() == pytest.approx([-1, 1, 1.6, 2.6, 3.6, -1, -1])


def test_grids_that_share_their_outer_face_meet_inside_whichever_way_they_are_turned():
    for affine in (np.eye(4), TURNED, TURNED[:, [1, 2, 0, 3]]):
        volume = Volume(np.full((20, 20, 20), 7, np.float32), affine)
        for mm in (0.5, 2.0):
            assert by_matrices(volume, canonical_grid(volume.grid, (mm, mm, mm))) == pytest.approx(7), affine


def test_axes_that_are_not_parallel_are_left_to_itk():
    grid = Grid((10, 10, 10), np.eye(4))
    assert ParallelAxes.between(grid, Grid((10, 10, 10), TURNED)) is None
    off = np.eye(4)
    off[0, 1] = 1e-5
    assert ParallelAxes.between(grid, Grid((10, 10, 10), off)) is None
