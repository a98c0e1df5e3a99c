from functools import cache

import numpy as np
import pytest

from braintumorseg import register
from braintumorseg.register import Alignment, align
from braintumorseg.resample import resample
from braintumorseg.study import Study
from braintumorseg.volume import Grid, Volume

#        air scalp skull csf brain ventricle lesion: two contrasts that no straight line joins
BRIGHT = {"t1ce": (2, 180, 15, 30, 100, 28, 190), "t2": (2, 120, 10, 280, 130, 300, 190), "flair": (2, 150, 12, 25, 120, 20, 210)}
PARTS = [  # centre and radii in mm: scalp, skull, fluid, brain, two ventricles of different size, a lesion
    ((0, 0, 0), (76, 94, 82)), ((0, 0, 0), (70, 88, 76)), ((0, 2, 2), (65, 82, 71)), ((0, 3, 3), (61, 78, 66)),
    ((-12, 8, 12), (8, 26, 12)), ((14, 2, 10), (11, 30, 14)), ((30, 35, 20), (17, 14, 12))]
LAYER = (1, 2, 3, 4, 5, 5, 6)
REFERENCE = Grid((64, 72, 60), np.array([[-3.0, 0, 0, 95], [0, 3, 0, -106], [0, 0, 3, -90], [0, 0, 0, 1]]))


def world(grid):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def head(role, grid, moved=None, brain_only=False):
    """A made-up head drawn on `grid` after its owner moved: exact at every voxel, nothing is interpolated."""
    points = world(grid)
    if moved is not None:
        points = (points - moved[:3, 3]) @ moved[:3, :3]
    x, y, z = np.moveaxis(points, -1, 0)
    image, brain = np.full(grid.shape, float(BRIGHT[role][0])), 0
    for (centre, radii), layer in zip(PARTS, LAYER, strict=True):
        distance = np.sqrt((((points - centre) / radii) ** 2).sum(-1))
        share = np.clip(0.5 + (1 - distance) * min(radii) / 3, 0, 1)
        image += share * (BRIGHT[role][layer] - image)
        brain = share if layer == 3 else brain
    folds = np.sin(x / 4.5 + np.sin(y / 7)) * np.sin(y / 5 + np.sin(z / 6)) * np.sin(z / 5.5 + np.sin(x / 8))
    image *= 1 + (0.25 if role == "t1ce" else -0.35) * folds * (image > 90)
    image *= 1 + 0.1 * x / 80
    image = np.abs(image + np.random.default_rng(len(role)).normal(size=grid.shape) * 3)
    return Volume(np.where(brain > 0.5, image, 0) if brain_only else image, grid.affine)


def motion(degrees, mm):
    """Rigid, about and along a slanted axis; `degrees` and `mm` in total."""
    axis, shift = np.array([0.48, -0.6, 0.64]), np.array([0.6, 0.64, -0.48])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    moved = np.eye(4)
    moved[:3, :3] += np.sin(np.radians(degrees)) * cross + (1 - np.cos(np.radians(degrees))) * cross @ cross
    moved[:3, 3] = mm * shift
    return moved


def slices(moved=None, spacing=(2.0, 2.0, 5.5), shape=(90, 100, 28)):
    """A grid of thick oblique slices about where the head is."""
    turned = motion(8, 0)
    affine = turned @ np.array([[spacing[0], 0, 0, 0], [0, spacing[1], 0, 0], [0, 0, spacing[2], 0], [0, 0, 0, 1.0]])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    if moved is not None:
        affine[:3, 3] += moved[:3, 3]
    return Grid(shape, affine)


def error(found, true):
    """(mean mm over the brain, degrees) between two transforms."""
    points = world(REFERENCE)
    points = points[(((points - PARTS[3][0]) / PARTS[3][1]) ** 2).sum(-1) < 1]
    mm = np.linalg.norm(points @ (found - true)[:3, :3].T + (found - true)[:3, 3], axis=1).mean()
    turn = found[:3, :3] @ true[:3, :3].T
    return mm, np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))


@pytest.fixture(scope="module")
def reference():
    return head("t1ce", REFERENCE)


def test_one_sequence_needs_no_alignment(reference):
    assert align(Study({"t1ce": reference})) == {}


