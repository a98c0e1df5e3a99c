"""The picture of what was done to the images: read back, panel by panel."""

import numpy as np
from PIL import Image

from braintumorseg.segmentation import Provenance, Segmentation
from braintumorseg.skull_strip import StudyBrain
from braintumorseg.steps_picture import draw_steps
from braintumorseg.study import Study
from braintumorseg.volume import Volume

SHAPE = (40, 50, 30)
AFFINE = np.array([[4.0, 0, 0, -80], [0, 4, 0, -100], [0, 0, 5, -75], [0, 0, 0, 1]])
BRAIN = np.zeros(SHAPE, np.uint8)
BRAIN[8:-8, 8:-8, 6:-6] = 1
OUTLINE = (255, 190, 60)


def head(at=slice(4, -4)):
    voxels = np.random.default_rng(0).normal(3, 1, SHAPE)
    voxels[at, 4:-4, 3:-3] += 100
    return Volume(voxels, AFFINE)


def segmentation(study, moved=None, brain=True):
    return Segmentation(study.reference.with_voxels(np.zeros(SHAPE, np.uint8)), (), Provenance("made up", "1", "0" * 64, "CPU"), moved or {},
                        StudyBrain(Volume(BRAIN, AFFINE), "found in t1ce") if brain else None)


def test_there_is_nothing_to_show_for_brains_that_were_not_moved(tmp_path):
    study = Study({"t1ce": head()})
    assert not draw_steps(study, segmentation(study, brain=False), tmp_path / "steps.png")
    assert not (tmp_path / "steps.png").exists()


def test_a_brain_found_is_outlined_in_every_sequence_axial_and_sagittal(tmp_path):
    study = Study({"t1ce": head(), "flair": head()})
    assert draw_steps(study, segmentation(study), tmp_path / "steps.png")
    picture = np.asarray(Image.open(tmp_path / "steps.png").convert("RGB"))
    lines = (picture == OUTLINE).all(-1)[:-60]
    for part in np.array_split(lines, 2, axis=1):          # two sequences side by side
        for quarter in np.array_split(part, 2, axis=0):    # axial above sagittal
            assert quarter.sum() > 50


def test_a_sequence_that_was_moved_is_shown_before_and_after(tmp_path):
    moved = np.eye(4)
    moved[0, 3] = 40.0
    study = Study({"t1ce": head(), "flair": head(slice(14, 40))})
    draw_steps(study, segmentation(study), tmp_path / "one.png")
    draw_steps(study, segmentation(study, {"flair": moved}), tmp_path / "two.png")
    one, two = (np.asarray(Image.open(tmp_path / name).convert("L")).astype(float) for name in ("one.png", "two.png"))
    assert len(two) > 1.6 * len(one)
    right = two[:, two.shape[1] // 2:]
    before, after = right[30:150].mean(), right[len(right) // 2 + 30:len(right) // 2 + 150].mean()
    assert abs(before - after) > 3
