"""Diameters of shapes whose diameters are known from a formula, or found by trying every direction."""

import time

import numpy as np
import pytest
from scipy import ndimage

from braintumorseg.diameters import (
    Axis,
    Diameters,
    Plane,
    enhancing_diameters,
    enhancing_lesions,
    largest_diameters,
    lesion_diameters,
    measure_piece,
    rano_axis,
)
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.volume import Grid, Volume
from dicom_toys import axis_orders, oblique


def grid(shape, spacing=(1, 1, 1)):
    return Grid(shape, np.diag([*spacing, 1.0]))


def ellipse(half_long, half_short, degrees, spacing, size_mm=90):
    """(I, J, 1) bool: an ellipse of these half axes in mm whose long axis is turned from I towards J."""
    shape = tuple(int(size_mm / mm) for mm in spacing[:2])
    x, y = np.meshgrid(*(np.arange(n) * mm - (n - 1) * mm / 2 for n, mm in zip(shape, spacing, strict=False)), indexing="ij")
    turn = np.deg2rad(degrees)
    along, across = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    return ((along / half_long) ** 2 + (across / half_short) ** 2 <= 1)[:, :, None]


def length(axis, spacing):
    return np.linalg.norm(np.subtract(*axis.ends) * spacing[:2])


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.5, 0.9, 5), (1.5, 0.7, 2)])
@pytest.mark.parametrize("degrees", [0, 17, 45, 90, 133])
def test_an_ellipse_at_any_angle_measures_its_axes_to_a_voxel(degrees, spacing):
    mask = ellipse(32, 18, degrees, spacing)
    found = largest_diameters(mask, grid(mask.shape, spacing))
    voxel = np.hypot(*spacing[:2])
    assert 64 - voxel <= found.long.mm <= 64 + voxel
    assert 36 - voxel <= found.short.mm <= 36 + 2 * voxel
    for axis in (found.long, found.short):
        assert length(axis, spacing) == pytest.approx(axis.mm)
    (a, b), (c, d) = (np.subtract(*axis.ends) * spacing[:2] for axis in (found.long, found.short))
    assert abs(a * c + b * d) < 1e-6 * found.product_mm2


def test_a_box_measures_its_diagonal_between_the_middles_of_its_outermost_edges():
    mask = np.zeros((9, 8, 3), bool)
    mask[2:8, 3:7, 1] = True  # 6 x 4 voxels of 0.5 x 2 mm: 3 x 8 mm
    found = largest_diameters(mask, grid(mask.shape, (0.5, 2, 3)))
    assert found.slice == 1
    assert found.long.mm == pytest.approx(np.hypot(2.5, 8))
    assert sorted(found.long.ends) in ([(2, 2.5), (7, 6.5)], [(2, 6.5), (7, 2.5)])
    # Across it, from the middle (1.5, 6) or (7.5, 3) of an edge's outermost voxel to the edge opposite: 3 mm and the same slant.
    assert found.short.mm == pytest.approx(3 * np.hypot(2.5, 8) / 8)


def test_one_voxel_has_the_size_of_its_edges():
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 2] = True
    found = largest_diameters(mask, grid(mask.shape, (1, 0.5, 4)))
    assert (found.slice, found.slices, found.measurable, found.filled) == (2, 1, False, 1.0)
    assert (found.long.mm, found.short.mm) == pytest.approx((1, 0.5))


@pytest.mark.parametrize("pixel_mm, most", [(0.5, 1.08), (1.0, 1.13), (2.0, 1.16)])
def test_the_product_of_a_small_disc_is_hardly_too_large_whatever_the_pixels(pixel_mm, most):
    products, rng = [], np.random.default_rng(0)
    for _ in range(20):
        x, y = np.indices((30, 30)) * pixel_mm - 15 * pixel_mm + rng.uniform(-0.5, 0.5, (2, 1, 1)) * pixel_mm
        long, short = measure_piece(np.hypot(x, y) < 5, grid((30, 30, 1), (pixel_mm, pixel_mm, 1)))
        products.append(long.mm * short.mm / 100)
    assert 1.0 < np.mean(products) < most      # the corners of its pixels give 1.10, 1.19 and 1.30


