"""The picture, read back pixel by pixel: right on the left, true proportions, the card's colours, and no text in the file."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from braintumorseg.labels import ED, ET, NCR
from braintumorseg.model_card import Label
from braintumorseg.overlay import draw_overlay, draw_thumbnail
from braintumorseg.overlay_page import LegendEntry, Panel, draw_page
from braintumorseg.segmentation import Provenance, Segmentation
from braintumorseg.study import ROLES, Study
from braintumorseg.volume import Volume

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
TABLE = (Label(NCR, "Dead", ("1", "SCT", "d"), RED), Label(ED, "Swollen", ("2", "SCT", "s"), GREEN),
         Label(ET, "Bright", ("3", "SCT", "b"), BLUE))
SHAPE = (40, 50, 30)
RAS = np.array([[3.0, 0, 0, -60], [0, 3, 0, -75], [0, 0, 4, -60], [0, 0, 0, 1]])


def brain(affine=RAS) -> Volume:
    """A block that brightens towards the patient's right."""
    voxels = np.zeros(SHAPE, np.int16)
    voxels[4:-4, 4:-4, 3:-3] = np.arange(100, 164, 2)[:, None, None]
    return Volume(voxels, affine)


def segmented(study: Study, labels: np.ndarray) -> Segmentation:
    return Segmentation(study.reference.with_voxels(labels.astype(np.uint8)), TABLE, Provenance("made up", "1", "0" * 64, "CPU"))


def drawn(study: Study, labels: np.ndarray, folder, moved=None) -> np.ndarray:
    """(rows, columns, 3) of the picture down to its last panel: the legend below has the labels' colours too."""
    draw_overlay(study, replace(segmented(study, labels), moved=moved or {}), folder / "overlay.png")
    picture = np.asarray(Image.open(folder / "overlay.png"))
    return picture[:np.flatnonzero((picture[:, 15] == 0).all(axis=1)).max()]


def places(picture: np.ndarray, rgb) -> np.ndarray:
    """(N, 2) row, column of the pixels of exactly this colour."""
    return np.argwhere((picture == rgb).all(axis=2))


def test_the_patients_right_is_at_the_left_and_the_front_and_the_top_are_up(tmp_path):
    labels = np.zeros(SHAPE)
    labels[30:34, 40:44, 22:25] = ED  # right, anterior, superior
    picture = drawn(Study({"t1": brain()}), labels, tmp_path)
    found = places(picture, GREEN)
    height, width = picture.shape[0] // 2, picture.shape[1]
    assert len(found)
    assert found[:, 0].min() > height  # the upper row is plain
    sizes = np.array([120, 120, 150]) / 390 * width  # axial and coronal are as wide as right to left, sagittal as front to back
    starts = np.cumsum(sizes) - sizes
    for start, size in zip(starts, sizes, strict=True):
        inside = found[(found[:, 1] > start) & (found[:, 1] < start + size)]
        assert len(inside)
        assert inside[:, 1].mean() < start + size / 2           # patient's right, or front, at the left
        assert inside[:, 0].mean() < height + height / 2        # front, or top, up


def test_how_the_voxels_are_stored_does_not_change_the_picture(tmp_path):
    labels = np.zeros(SHAPE)
    labels[30:34, 40:44, 22:25], labels[31, 41, 23] = ED, ET
    study = Study({"flair": brain()})
    plain = drawn(study, labels, tmp_path)
    flip = np.array([[0, 0, -1.0, 39], [-1, 0, 0, 49], [0, 1, 0, 0], [0, 0, 0, 1]])  # axes (P, S, L) instead of (R, A, S)
    stored = Volume(brain().voxels[::-1, ::-1].transpose(1, 2, 0), RAS @ flip)
    turned = drawn(Study({"flair": stored}), labels[::-1, ::-1].transpose(1, 2, 0), tmp_path)
    np.testing.assert_array_equal(turned, plain)