def test_sequences_on_one_grid_that_lie_on_each_other_stay_where_they_are(reference):
    told = []
    found = align(Study({role: head(role, REFERENCE) for role in ("t1ce", "t2", "flair")}), progress=told.append)
    kept = (None, "same grid, and the images agree", False)
    assert {role: (a.moved, a.text, a.doubtful) for role, a in found.items()} == {"t2": kept, "flair": kept}
    assert told == [0.5, 1.0]


def test_sequences_on_one_grid_are_not_trusted_when_the_patient_moved_between_them(reference):
    true = motion(4, 6)
    found = align(Study({"t1ce": reference, "t2": head("t2", REFERENCE, true)}))["t2"]
    assert found.text.startswith("registered: ")
    assert max(error(found.moved, true)) < 1


def test_voxels_of_one_grid_stay_where_they_are_in_whatever_order_they_are_stored_and_however_many_were_cut_off(reference):
    t2, flair = head("t2", REFERENCE), head("flair", REFERENCE)
    cut = (slice(2, 62), slice(0, 72), slice(5, 55))
    shorter = Volume(t2.voxels[cut], REFERENCE.part(cut).affine)
    turned = Volume(flair.voxels[:, ::-1].transpose(2, 0, 1), flair.affine @ np.array([[0, 1, 0, 0], [0, 0, -1, 71], [1, 0, 0, 0], [0, 0, 0, 1.0]]))
    found = align(Study({"t1ce": reference, "t2": shorter, "flair": turned}))
    assert {role: (a.moved, a.text) for role, a in found.items()} == dict.fromkeys(("t2", "flair"), (None, "same grid, and the images agree"))


def test_parts_of_one_grid_that_hardly_meet_are_not_said_to_agree(reference):
    low, high = (slice(0, 64), slice(0, 72), slice(0, 28)), (slice(0, 64), slice(0, 72), slice(29, 60))
    lower = Volume(reference.voxels[low], REFERENCE.part(low).affine)
    upper = Volume(head("t2", REFERENCE).voxels[high], REFERENCE.part(high).affine)
    found = align(Study({"t1ce": lower, "t2": upper}))
    assert "agree" not in found["t2"].text


@pytest.mark.parametrize("brain_only", [False, True])
@pytest.mark.parametrize("whose", ["t1ce", "t2"])
def test_a_sequence_that_was_stored_mirrored_on_the_references_grid_is_doubtful_and_told_so(whose, brain_only):
    volumes = {role: head(role, REFERENCE, brain_only=brain_only) for role in ("t1ce", "t2")}
    volumes[whose] = volumes[whose].with_voxels(volumes[whose].voxels[::-1])
    found = align(Study(volumes))["t2"]
    assert (found.moved, found.doubtful) == (None, True)
    assert "looks mirrored left for right" in found.text


def test_a_sequence_that_was_stored_mirrored_on_its_own_grid_of_thick_slices_is_doubtful_however_the_patient_moved(reference):
    true = motion(-9, 9)
    t2 = head("t2", slices(true), true)
    found = align(Study({"t1ce": reference, "t2": t2.with_voxels(t2.voxels[::-1])}))["t2"]
    assert found.moved is None and found.doubtful
    assert "looks mirrored left for right" in found.text


def test_a_cancel_stops_in_the_middle_of_a_search(reference):
    class Stop(Exception):
        pass

    told = []

    def tell(done):
        told.append(done)
        if len(told) == 3:
            raise Stop

    with pytest.raises(Stop):
        align(Study({"t1ce": reference, "t2": head("t2", slices())}), progress=tell)
    assert told == sorted(told)
    assert told[-1] < 0.5


@cache
def aligned(role, degrees, mm):
    """What is found of a whole head that moved so, in thick slices of another sequence."""
    true = motion(degrees, mm)
    return align(Study({"t1ce": head("t1ce", REFERENCE), role: head(role, slices(true), true)}))[role]