def test_a_ball_of_9_mm_is_not_measurable_wherever_it_lies_between_voxels():
    rng = np.random.default_rng(0)
    for _ in range(30):
        x, y, z = np.indices((14, 14, 14)) - 7 + rng.uniform(-0.5, 0.5, (3, 1, 1, 1))
        assert not largest_diameters(x**2 + y**2 + z**2 < 4.5**2, grid((14, 14, 14))).measurable


def test_nothing_has_no_diameters():
    assert largest_diameters(np.zeros((4, 4, 4), bool), grid((4, 4, 4))) is None


def test_any_shape_agrees_with_trying_every_pair_of_points_and_every_line_across():
    rng = np.random.default_rng(3)
    for _ in range(10):
        piece = rng.random((7, 9)) > 0.6
        piece[3, 4] = True
        place = grid((7, 9, 1), (0.8, 1.3, 1))
        long, short = measure_piece(piece, place)
        corners = np.array([(i + a, j + b) for i, j in np.argwhere(piece) for a, b in ((-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5))]) * (0.8, 1.3)
        pairs = np.linalg.norm(corners[:, None] - corners[None], axis=2)
        assert long.mm == pytest.approx(pairs.max())
        along = np.subtract(*long.ends) * (0.8, 1.3) / long.mm
        assert short.mm == pytest.approx(widest_across(corners, along), rel=2e-3)


def test_the_best_of_many_pieces_is_found_though_few_are_measured(monkeypatch):
    from braintumorseg import diameters

    rng = np.random.default_rng(5)
    affine = np.array([[0.9, 0.3, 0, 0], [0.1, 1.2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])   # axes that are not at right angles, too
    measured, real = [], measure_piece
    monkeypatch.setattr(diameters, "measure_piece", lambda *what: measured.append(1) or real(*what))
    for number in range(6):
        mask = ndimage.gaussian_filter(rng.normal(size=(40, 44, 6)), (1.5, 1.5, 0)) > 0.12
        place = Grid(mask.shape, affine if number % 2 else np.diag([0.8, 1.3, 2, 1]))
        each = [real(pieces == one, place) for k in range(6) for pieces, count in [ndimage.label(mask[:, :, k], np.ones((3, 3)))]
                for one in range(1, count + 1)]
        measured.clear()
        found = largest_diameters(mask, place)
        assert found.product_mm2 == pytest.approx(max(long.mm * short.mm for long, short in each))
        assert 0 < len(measured) < len(each) / 2


def test_a_square_wins_over_a_triangle_of_larger_box_and_smaller_product():
    mask = np.zeros((30, 30, 1), bool)
    mask[:10, :10, 0] = True                      # its box allows 200
    mask[16:28, 16:28, 0] = np.tri(12, dtype=bool)
    found = largest_diameters(mask, grid(mask.shape))
    assert found.product_mm2 == pytest.approx(9**2 + 10**2)
    assert max(max(end) for end in found.long.ends) < 10


def widest_across(points, along):
    """The longest chord of the points' hull at right angles to `along`, by moving a line over it in small steps."""
    from scipy.spatial import ConvexHull

    hull = points[ConvexHull(points).vertices]
    across = np.array([-along[1], along[0]])
    t, s = hull @ along, hull @ across
    best = 0.0
    for where in np.linspace(t.min(), t.max(), 2001):
        crossings = []
        for a in range(len(hull)):
            b = (a + 1) % len(hull)
            if (t[a] - where) * (t[b] - where) < 0:
                crossings.append(s[a] + (s[b] - s[a]) * (where - t[a]) / (t[b] - t[a]))
        if len(crossings) > 1:
            best = max(best, max(crossings) - min(crossings))
    return best


def test_the_largest_product_decides_between_slices_and_pieces():
    mask = np.zeros((40, 40, 4), bool)
    mask[2:38, 5, 0] = True            # the longest line, thin: 36 x about 1
    mask[2:14, 2:14, 2] = True         # 12 x 12
    mask[20:36, 20:36, 2] = True       # 16 x 16 in the same slice
    found = largest_diameters(mask, grid(mask.shape))
    assert found.slice == 2
    assert found.long.mm == pytest.approx(np.hypot(15, 16))
    assert np.min(found.long.ends) > 19


def test_of_lines_across_of_one_length_the_same_is_taken_however_the_grid_is_turned():
    piece = np.ones((38, 7), bool)   # across its diagonal the lines through the two other corners are equally long
    place = np.diag([0.7, 0.9, 2, 1])
    long, short = measure_piece(piece, Grid((38, 7, 1), place))
    for degrees in range(1, 60, 3):
        turned = np.eye(4)
        turned[:3, :3] = oblique(degrees, degrees / 2, -degrees / 3)
        again = measure_piece(piece, Grid((38, 7, 1), turned @ place))
        assert again[0].ends == long.ends
        assert np.allclose(again[1].ends, short.ends)


def test_a_large_lesion_is_measured_in_a_moment():
    lump = ellipse(100, 80, 17, (0.25, 0.25), 210)[:, :, 0]
    took = []
    for _ in range(3):
        began = time.thread_time()
        measure_piece(lump, grid((*lump.shape, 1), (0.25, 0.25, 1)))
        took.append(time.thread_time() - began)
    assert min(took) < 0.1   # 0.02 s


def test_a_ring_is_measured_across_its_necrosis():
    outer, inner = ellipse(30, 25, 30, (1, 1)), ellipse(24, 19, 30, (1, 1))
    ring, full = largest_diameters(outer & ~inner, grid(outer.shape)), largest_diameters(outer, grid(outer.shape))
    assert (ring.long, ring.short) == (full.long, full.short)


def test_an_oblique_grid_changes_no_length():
    mask = ellipse(30, 20, 25, (0.8, 1.1))
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.8, 1.1, 3])
    straight, oblique = largest_diameters(mask, grid(mask.shape, (0.8, 1.1, 3))), largest_diameters(mask, Grid(mask.shape, affine))
    assert (oblique.long.mm, oblique.short.mm) == pytest.approx((straight.long.mm, straight.short.mm))


