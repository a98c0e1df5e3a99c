import nibabel
import numpy as np
import pytest
from scipy import ndimage

from braintumorseg.background import Background, brain_only_mask, is_brain_only
from braintumorseg.brain import BrainFinder, find_brain, find_in_head, open_brain_finder
from braintumorseg.errors import ModelError
from braintumorseg.io.readers import read_volume
from braintumorseg.metrics import dice
from braintumorseg.model_zoo import load_model
from braintumorseg.phantom import make_phantom
from braintumorseg.pipeline import segment
from braintumorseg.preprocess import mask_onto
from braintumorseg.register import align
from braintumorseg.resample import resample
from braintumorseg.skull_strip import find_study_brain, shows_heads
from braintumorseg.study import ROLES, Study
from braintumorseg.volume import Grid, Volume


def head(background, shape=(60, 60, 60), radius=20, spacing=1.0):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    inside = ((index - np.array(shape) / 2) ** 2).sum(-1) < radius**2
    return Volume(np.where(inside, 500.0, background).astype(np.float32), np.diag([spacing, spacing, spacing, 1])), inside


@pytest.mark.parametrize("background", [0, -1000, 3.5])
def test_what_differs_from_the_corners_is_brain(background):
    volume, inside = head(background)
    assert np.array_equal(brain_only_mask(volume), inside)


def test_ripples_that_resampling_left_around_the_brain_are_background():
    volume, inside = head(0)
    ripples = np.where(inside, 500, np.random.default_rng(0).normal(0, 0.3, volume.shape))
    assert np.array_equal(brain_only_mask(volume.with_voxels(ripples.astype(np.float32))), inside)


def test_whole_numbers_of_a_dark_image_are_kept_down_to_one():
    volume, inside = head(0)
    dark = np.where(inside, np.random.default_rng(0).integers(1, 100, volume.shape), 0).astype(np.uint8)
    assert np.array_equal(brain_only_mask(volume.with_voxels(dark)), inside)


def test_noise_that_fills_the_image_and_a_head_of_three_litres_are_no_brain_that_was_cut_out():
    volume, inside = head(0)
    noise = np.where(inside, 500, np.random.default_rng(0).normal(20, 5, volume.shape))
    assert not is_brain_only(volume.with_voxels(noise))
    assert is_brain_only(head(0, spacing=3.0)[0])      # 900 ml
    assert not is_brain_only(head(0, spacing=4.5)[0])  # 3.0 l


@pytest.mark.parametrize("spacing", [3.85, 4.0])  # 1.91 l in a section of 186 cm², 2.14 l
@pytest.mark.parametrize(("radius", "alone"), [(19, True), (16, False)])  # 1.2 and 2.0 times what is shown
def test_more_than_an_ordinary_brain_shows_is_held_against_the_brain_in_it(spacing, radius, alone):
    image = head(0, spacing=spacing)[0]
    find = lambda volume: volume.with_voxels(ball(volume.shape, radius).astype(np.uint8))  # noqa: E731
    assert is_brain_only(image, find) is alone
    assert is_brain_only(image)


def test_a_section_too_wide_for_a_brain_is_held_against_it_in_each_orientation():
    index = np.stack(np.meshgrid(*(np.arange(n) for n in (60, 60, 60)), indexing="ij"), -1) - 30
    disc = (index[..., 2] >= 0) & ((index[..., 0] / 26) ** 2 + (index[..., 1] / 29) ** 2 + (index[..., 2] / 18) ** 2 < 1)  # 0.77 l, 213 cm²
    nothing = lambda volume: volume.with_voxels(np.zeros(volume.shape, np.uint8))  # noqa: E731
    for axes in ("RAS", "PSR", "LIP"):
        image = Volume(np.where(disc, 500, 0).astype(np.int16), np.diag([3.0, 3.0, 3.0, 1.0]))
        turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(np.eye(4)), nibabel.orientations.axcodes2ornt(axes))
        turned = Volume(nibabel.apply_orientation(image.voxels, turn), image.affine @ nibabel.orientations.inv_ornt_aff(turn, image.shape))
        assert turned.orientation == axes
        assert not is_brain_only(turned, nothing)
        assert is_brain_only(Volume(turned.voxels, turned.affine @ np.diag([0.95, 0.95, 0.95, 1])), nothing)  # 192 cm²: nobody is asked


def test_what_lies_in_the_corners_of_a_volume_is_looked_at_once(monkeypatch):
    volume, inside = head(0)
    seen = []
    monkeypatch.setattr("braintumorseg.background._look_into_corners", lambda image: seen.append(image) or Background(0.0, 1.0))
    for _ in range(2):
        assert np.array_equal(brain_only_mask(volume), inside)
        assert is_brain_only(volume)
    assert seen == [volume]
    brain_only_mask(volume.with_voxels(inside.astype(np.uint8) * 7))
    assert len(seen) == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_background_is_the_same_in_every_type_of_voxel(dtype):
    values = np.arange(10)
    for background in (Background(2.5, 1.5), Background(3.0, 1.2), Background(0.0, 2.0)):
        assert np.array_equal(background.shown(values.astype(dtype)), np.abs(values - background.value) > background.faintest)


