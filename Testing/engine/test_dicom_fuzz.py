"""A part of the benchmark fuzz_dicom.py: 42 damaged folders, one of each kind of study and of damage; and its judge can say no."""

import numpy as np
import pytest

from benchmarks.fuzz_dicom import BAD, LOST, PART, REFUSED, RIGHT, STUDIES, VALUES, WRONG, damaged_folder, judge, outcome_of, truths
from braintumorseg.volume import Volume


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("study", range(len(STUDIES)), ids=list(STUDIES))
def test_damaged_folders_never_crash_and_never_come_out_at_a_wrong_place_in_silence(tmp_path, study):
    for damage in range(7):
        seed = 4200 + study + damage * len(STUDIES)
        *_, done = damaged_folder(tmp_path / str(seed), seed)
        outcome, details = outcome_of(tmp_path / str(seed), "deleted: " in done)
        assert outcome not in BAD, f"seed {seed}: {done}: {details}"


def changed(at: int, change) -> list:
    found = truths()
    found[at] = change(found[at])
    return [(one, ()) for one in found]


def moved(volume: Volume, by) -> Volume:
    affine = np.array(volume.affine)
    affine[:3, 3] += affine[:3, :3] @ by
    return Volume(volume.voxels, affine)


def swapped(volume: Volume) -> Volume:
    return volume.with_voxels(volume.voxels[:, :, [1, 0, *range(2, volume.shape[2])]])


@pytest.mark.parametrize("change, excuses, outcome", [
    (lambda volume: volume, [], RIGHT),
    (lambda volume: moved(volume, (0, 0, 1)), [], WRONG),
    (lambda volume: moved(volume, (0.2, 0, 0)), ["another series is damaged"], WRONG),
    (swapped, [], WRONG),
    (lambda volume: volume.with_voxels(volume.voxels[::-1]), [], WRONG),
    (lambda volume: Volume(volume.voxels[:, :, 2:], moved(volume, (0, 0, 2)).affine), [], LOST),
    (lambda volume: Volume(volume.voxels[:, :, 2:], moved(volume, (0, 0, 2)).affine), ["2 files are damaged"], PART),
    (lambda volume: volume.with_voxels(np.where(volume.voxels % 7 == 0, 60000, volume.voxels)), [], VALUES),
])
@pytest.mark.parametrize("at", [0, 1])
def test_the_judge_tells_outcomes_apart(at, change, excuses, outcome):
    assert judge(changed(at, change), excuses)[0] == outcome


def test_nothing_read_needs_a_reason():
    assert judge([], [])[0] == LOST and judge([], ["damaged"])[0] == REFUSED
