from dataclasses import replace

import numpy as np
import pytest

from braintumorseg.model_card import PostProcessing
from braintumorseg.postprocess import decide, onto_native
from braintumorseg.resample import resample
from braintumorseg.volume import Grid, Volume
from dicom_toys import oblique


def masks(shape=(8, 8, 8)):
    return {region: np.zeros(shape, bool) for region in ("WT", "TC", "ET")}


def with_numbers(model, **numbers):
    return replace(model.card, post_processing=PostProcessing(**numbers))


def test_an_inner_region_counts_for_those_around_it(toy_model):
    found = masks()
    found["WT"][0], found["TC"][1], found["ET"][2] = True, True, True
    labels = decide(found, toy_model.card, 1e-3)
    assert [labels[i, 0, 0] for i in range(4)] == [2, 1, 3, 0]


def test_small_islands_go_and_large_ones_stay_whole(toy_model):
    found = masks()
    found["WT"][0:2, 0:2, 0:2] = True           # 8 voxels
    found["WT"][5:8, 5:8, 5:8] = True           # 27 voxels, core in the middle
    found["TC"][6, 6, 6] = True
    labels = decide(found, with_numbers(toy_model, smallest_lesion_ml=0.009), 1e-3)
    assert not labels[:4].any()
    assert (labels[5:, 5:, 5:] > 0).all()
    assert labels[6, 6, 6] == 1


def test_a_little_enhancement_becomes_core(toy_model):
    found = masks()
    found["ET"][0, 0, :3] = True
    assert np.unique(decide(found, with_numbers(toy_model, smallest_et_ml=0.004), 1e-3)).tolist() == [0, 1]
    assert np.unique(decide(found, with_numbers(toy_model, smallest_et_ml=0.003), 1e-3)).tolist() == [0, 3]


def test_nothing_found_gives_no_label(toy_model):
    assert not decide(masks(), toy_model.card, 1e-3).any()


