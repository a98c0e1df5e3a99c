"""What is outlined: voxels back out of segments, whose segments they are, and what counts as an edit."""

import numpy as np
import pytest
from made_up import AFFINES, affine_of, make_labels, make_transform, make_volume
from test_mrml_segmentation import make as make_with


@pytest.fixture
def out(host):
    from BrainTumorSegLib import mrml_outlines

    return mrml_outlines


def make(reference, labels=None):
    from BrainTumorSegLib import mrml_segmentation

    return make_with(mrml_segmentation, reference, labels)


def test_what_went_in_comes_out(out):
    labels = make_labels()
    node = make(make_volume(AFFINES["oblique"]), labels)
    assert np.array_equal(out.labels_on(node, out.label_values(node)), labels)
    assert not out.is_edited(node)
    assert out.algorithm_type(node) == "AUTOMATIC"


def test_it_survives_being_saved_and_loaded(out, tmp_path):
    import slicer

    labels = make_labels()
    reference = make_volume(AFFINES["oblique"])
    node = make(reference, labels)
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "result.seg.nrrd"))
    assert storage.WriteData(node)
    loaded = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Loaded")
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "result.seg.nrrd"))
    assert storage.ReadData(loaded)
    for name in ("BrainTumorSeg.Report", "BrainTumorSeg.Checksum"):  # the scene's file keeps a node's attributes
        loaded.SetAttribute(name, node.GetAttribute(name))
    assert np.array_equal(out.labels_on(loaded, out.label_values(loaded)), labels)
    assert not out.is_edited(loaded)


def test_an_empty_result_is_a_segmentation_without_voxels(out):
    reference = make_volume()
    empty = np.zeros((10, 14, 12), np.uint8)
    node = make(reference, empty)
    assert node.GetSegmentation().GetNumberOfSegments() == 3
    assert not out.labels_on(node, out.label_values(node)).any()
    assert not out.is_edited(node)


def edit(node, name, change):
    import slicer

    reference = node.GetNodeReference("referenceImageGeometryRef")
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, name, reference)
    change(array)
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, name, reference)


def test_an_edit_is_seen_and_makes_it_semiautomatic(out):
    import vtk

    labels = make_labels()
    node = make(make_volume(AFFINES["flipped"]), labels)
    edit(node, "Edema", lambda array: array.__setitem__((0, 0, 0), 1))
    assert out.is_edited(node)
    assert out.algorithm_type(node) == "SEMIAUTOMATIC"
    out.mark_edited(node, True)
    tag = vtk.reference("")
    node.GetSegmentation().GetSegment("Necrosis").GetTag("DICOM.SegmentAlgorithmType", tag)
    assert str(tag.get()) == "SEMIAUTOMATIC"
    expected = labels.copy()
    expected[0, 0, 0] = 2
    assert np.array_equal(out.labels_on(node, out.label_values(node)), expected)


def test_taking_an_edit_back_makes_it_automatic_again(out):
    node = make(make_volume())
    edit(node, "Edema", lambda array: array.__setitem__((0, 0, 0), 1))
    edit(node, "Edema", lambda array: array.__setitem__((0, 0, 0), 0))
    assert not out.is_edited(node)


def test_a_removed_segment_is_an_edit_and_one_of_the_users_own_is_left_out(out):
    node = make(make_volume())
    node.GetSegmentation().AddEmptySegment("Cavity", "Cavity")
    assert "Cavity" not in out.label_values(node)
    assert not out.is_edited(node)
    node.GetSegmentation().RemoveSegment("Necrosis")
    assert out.is_edited(node)
    assert out.segment_of_label(node, 1) == ""
    assert out.segment_of_label(node, 3) == "Enhancing Lesion"


def test_labels_of_another_segmentation_come_onto_the_first_ones_grid(out):
    """The second lies under a transform, on a flipped grid of the same places."""
    labels = make_labels()
    first = make(make_volume(affine_of()), labels)
    back = affine_of(origin=(3, 0, 0))
    affine = affine_of(flip=(-1, 1, 1), origin=(11 - 3, 0, 0))
    reference = make_volume(affine)
    reference.SetAndObserveTransformNodeID(make_transform(back).GetID())
    second = make(reference, np.ascontiguousarray(labels[:, :, ::-1]))
    assert np.array_equal(out.labels_on(second, out.label_values(second), grid=first), labels)


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


def test_a_segment_that_is_only_a_surface_has_its_voxels_and_stays_as_it_is(out):
    import vtk

    cube = vtk.vtkCubeSource()
    cube.SetBounds(1.5, 4.5, 2.5, 6.5, 3.5, 8.5)
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputConnection(cube.GetOutputPort())
    triangles.Update()
    node = surface_node(triangles.GetOutput())
    expected = np.zeros((10, 14, 12), np.uint8)
    expected[4:9, 3:7, 2:5] = 2
    assert np.array_equal(out.labels_on(node, {"Edema": 2}, grid=make(make_volume())), expected)
    assert node.GetSegmentation().GetSegment("Edema").GetRepresentation("Binary labelmap") is None


