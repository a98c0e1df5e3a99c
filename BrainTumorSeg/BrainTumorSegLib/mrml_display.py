"""What is shown of a result, and where the views look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import slicer
import vtk

from .mrml_outlines import label_values, outlines_of
from .mrml_segmentation import placement_of, reference_of, results
from .mrml_volumes import to_numpy, to_vtk

__all__ = ["go_to_tumour", "make_surfaces", "set_opacity", "show_alone", "show_labels", "show_reference", "show_surfaces", "shown_labels"]

_MARGIN = 1.5  # of a 3-D view about the ball around a result


def make_surfaces(node) -> Iterator[None]:
    """Make each segment's closed surface; yields after each, for one takes a noticeable part of a second."""
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    for segment_id in node.GetSegmentation().GetSegmentIDs():
        if slicer.mrmlScene.IsNodePresent(node):
            alone = slicer.vtkSegmentation()
            alone.SetSourceRepresentationName(binary)
            copy = slicer.vtkSegment()
            copy.DeepCopy(node.GetSegmentation().GetSegment(segment_id))
            alone.AddSegment(copy, segment_id)
            if alone.CreateRepresentation(surface):
                node.GetSegmentation().GetSegment(segment_id).AddRepresentation(surface, copy.GetRepresentation(surface))
        yield


def show_surfaces(node, visible: bool = True) -> None:
    """Closed surfaces in the 3-D views, which look at them unless they show another result of the same volume."""
    known = any(other.GetDisplayNode() is not None and other.GetDisplayNode().GetVisibility3D() for other in results()
                if other is not node and reference_of(other) is reference_of(node))
    if visible:
        node.CreateClosedSurfaceRepresentation()
    node.GetDisplayNode().SetVisibility3D(visible)
    if visible and not known:
        _look_at(node)


def set_opacity(node, opacity: float) -> None:
    """Of the overlay in slice views and of surfaces, 0..1."""
    display = node.GetDisplayNode()
    with slicer.util.NodeModify(display):
        display.SetOpacity2DFill(opacity)
        display.SetOpacity2DOutline(min(1.0, 2 * opacity))
        display.SetOpacity3D(max(opacity, 0.1))


def show_labels(node, values: Sequence) -> None:
    """Show exactly the segments of these label values; the user's own stay as they are."""
    display = node.GetDisplayNode()
    with slicer.util.NodeModify(display):
        for segment_id, value in label_values(node).items():
            display.SetSegmentVisibility(segment_id, value in values)
        if values:
            display.SetVisibility(True)  # the whole may have been hidden in another module


def shown_labels(node) -> tuple:
    display = node.GetDisplayNode()
    if not display.GetVisibility():
        return ()
    return tuple(value for segment_id, value in label_values(node).items() if display.GetSegmentVisibility(segment_id))


def show_alone(node) -> None:
    """Show a result and hide our others: they have the same colours, so nobody could tell them apart."""
    for other in results():
        if other.GetDisplayNode() is not None:
            other.GetDisplayNode().SetVisibility(other is node)


def show_reference(node) -> None:
    """Show the reference in the slice views (on another sequence the outlines fit only if the patient lay still), unless they show
    different volumes: so somebody arranged them."""
    reference, views = reference_of(node), slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    if reference is not None and len({view.GetBackgroundVolumeID() for view in views} - {None, ""}) < 2:
        for view in views:
            view.SetBackgroundVolumeID(reference.GetID())


def go_to_tumour(node) -> bool:
    """Move the slice views to the middle of the largest piece of the tumour, as it is outlined and where it lies now; False when there is none."""
    found = outlines_of(node)
    if not found.labels.any():
        return False
    voxel = np.add(_middle_of_the_largest_piece(found.labels), found.corner[::-1])
    place, world = placement_of(node).local @ (*voxel, 1), [0.0] * 3
    node.TransformPointToWorld(place[:3], world)
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *world, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
    return True


def _middle_of_the_largest_piece(labels: np.ndarray) -> tuple:
    """(i, j, k) of the voxel of the largest connected piece of `labels` (K, J, I) that is nearest to its mean."""
    image, pieces = vtk.vtkImageData(), vtk.vtkImageConnectivityFilter()
    image.SetDimensions(*labels.shape[::-1])
    image.GetPointData().SetScalars(to_vtk((labels != 0).astype(np.uint8)))
    pieces.SetInputData(image)
    pieces.SetScalarRange(1, 1)
    pieces.SetExtractionModeToLargestRegion()
    pieces.Update()
    places = np.argwhere(to_numpy(pieces.GetOutput()))
    k, j, i = places[np.argmin(((places - places.mean(axis=0)) ** 2).sum(axis=1))]
    return int(i), int(j), int(k)


def _look_at(node) -> None:
    """Bring a result into the middle of the 3-D views, seen from the side from which they look now; an empty one changes nothing."""
    if not outlines_of(node).labels.any():
        return
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    low, high = np.array(bounds[0::2]), np.array(bounds[1::2])
    for camera in slicer.util.getNodesByClass("vtkMRMLCameraNode"):
        away = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
        away *= _MARGIN * np.linalg.norm(high - low) / 2 / np.sin(np.radians(camera.GetViewAngle()) / 2) / max(np.linalg.norm(away), 1e-6)
        camera.SetFocalPoint((low + high) / 2)
        camera.SetPosition((low + high) / 2 + away)
        camera.ResetClippingRange()
