"""What `segment` takes for registered: one grid, in whatever order it is stored."""

import nibabel
import numpy as np
import pytest

from braintumorseg.errors import GridMismatch
from braintumorseg.pipeline import segment
from braintumorseg.resample import resample
from braintumorseg.study import Study
from braintumorseg.volume import Grid, Volume


def stored_anew(volume, order, flips):
    turn = np.array(list(zip(order, flips, strict=True)))
    return Volume(nibabel.apply_orientation(volume.voxels, turn), volume.affine @ nibabel.orientations.inv_ornt_aff(turn, volume.shape))


def test_registered_volumes_must_share_one_grid(toy_model, toy_study):
    study = Study({**toy_study.volumes, "flair": resample(toy_study.volumes["flair"], Grid((20, 44, 36), np.diag([-2.0, -1, 1, 1])))})
    with pytest.raises(GridMismatch, match=r"flair is 20 x 44 x 36.*t1ce is 40 x 44 x 36.*Leave out --registered"):
        segment(study, toy_model, registered=True)


def test_registered_volumes_may_be_stored_in_any_order_and_the_labels_are_the_same(toy_model, toy_study):
    whole = toy_study.volumes
    anew = {"t1": stored_anew(whole["t1"], (2, 0, 1), (-1, 1, -1)), "t2": stored_anew(whole["t2"], (0, 1, 2), (-1, -1, 1)),
            "flair": stored_anew(whole["flair"], (1, 0, 2), (1, -1, -1))}
    wanted = segment(toy_study, toy_model, registered=True).labels.voxels
    assert wanted.any()
    assert np.array_equal(segment(Study({**whole, **anew}), toy_model, registered=True).labels.voxels, wanted)


@pytest.mark.parametrize("box", [((1, 41), (0, 44), (0, 36)), ((0, 39), (0, 44), (1, 37)), ((0, 40), (43, 87), (0, 36)), ((0, 40), (0, 44), (0, 34))])
def test_registered_volumes_of_other_boxes_of_one_lattice_are_refused_for_one_header_may_have_lost_its_place(toy_model, toy_study, box):
    t1 = toy_study.volumes["t1"]
    place = t1.grid.part(tuple(slice(*side) for side in box))
    study = Study({**toy_study.volumes, "t1": Volume(t1.voxels[tuple(slice(n) for n in place.shape)], place.affine)})
    with pytest.raises(GridMismatch, match=r"one grid\. Leave out --registered"):
        segment(study, toy_model, registered=True)


def shifted(study, role, mm):
    affine = study.volumes[role].affine.copy()
    affine[0, 3] += mm
    return Study({**study.volumes, role: Volume(study.volumes[role].voxels, affine)})


def test_registered_volumes_may_lie_as_far_apart_as_headers_round(toy_model, toy_study):
    found, wanted = (segment(study, toy_model, registered=True) for study in (shifted(toy_study, "t1", 0.002), toy_study))
    assert np.array_equal(found.labels.voxels, wanted.labels.voxels)


def test_registered_volumes_that_differ_in_their_place_alone_are_refused_with_the_distance(toy_model, toy_study):
    with pytest.raises(GridMismatch, match=r"t1 and t1ce are 40 x 44 x 36 [^;]* both, and lie up to 0\.25 mm apart; .*Leave out --registered"):
        segment(shifted(toy_study, "t1", 0.25), toy_model, registered=True)
    beside = shifted(toy_study, "t1", 0.25)
    with pytest.raises(GridMismatch, match=r"t1 is 40 x 44 x 36 .*, RAS and t1ce is 40 x 44 x 36 .*, LPS, and they lie up to 0\.25 mm apart; "):
        segment(Study({**beside.volumes, "t1": beside.volumes["t1"].canonical()}), toy_model, registered=True)
