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


def test_what_went_in_comes_out(seg):
    labels = make_labels()
    node = make(seg, make_volume(AFFINES["oblique"]), labels)
    assert np.array_equal(seg.labels_on(node, seg.label_values(node)), labels)
    assert not seg.is_edited(node)
    assert seg.algorithm_type(node) == "AUTOMATIC"
    assert seg.report_of(node)["model"]["name"] == "glioma"


def test_it_survives_being_saved_and_loaded(seg, tmp_path):
    import slicer

    labels = make_labels()
    reference = make_volume(AFFINES["oblique"])
    node = make(seg, reference, labels)
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "result.seg.nrrd"))
    assert storage.WriteData(node)
    loaded = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Loaded")
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "result.seg.nrrd"))
    assert storage.ReadData(loaded)
    for name in ("BrainTumorSeg.Report", "BrainTumorSeg.Checksum"):  # the scene's file keeps a node's attributes
        loaded.SetAttribute(name, node.GetAttribute(name))
    assert np.array_equal(seg.labels_on(loaded, seg.label_values(loaded)), labels)
    assert not seg.is_edited(loaded)


def test_an_empty_result_is_a_segmentation_without_voxels(seg):
    reference = make_volume()
    empty = np.zeros((10, 14, 12), np.uint8)
    node = make(seg, reference, empty)
    assert node.GetSegmentation().GetNumberOfSegments() == 3
    assert not seg.labels_on(node, seg.label_values(node)).any()
    assert not seg.is_edited(node)


def edit(node, name, change):
    import slicer

    reference = node.GetNodeReference("referenceImageGeometryRef")
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, name, reference)
    change(array)
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, name, reference)


def test_an_edit_is_seen_and_makes_it_semiautomatic(seg):
    import vtk

    labels = make_labels()
    node = make(seg, make_volume(AFFINES["flipped"]), labels)
    edit(node, "Edema", lambda array: array.__setitem__((0, 0, 0), 1))
    assert seg.is_edited(node)
    assert seg.algorithm_type(node) == "SEMIAUTOMATIC"
    seg.mark_edited(node, True)
    tag = vtk.reference("")
    node.GetSegmentation().GetSegment("Necrosis").GetTag("DICOM.SegmentAlgorithmType", tag)
    assert str(tag.get()) == "SEMIAUTOMATIC"
    expected = labels.copy()
    expected[0, 0, 0] = 2
    assert np.array_equal(seg.labels_on(node, seg.label_values(node)), expected)


def test_taking_an_edit_back_makes_it_automatic_again(seg):
    node = make(seg, make_volume())
    edit(node, "Edema", lambda array: array.__setitem__((0, 0, 0), 1))
    edit(node, "Edema", lambda array: array.__setitem__((0, 0, 0), 0))
    assert not seg.is_edited(node)


def test_a_removed_segment_is_an_edit_and_one_of_the_users_own_is_left_out(seg):
    node = make(seg, make_volume())
    node.GetSegmentation().AddEmptySegment("Cavity", "Cavity")
    assert "Cavity" not in seg.label_values(node)
    assert not seg.is_edited(node)
    node.GetSegmentation().RemoveSegment("Necrosis")
    assert seg.is_edited(node)
    assert seg.segment_of_label(node, 1) == ""
    assert seg.segment_of_label(node, 3) == "Enhancing Lesion"


def test_labels_of_another_segmentation_come_onto_the_first_ones_grid(seg):
    """The second lies under a transform, on a flipped grid of the same places."""
    labels = make_labels()
    first = make(seg, make_volume(affine_of()), labels)
    back = affine_of(origin=(3, 0, 0))
    affine = affine_of(flip=(-1, 1, 1), origin=(11 - 3, 0, 0))
    reference = make_volume(affine)
    reference.SetAndObserveTransformNodeID(make_transform(back).GetID())
    second = make(seg, reference, np.ascontiguousarray(labels[:, :, ::-1]))
    assert np.array_equal(seg.labels_on(second, seg.label_values(second), grid=first), labels)


def surface_node(shape, kind="Closed surface"):
    """A segmentation whose one segment, "Edema", has no voxels, only a form that `shape` is."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "RTSTRUCT")
    node.GetSegmentation().SetSourceRepresentationName(kind)
    segment = slicer.vtkSegment()
    segment.SetName("Edema")
    segment.AddRepresentation(kind, shape)
    node.GetSegmentation().AddSegment(segment, "Edema")
    return node


def test_a_segment_that_is_only_a_surface_has_its_voxels_and_stays_as_it_is(seg):
    import vtk

    cube = vtk.vtkCubeSource()
    cube.SetBounds(1.5, 4.5, 2.5, 6.5, 3.5, 8.5)
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputConnection(cube.GetOutputPort())
    triangles.Update()
    node = surface_node(triangles.GetOutput())
    expected = np.zeros((10, 14, 12), np.uint8)
    expected[4:9, 3:7, 2:5] = 2
    assert np.array_equal(seg.labels_on(node, {"Edema": 2}, grid=make(seg, make_volume())), expected)
    assert node.GetSegmentation().GetSegment("Edema").GetRepresentation("Binary labelmap") is None


def test_an_empty_surface_is_an_empty_segment_and_what_cannot_be_converted_is_said(seg):
    import vtk

    grid = make(seg, make_volume())
    assert not seg.labels_on(surface_node(vtk.vtkPolyData()), {"Edema": 2}, grid=grid).any()
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    with pytest.raises(ValueError, match="Edema of RTSTRUCT is a Scribble that Slicer cannot turn into voxels"):
        seg.labels_on(surface_node(sphere.GetOutput(), "Scribble"), {"Edema": 2}, grid=grid)