def lesion(spacing, value=ET) -> Volume:
    """An ellipsoid of 30 x 24 x 16 mm from right to left, from front to back and from top to bottom, stored as RAS, on voxels of `spacing`."""
    shape = tuple(round(44 / mm) for mm in spacing)
    x, y, z = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing, strict=True)), indexing="ij")
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (5, -40, 10)
    return Volume(((x / 15) ** 2 + (y / 12) ** 2 + (z / 8) ** 2 <= 1).astype(np.uint8) * value, affine)


def test_the_slices_are_axial_in_whatever_plane_the_image_was_stored():
    straight = enhancing_diameters(lesion((1, 1, 1.5)))
    assert (straight.long.mm, straight.short.mm) == (pytest.approx(30, abs=1.5), pytest.approx(24, abs=1.5))
    for stored in axis_orders(lesion((1, 1, 1.5))):
        found = enhancing_diameters(stored)
        assert (found.plane.name, found.plane.tilt_deg) == ("axial", pytest.approx(0, abs=1e-4))
        assert stored.orientation[found.plane.axis] in "SI"
        assert (found.long.mm, found.short.mm) == pytest.approx((straight.long.mm, straight.short.mm))
        ends = np.insert(np.array(found.long.ends), found.plane.axis, found.slice, axis=1)          # (2, 3) voxels
        assert np.linalg.norm(np.subtract(*ends) * stored.spacing_mm) == pytest.approx(found.long.mm)
        assert found.middle_mm(stored.grid) == pytest.approx(tuple((ends.mean(axis=0) @ stored.affine[:3, :3].T + stored.affine[:3, 3]).tolist()))
        assert found.middle_mm(stored.grid) == pytest.approx((5 + 21.5, -40 + 21.5, 10 + 21), abs=1.1)
        for axis in (found.long, found.short):
            assert np.linalg.norm(np.subtract(*found.ends_mm(axis, stored.grid))) == pytest.approx(axis.mm)
        assert found.across_mm(stored.grid) == pytest.approx((5 + 21.5 - 0.6 * 15, 5 + 21.5 + 0.6 * 15), abs=1.1)
        assert found.position(stored.grid) == f"S {round(found.middle_mm(stored.grid)[2]):+d} mm"


