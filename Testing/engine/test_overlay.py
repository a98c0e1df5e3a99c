"""The picture, read back pixel by pixel: right on the left, true proportions, colours that everybody tells apart, and no text in the file."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from braintumorseg.diameters import enhancing_diameters
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.measure import measure
from braintumorseg.model_card import Label
from braintumorseg.overlay import draw_overlay
from braintumorseg.overlay_page import OUTLINES, RULER, LegendEntry, Panel, draw_outlines, draw_page
from braintumorseg.segmentation import Provenance, Segmentation
from braintumorseg.sight import shown_brain
from braintumorseg.study import ROLES, Study
from braintumorseg.volume import Volume

TABLE = (Label(NCR, "Dead", ("1", "SCT", "d"), (255, 0, 0)), Label(ED, "Swollen", ("2", "SCT", "s"), (0, 255, 0)),
         Label(ET, "Bright", ("3", "SCT", "b"), (0, 0, 255)))
DEAD, SWOLLEN, BRIGHT = OUTLINES[NCR], OUTLINES[ED], OUTLINES[ET]
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
    found = places(picture, SWOLLEN)
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
    found = places(picture, SWOLLEN)
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
    assert all(len(places(quarter, rgb)) for rgb in (DEAD, SWOLLEN, BRIGHT))


def test_sequences_stand_side_by_side_and_missing_ones_are_left_out(tmp_path):
    labels = np.zeros(SHAPE)
    labels[8:20, 20:32, 10:20] = ED
    widths = []
    for roles in (ROLES, ("t1", "t2", "flair")):
        picture = drawn(Study({role: brain() for role in roles}), labels, tmp_path)
        found = places(picture, SWOLLEN)[:, 1]
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
    assert not any(len(places(picture, rgb)) for rgb in (DEAD, SWOLLEN, BRIGHT))
    assert (picture.max(axis=2) > 100).mean() > 0.05


def test_an_image_of_one_slice_and_a_tumour_of_one_voxel_are_drawn(tmp_path):
    labels = np.zeros((40, 50, 1))
    labels[20, 25, 0] = ET
    study = Study({"t2": Volume(brain().voxels[:, :, 10:11], RAS), "flair": brain()})
    assert study.reference_role == "flair"
    assert len(places(drawn(Study({"t2": study.volumes["t2"]}), labels, tmp_path), BRIGHT))
    whole = np.zeros(SHAPE)
    whole[20, 25, 10] = ET
    assert len(places(drawn(study, whole, tmp_path), BRIGHT))


@pytest.mark.parametrize("roles", [("t1",), ("t1ce", "flair"), ("t1", "t2", "flair"), ROLES])
def test_a_thumbnail_shows_every_sequence_plain_and_outlined_however_many_there_are(roles, tmp_path):
    labels = np.zeros(SHAPE)
    labels[8:20, 20:32, 10:20], labels[12:16, 24:28, 15] = ED, ET
    study = Study({role: brain() for role in roles})
    draw_overlay(study, segmented(study, labels), tmp_path / "large.png", thumbnail=tmp_path / "small.jpg")
    with Image.open(tmp_path / "small.jpg") as image:
        assert image.format == "JPEG"
        assert image.width / (len(roles) * (2 if len(roles) < 3 else 1)) >= 90 and image.width <= 400 and image.height <= 250
        pixels = np.asarray(image).astype(int)
    blue = pixels[:, :, 2] - pixels[:, :, 0] > 60   # of what is swollen, as JPEG keeps it
    if len(roles) < 3:
        panels = np.array_split(blue, 2 * len(roles), axis=1)
        outlined = [panel.sum() > 40 for panel in panels]
        assert outlined == [False, True] * len(roles)
    else:
        for panel in np.array_split(blue, len(roles), axis=1):
            upper, lower = np.array_split(panel, 2, axis=0)
            assert (upper.sum() < 5, lower.sum() > 40) == (True, True)


def test_a_thumbnail_of_a_study_without_tumour_shows_each_sequence_once(tmp_path):
    study = Study({role: brain() for role in ROLES})
    draw_overlay(study, segmented(study, np.zeros(SHAPE)), tmp_path / "large.png", thumbnail=tmp_path / "small.jpg")
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


def pages(study, segmentation, folder, monkeypatch):
    """The rows of panels of the page that is drawn, and its pixels."""
    seen = []
    monkeypatch.setattr("braintumorseg.overlay.draw_page", lambda *what: seen.append(what[0]) or draw_page(*what))
    draw_overlay(study, segmentation, folder / "overlay.png")
    return seen[-1], np.asarray(Image.open(folder / "overlay.png"))


@pytest.mark.parametrize("turned", [False, True])
def test_the_diameters_are_drawn_on_t1ce_in_the_slice_in_which_they_were_measured(tmp_path, monkeypatch, turned):
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:24, 20:40, 8:14] = ED                                      # most of the tumour, and nothing that enhances
    labels[12:16, 24:34, 18] = ET                                       # 12 x 30 mm at S +12
    labels[9:25, 21:39, 15:21][labels[9:25, 21:39, 15:21] == 0] = ED
    volumes = {role: brain() for role in ROLES}
    if turned:
        flip = np.array([[0, 0, -1.0, 39], [-1, 0, 0, 49], [0, 1, 0, 0], [0, 0, 0, 1]])
        volumes = {role: Volume(volume.voxels[::-1, ::-1].transpose(1, 2, 0), RAS @ flip) for role, volume in volumes.items()}
        labels = labels[::-1, ::-1].transpose(1, 2, 0)
    study = Study(volumes)
    segmentation = segmented(study, labels)
    measured = enhancing_diameters(segmentation.labels)
    rows, pixels = pages(study, segmentation, tmp_path, monkeypatch)
    _, outlined, coronal, sagittal = rows
    lined = [panel for row in rows for panel in row if panel.lines]
    panel, = lined
    assert panel is outlined[ROLES.index("t1ce")]
    assert panel.title == "T1ce axial\nS +12 mm"
    assert [line.text for line in panel.lines] == [f"{axis.mm:.1f} mm" for axis in (measured.long, measured.short)]
    for line, axis in zip(panel.lines, (measured.long, measured.short), strict=True):
        (x, y), (u, v) = line.ends
        assert np.hypot((x - u) * panel.pixel_mm[0], (y - v) * panel.pixel_mm[1]) == pytest.approx(axis.mm)
        along = np.linspace(line.ends[0], line.ends[1], 9)[1:-1].round().astype(int)
        assert (panel.labels[along[:, 1], along[:, 0]] == ET).all()     # the lines lie where it enhances
    assert len(places(pixels, RULER)) > 60
    assert [row[0].title for row in rows] == ["T1 axial\nS +12 mm", "T1 axial\nS +12 mm", coronal[0].title, sagittal[0].title]
    assert coronal[0].title.startswith("T1 coronal\nA ") and sagittal[0].title.startswith("T1 sagittal\nx -")


def test_without_t1ce_no_diameters_are_drawn_and_the_largest_lesion_is_shown(tmp_path, monkeypatch):
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:24, 20:40, 9] = ED
    labels[12:16, 24:34, 18] = ET
    study = Study({"flair": brain()})
    guessed = segmented(study, labels)
    rows, _ = pages(study, replace(guessed, provenance=replace(guessed.provenance, missing=study.missing)), tmp_path, monkeypatch)
    assert rows[0][0].title == "FLAIR axial\nS -24 mm"
    assert not any(panel.lines for row in rows for panel in row)


def test_both_pictures_are_made_of_one_view(tmp_path, monkeypatch):
    study, seen = Study({role: brain() for role in ROLES}), []
    monkeypatch.setattr("braintumorseg.overlay.shown_brain", lambda *what: seen.append(what) or shown_brain(*what))
    monkeypatch.setattr("braintumorseg.overlay.measure", lambda _: pytest.fail("measured though the measurements were given"))
    labels = np.zeros(SHAPE)
    labels[8:20, 20:32, 10:20] = ED
    found = segmented(study, labels)
    draw_overlay(study, found, tmp_path / "large.png", None, measure(found), thumbnail=tmp_path / "small.jpg")
    assert len(seen) == 1


# Machado 2009, https://doi.org/10.1109/TVCG.2009.113: what people without one kind of cone see, linear RGB.
CONFUSED = {"nobody": np.eye(3),
            "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
            "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]])}


def linear(rgb):
    rgb = np.array(rgb) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(light):
    xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]) @ light.clip(0, 1)
    x, y, z = (np.cbrt(part) if part > 0.008856 else 7.787 * part + 16 / 116 for part in xyz / (0.95047, 1, 1.08883))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("who", CONFUSED)
def test_people_who_confuse_colours_tell_the_outlines_apart(who):
    seen = [lab(CONFUSED[who] @ linear(rgb)) for rgb in OUTLINES.values()]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 30   # 5 for the colours that DICOM recommends


@pytest.mark.parametrize("grey", [0, 200, 255])
@pytest.mark.parametrize("label", OUTLINES)
def test_an_outline_stands_out_from_what_is_beside_it_on_dark_and_on_bright_tissue(grey, label):
    labels = np.zeros((9, 9), np.uint8)
    labels[3:6, 3:6] = label
    out = draw_outlines(np.full((9, 9, 3), grey, np.uint8), labels, OUTLINES)
    rim, beside = (linear(pixel) @ (0.2126, 0.7152, 0.0722) + 0.05 for pixel in (out[3, 4], out[2, 4]))
    assert tuple(out[3, 4]) == OUTLINES[label]
    assert max(rim, beside) / min(rim, beside) > 3                      # as WCAG counts contrast
    assert (out[1, 4] == grey).all()                                    # one pixel is dark, no more


def test_a_page_keeps_one_scale_for_all_panels_and_wraps_its_legend():
    panels = [Panel("a", np.full((100, 100), 255, np.uint8), None, (1.0, 1.0), ("R", "L", "A", "P")),
              Panel("b", np.full((50, 25), 255, np.uint8), None, (2.0, 4.0), ("R", "L", "A", "P"))]
    short = draw_page([panels], "title", [LegendEntry("one", DEAD)], {})
    long = draw_page([panels], "title", [LegendEntry("a long name of a label", DEAD)] * 12, {})
    assert short.width == long.width
    assert long.height > short.height
    white = np.asarray(short)[:, :, 0] > 200
    across = np.flatnonzero(white[short.height // 2 + 40])
    gaps = np.flatnonzero(np.diff(across) > 5)
    first, second = across[gaps[0]] - across[0], across[-1] - across[gaps[0] + 1]
    assert first / second == pytest.approx(100 / 50, abs=0.05)