@pytest.mark.parametrize(("role", "degrees", "mm"), [("t2", -20, 20), ("flair", 20, 20)])
def test_a_known_motion_of_a_whole_head_in_thick_slices_is_recovered(role, degrees, mm):
    true, found = motion(degrees, mm), aligned(role, degrees, mm)
    assert found.text.startswith("registered: ")
    assert not found.doubtful
    off_mm, off_degrees = error(found.moved, true)
    assert off_mm < 1
    assert off_degrees < 1
    assert np.allclose(found.moved[:3, :3] @ found.moved[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.allclose(found.moved[3], [0, 0, 0, 1])


def test_the_same_images_give_the_same_transform():
    assert np.array_equal(aligned("flair", 20, 20).moved, aligned.__wrapped__("flair", 20, 20).moved)


def test_a_known_motion_of_a_brain_on_empty_ground_is_recovered_and_brings_it_onto_the_reference():
    true = motion(-8, 9)
    brain = head("t1ce", REFERENCE, brain_only=True)
    moving = head("t2", slices(spacing=(2.0, 2.0, 4.0), shape=(100, 110, 40)), true, brain_only=True)
    found = align(Study({"t1ce": brain, "t2": moving}))["t2"]
    assert max(error(found.moved, true)) < 1
    onto = resample(moving, REFERENCE, moved=found.moved).voxels
    both = (onto > 20) & (brain.voxels > 0)
    assert 2 * both.sum() / ((onto > 20).sum() + (brain.voxels > 0).sum()) > 0.95


def test_headers_that_agree_are_kept_on_another_grid(reference):
    found = align(Study({"t1ce": reference, "t2": head("t2", slices())}))["t2"]
    assert found.moved is None
    assert found.text.startswith("headers agree: ")
    assert not found.doubtful


def test_images_that_the_headers_put_far_apart_are_brought_together_from_their_centres(reference):
    far = motion(5, 0)
    far[:3, 3] = [0, 260, -90]
    found = align(Study({"t1ce": reference, "flair": head("flair", slices(far), far)}))["flair"]
    assert max(error(found.moved, far)) < 1
    assert "side by side" in found.text


def test_images_without_a_likeness_keep_their_headers_and_are_doubtful(reference):
    noise = np.random.default_rng(0).normal(100, 10, slices().shape)
    found = align(Study({"t1ce": reference, "t2": Volume(noise, slices().affine)}))["t2"]
    assert found.moved is None
    assert found.doubtful
    assert found.text.startswith("doubtful: ")


class Alike:
    """Two images that overlap by so much, and are so much more alike where they were brought together than elsewhere, or mirrored."""

    def __init__(self, overlap=1.0, peak=10.0, mirrored=1.0):
        self.overlap = lambda found: overlap
        self.similarity = lambda found: peak if np.array_equal(found, np.eye(4)) else 1.0
        self.search = lambda found, *args, **options: found
        self.mirrored = lambda: Alike(peak=mirrored)


@pytest.mark.parametrize(("pair", "numbers", "why"), [
    (Alike(register.LEAST_OVERLAP, register.LEAST_PEAK), {}, ""),
    (Alike(), {"mm": register.LARGEST_MM + 1}, "is more than a patient makes"),
    (Alike(), {"degrees": register.LARGEST_DEGREES + 1}, "is more than a patient makes"),
    (Alike(overlap=register.LEAST_OVERLAP - 0.01), {}, "do not show the same part of the head"),
    (Alike(), {"arrivals": register.LEAST_ARRIVALS - 1}, "searches from several places end in several places"),
    (Alike(peak=register.LEAST_PEAK - 0.01), {}, "hardly more alike than when moved apart by"),
    (Alike(peak=10.0, mirrored=10.0), {}, ""),
    (Alike(peak=10.0, mirrored=10.1), {}, "looks mirrored left for right")])
def test_what_was_found_is_doubted_beyond_what_a_patient_does_and_what_the_images_tell(pair, numbers, why):
    most = {"mm": register.LARGEST_MM, "degrees": register.LARGEST_DEGREES, "arrivals": register.LEAST_ARRIVALS}
    doubt = register._doubt(pair, np.eye(4), **{**most, **numbers})
    assert why in doubt
    assert bool(doubt) == bool(why)


def test_an_alignment_is_rigid():
    with pytest.raises(ValueError, match="not a rigid"):
        Alignment(np.diag([-1.0, 1, 1, 1]), "mirrored")


def test_three_slices_are_too_few_to_compare(reference):
    thin = Grid((90, 100, 3), slices().affine)
    found = align(Study({"t1ce": reference, "t2": head("t2", thin)}))["t2"]
    assert (found.moved, found.doubtful) == (None, True)
    assert "too few slices" in found.text
