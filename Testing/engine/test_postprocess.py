from dataclasses import replace

import numpy as np
import pytest

from braintumorseg.model_card import PostProcessing
from braintumorseg.postprocess import decide, onto_native
from braintumorseg.volume import Grid


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