def test_an_empty_surface_is_an_empty_segment_and_what_cannot_be_converted_is_said(out):
    import vtk

    grid = make(make_volume())
    assert not out.labels_on(surface_node(vtk.vtkPolyData()), {"Edema": 2}, grid=grid).any()
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    with pytest.raises(ValueError, match="Edema of RTSTRUCT is a Scribble that Slicer cannot turn into voxels"):
        out.labels_on(surface_node(sphere.GetOutput(), "Scribble"), {"Edema": 2}, grid=grid)


def add(node, name, voxels, code=None):
    """A segment as Segment Editor makes one: in the shared label map, without our marks; `voxels` an index of the (K, J, I) array."""
    import slicer

    from BrainTumorSegLib.mrml_terminology import term_of

    segment_id = node.GetSegmentation().AddEmptySegment("", name)
    if code is not None:
        segment = node.GetSegmentation().GetSegment(segment_id)
        segment.SetTag(segment.GetTerminologyEntryTagName(), term_of(code))
    if voxels is not None:
        reference = node.GetNodeReference("referenceImageGeometryRef")
        array = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, reference)
        array[voxels] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segment_id, reference)
    return segment_id


@pytest.mark.parametrize("name", ["Edema_2", "edema_13", "Edema"])
def test_a_piece_that_islands_split_off_keeps_its_label_though_slicer_gives_it_no_tag(out, name):
    node = make(make_volume())
    edit(node, "Edema", lambda array: array.__setitem__((5, slice(4, 8), slice(2, 7)), 0))
    piece = add(node, name, (5, slice(4, 8), slice(2, 7)))
    assert out.label_values(node)[piece] == 2
    assert np.array_equal(out.labels_on(node, out.label_values(node)), make_labels())
    assert out.is_edited(node), "a person was at work, though the volumes are the same"
    assert out.segment_of_label(node, 2) == "Edema", "the engine's own"
    assert out.outlines_of(node).others == ()


def test_a_label_is_told_by_the_meaning_of_its_code_too_whatever_the_model_calls_it(out):
    table = [{"value": 1, "name": "Necrosis or Non-Enhancing Core", "code": ["6574001", "SCT", "Necrosis"]}]
    assert [out.label_named(name, table) for name in ("Necrosis_2", "necrosis or non-enhancing core", "Necrosis 2", "Cyst")] == [1, 1, None, None]


def test_a_code_says_what_a_segment_is_unless_segment_editor_copied_it_from_the_one_before(out):
    node = make(make_volume())
    copied = add(node, "Segment_1", (0, 0, slice(0, 3)), ("C113842", "NCIt", "Enhancing Lesion"))  # the last of ours is enhancing
    chosen = add(node, "Segment_2", (0, 1, slice(0, 3)), ("79654002", "SCT", "Edema"))
    assert copied not in out.label_values(node)
    assert out.label_values(node)[chosen] == 2
    assert out.outlines_of(node).others == (("Segment_1", 3),)


def test_a_segment_with_voxels_that_is_none_of_ours_is_an_edit_and_an_empty_one_is_not(out):
    node = make(make_volume())
    add(node, "Cavity", None)
    assert not out.is_edited(node)
    before = out.outlines_of(node).checksum
    lesion = add(node, "New lesion", (0, slice(0, 2), slice(0, 4)))
    assert out.is_edited(node)
    assert out.algorithm_type(node) == "SEMIAUTOMATIC"
    assert out.outlines_of(node).others == (("New lesion", 8),)
    assert out.outlines_of(node).checksum != before, "the table has a row for it"
    node.GetSegmentation().RemoveSegment(lesion)
    assert not out.is_edited(node)


def test_the_box_of_the_outlines_lies_where_they_lie(out):
    found = out.outlines_of(make(make_volume(AFFINES["oblique"])))
    assert found.corner == (3, 4, 2)
    assert np.array_equal(found.labels, make_labels()[3:6, 4:8, 2:7])
    empty = out.outlines_of(make(make_volume(), np.zeros((10, 14, 12), np.uint8)))
    assert empty.labels.size == 0
    assert not empty.edited


def test_every_voxel_is_looked_at_once_until_a_segment_changes(out, monkeypatch):
    looks, look = [], out._look
    monkeypatch.setattr(out, "_look", lambda node: looks.append(node) or look(node))
    node = make(make_volume())
    for _ in range(3):
        assert not out.is_edited(node)
    edit(node, "Edema", lambda array: array.__setitem__((0, 0, 0), 1))
    assert out.is_edited(node)
    out.mark_edited(node, True)
    assert out.algorithm_type(node) == "SEMIAUTOMATIC"
    assert len(looks) == 2
    node.GetSegmentation().GetSegment("Edema").SetName("Other")
    out.outlines_of(node)
    assert len(looks) == 3
