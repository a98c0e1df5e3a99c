import numpy as np
import pytest

from braintumorseg.labels import REGIONS
from braintumorseg.model_card import ModelCard, Normalisation
from braintumorseg.normalise import normalise
from braintumorseg.preprocess import prepare
from braintumorseg.study import ROLES, Study
from braintumorseg.volume import Volume
from seg_toys import TABLE

CARD = ModelCard(name="test", version="1", task="", sha256="0" * 64, roles=ROLES, may_be_missing=ROLES, spacing_mm=(1, 1, 1), size_multiple=8,
                 bytes_per_voxel=100, brain_only=True, regions=tuple(REGIONS), labels=TABLE)


def ball(shape=(40, 40, 40), affine=None, seed=0):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    inside = ((index - np.array(shape) / 2) ** 2).sum(-1) < 10**2
    voxels = np.where(inside, np.random.default_rng(seed).integers(50, 200, shape), 0).astype(np.int16)
    return Volume(voxels, np.eye(4) if affine is None else affine)


def test_values_in_the_brain_have_mean_0_and_deviation_1_and_the_rest_is_0():
    volume = ball()
    mask = volume.voxels > 0
    out = normalise(volume.voxels, mask, Normalisation())
    assert out[mask].mean() == pytest.approx(0, abs=1e-4)
    assert out[mask].std() == pytest.approx(1, abs=1e-4)
    assert not out[~mask].any()


def test_one_very_bright_vessel_does_not_change_the_rest():
    volume = ball()
    mask, bright = volume.voxels > 0, volume.voxels.astype(np.float32)
    bright[20, 20, 20] = 1e6
    change = np.abs(normalise(bright, mask, Normalisation()) - normalise(volume.voxels, mask, Normalisation()))
    change[20, 20, 20] = 0
    assert change.max() < 0.02


def test_channels_are_cropped_to_the_brain_in_the_cards_order_with_zeros_for_what_is_missing():
    ready = prepare(Study({"flair": ball(seed=1), "t1": ball(seed=2)}), CARD)
    assert ready.channels.shape == (4, 32, 32, 32)  # 19 voxels of brain, 4 of margin on each side, rounded up to a multiple of 8
    assert ready.channels[0].any()
    assert ready.channels[3].any()
    assert not ready.channels[1].any()
    assert not ready.channels[2].any()


def test_orientation_and_voxel_type_make_no_difference():
    volume = ball((40, 38, 36))
    turned = Volume(volume.voxels[::-1, :, ::-1].transpose(2, 0, 1).astype(np.float64),
                    volume.affine @ np.array([[0, -1, 0, 39], [0, 0, 1, 0], [-1, 0, 0, 35], [0, 0, 0, 1.0]]))
    straight, other = prepare(Study({"t2": volume}), CARD), prepare(Study({"t2": turned}), CARD)
    assert other.grid.same_as(straight.grid)
    assert np.array_equal(other.channels, straight.channels)


def test_a_background_that_is_not_zero_is_background_all_the_same():
    volume = ball()
    lifted = volume.with_voxels(np.where(volume.voxels > 0, volume.voxels, -1000).astype(np.int16))
    assert np.array_equal(prepare(Study({"t1": lifted}), CARD).channels, prepare(Study({"t1": volume}), CARD).channels)


def test_the_crop_lies_where_the_brain_was():
    volume = ball()
    ready = prepare(Study({"t1": volume}), CARD)
    where = np.argwhere(ready.brain).mean(0)
    assert (ready.grid.affine @ [*where, 1])[:3] == pytest.approx((volume.affine @ [*np.argwhere(volume.voxels > 0).mean(0), 1])[:3])


def test_in_a_whole_head_only_the_brain_that_was_found_is_read():
    volume = ball()
    brain = volume.with_voxels((volume.voxels > 0).astype(np.uint8))
    head = volume.with_voxels(np.where(volume.voxels > 0, volume.voxels, 700))
    assert np.array_equal(prepare(Study({"t1": head}), CARD, brain=brain).channels, prepare(Study({"t1": volume}), CARD).channels)


def test_what_lies_outside_a_sequences_field_of_view_is_0_in_its_channel():
    volume = ball()
    brain = volume.with_voxels((volume.voxels > 0).astype(np.uint8))
    low = Volume(volume.voxels[:, :, :20] + 50, volume.affine)
    ready = prepare(Study({"t1": volume, "t2": low}), CARD, brain=brain)
    cut = round(20 - (np.linalg.inv(volume.affine) @ ready.grid.affine)[2, 3])
    channel = ready.channels[ROLES.index("t2")]
    assert channel[:, :, :cut][ready.brain[:, :, :cut]].all()
    assert not channel[:, :, cut:].any()
