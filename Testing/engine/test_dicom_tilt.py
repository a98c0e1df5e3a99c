"""A tilted stack on a grid with right angles: every in-slice point stays where the header put it."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from braintumorseg.io.dicom_tilt import upright, upright_grid
from braintumorseg.volume import Volume
from dicom_toys import oblique, toy_volume


def tilted(by_i, by_j, turn=None) -> Volume:
    volume = toy_volume((9, 8, 7), (1.0, 1.2, 2.0), turn)
    affine = np.array(volume.affine)
    affine[:3, 2] += affine[:3, 0] * by_i + affine[:3, 1] * by_j
    return Volume(volume.voxels, affine)


@pytest.mark.parametrize("by", [(0.0, 0.5), (-0.3, 0.0), (0.7, -0.4), (0.0, 1.0)])
@pytest.mark.parametrize("turn", [None, oblique()], ids=["straight", "oblique"])
def test_voxels_are_where_trilinear_interpolation_in_world_coordinates_puts_them(by, turn):
    volume = tilted(*by, turn)
    found = upright(volume)
    axes = found.affine[:3, :3] / found.spacing_mm
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in found.shape), indexing="ij"), -1).reshape(-1, 3)
    back = np.linalg.inv(volume.affine) @ found.affine
    at = (index @ back[:3, :3].T + back[:3, 3]).round(9)
    inside = ((at >= 0) & (at <= np.array(volume.shape) - 1)).all(1)
    expected = map_coordinates(volume.voxels.astype(float), at[inside].T, order=1)
    assert inside.sum() > 0.5 * volume.voxels.size
    assert np.allclose(found.voxels.reshape(-1)[inside], expected, atol=1e-3)


def test_nothing_of_a_tilted_stack_falls_off_the_grid():
    volume = tilted(0.7, -0.4)
    grid = upright_grid(volume.grid)
    corners = np.array([[i, j, k, 1] for i in (0, 8) for j in (0, 7) for k in (0, 6)]) @ volume.affine.T
    at = corners @ np.linalg.inv(grid.affine).T
    assert (at[:, :3] > -1e-6).all() and (at[:, :3] < np.array(grid.shape) - 1 + 1e-6).all()


def test_outside_lies_the_lowest_value():
    volume = tilted(0.0, 1.0)
    found = upright(volume.with_voxels(volume.voxels.astype(np.int16) - 1000))
    assert found.voxels.min() == found.voxels[0, -1, 0] == -999
