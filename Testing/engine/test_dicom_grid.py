"""One implementation of where slices lie, held against highdicom's and against arithmetic by hand."""

import numpy as np
import pytest

from braintumorseg.errors import BadImage
from braintumorseg.io.dicom_grid import Place, grid_of, place_of, series_grid, slots_of, tilt_deg
from braintumorseg.volume import Grid
from dicom_toys import axis_orders, oblique, slices_of_volume, toy_volume


def places(depths, **changes) -> list[Place]:
    values = dict(rows=6, columns=7, spacing=(1.1, 0.9), along_row=np.array([1.0, 0, 0]), down_column=np.array([0, 1.0, 0])) | changes
    return [Place(position=np.array([0, 0, depth], float), **values) for depth in depths]


def test_columns_are_i_rows_are_j_and_k_follows_the_normal():
    grid = grid_of(places([5, 2, 8]))
    assert grid.shape == (7, 6, 3)
    assert np.allclose(grid.affine, [[-0.9, 0, 0, 0], [0, -1.1, 0, 0], [0, 0, 3, 2], [0, 0, 0, 1]])  # RAS of LPS


@pytest.mark.parametrize("number", [0, 5, 17, 30, 47])
def test_the_grid_of_headers_is_that_of_the_volume_up_to_the_direction_of_k(number):
    volume = list(axis_orders(toy_volume(turn=oblique())))[number]
    grid = series_grid(slices_of_volume(volume))
    corners = {tuple(np.round(g.affine @ [i * (g.shape[0] - 1), j * (g.shape[1] - 1), k * (g.shape[2] - 1), 1], 3))
               for g in (grid, volume.grid) for i in (0, 1) for j in (0, 1) for k in (0, 1)}
    assert len(corners) == 8 and np.linalg.det(grid.affine[:3, :3]) > 0  # two flips from LPS leave the handedness of DICOM


def test_a_gap_is_named_and_filled_on_request():
    gappy = places([0, 2, 4, 8, 10, 12])
    with pytest.raises(BadImage, match=r"1 slice is missing \(after slice 3, 2x\)"):
        grid_of(gappy)
    grid = grid_of(gappy, fill_gaps=True)
    with pytest.raises(BadImage, match=r"998 slices are missing \(after slice 2, 999x\)"):
        grid_of(places([0, 2, 2000, 2002, 2004]), fill_gaps=True)
    assert grid.shape[2] == 7 and slots_of(gappy, grid) == [0, 1, 2, 4, 5, 6]


@pytest.mark.parametrize("depths, why", [([0, 2, 2, 4], "nothing tells them apart"), ([0, 2, 5, 7, 9], r"3\.00 mm away, and 2\.00"),
                                         ([0, 0, 0], "nothing tells")])
def test_slices_that_make_no_box_are_refused(depths, why):
    with pytest.raises(BadImage, match=why):
        grid_of(places(depths))


def test_rounded_positions_are_accepted():
    assert grid_of(places([0, 0.68, 1.33, 2.0, 2.67])).spacing_mm[2] == pytest.approx(0.6675)


@pytest.mark.parametrize("changes", [dict(rows=0), dict(rows=65535, columns=65535), dict(spacing=(0.0, 1.0)), dict(spacing=(1.0, float("nan"))),
                                     dict(along_row=np.zeros(3)), dict(along_row=np.array([0, 1.0, 0])), dict(along_row=np.full(3, np.nan))], ids=str)
def test_what_cannot_be_a_slice_is_refused(changes):
    with pytest.raises(BadImage):
        places([0], **changes)


@pytest.mark.parametrize("name, other", [("Rows and Columns", dict(rows=5)), ("PixelSpacing", dict(spacing=(1.1, 0.91))),
                                         ("ImageOrientationPatient", dict(along_row=np.array([1, 0, 0.002]), down_column=np.array([0, 1.0, 0]))),
                                         ("", dict(along_row=np.array([1, 0, 3e-5])))])
def test_the_attribute_in_which_slices_differ_is_named(name, other):
    a, b = places([0])[0], places([1], **other)[0]
    assert a.differs_from(b) == name
    if name:
        with pytest.raises(BadImage, match=f"differ in {name}"):
            grid_of([a, b])


def test_a_tilt_is_the_angle_between_step_and_normal():
    affine = np.eye(4)
    affine[1, 2] = 1
    assert tilt_deg(Grid((2, 2, 2), affine)) == pytest.approx(45) and tilt_deg(Grid((2, 2, 2), np.eye(4))) == 0


def test_a_header_with_words_for_numbers_is_refused():
    (one, *_) = slices_of_volume(toy_volume())
    one.PixelSpacing = None
    with pytest.raises(BadImage, match="no PixelSpacing"):
        place_of(one)
    one.PixelSpacing = [1, 2, 3]
    with pytest.raises(BadImage, match="PixelSpacing of a slice is not 2 finite numbers"):
        place_of(one)