class Bright:
    """A network small enough to predict by hand: brain where the normalised image exceeds a half."""

    provider = "toy"

    def run(self, channels, cancel=None):
        self.seen = channels.shape
        return (channels > 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def finder():
    """The shipped network."""
    return open_brain_finder("cpu")


@pytest.fixture(scope="module")
def toy_finder():
    return BrainFinder(load_model("brain").card, Bright())


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(4)


def noisy(voxels):
    """In noise, as a scan is: what is_brain_only takes for a whole head."""
    return (voxels + np.random.default_rng(0).uniform(1, 20, voxels.shape)).astype(np.float32)


def ball(shape, radius, at=None):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return np.sqrt(((index - (np.array(shape) / 2 if at is None else at)) ** 2).sum(-1)) < radius


def test_the_largest_piece_counts_and_its_holes_are_filled(toy_finder):
    shape = (60, 64, 58)
    brain, island = ball(shape, 20), ball(shape, 5, (6, 6, 6))
    voxels = np.where((brain & ~ball(shape, 8)) | island, 500, 0)
    image = Volume(noisy(voxels), np.diag([2.0, 2.0, 2.0, 1.0]))
    assert not is_brain_only(image)
    found = find_brain(image, toy_finder)
    assert found.voxels.dtype == np.uint8
    assert found.grid.same_as(image.grid)
    assert dice(brain, found.voxels > 0) > 0.98
    assert not found.voxels[island].any()


def test_the_network_reads_a_padded_whole_volume_of_its_own_spacing(toy_finder):
    find_brain(Volume(noisy(np.where(ball((60, 60, 30), 14), 500, 0)), np.diag([1.0, 1.0, 5.0, 1.0])), toy_finder)
    assert toy_finder.session.seen == (1, 32, 32, 80)  # 60 x 60 x 150 mm


def test_a_mask_on_finer_voxels_has_no_stairs(toy_finder):
    coarse = Volume(noisy(np.where(ball((40, 40, 40), 16), 500, 0)), np.diag([2.0, 2.0, 2.0, 1.0]))
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = -0.75
    fine = resample(coarse, Grid((160, 160, 160), affine))
    found = find_brain(fine, toy_finder).voxels > 0
    surface = found & ~ndimage.binary_erosion(found)
    radii = np.linalg.norm(np.argwhere(surface) * 0.5 - 0.75 - 40, axis=1)
    assert radii.std() < 0.5  # a copy of 2 mm voxels: 0.6


def test_without_a_head_the_mask_is_empty(finder):
    noise = np.random.default_rng(0).normal(100, 30, (100, 100, 60)).astype(np.float32)
    assert not find_brain(Volume(noise, np.diag([2.0, 2.0, 2.5, 1.0])), finder).voxels.any()


def test_a_brain_alone_is_returned_as_it_is_shown(finder):
    volume, inside = head(0, spacing=3.0)
    assert is_brain_only(volume)
    assert np.array_equal(find_brain(volume, finder).voxels > 0, inside)


@pytest.mark.parametrize("role", ROLES)
def test_the_phantoms_brain_is_found_in_every_sequence(finder, phantom, role):
    image = phantom.raw.volumes[role]
    assert not is_brain_only(image)
    found = find_brain(image, finder).voxels > 0
    assert dice(truth_on(phantom, role), found) >= 0.93
    assert ndimage.label(found)[1] == 1
    assert not (ndimage.binary_fill_holes(found) & ~found).any()


def truth_on(phantom, role):
    mask = phantom.brain_mask_t1ce
    mask = mask.with_voxels(mask.voxels.astype(np.float32))
    return resample(mask, phantom.raw.volumes[role].grid, moved=np.linalg.inv(phantom.motion[role])).voxels > 0.5


def test_a_slab_of_the_head_gives_its_part_of_the_brain(finder, phantom):
    whole, truth = phantom.raw.volumes["flair"], truth_on(phantom, "flair")
    middle = np.flatnonzero(truth.any((0, 1)))
    part = slice(int(np.percentile(middle, 45)), int(np.percentile(middle, 80)))
    affine = whole.affine.copy()
    affine[:3, 3] += affine[:3, 2] * part.start
    found = find_brain(Volume(whole.voxels[:, :, part], affine), finder).voxels > 0
    assert dice(truth[:, :, part], found) >= 0.9


@pytest.mark.parametrize("axes", ["LPS", "SAR", "PIL", "ASL", "IRP"])
def test_the_mask_is_the_same_however_the_voxels_are_stored(finder, phantom, axes):
    image = phantom.raw.volumes["t2"]
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(axes))
    turned = Volume(nibabel.apply_orientation(image.voxels, turn), image.affine @ nibabel.orientations.inv_ornt_aff(turn, image.shape))
    assert turned.orientation == axes
    one, other = find_brain(image, finder).canonical(), find_brain(turned, finder).canonical()
    assert np.allclose(one.affine, other.affine, atol=1e-4)
    assert np.count_nonzero(one.voxels != other.voxels) < 1e-4 * np.count_nonzero(one.voxels)  # rounding on the last step to the image's own grid


