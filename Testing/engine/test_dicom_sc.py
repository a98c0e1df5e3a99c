"""The pictures as secondary capture: where they lie (SimpleITK), what they show, whose they are (dciodvfy)."""

from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from braintumorseg.errors import GridMismatch
from braintumorseg.io.dicom_sc import SC_NAME, write_dicom_sc
from braintumorseg.io.dicom_source import source_series
from braintumorseg.io.itk import from_itk
from braintumorseg.overlay_page import OUTLINES
from braintumorseg.quality import Flag
from braintumorseg.volume import Volume
from dicom_oracles import dciodvfy_errors
from seg_toys import SLICES, SPACING, TABLE, axes, image_of, mr_series, tilted, tumour

ABOUT = {"algorithm": "BrainTumorSeg toy", "version": "0.1.0"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    source = mr_series()
    labels = tumour(source)
    folder = tmp_path_factory.mktemp("sc")
    image = image_of(source, labels.affine)
    summary = write_dicom_sc(labels, image, source_series(source), TABLE, folder, **ABOUT)
    return SimpleNamespace(folder=folder, source=source, labels=labels, image=image, summary=summary,
                           pictures=[pydicom.dcmread(path) for path in summary.paths])


def test_dciodvfy_finds_no_error(written):
    for path in written.summary.paths[:2]:
        assert dciodvfy_errors(path) == []


def test_the_slices_with_tumour_and_10_mm_around_are_shown_in_order(written):
    # Tumour in slices 3 and 4 of seven, 2.5 mm apart: 4 more on either side are all there are.
    assert [path.name for path in written.summary.paths] == [SC_NAME.format(n) for n in range(1, SLICES + 1)]
    assert [picture.InstanceNumber for picture in written.pictures] == list(range(1, SLICES + 1))
    sources = [picture.SourceImageSequence[0].ReferencedSOPInstanceUID for picture in written.pictures]
    in_order = sorted(written.source, key=lambda one: one.InstanceNumber)
    assert sources == [one.SOPInstanceUID for one in in_order]
    assert {picture.SeriesInstanceUID for picture in written.pictures} == {written.summary.series_uid}
    assert len({picture.SOPInstanceUID for picture in written.pictures}) == SLICES


def test_the_pictures_lie_where_the_slices_lie(written):
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(written.folder))
    place = from_itk(sitk.VectorIndexSelectionCast(sitk.ReadImage(names), 0)).grid
    own = written.labels.grid
    assert place.size_mm == pytest.approx(own.size_mm, abs=1e-6)
    for corner in np.ndindex(2, 2, 2):  # outer corners of the boxes of voxels
        ends = [np.append(np.array(corner) * grid.shape - 0.5, 1) for grid in (place, own)]
        np.testing.assert_allclose(place.affine @ ends[0], own.affine @ ends[1], atol=1e-5)
    one = written.pictures[0]
    assert one.PixelSpacing[0] == pytest.approx(one.PixelSpacing[1], rel=0.2)  # 5 pixels become 20: coarse, and square as that allows
    assert {picture.FrameOfReferenceUID for picture in written.pictures} == {written.source[0].FrameOfReferenceUID}


def big(turned=False):
    """A 60 x 64 x 4 image with one label in a rectangle of its third slice; and its series."""
    source = [one for one in mr_series() if one.InstanceNumber <= 4]
    for one in source:
        one.Rows, one.Columns, one.PixelSpacing = 64, 60, [3.0, 3.0]
    series = source_series(source)
    voxels = np.zeros((60, 64, 4), np.uint8)
    voxels[20:40, 30:45, 2] = 3
    labels = Volume(voxels, series.grid.affine)
    image = labels.with_voxels(np.random.default_rng(0).integers(0, 1000, voxels.shape).astype(np.int16))
    return series, labels.canonical() if turned else labels, image


@pytest.mark.parametrize("turned", [False, True])
def test_outlines_are_drawn_on_their_voxels_in_the_colour_of_all_our_pictures(tmp_path, turned):
    series, labels, image = big(turned)
    summary = write_dicom_sc(labels, image, series, TABLE, tmp_path, **ABOUT)
    pixels = pydicom.dcmread(summary.paths[2]).pixel_array             # (rows, columns, RGB)
    assert pixels.shape == (256, 240, 3)                               # 4 times larger is the most
    coloured = np.argwhere((pixels == OUTLINES[3]).all(-1))
    coloured = coloured[coloured[:, 0] > 100]                          # not the legend
    assert coloured.min(axis=0).tolist() == [30 * 4, 20 * 4]
    assert coloured.max(axis=0).tolist() == [45 * 4 - 1, 40 * 4 - 1]


