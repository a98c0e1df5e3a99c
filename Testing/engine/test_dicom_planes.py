"""Where the frames of a SEG lie when the headers of its source say it wrongly, unevenly or coarsely: held against dcmqi, highdicom and dciodvfy."""

from copy import deepcopy

import highdicom
import numpy as np
import pydicom
import pytest

import dicom_toys
from braintumorseg.errors import GridMismatch, OutputError
from braintumorseg.io import dicom_seg
from braintumorseg.io.dicom_grid import LPS_FROM_RAS, onto_grid, series_grid
from braintumorseg.io.dicom_seg import read_dicom_seg, write_dicom_seg
from braintumorseg.io.dicom_source import source_series
from braintumorseg.volume import Grid, Volume
from dicom_oracles import by_dcmqi, no_dciodvfy_error
from seg_toys import ABOUT, SLICES, SPACING, TABLE, axes, enhanced, mr_series, tilted, tumour


@pytest.fixture
def labels():
    return tumour(mr_series())


def measures_of(path):
    return pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]


def dcmqi_finds(path, folder, labels):
    """True when dcmqi rebuilds every segment on the voxels of `labels`."""
    masks = by_dcmqi(path, folder)
    values = [value for value in (1, 2, 3) if (labels.voxels == value).any()]
    return sorted(masks) == list(range(1, len(values) + 1)) and all(
        np.array_equal(onto_grid(masks[number], labels.grid, "mask", part=True).voxels > 0, labels.voxels == value)
        for number, value in enumerate(values, start=1))


@pytest.mark.parametrize("change", [
    {"SpacingBetweenSlices": 1.3}, {"SpacingBetweenSlices": 1.25}, {"SpacingBetweenSlices": 5.0}, {"SpacingBetweenSlices": -2.5},
    {"SpacingBetweenSlices": 0}, {"SpacingBetweenSlices": None}, {"SliceThickness": None}, {"SliceThickness": 0}, {"SliceThickness": -2.0},
    {"SliceThickness": "absent", "SpacingBetweenSlices": 1.3}], ids=str)
def test_the_slice_distance_of_a_seg_is_that_of_the_places_whatever_the_header_says(labels, tmp_path, change):
    series = mr_series()
    for one in series:
        for name, value in change.items():
            setattr(one, name, value if value != "absent" else None)
            if value == "absent":
                delattr(one, name)
    write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    said = measures_of(tmp_path / "seg.dcm")
    assert float(said.SpacingBetweenSlices) == pytest.approx(SPACING[2])
    assert float(said.SliceThickness) == (2.0 if change.get("SliceThickness") == -2.0 else pytest.approx(SPACING[2]))
    assert no_dciodvfy_error(tmp_path / "seg.dcm")
    assert highdicom.seg.segread(tmp_path / "seg.dcm").get_volume().spacing[0] == pytest.approx(SPACING[2])
    assert dcmqi_finds(tmp_path / "seg.dcm", tmp_path, labels)
    assert [one.get("SpacingBetweenSlices") for one in series] == [change.get("SpacingBetweenSlices")] * SLICES  # the source is as it was


def test_the_slice_distance_of_a_tilted_series_is_that_of_the_upright_result(tmp_path):
    series = tilted()
    for one in series:
        one.SpacingBetweenSlices = 9.9
    leaning = series_grid(series).affine
    upright = leaning.copy()
    upright[:3, 2] = axes()[2] * (-1, -1, 1) * SPACING[2]
    upright[:3, 3] = (leaning @ [0, 0, 3, 1])[:3] - 3 * upright[:3, 2]
    labels = Volume(tumour(mr_series()).voxels, upright)
    write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    assert float(measures_of(tmp_path / "seg.dcm").SpacingBetweenSlices) == pytest.approx(SPACING[2])
    assert dcmqi_finds(tmp_path / "seg.dcm", tmp_path, labels)


def test_a_multi_frame_source_with_a_wrong_slice_distance_is_placed_by_its_frames(labels, tmp_path):
    source = enhanced()
    source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = 1.3
    write_dicom_seg(labels, source_series([source]), TABLE, tmp_path / "seg.dcm", **ABOUT)
    assert dcmqi_finds(tmp_path / "seg.dcm", tmp_path, labels)
    assert source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices == 1.3


def test_a_multi_frame_source_may_say_orientation_and_measures_frame_by_frame(labels, tmp_path):
    source = enhanced()
    shared = source.SharedFunctionalGroupsSequence[0]
    for frame in source.PerFrameFunctionalGroupsSequence:
        for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
            setattr(frame, name, deepcopy(shared[name].value))
    source.SharedFunctionalGroupsSequence = [pydicom.Dataset()]
    write_dicom_seg(labels, source_series([source]), TABLE, tmp_path / "seg.dcm", **ABOUT)
    assert no_dciodvfy_error(tmp_path / "seg.dcm")
    assert dcmqi_finds(tmp_path / "seg.dcm", tmp_path, labels)


@pytest.mark.parametrize("jitter", [3e-5, 6e-5])
def test_orientations_that_differ_in_their_last_digits_carry_a_seg_with_one(labels, tmp_path, jitter):
    series, random = mr_series(), np.random.default_rng(0)
    for one in series:
        one.ImageOrientationPatient = [f"{float(c) + random.uniform(-jitter, jitter):.9f}" for c in one.ImageOrientationPatient]
    labels = Volume(labels.voxels, series_grid(series).affine)
    write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    np.testing.assert_array_equal(read_dicom_seg(tmp_path / "seg.dcm", labels.grid, TABLE).voxels, labels.voxels)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    first = next(one for one in series if one.InstanceNumber == 1)
    assert seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient == first.ImageOrientationPatient
    places = {one.SOPInstanceUID: one.ImagePositionPatient for one in series}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        source, = frame.DerivationImageSequence[0].SourceImageSequence
        assert source.SpatialLocationsPreserved == "YES"
        assert frame.PlanePositionSequence[0].ImagePositionPatient == places[source.ReferencedSOPInstanceUID]
    assert no_dciodvfy_error(tmp_path / "seg.dcm")