def in_zeroed_air(image, coverage_mm=999.0):
    """As vendors, and programs that correct or clean images, store a head: what is not head is 0. Of `coverage_mm` from the vertex down."""
    image = image.canonical()
    pieces, _ = ndimage.label(ndimage.binary_opening(image.voxels > 0.12 * np.percentile(image.voxels, 99)))
    shown = ndimage.binary_dilation(pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]))
    shown = np.stack([ndimage.binary_fill_holes(layer) for layer in np.moveaxis(shown, 2, 0)], axis=2)
    low = max(0, int(np.flatnonzero(shown.any((0, 1)))[-1] - coverage_mm / image.spacing_mm[2]))
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, 2] * low
    return Volume(np.where(shown, image.voxels, 0).astype(image.voxels.dtype)[:, :, low:], affine)


@pytest.mark.parametrize("coverage_mm", [80.0, 100.0])
def test_the_phantoms_head_in_zeroed_air_is_no_brain_that_was_cut_out(finder, phantom, coverage_mm):
    image = in_zeroed_air(phantom.raw.volumes["flair"], coverage_mm)
    assert is_brain_only(image)  # by its size
    assert not is_brain_only(image, lambda volume: find_in_head(volume, finder))
    assert np.array_equal(find_brain(image, finder).voxels, find_in_head(image, finder).voxels)


@pytest.mark.parametrize("coverage_mm", [70.0, 120.0])
def test_a_real_head_in_zeroed_air_is_no_brain_that_was_cut_out_in_any_sequence(finder, data_folder, coverage_mm):
    folder = data_folder / "healthy" / "MS-long-patient01-study2"
    if not folder.is_dir():
        pytest.skip(f"the real head is absent: {folder}")
    study = Study({role: in_zeroed_air(read_volume(folder / f"{role}.nii.gz"), coverage_mm) for role in ("t1", "t2", "flair")})
    assert "flair" not in shows_heads(study)  # by its size: it would have decided for the others
    assert shows_heads(study, lambda volume: find_in_head(volume, finder)) == ("t1", "t2", "flair")


def test_no_real_brain_that_was_cut_out_is_so_large_that_the_network_must_be_asked(data_folder):
    def asked(volume):
        raise AssertionError(f"{folder.name} is not of an ordinary brain's size")

    for number, folder in enumerate(sorted((data_folder / "cases").iterdir())):
        role = ROLES[number % 4]  # they differ little within a case
        assert is_brain_only(read_volume(folder / f"{role}.nii.gz"), asked), (folder.name, role)


@pytest.mark.parametrize("case", ["BraTS2021_01482", "Brats18_TCIA10_639_1"])  # the largest, and one that shows most beside what is found
def test_real_brains_that_were_cut_out_pass_even_where_the_network_is_asked(finder, data_folder, case):
    for role in ROLES:
        image = read_volume(data_folder / "cases" / case / f"{role}.nii.gz")
        assert is_brain_only(image, lambda volume: find_in_head(volume, finder), doubted=True), role


def test_all_sequences_together_find_the_brain_on_the_references_grid(finder, phantom):
    mask = phantom.brain_mask_t1ce
    together = find_study_brain(phantom.raw, ROLES, lambda image: find_brain(image, finder), phantom.motion)
    assert dice(mask.voxels > 0, together.mask.voxels > 0) >= 0.94


def test_a_real_head_agrees_with_hd_bet_in_each_of_its_sequences(finder, data_folder):
    folder = data_folder / "raw" / "TCGA-FG-6692"
    if not folder.is_dir():
        pytest.skip(f"the real head is absent: {folder}")
    study = Study({role: read_volume(folder / f"{role}.nii.gz") for role in ROLES})
    mask, alignments = read_volume(folder / "brainmask_t1ce_native.nii.gz"), align(study)
    scores = {}
    for role, image in study.volumes.items():
        moved = alignments[role].moved if role in alignments else None
        truth = mask_onto(mask, image.grid, None if moved is None else np.linalg.inv(moved))
        scores[role] = dice(truth, find_brain(image, finder).voxels > 0)
    assert min(scores.values()) >= 0.95, scores


@pytest.mark.parametrize("case", ["BraTS2021_01481", "Brats18_TCIA01_201_1"])
def test_real_brains_that_were_cut_out_are_returned_whole(finder, data_folder, case):
    for role in ROLES:
        image = read_volume(data_folder / "cases" / case / f"{role}.nii.gz")
        shown, found = image.voxels != image.voxels[0, 0, 0], find_brain(image, finder).voxels > 0
        assert found[shown].mean() > 0.999, role
        assert found.sum() < 1.01 * shown.sum(), role


def test_the_network_that_finds_the_brain_segments_no_tumour(toy_study):
    with pytest.raises(ModelError, match="brain finds the brain, not tumours"):
        segment(toy_study, load_model("brain"))