def test_every_picture_says_what_it_is_for_and_none_whose_it_is(written):
    for picture in written.pictures:
        assert "research use only" in picture.SeriesDescription
        assert (picture.Modality, picture.ConversionType, picture.BurnedInAnnotation) == ("OT", "WSD", "NO")
        assert picture.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert picture.PatientID == "P1"
        assert picture.PatientName == "Phantom^Ünï 脳"


def test_the_words_are_burnt_in_at_the_bottom(tmp_path):
    series, labels, image = big()
    summary = write_dicom_sc(labels, image.with_voxels(np.zeros_like(image.voxels)), series, TABLE, tmp_path, **ABOUT)
    for path in summary.paths:
        pixels = pydicom.dcmread(path).pixel_array
        assert (pixels[-30:] > 150).any()
        assert (pixels[:30] > 150).any()
        assert not pixels[190:220].any()


def drawn(folder, **about):
    """The first picture (rows, columns, RGB) of a black image, where there is nothing but the words."""
    series, labels, image = big()
    folder.mkdir()
    black = image.with_voxels(np.zeros_like(image.voxels))
    return pydicom.dcmread(write_dicom_sc(labels, black, series, TABLE, folder, **ABOUT, **about).paths[0]).pixel_array


def test_warnings_are_burnt_in_above_the_words_and_notes_are_not(tmp_path):
    warning, note = Flag("weak_sequences", "warning", "From T1 alone this network finds the whole tumour badly: do not rely on these volumes."), \
        Flag("coarse_slices", "info", "Slices are thick.")
    plain, noted = drawn(tmp_path / "plain"), drawn(tmp_path / "noted", flags=[note])
    np.testing.assert_array_equal(noted, plain)
    warned, twice = drawn(tmp_path / "one", flags=[note, warning]), drawn(tmp_path / "two", flags=[warning, warning])
    for pixels in (warned, twice):
        rows = np.flatnonzero((pixels != plain).any(axis=(1, 2)))
        assert rows.min() > 190 and rows.max() < 240                    # of 256: between the picture and the words at the bottom
        amber = np.argwhere((pixels == (255, 170, 40)).all(-1))
        assert len(amber) > 100
        assert amber[:, 1].max() < 240 - 8                              # shortened, not cut off
    assert (warned != twice).any()                                      # their number is told


def test_the_legend_says_what_is_estimated_without_t1ce(tmp_path):
    plain, guessed = drawn(tmp_path / "plain"), drawn(tmp_path / "guessed", missing=("t1ce", "t2"))
    rows = np.flatnonzero((plain != guessed).any(axis=(1, 2)))
    assert {(row - 8) // 18 for row in rows} == {1, 3}                  # a line has 18 pixels: who made it, NCR, ED, ET
    np.testing.assert_array_equal(drawn(tmp_path / "other", missing=("t1", "flair")), plain)


def test_nothing_found_writes_nothing(written, tmp_path):
    summary = write_dicom_sc(written.labels.with_voxels(np.zeros_like(written.labels.voxels)), written.image, source_series(written.source), TABLE,
                             tmp_path, **ABOUT)
    assert (summary.paths, list(tmp_path.iterdir())) == ((), [])


def test_labels_of_another_grid_are_refused(written, tmp_path):
    moved = np.eye(4)
    moved[0, 3] = 0.4
    with pytest.raises(GridMismatch):
        write_dicom_sc(Volume(written.labels.voxels, moved @ written.labels.affine), written.image, source_series(written.source), TABLE,
                       tmp_path, **ABOUT)


def test_under_a_tilted_gantry_the_pictures_are_of_the_resampled_slices(tmp_path):
    source = tilted()
    series = source_series(source)
    upright = series.grid.affine.copy()
    upright[:3, 2] = axes()[2] * (-1, -1, 1) * SPACING[2]
    labels = Volume(tumour(mr_series()).voxels, upright)
    summary = write_dicom_sc(labels, image_of(source, upright), series, TABLE, tmp_path, **ABOUT)
    pictures = [pydicom.dcmread(path) for path in summary.paths]
    assert dciodvfy_errors(summary.paths[0]) == []
    assert not any("SourceImageSequence" in picture for picture in pictures)
    steps = np.diff([picture.ImagePositionPatient for picture in pictures], axis=0)
    np.testing.assert_allclose(steps, np.tile(axes()[2] * SPACING[2], (SLICES - 1, 1)), atol=1e-6)