def rounded(step_mm, decimals, multi_frame=False, missing=(), lean=0.0):
    """(headers, labels): 20 slices, oblique, whose places have so many decimals; a tumour in slices 5 to 14."""
    turn = dicom_toys.oblique(17, 9, 0) * (-1, -1, 1)
    turn[:, 2] += lean * turn[:, 0]
    volume = dicom_toys.toy_volume(shape=(12, 10, 20), spacing=(0.5, 0.6, step_mm), turn=turn)
    headers = [dicom_toys.enhanced([volume])] if multi_frame else dicom_toys.slices_of_volume(volume)
    planes = [frame.PlanePositionSequence[0] for frame in headers[0].PerFrameFunctionalGroupsSequence] if multi_frame else headers
    for plane in planes:
        plane.ImagePositionPatient = [f"{float(mm):.{decimals}f}" for mm in plane.ImagePositionPatient]
    voxels = np.zeros(volume.shape, np.uint8)
    voxels[2:9, 3:8, 5:15] = 1
    voxels[4:6, 5, 6:9] = 3
    voxels[0, 0, 14] = 3
    return [one for k, one in enumerate(headers) if k not in missing], Volume(voxels, series_grid(headers).affine)


@pytest.mark.parametrize(("step_mm", "decimals", "more"), [
    (1.2, 2, {}), (1.0, 2, {}), (5.0, 1, {}), (5.0, 1, {"multi_frame": True}), (1.2, 2, {"multi_frame": True}), (1.2, 2, {"missing": [7]}),
    (5.0, 1, {"missing": [7]}), (5.0, 1, {"missing": [2]}), (5.0, 6, {"lean": 0.0008}), (5.0, 6, {"lean": 0.0008, "missing": [7]})], ids=str)
def test_places_that_are_coarsely_rounded_or_lean_a_little_carry_a_seg_and_are_read_back(tmp_path, step_mm, decimals, more):
    headers, labels = rounded(step_mm, decimals, **more)
    series = source_series(headers, gaps=bool(more.get("missing")))
    assert not series.tilted
    write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    np.testing.assert_array_equal(read_dicom_seg(tmp_path / "seg.dcm", labels.grid, TABLE).voxels, labels.voxels)
    canonical = labels.canonical()
    np.testing.assert_array_equal(read_dicom_seg(tmp_path / "seg.dcm", canonical.grid, TABLE).voxels, canonical.voxels)
    frames = pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence
    to_grid = np.linalg.inv(LPS_FROM_RAS @ labels.affine)
    places = {tuple(frame.PlanePositionSequence[0].ImagePositionPatient) for frame in frames}
    found = sorted([to_grid[:3] @ [*map(float, place), 1] for place in places], key=lambda at: at[2])
    np.testing.assert_allclose(found, [[0, 0, k] for k in range(5, 15)], atol=0.03)  # voxels
    assert highdicom.seg.segread(tmp_path / "seg.dcm").get_volume().spacing[0] == pytest.approx(step_mm, abs=0.01)
    if not more.get("missing"):
        sources = [item for frame in frames for item in frame.DerivationImageSequence[0].SourceImageSequence]
        assert len(sources) == len(frames) and {item.SpatialLocationsPreserved for item in sources} == {"YES"}
    masks = by_dcmqi(tmp_path / "seg.dcm", tmp_path)  # a grid of its own, upright: the voxels of ours nearest to its
    for number, value in ((1, 1), (2, 3)):
        index = np.argwhere(masks[number].voxels)
        at = np.linalg.inv(labels.affine) @ masks[number].affine @ np.vstack([index.T, np.ones(len(index))])
        assert np.abs(at[:3] - np.rint(at[:3])).max() < 0.3
        assert set(map(tuple, np.rint(at[:3]).astype(int).T.tolist())) == set(map(tuple, np.argwhere(labels.voxels == value).tolist()))


def test_a_seg_that_states_another_slice_distance_than_its_frames_never_gets_its_name(labels, tmp_path, monkeypatch):
    series = mr_series()
    for one in series:
        one.SpacingBetweenSlices = 1.3
    monkeypatch.setattr(dicom_seg, "headers_to_copy", lambda series, labels: series.headers)
    with pytest.raises(OutputError, match="did not read back"):
        write_dicom_seg(labels, series, TABLE, tmp_path / "seg.dcm", **ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_what_the_reader_says_of_our_own_file_is_no_advice_to_a_user(labels, tmp_path, monkeypatch):
    read = dicom_seg.read_dicom_seg
    monkeypatch.setattr(dicom_seg, "read_dicom_seg", lambda path, *_: read(path, Grid((3, 3, 3), np.eye(4))))
    with pytest.raises(OutputError, match=r"^seg\.dcm did not read back as it was written\.") as caught:
        write_dicom_seg(labels, mr_series(), TABLE, tmp_path / "seg.dcm", **ABOUT)
    assert isinstance(caught.value.__cause__, GridMismatch)
    assert list(tmp_path.iterdir()) == []