@pytest.mark.parametrize("thick, plane", [(0.9, "axial"), (2.0, "axial"), (2.05, "coronal"), (5.0, "coronal")])
def test_where_axial_pixels_would_be_larger_than_2_mm_the_slices_are_those_that_were_acquired(thick, plane):
    for stored in axis_orders(lesion((0.9, thick, 0.9))):
        found = enhancing_diameters(stored)
        assert found.plane.name == plane
        assert found.plane.axis == rano_axis(stored.grid)
        assert (found.short.mm < 20) == (plane == "coronal")     # 30 x 16 mm, not 30 x 24


@pytest.mark.parametrize("spacing", [(3, 3, 3), (2.5, 2.5, 6), (3, 1, 3)])
def test_axial_slices_with_large_pixels_are_measured_where_no_other_plane_has_smaller_ones(spacing):
    assert rano_axis(grid((9, 9, 9), spacing)) == 2


def test_a_plane_is_called_by_what_is_next_to_its_normal_and_how_far_it_is_off_is_told():
    volume = Volume(lesion((1, 1, 1)).voxels, np.eye(4))
    for degrees, name in ((12.0, "axial"), (40.0, "axial")):
        affine = np.eye(4)
        affine[:3, :3] = oblique(degrees, 0, 0)
        plane = enhancing_diameters(Volume(volume.voxels, affine)).plane
        assert (plane.axis, plane.name, plane.tilt_deg) == (2, name, pytest.approx(degrees))
    leaning = np.eye(4)
    leaning[:3, 2] = (0, 0.7, 1)                                 # a tilted gantry: the slices themselves are straight
    assert enhancing_diameters(Volume(volume.voxels, leaning)).plane.tilt_deg == pytest.approx(0)


def test_without_t1ce_nothing_that_enhances_is_measured():
    assert enhancing_diameters(lesion((1, 1, 1)), ("t1", "t2")) is not None
    assert enhancing_diameters(lesion((1, 1, 1)), ("t1ce",)) is None
    assert enhancing_diameters(lesion((1, 1, 1), value=ED)) is None


@pytest.mark.parametrize("short_mm, slices, apart_mm, measurable", [
    (10.0, 2, 1.0, True), (9.96, 2, 5.0, True), (9.9, 2, 1.0, False), (9.0, 2, 1.0, False), (25.0, 1, 1.0, False),
    (10.8, 2, 5.5, False), (11.0, 2, 5.5, True), (12.9, 3, 6.5, False), (13.0, 3, 6.5, True)])
def test_a_lesion_is_measurable_from_ten_mm_across_or_twice_the_distance_of_thick_slices_on_two_of_them(short_mm, slices, apart_mm, measurable):
    ends = ((0.0, 0.0), (0.0, 12.0))
    assert Diameters(0, Axis(30.0, ends), Axis(short_mm, ends), Plane(2, "axial", 0.0, apart_mm), slices, 1.0).measurable is measurable


def test_a_square_on_one_thick_slice_is_not_measurable_and_on_two_it_is():
    labels = np.zeros((64, 64, 9), np.uint8)
    labels[20:34, 20:34, 4] = ET                                                  # 12.6 mm on a slice of 5.5 mm
    affine = np.diag([0.9, 0.9, 5.5, 1])
    found = enhancing_diameters(Volume(labels, affine))
    assert (found.slices, found.plane.apart_mm, found.limit_mm, found.measurable) == (1, pytest.approx(5.5), 11.0, False)
    labels[34, 34, 5] = ET                                                        # goes on over a corner
    assert enhancing_diameters(Volume(labels, affine)).measurable
    labels[34, 34, 5], labels[36:38, 20:34, 5] = 0, ET                            # what does not hang together is another lesion
    assert not enhancing_diameters(Volume(labels, affine)).measurable


def test_the_distance_of_slices_under_a_tilted_gantry_is_that_between_their_planes():
    leaning = np.eye(4)
    leaning[:3, 2] = (0, 3, 6)
    assert largest_diameters(np.ones((4, 4, 4), bool), Grid((4, 4, 4), leaning)).plane.apart_mm == pytest.approx(6)


