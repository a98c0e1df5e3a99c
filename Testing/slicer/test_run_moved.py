"""The volume that is segmented is moved, resampled or deformed while the engine runs."""

import numpy as np
import pytest
from made_up import AFFINES, affine_of, make_deformation, make_labels, make_transform, make_volume


def segmentations():
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def harden(node, transform):
    import slicer

    node.SetAndObserveTransformNodeID(transform.GetID())
    node.HardenTransform()
    assert slicer.mrmlScene.IsNodePresent(node)


@pytest.mark.parametrize("move", [lambda node, transform: node.SetAndObserveTransformNodeID(transform.GetID()), harden],
                         ids=["under a transform", "hardened"])
def test_a_reference_that_is_moved_while_the_engine_runs_takes_its_result_along(case, move):
    """Slicer's own export onto the volume is the oracle."""
    import slicer

    from BrainTumorSegLib import mrml_segmentation as seg
    from BrainTumorSegLib.mrml_outlines import is_edited

    reference = make_volume(AFFINES["oblique"])
    case.start(t1ce=reference)
    move(reference, make_transform(affine_of(degrees=(0, 0, 20), origin=(30, 0, 0))))
    case.finish(make_labels(), AFFINES["oblique"])
    ((outcome, node),) = case.outcomes
    assert outcome.ok
    assert node.GetTransformNodeID() == reference.GetTransformNodeID()
    assert seg.reference_of(node) is reference
    assert not is_edited(node)
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "Edema", reference) != 0, make_labels() == 2)


def test_a_reference_that_is_resampled_while_the_engine_runs_loses_its_result(case):
    import slicer

    reference = make_volume()
    case.start(t1ce=reference)
    slicer.util.updateVolumeFromArray(reference, np.ones((5, 7, 6), np.int16))
    case.finish(make_labels(), np.eye(4))
    ((outcome, node),) = case.outcomes
    assert node is None
    assert (outcome.error_kind, outcome.fix) == ("VolumeChanged", "Press Segment again.")
    assert segmentations() == []


@pytest.mark.parametrize("replaced", [True, False], ids=["other voxels", "the same, touched"])
def test_a_reference_whose_voxels_are_replaced_while_the_engine_runs_loses_its_result_and_one_that_is_touched_keeps_it(case, replaced):
    import slicer

    reference = make_volume()
    case.start(t1ce=reference)
    slicer.util.updateVolumeFromArray(reference, slicer.util.arrayFromVolume(reference) + np.int16(replaced))
    slicer.util.arrayFromVolumeModified(reference)
    reference.GetImageData().Modified()
    case.finish(make_labels(), np.eye(4))
    ((outcome, node),) = case.outcomes
    assert (node is None) == replaced
    assert outcome.error_kind == ("VolumeChanged" if replaced else "")


def deformed_volume():
    """A volume under a spline that pushes its middle, and its place as the engine gets to see it."""
    from BrainTumorSegLib.mrml_volumes import placed

    reference = make_volume(name="T1ce")
    reference.SetAndObserveTransformNodeID(make_deformation(1.0).GetID())
    with placed(reference) as (_, placement):
        return reference, placement


def test_a_deformed_reference_keeps_its_result_and_is_known_to_it(case):
    from BrainTumorSegLib import mrml_segmentation as seg
    from BrainTumorSegLib.mrml_outlines import is_edited

    reference, placement = deformed_volume()
    case.start(t1ce=reference)
    case.finish(np.ones(placement.size[::-1], np.uint8), placement.world)
    ((outcome, node),) = case.outcomes
    assert outcome.ok, outcome
    assert seg.reference_of(node) is reference
    assert not seg.lies_on_reference(node)
    assert node.GetTransformNodeID() is None
    assert np.abs(seg.placement_of(node).world - placement.world).max() < 1e-6
    assert not is_edited(node)


@pytest.mark.parametrize("deform", [lambda node: node.SetAndObserveTransformNodeID(make_deformation(-2.0).GetID()),
                                    lambda node: node.SetAndObserveTransformNodeID(None),
                                    lambda node: node.GetImageData().GetPointData().GetScalars().Fill(7)],
                         ids=["another", "none", "other voxels"])
def test_a_reference_that_is_deformed_otherwise_while_the_engine_runs_loses_its_result(case, deform):
    reference, placement = deformed_volume()
    case.start(t1ce=reference)
    deform(reference)
    case.finish(np.ones(placement.size[::-1], np.uint8), placement.world)
    ((outcome, node),) = case.outcomes
    assert node is None
    assert outcome.error_kind == "VolumeChanged"
    assert segmentations() == []
