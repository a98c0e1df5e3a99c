"""Labels as a segmentation node and back: geometry, codes, colours, edits."""

import numpy as np
import pytest
from made_up import AFFINES, LABELS, affine_of, make_labels, make_report, make_transform, make_volume


@pytest.fixture
def seg(host):
    from BrainTumorSegLib import mrml_segmentation

    return mrml_segmentation


def make(seg, reference, labels=None, report=None):
    from BrainTumorSegLib.mrml_volumes import placed

    labels = make_labels(reference.GetImageData().GetDimensions()) if labels is None else labels
    with placed(reference) as (_, placement):
        return seg.make_segmentation(labels, placement, report or make_report(labels, 0.001), reference, "Tumour")


@pytest.mark.parametrize("moved", [None, affine_of(degrees=(0, 15, 40), origin=(8, -3, 20))], ids=["as it is", "under a transform"])
@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_the_result_lies_on_the_reference_voxel_by_voxel(seg, affine, moved):
    """Slicer's own export onto the volume is the oracle: the same voxels come out, at the same place."""
    import slicer

    reference, labels = make_volume(affine), make_labels()
    if moved is not None:
        reference.SetAndObserveTransformNodeID(make_transform(moved).GetID())
    node = make(seg, reference, labels)
    placement = seg.placement_of(node)
    assert placement.size == (12, 14, 10)
    assert np.abs(placement.local - affine).max() < 1e-6
    assert np.abs(placement.world - (affine if moved is None else moved @ affine)).max() < 1e-6
    assert node.GetTransformNodeID() == reference.GetTransformNodeID()
    for label in LABELS:
        array = slicer.util.arrayFromSegmentBinaryLabelmap(node, label["name"], reference)
        assert np.array_equal(array != 0, labels == label["value"]), label["name"]


def test_segments_have_names_colours_codes_and_say_automatic(seg):
    import vtk

    node = make(seg, make_volume())
    segments = node.GetSegmentation()
    assert list(segments.GetSegmentIDs()) == ["Necrosis", "Edema", "Enhancing Lesion"]
    for label in LABELS:
        segment, tag = segments.GetSegment(label["name"]), vtk.reference("")
        assert segment.GetName() == label["name"]
        assert np.allclose(segment.GetColor(), np.array(label["rgb"]) / 255)
        assert segment.GetLabelValue() == label["value"]
        assert segment.GetTag("TerminologyEntry", tag)
        _, category, kind, modifier, _, region, _ = str(tag.get()).split("~")
        assert category.startswith("SCT^49755003^")
        assert kind == f"{label['code'][1]}^{label['code'][0]}^{label['code'][2]}"
        assert modifier == "^^"
        assert region == "SCT^12738006^Brain"
        assert segment.GetTag("DICOM.SegmentAlgorithmType", tag)
        assert str(tag.get()) == "AUTOMATIC"
        assert segment.GetTag("DICOM.SegmentAlgorithmName", tag)
        assert str(tag.get()) == "BrainTumorSeg glioma 0.1.0"


def test_slicers_own_logic_knows_the_codes(seg):
    """Its Segment Editor shows and offers what its logic holds; the code of enhancing tumour is in none of Slicer's own lists."""
    import slicer

    from BrainTumorSegLib.mrml_terminology import term_of

    make(seg, make_volume())
    logic, entry = slicer.app.applicationLogic().GetModuleLogic("Terminologies"), slicer.vtkSlicerTerminologyEntry()
    category, kind = slicer.vtkSlicerTerminologyCategory(), slicer.vtkSlicerTerminologyType()
    for label in LABELS:
        assert logic.DeserializeTerminologyEntry(term_of(label["code"]), entry)
        name = entry.GetTerminologyContextName()
        assert logic.GetNumberOfCategoriesInTerminology(name) == 1
        logic.GetNthCategoryInTerminology(name, 0, category)
        known = {}
        for index in range(logic.GetNumberOfTypesInTerminologyCategory(name, category)):
            logic.GetNthTypeInTerminologyCategory(name, category, index, kind)
            known[kind.GetCodeValue(), kind.GetCodingSchemeDesignator(), kind.GetCodeMeaning()] = list(kind.GetRecommendedDisplayRGBValue())
        assert known[tuple(label["code"])] == label["rgb"]


def clone(node, name="my copy"):
    """As Data, Clone does it (vtkSlicerSubjectHierarchyModuleLogic): with attributes and content, without references."""
    import slicer

    copy = slicer.mrmlScene.AddNewNodeByClass(node.GetClassName(), name)
    copy.CreateDefaultDisplayNodes()
    copy.GetDisplayNode().CopyContent(node.GetDisplayNode())
    copy.CopyContent(node)
    copy.SetName(name)
    return copy


ROLE = "referenceImageGeometryRef"


def test_a_copy_of_a_result_finds_its_volume_with_and_without_the_one_it_was_copied_from(seg):
    import slicer

    reference = make_volume(AFFINES["anisotropic"])
    first = make(seg, reference)
    second, third = clone(first), clone(first)
    assert second.GetNodeReference(ROLE) is None
    first.SetAttribute("BrainTumorSeg.Reference", None)  # as results of earlier versions
    second.SetAttribute("BrainTumorSeg.Reference", None)
    assert seg.reference_of(second) is reference
    slicer.mrmlScene.RemoveNode(first)
    slicer.mrmlScene.RemoveNode(second)
    assert seg.reference_of(third) is reference
    assert third.GetNodeReference(ROLE) is reference


@pytest.mark.parametrize("other", ["another name", "another place", "another size"])
def test_a_volume_that_only_has_the_id_that_a_copy_remembers_is_not_its_own(seg, other):
    """IDs are given anew when scenes are merged."""
    import slicer

    reference = make_volume()
    first = make(seg, reference)
    copy = clone(first)
    slicer.mrmlScene.RemoveNode(first)
    if other == "another name":
        reference.SetName("T2")
    elif other == "another place":
        reference.SetOrigin(0, 0, 1)
    else:
        slicer.util.updateVolumeFromArray(reference, np.zeros((10, 14, 11), np.int16))
    copy.RemoveNodeReferenceIDs(ROLE)   # a panel that is open elsewhere in this process may have looked when all was well
    assert seg.reference_of(copy) is None