def test_thick_voxels_are_shown_in_true_proportion(tmp_path):
    labels = np.zeros(SHAPE)
    labels[15:25, 20:30, 12:18] = ED  # 30 x 30 x 24 mm
    affine = np.diag([3.0, 3.0, 4.0, 1])
    picture = drawn(Study({"t1": brain(affine)}), labels, tmp_path)
    found = places(picture, GREEN)
    axial = found[found[:, 1] < picture.shape[1] * 0.3]
    sagittal = found[found[:, 1] > picture.shape[1] * 0.62]
    axial_height, sagittal_height = np.ptp(axial[:, 0]) + 1, np.ptp(sagittal[:, 0]) + 1
    assert sagittal_height / axial_height == pytest.approx(24 / 30, abs=0.03)
    assert (np.ptp(axial[:, 1]) + 1) / axial_height == pytest.approx(1, abs=0.03)


def test_every_label_is_outlined_in_its_colour_in_the_slice_with_the_most_of_the_largest_lesion(tmp_path):
    labels = np.zeros(SHAPE)
    labels[8:20, 20:32, 10:20] = ED
    labels[10:18, 22:30, 13] = ET
    labels[12:16, 24:28, 13] = NCR
    labels[30, 30, 25] = NCR  # another lesion
    picture = drawn(Study({role: brain() for role in ROLES}), labels, tmp_path)
    quarter = picture[:, : picture.shape[1] // 4]
    assert all(len(places(quarter, rgb)) for rgb in (RED, GREEN, BLUE))


def test_sequences_stand_side_by_side_and_missing_ones_are_left_out(tmp_path):
    labels = np.zeros(SHAPE)
    labels[8:20, 20:32, 10:20] = ED
    widths = []
    for roles in (ROLES, ("t1", "t2", "flair")):
        picture = drawn(Study({role: brain() for role in roles}), labels, tmp_path)
        found = places(picture, GREEN)[:, 1]
        widths.append(picture.shape[1])
        assert len(np.unique(found * len(roles) // picture.shape[1])) == len(roles)
    assert max(widths) <= 1600


def test_a_sequence_on_another_grid_is_shown_where_it_lies_in_the_world(tmp_path):
    labels = np.zeros(SHAPE)
    labels[10:14, 20:24, 10:14] = ED
    fine = Volume(np.kron(brain().voxels, np.ones((2, 2, 2), np.int16)), RAS @ np.array(
        [[.5, 0, 0, -.25], [0, .5, 0, -.25], [0, 0, .5, -.25], [0, 0, 0, 1]]))
    same = drawn(Study({"t1ce": brain(), "flair": brain()}), labels, tmp_path)
    other = drawn(Study({"t1ce": brain(), "flair": fine}), labels, tmp_path)
    assert same.shape == other.shape
    assert np.abs(same.astype(int) - other).mean() < 3
    shift = np.eye(4)
    shift[0, 3] = 30.0
    away = Volume(fine.voxels, shift @ fine.affine)
    lost = drawn(Study({"t1ce": brain(), "flair": away}), labels, tmp_path)
    back = drawn(Study({"t1ce": brain(), "flair": away}), labels, tmp_path, moved={"flair": shift})
    assert np.abs(same.astype(int) - lost).mean() > 3
    assert np.abs(same.astype(int) - back).mean() < 3


def test_nothing_found_gives_a_picture_of_the_middle_without_colours(tmp_path):
    picture = drawn(Study({"t1ce": brain(), "t1": brain()}), np.zeros(SHAPE), tmp_path)
    assert not any(len(places(picture, rgb)) for rgb in (RED, GREEN, BLUE))
    assert (picture.max(axis=2) > 100).mean() > 0.05


def test_an_image_of_one_slice_and_a_tumour_of_one_voxel_are_drawn(tmp_path):
    labels = np.zeros((40, 50, 1))
    labels[20, 25, 0] = ET
    study = Study({"t2": Volume(brain().voxels[:, :, 10:11], RAS), "flair": brain()})
    assert study.reference_role == "flair"
    assert len(places(drawn(Study({"t2": study.volumes["t2"]}), labels, tmp_path), BLUE))
    whole = np.zeros(SHAPE)
    whole[20, 25, 10] = ET
    assert len(places(drawn(study, whole, tmp_path), BLUE))


@pytest.mark.parametrize("roles", [("t1",), ("t1ce", "flair"), ("t1", "t2", "flair"), ROLES])
def test_a_thumbnail_shows_every_sequence_plain_and_outlined_however_many_there_are(roles, tmp_path):
    labels = np.zeros(SHAPE)
    labels[8:20, 20:32, 10:20], labels[12:16, 24:28, 15] = ED, ET
    study = Study({role: brain() for role in roles})
    draw_thumbnail(study, segmented(study, labels), tmp_path / "small.jpg")
    with Image.open(tmp_path / "small.jpg") as image:
        assert image.format == "JPEG"
        assert image.width / (len(roles) * (2 if len(roles) < 3 else 1)) >= 90 and image.width <= 400 and image.height <= 250
        pixels = np.asarray(image).astype(int)
    green = pixels[:, :, 1] - pixels[:, :, (0, 2)].max(axis=2) > 80   # as JPEG keeps it
    if len(roles) < 3:
        panels = np.array_split(green, 2 * len(roles), axis=1)
        outlined = [panel.sum() > 40 for panel in panels]
        assert outlined == [False, True] * len(roles)
    else:
        for panel in np.array_split(green, len(roles), axis=1):
            upper, lower = np.array_split(panel, 2, axis=0)
            assert (upper.sum() < 5, lower.sum() > 40) == (True, True)


def test_a_thumbnail_of_a_study_without_tumour_shows_each_sequence_once(tmp_path):
    study = Study({role: brain() for role in ROLES})
    draw_thumbnail(study, segmented(study, np.zeros(SHAPE)), tmp_path / "small.jpg")
    with Image.open(tmp_path / "small.jpg") as image:
        assert image.width > 3 * image.height
        assert (np.asarray(image.convert("L")) > 60).mean() > 0.3
        assert "exif" not in image.info


def test_the_file_holds_pixels_and_no_text(tmp_path):
    study = Study({"t1": brain()}, {"t1": "file name Name^Given_t1"})
    draw_overlay(study, segmented(study, np.zeros(SHAPE)), tmp_path / "overlay.png")
    with Image.open(tmp_path / "overlay.png") as picture:
        assert picture.info == {}
        assert picture.mode == "RGB"
    assert b"Given" not in (tmp_path / "overlay.png").read_bytes()


def test_the_legend_says_which_volumes_were_estimated_without_contrast(tmp_path, monkeypatch):
    study, legends = Study({"flair": brain()}), []
    monkeypatch.setattr("braintumorseg.overlay.draw_page", lambda *what: legends.append([entry.text for entry in what[2]]) or draw_page(*what))
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:20, 10:20, 10:20], labels[12:14, 12:14, 12:14] = ED, ET
    found = segmented(study, labels)
    draw_overlay(study, found, tmp_path / "seen.png")
    draw_overlay(study, replace(found, provenance=replace(found.provenance, missing=study.missing)), tmp_path / "guessed.png")
    assert legends == [["Dead 0.0 ml", "Swollen 35.7 ml", "Bright 0.3 ml", "Whole tumour 36.0 ml", "Tumour core 0.3 ml"],
                       ["Dead 0.0 ml *", "Swollen 35.7 ml", "Bright 0.3 ml *", "Whole tumour 36.0 ml", "Tumour core 0.3 ml *",
                        "* estimated without T1ce"]]


def test_a_page_keeps_one_scale_for_all_panels_and_wraps_its_legend():
    panels = [Panel("a", np.full((100, 100), 255, np.uint8), None, (1.0, 1.0), ("R", "L", "A", "P")),
              Panel("b", np.full((50, 25), 255, np.uint8), None, (2.0, 4.0), ("R", "L", "A", "P"))]
    short = draw_page([panels], "title", [LegendEntry("one", RED)], {})
    long = draw_page([panels], "title", [LegendEntry("a long name of a label", RED)] * 12, {})
    assert short.width == long.width
    assert long.height > short.height
    white = np.asarray(short)[:, :, 0] > 200
    across = np.flatnonzero(white[short.height // 2 + 40])
    gaps = np.flatnonzero(np.diff(across) > 5)
    first, second = across[gaps[0]] - across[0], across[-1] - across[gaps[0] + 1]
    assert first / second == pytest.approx(100 / 50, abs=0.05)
