"""What is shown of a result, and where the views look."""

import numpy as np
import pytest
from made_up import AFFINES, affine_of, make_labels, make_transform, make_volume
from test_mrml_outlines import edit
from test_mrml_segmentation import make


@pytest.fixture
def seg(host):
    from BrainTumorSegLib import mrml_segmentation

    return mrml_segmentation


@pytest.fixture
def display(host):
    from BrainTumorSegLib import mrml_display

    return mrml_display


def test_parts_are_shown_and_hidden(seg, display):
    node = make(seg, make_volume())
    assert display.shown_labels(node) == (1, 2, 3)
    display.show_labels(node, [3])
    assert display.shown_labels(node) == (3,)
    display.set_opacity(node, 0.25)
    assert node.GetDisplayNode().GetOpacity2DFill() == pytest.approx(0.25)


def test_parts_of_a_result_that_was_hidden_as_a_whole_are_shown_again(seg, display):
    node = make(seg, make_volume())
    node.GetDisplayNode().SetVisibility(False)
    assert display.shown_labels(node) == ()
    display.show_labels(node, [])
    assert not node.GetDisplayNode().GetVisibility()
    display.show_labels(node, [1, 3])
    assert node.GetDisplayNode().GetVisibility()
    assert display.shown_labels(node) == (1, 3)


def test_one_result_is_shown_alone_and_what_the_user_drew_stays(seg, display):
    import slicer

    first, second = make(seg, make_volume()), make(seg, make_volume())
    drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
    drawn.CreateDefaultDisplayNodes()
    display.show_alone(second)
    assert [node.GetDisplayNode().GetVisibility() for node in (first, second, drawn)] == [0, 1, 1]
    display.show_alone(first)
    assert [node.GetDisplayNode().GetVisibility() for node in (first, second, drawn)] == [1, 0, 1]


def test_surfaces_are_made_one_at_a_time(seg, display):
    node = make(seg, make_volume())
    steps = list(display.make_surfaces(node))
    assert len(steps) == 3
    for name in ("Necrosis", "Edema", "Enhancing Lesion"):
        surface = node.GetSegmentation().GetSegment(name).GetRepresentation("Closed surface")
        assert surface is not None
        assert surface.GetNumberOfPoints() > 0
    display.show_surfaces(node)
    assert node.GetDisplayNode().GetVisibility3D()


def test_the_3d_view_looks_at_the_first_surfaces_of_a_volume_and_then_stays_where_the_user_turned_it(seg, display):
    import slicer

    camera = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCameraNode")
    camera.SetFocalPoint(0, 0, 0)
    camera.SetPosition(0, 500, 0)
    reference = make_volume(affine_of(origin=(100, 200, 300)))

    def middle_and_distance():
        away = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
        assert away / np.linalg.norm(away) == pytest.approx([0, 1, 0])  # from the same side
        return [*camera.GetFocalPoint()], np.linalg.norm(away)

    display.show_surfaces(make(seg, reference), False)
    assert middle_and_distance() == ([0, 0, 0], 500)
    display.show_surfaces(make(seg, reference))
    middle, distance = middle_and_distance()
    assert middle == pytest.approx([104, 205.5, 304], abs=0.6)
    radius = np.linalg.norm([5, 4, 3]) / 2
    assert distance == pytest.approx(1.5 * radius / np.sin(np.radians(15)), rel=0.4)  # the bounds may reach a voxel further
    camera.SetFocalPoint(104, 204, 304)
    camera.SetPosition(104, 250, 304)
    display.show_surfaces(make(seg, reference))
    assert middle_and_distance() == ([104, 204, 304], 46)
    display.show_surfaces(make(seg, make_volume(name="Another")))
    assert middle_and_distance()[0] == pytest.approx([4, 5.5, 4], abs=0.6)
    before = camera.GetFocalPoint()
    display.show_surfaces(make(seg, make_volume(), np.zeros((10, 14, 12), np.uint8)))
    assert camera.GetFocalPoint() == before


def views():
    import slicer

    return [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode") for _ in range(2)]


def test_slices_show_the_reference_whatever_they_showed(seg, display):
    reference, other = make_volume(), make_volume()
    pair = views()
    for view in pair:
        view.SetBackgroundVolumeID(other.GetID())
    display.show_reference(make(seg, reference))
    assert [view.GetBackgroundVolumeID() for view in pair] == [reference.GetID()] * 2


def test_slices_that_show_different_volumes_are_left_as_they_were_arranged(seg, display):
    volumes, pair = [make_volume(), make_volume()], views()
    for view, volume in zip(pair, volumes, strict=True):
        view.SetBackgroundVolumeID(volume.GetID())
    display.show_reference(make(seg, volumes[1]))
    assert [view.GetBackgroundVolumeID() for view in pair] == [volume.GetID() for volume in volumes]


def test_going_to_the_tumour_only_moves_the_slices(seg, display):
    other, pair = make_volume(), views()
    pair[0].SetBackgroundVolumeID(other.GetID())
    assert display.go_to_tumour(make(seg, make_volume()))
    assert [view.GetBackgroundVolumeID() for view in pair] == [other.GetID(), None]


def place_after_going(display, node):
    import slicer

    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    view.SetOrientation("Axial")
    assert display.go_to_tumour(node)
    return [view.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_slices_go_to_the_largest_piece_where_it_lies_now(seg, display, affine):
    reference, transform = make_volume(affine), make_transform(np.eye(4))
    reference.SetAndObserveTransformNodeID(transform.GetID())
    labels = make_labels()           # (K, J, I): 3..5, 4..7, 2..6
    labels[8, 12, 9:11] = 3          # a smaller piece
    node = make(seg, reference, labels)
    middle = affine @ [4, 5, 4, 1]   # the mean is (4, 5.5, 4)
    assert place_after_going(display, node) == pytest.approx(middle[:3])
    moved = affine_of(degrees=(5, 0, 30), origin=(20, -4, 7))
    transform.SetMatrixTransformToParent(_matrix(moved))
    assert place_after_going(display, node) == pytest.approx((moved @ middle)[:3])


def test_slices_follow_an_edit_and_stay_where_nothing_is_outlined(seg, display):
    node = make(seg, make_volume())

    def grow(array):
        array[9, 9:14, :] = 1  # 60 voxels, more than what is left

    edit(node, "Edema", lambda array: array.__setitem__((slice(3, 6), slice(4, 8), slice(2, 7)), 0))
    edit(node, "Edema", grow)
    assert place_after_going(display, node) == pytest.approx([5, 11, 9])
    assert not display.go_to_tumour(make(seg, make_volume(), np.zeros((10, 14, 12), np.uint8)))


def _matrix(array):
    import slicer

    return slicer.util.vtkMatrixFromArray(array)