@pytest.mark.parametrize("directions", ["RAS", "LPS", "SAL", "PIR"])
def test_a_working_crop_lands_where_it_came_from_in_every_orientation(toy_model, directions):
    import nibabel

    turn = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(directions))
    native = Grid((10, 12, 14), np.eye(4) @ nibabel.orientations.inv_ornt_aff(turn, (10, 12, 14)))
    spot_world = np.array([*((np.array(native.shape) - 1) // 2), 1.0])
    spot_world = native.affine @ spot_world
    low = np.floor(spot_world[:3]) - 3
    working = np.eye(4)
    working[:3, 3] = low
    probabilities = np.zeros((3, 8, 8, 8), np.float32)
    probabilities[:, 3, 3, 3] = 1
    labels = onto_native(probabilities, Grid((8, 8, 8), working), native, toy_model.card)
    assert labels.sum() == 3
    assert (native.affine @ [*np.argwhere(labels)[0], 1])[:3] == pytest.approx(spot_world[:3])


def test_on_grids_that_differ_by_flips_alone_each_voxel_is_held_against_the_cards_threshold(toy_model):
    native = Grid((8, 8, 8), np.diag([-1.0, -1, 1, 1]))
    working = np.eye(4)
    working[:2, 3] = -7
    probabilities = np.zeros((3, 8, 8, 8), np.float32)
    probabilities[0] = np.linspace(0, 1, 8, dtype=np.float32)[:, None, None]
    card = replace(toy_model.card, post_processing=PostProcessing(thresholds={"WT": float(probabilities[0, 3, 0, 0]), "TC": 0.5, "ET": 0.5}))
    labels = onto_native(probabilities, Grid((8, 8, 8), working), native, card)
    assert np.array_equal(labels[:, 0, 0] > 0, [True] * 5 + [False] * 3)   # voxels 3 to 7, the other way round


def test_probabilities_are_interpolated_so_a_border_between_two_grids_is_not_a_stair(toy_model):
    working = Grid((16, 16, 16), np.diag([2.0, 2, 2, 1]))
    ramp = np.linspace(0, 1, 16, dtype=np.float32)[:, None, None] * np.ones((1, 16, 16), np.float32)
    native = Grid((31, 31, 31), np.eye(4))
    labels = onto_native(np.stack([ramp, 0 * ramp, 0 * ramp]), working, native, toy_model.card)
    assert int(labels[:, 10, 10].argmax()) == 15  # probability 0.5 lies at 15 mm; the working grid alone would say 16


WORKING = Grid((40, 44, 36), np.array([[1, 0, 0, -20], [0, 1, 0, -22], [0, 0, 1, -18], [0, 0, 0, 1.0]]))


def native_grid(shape, spacing, tilt=(0, 0, 0), middle=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3] = oblique(*tilt) @ np.diag(spacing)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


NATIVE = {
    "0.5 mm": native_grid((90, 96, 80), (0.5, 0.5, 0.5)),
    "0.7 x 0.5 x 1.2 mm, tilted": native_grid((70, 100, 40), (0.7, 0.5, 1.2), (12, -7, 20)),
    "slices of 5 mm": native_grid((60, 60, 9), (0.8, -0.8, 5)),
    "slices of 5 mm, tilted": native_grid((60, 60, 9), (0.8, 0.8, 5), (10, 5, 0)),
    "6 mm": native_grid((8, 9, 8), (6, 6, 6)),
    "2 mm, tilted": native_grid((24, 24, 24), (2, 2, 2), (15, 0, 30)),
    "a part of the working grid": native_grid((20, 30, 12), (0.9, 0.9, 0.9), (0, 8, 3), (-12, 6, 9)),
    "as it was, flipped": native_grid((41, 45, 37), (-1, -1, 1)),
    "elsewhere": native_grid((20, 20, 20), (0.9, 0.9, 0.9), (0, 8, 3), (200, 0, 0)),
}


def blobs(seed, *places):
    """(3, 40, 44, 36) float32: balls around `places` (voxels, radius), the inner regions within the outer, with ragged borders."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in WORKING.shape), indexing="ij"), -1)
    ragged = 3 * ndimage.gaussian_filter(rng.normal(size=WORKING.shape), 1)
    inside = np.max([radius - np.linalg.norm(index - place, axis=-1) for *place, radius in places], axis=0) + ragged
    return (1 / (1 + np.exp(-np.stack([inside, inside - 2, inside - 3.5])))).astype(np.float32)


@pytest.mark.parametrize("native", NATIVE.values(), ids=NATIVE)
@pytest.mark.parametrize("places", [[(18, 20, 16, 6)], [(1, 40, 30, 7)], [(8, 9, 10, 5), (30, 32, 25, 4), (39, 43, 0, 4)], [(20, 22, 18, -30)]],
                         ids=["within", "at the border", "several", "none"])
def test_labels_are_those_of_the_whole_grid_resampled(toy_model, native, places):
    card = with_numbers(toy_model, thresholds={"WT": 0.45, "TC": 0.5, "ET": 0.6}, smallest_lesion_ml=0.05, smallest_et_ml=0.02)
    probabilities = blobs(3, *places)
    whole = {region: resample(Volume(probability, WORKING.affine), native).voxels >= card.post_processing.thresholds[region]
             for region, probability in zip(card.regions, probabilities, strict=True)}
    labels = onto_native(probabilities, WORKING, native, card)
    assert np.array_equal(labels, decide(whole, card, native.voxel_ml))
    assert labels.shape == native.shape and labels.dtype == np.uint8


def test_what_is_compared_above_holds_every_label():
    assert (blobs(3, (18, 20, 16, 6)) > 0.6).any(axis=(1, 2, 3)).all()
    assert (blobs(3, (1, 40, 30, 7))[:, 0] > 0.6).any() and (blobs(3, (20, 22, 18, -30)) < 0.45).all()


@pytest.mark.parametrize("name", ["0.5 mm", "0.7 x 0.5 x 1.2 mm, tilted"])
def test_nothing_is_resampled_but_what_the_tumour_can_reach(toy_model, monkeypatch, name):
    asked = []
    monkeypatch.setattr("braintumorseg.postprocess.resample", lambda volume, grid: asked.append(np.prod(grid.shape)) or resample(volume, grid))
    labels = onto_native(blobs(3, (18, 20, 16, 4)), WORKING, NATIVE[name], toy_model.card)
    assert 0 < np.count_nonzero(labels) < max(asked) < 0.2 * labels.size
    asked.clear()
    assert not onto_native(np.zeros((3, *WORKING.shape), np.float32), WORKING, NATIVE[name], toy_model.card).any()
    assert asked == []