def balls(*of) -> Volume:
    """Enhancing balls of (centre in voxels of 1 mm, diameter in mm)."""
    index = np.stack(np.indices((110, 60, 40)), axis=-1)
    labels = np.zeros(index.shape[:3], np.uint8)
    for centre, mm in of:
        labels[((index - centre) ** 2).sum(axis=-1) < (mm / 2) ** 2] = ET
    return Volume(labels, np.eye(4))


def test_every_measurable_lesion_is_measured_so_that_follow_up_can_be_told_from_all_of_them():
    first, second, small = (25, 30, 20), (85, 30, 20), (55, 50, 20)
    before = enhancing_lesions(balls((first, 24), (second, 22), (small, 7)))
    after = enhancing_lesions(balls((first, 16), (second, 24.4), (small, 7)))
    assert [one.long.mm for one in before] == pytest.approx([24, 22], abs=1)
    assert [one.long.mm for one in after] == pytest.approx([24.4, 16], abs=1)
    assert after[0].product_mm2 / before[0].product_mm2 > 1                       # the largest alone says it grew
    assert sum(one.product_mm2 for one in after) / sum(one.product_mm2 for one in before) == pytest.approx(851 / 1060, abs=0.04)
    assert enhancing_diameters(balls((first, 16), (second, 24.4))) == after[0]


def test_the_largest_lesion_is_told_even_where_only_smaller_ones_are_measurable():
    labels = np.zeros((60, 40, 4), np.uint8)
    labels[2:52, 2:10, 1:3] = ET          # 50 x 8 mm
    labels[2:15, 20:33, 1:3] = ET
    first, second = enhancing_lesions(Volume(labels, np.eye(4)))
    assert (first.measurable, second.measurable) == (False, True)
    assert first.product_mm2 > second.product_mm2


def test_two_rims_of_one_core_are_one_lesion_and_rims_of_two_cores_two():
    labels = np.zeros((60, 40, 6), np.uint8)
    labels[2:17, 2:17, 1:4] = labels[30:45, 2:17, 1:4] = ET
    assert len(enhancing_lesions(Volume(labels, np.eye(4)))) == 2
    labels[17:30, 5:10, 2] = NCR
    assert [one.long.mm for one in enhancing_lesions(Volume(labels, np.eye(4)))] == [pytest.approx(20.5, abs=0.5)]


def test_each_lesion_of_many_is_measured_in_its_own_best_slice():
    mask = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(70, 70, 20)), (2.5, 2.5, 1.2)) > 0.05
    lesions, count = ndimage.label(mask, np.ones((3, 3, 3)))
    alone = [largest_diameters(lesions == number, grid(mask.shape)) for number in range(1, count + 1)]
    expected = sorted((one for one in alone if one.measurable), key=lambda one: -one.product_mm2)
    assert len(expected) > 2
    assert [one for one in lesion_diameters(mask, grid(mask.shape)) if one.measurable] == expected


def test_how_much_of_its_hull_a_lesion_fills_is_told():
    x, y = np.meshgrid(np.arange(64) - 32, np.arange(64) - 32, indexing="ij")
    far = np.hypot(x, y)

    def of(piece):
        return largest_diameters(np.repeat(piece[:, :, None], 3, axis=2), grid((64, 64, 3)))

    disc, shell, band = of(far < 20), of((far < 20) & (far >= 18.5)), of((far < 26) & (far > 20) & (y > 0))
    assert disc.filled == pytest.approx(1, abs=0.02)
    assert shell.filled == pytest.approx(1 - (18.5 / 20) ** 2, abs=0.02)
    assert band.filled == pytest.approx((26**2 - 20**2) / 26**2, abs=0.03)
    assert (disc.hollow, shell.hollow, band.hollow) == (False, True, True)


def test_pixels_that_are_hardly_larger_than_the_images_own_are_no_reason_to_leave_the_axial_plane():
    assert rano_axis(grid((20, 20, 20), (2.5, 2.4, 2.4))) == 2
    assert rano_axis(grid((20, 20, 20), (2.4, 2.4, 3.1))) == 2
    assert rano_axis(grid((20, 20, 20), (3.1, 2.4, 2.4))) == 0
