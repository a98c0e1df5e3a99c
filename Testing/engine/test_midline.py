"""The middle of ellipsoids that stand for a brain, wherever a file puts its origin."""

import numpy as np
import pytest

from braintumorseg.midline import middle_mm, side
from braintumorseg.volume import Volume
from dicom_toys import axis_orders

CENTRE = -118.5     # mm: BraTS' files have the whole head at negative x


def brain(spacing=(2.0, 2, 2), width_mm=140.0) -> Volume:
    """An ellipsoid of width x 170 x 130 mm about x = CENTRE, stored as RAS."""
    shape = tuple(round(mm / size) + 8 for mm, size in zip((width_mm, 170, 130), spacing, strict=True))
    x, y, z = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, spacing, strict=True)), indexing="ij")
    affine = np.diag([*spacing, 1.0])
    affine[0, 3] = CENTRE - (shape[0] - 1) / 2 * spacing[0]
    return Volume((2 * x / width_mm) ** 2 + (y / 85) ** 2 + (z / 65) ** 2 <= 1, affine)


def middle(volume: Volume) -> float | None:
    return middle_mm(volume.voxels, volume.grid)


@pytest.mark.parametrize("spacing", [(2, 2, 2), (1, 1, 3), (5, 0.9, 0.9)])
def test_the_middle_is_found_wherever_the_origin_and_however_the_axes_lie(spacing):
    for stored in axis_orders(brain(spacing)):
        assert middle(stored) == pytest.approx(CENTRE, abs=spacing[0])


def test_the_middle_of_a_head_that_is_turned_is_found():
    volume, turn = brain(), np.deg2rad(20)
    rotated = np.eye(4)
    rotated[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    centre = rotated @ volume.affine @ [*(np.array(volume.shape) - 1) / 2, 1]
    assert middle(Volume(volume.voxels, rotated @ volume.affine)) == pytest.approx(centre[0], abs=2)


def test_specks_beside_the_brain_hardly_move_it():
    volume = brain()
    with_specks = np.pad(volume.voxels, ((0, 40), (0, 0), (0, 0)))
    with_specks[-3:, 40:43, 30:33] = True
    moved_mm = middle(Volume(with_specks, volume.affine)) - middle(volume)
    assert abs(moved_mm) <= 2                                  # a layer; the middle of the outermost voxels goes 40 mm


@pytest.mark.parametrize("low, high", [(0, 30), (40, 0), (60, 40)])
def test_a_brain_that_is_not_all_in_view_from_left_to_right_has_no_middle(low, high):
    volume = brain()
    inside = slice(low // 2, volume.shape[0] - high // 2)
    affine = volume.affine.copy()
    affine[0, 3] += 2 * (low // 2)
    slab = Volume(volume.voxels[inside], affine)
    assert slab.voxels.any()
    assert middle(slab) is None
    masked = np.zeros_like(volume.voxels)
    masked[inside] = volume.voxels[inside]                       # a slab within an image
    assert middle(volume.with_voxels(masked)) is None


def test_specks_beside_a_brain_that_is_cut_off_do_not_hide_it():
    half = np.pad(brain().voxels[:50], ((0, 40), (0, 0), (0, 0)))
    half[-3:, 40:43, 30:33] = True
    assert middle(Volume(half, brain().affine)) is None


def test_a_narrow_brain_and_none_have_no_middle():
    assert middle(brain(width_mm=70.0)) is None
    assert middle(brain().with_voxels(np.zeros(brain().shape, bool))) is None
    assert middle(brain().with_voxels(np.ones(brain().shape, bool))) is None      # no background: nobody knows where the brain ends


def test_what_lies_at_higher_x_than_the_middle_is_right_and_what_reaches_it_at_the_midline():
    assert [side(low, high, -118.5) for low, high in ((-100, -80), (-150, -130), (-130, -80))] == ["right", "left", "at the midline"]
    assert side(-100, -80, None) is None
