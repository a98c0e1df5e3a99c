"""The engine's labels as a segmentation node, and back: what a segment means, where it lies, whether it was edited.

Everything that is known about a result hangs on its segmentation node (attributes, tags, references), so it survives saving.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

import numpy as np
import slicer
import vtk

from .mrml_terminology import load_terminology, term_of
from .mrml_volumes import Placement, local_matrix, to_numpy, to_vtk

__all__ = ["AUTOMATIC", "SEMIAUTOMATIC", "algorithm_type", "first_outlines_of", "is_edited", "is_ours", "label_values", "labels_on",
           "lies_on_reference", "make_segmentation", "mark_edited", "outlines_of", "placement_of", "reference_of", "report_of", "results",
           "segment_of_label"]

AUTOMATIC, SEMIAUTOMATIC = "AUTOMATIC", "SEMIAUTOMATIC"

_LABEL_TAG = "BrainTumorSeg.Label"               # on a segment: its value in the model's label table
_REPORT, _CHECKSUM = "BrainTumorSeg.Report", "BrainTumorSeg.Checksum"  # attributes of the node
_OWN_GRID = "BrainTumorSeg.OwnGrid"              # likewise: there when it was made on a deformed copy of the reference
_ALGORITHM_TYPE, _ALGORITHM_NAME = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"  # what Slicer's DICOM export reads


def make_segmentation(labels: np.ndarray, placement: Placement, report: Mapping, reference=None, name: str = "Brain tumour"):
    """A segmentation node of `labels` (K, J, I; values of the report's label table) on the reference's grid, under its transform.

    All segments share one label map, cropped to the tumour; segments without a voxel are there too, empty. Not shown in 3-D yet.
    """
    load_terminology()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", slicer.mrmlScene.GenerateUniqueName(name))
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(placement.transform_id or None)  # before the grid: Slicer writes it as seen from the node
    _set_reference_grid(node, placement, reference)
    image = _labelmap(labels, placement.local)
    for label in report["model"]["labels"]:
        segment = slicer.vtkSegment()
        segment.SetName(label["name"])
        segment.SetColor(*(channel / 255 for channel in label["rgb"]))
        segment.AddRepresentation(_binary(), image)
        segment.SetLabelValue(int(label["value"]))
        segment.SetTag(_LABEL_TAG, str(label["value"]))
        segment.SetTag(segment.GetTerminologyEntryTagName(), term_of(label["code"]))
        segment.SetTag(_ALGORITHM_TYPE, AUTOMATIC)
        segment.SetTag(_ALGORITHM_NAME, f"BrainTumorSeg {report['model']['name']} {report['model']['version']}")
        node.GetSegmentation().AddSegment(segment, label["name"])
    node.SetAttribute(_REPORT, json.dumps(report, ensure_ascii=True))
    node.SetAttribute(_CHECKSUM, _checksum(labels))
    node.GetDisplayNode().SetVisibility3D(False)
    if reference is not None:
        _beside(node, reference)
    return node


def is_ours(node) -> bool:
    return node is not None and node.GetAttribute(_REPORT) is not None


def results() -> list:
    """All of ours in the scene, in the order in which they were made."""
    return [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if is_ours(node)]


def report_of(node) -> dict:
    """The engine's report on the run that made the node."""
    return json.loads(node.GetAttribute(_REPORT))


def reference_of(node):
    """The volume that the segmentation was made on, or None when it is gone."""
    return node.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())


def lies_on_reference(node) -> bool:
    """False when its voxels are not the reference's: that lay under a deforming transform, and a copy of it was segmented."""
    return node.GetAttribute(_OWN_GRID) is None


def placement_of(node) -> Placement:
    """The reference's grid as the segmentation remembers it, whatever became of the volume."""
    image = _reference_image(node)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    local = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])
    extent = image.GetExtent()
    local[:3, 3] += local[:3, :3] @ np.array(extent[0::2])
    parent = node.GetParentTransformNode()
    world = local
    if parent is not None and parent.IsTransformToWorldLinear():
        parent.GetMatrixTransformToWorld(matrix)
        world = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)]) @ local
    size = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in range(3))
    return Placement(size, local, world, parent.GetID() if parent is not None else "")


def label_values(node) -> dict:
    """Segment ID -> label value, for the segments that carry a label of our table; others (drawn by the user) are not in it."""
    segmentation, found = node.GetSegmentation(), {}
    for segment_id in segmentation.GetSegmentIDs():
        value = _tag(segmentation.GetSegment(segment_id), _LABEL_TAG)
        if value:
            found[segment_id] = int(value)
    return found


def segment_of_label(node, value: int) -> str:
    """The segment ID of a label value; '' when the user removed it."""
    return next((segment_id for segment_id, label in label_values(node).items() if label == value), "")


def labels_on(node, values: Mapping, grid=None) -> np.ndarray:
    """(K, J, I) uint8: the values of `values` (segment ID -> value) on the node's own reference grid, or on that of node `grid`.

    Where segments overlap the later one wins. Nearest voxels, in the world, where the grids differ. Raises ValueError for a segment that
    cannot be turned into voxels.
    """
    image = _reference_image(grid or node)
    size = image.GetDimensions()
    labels = np.zeros(size[::-1], np.uint8)
    for segment_id, value in values.items():
        binary = slicer.vtkOrientedImageData()
        segment = _with_labelmap(node, segment_id, grid or node)
        source = segment.GetRepresentation(_binary())
        if source is None or source.IsEmpty():
            continue
        _extract(source, segment.GetLabelValue(), binary)
        _into_frame(binary, node, grid or node)
        same = slicer.vtkOrientedImageDataResample.DoGeometriesMatch(binary, image)  # then only their extents differ
        if not same and not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(binary, image, binary, False):
            raise RuntimeError(f"The segment {segment.GetName()} could not be put on the reference's grid.")
        _copy_into(labels, binary, image, value)
    return labels


def is_edited(node) -> bool:
    """True when the voxels are no longer those that the engine wrote."""
    return outlines_of(node) != first_outlines_of(node) or len(label_values(node)) < len(report_of(node)["model"]["labels"])


def outlines_of(node) -> str:
    """A checksum of the labels as they are outlined now: equal ones have equal volumes."""
    return _checksum(labels_on(node, label_values(node)))


def first_outlines_of(node) -> str:
    """The checksum of the labels as the engine wrote them."""
    return node.GetAttribute(_CHECKSUM)


def mark_edited(node, edited: bool) -> None:
    """Write into every segment's DICOM tags whether a person had a hand in it."""
    for segment_id in node.GetSegmentation().GetSegmentIDs():
        node.GetSegmentation().GetSegment(segment_id).SetTag(_ALGORITHM_TYPE, SEMIAUTOMATIC if edited else AUTOMATIC)


def algorithm_type(node) -> str:
    return SEMIAUTOMATIC if is_edited(node) else AUTOMATIC


def _binary() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def _labelmap(labels: np.ndarray, affine: np.ndarray):
    """vtkOrientedImageData of the box around everything that is not 0 (one voxel of the middle when nothing is)."""
    spans = []
    for axis in range(3):  # K, J, I
        filled = np.flatnonzero(labels.any(axis=tuple(other for other in range(3) if other != axis)))
        middle = labels.shape[axis] // 2
        spans.append((filled[0], filled[-1]) if len(filled) else (middle, middle))
    (k, last_k), (j, last_j), (i, last_i) = ((int(a), int(b)) for a, b in spans)
    image = slicer.vtkOrientedImageData()
    image.SetExtent(i, last_i, j, last_j, k, last_k)
    image.GetPointData().SetScalars(to_vtk(labels[k:last_k + 1, j:last_j + 1, i:last_i + 1]))
    image.SetGeometryFromImageToWorldMatrix(_matrix(affine))
    return image


def _set_reference_grid(node, placement: Placement, reference) -> None:
    if reference is not None:
        below_the_same = (reference.GetTransformNodeID() or "") == placement.transform_id
        if below_the_same and np.allclose(local_matrix(reference), placement.local, atol=1e-9):
            node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
            return
        node.SetNodeReferenceID(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole(), reference.GetID())
        node.SetAttribute(_OWN_GRID, "yes")
    image = slicer.vtkOrientedImageData()  # of a hardened copy that is gone
    i, j, k = placement.size
    image.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
    image.SetGeometryFromImageToWorldMatrix(_matrix(placement.local))
    node.GetSegmentation().SetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
                                                  slicer.vtkSegmentationConverter.SerializeImageGeometry(image))


def _reference_image(node):
    """An image without voxels on the node's reference grid."""
    image = slicer.vtkOrientedImageData()
    text = node.GetSegmentation().GetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName())
    if not text or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False):
        raise ValueError(f"{node.GetName()} does not know the grid of its source volume.")
    return image


def _with_labelmap(node, segment_id: str, grid):
    """The segment; where it only has another form than voxels (a closed surface), a copy that has both, with voxels like those of `grid`."""
    segmentation = node.GetSegmentation()
    segment, kind = segmentation.GetSegment(segment_id), segmentation.GetSourceRepresentationName()
    shape = segment.GetRepresentation(kind) if kind else None
    if segment.GetRepresentation(_binary()) is not None or shape is None or not shape.GetNumberOfElements(vtk.vtkDataObject.POINT):
        return segment
    copy, alone, geometry = slicer.vtkSegment(), slicer.vtkSegmentation(), slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    copy.DeepCopy(segment)
    alone.SetSourceRepresentationName(kind)
    alone.AddSegment(copy, segment_id)
    alone.SetConversionParameter(geometry, grid.GetSegmentation().GetConversionParameter(geometry))
    if not alone.CreateRepresentation(_binary()):
        raise ValueError(f"The segment {segment.GetName()} of {node.GetName()} is a {kind} that Slicer cannot turn into voxels. "
                         "Make a binary labelmap of it in the module Segmentations, Representations.")
    return copy


def _extract(source, value: int, into) -> None:
    """The voxels of one label of a shared label map, as 0 and 1."""
    array = (to_numpy(source) == value).astype(np.uint8)
    into.SetExtent(source.GetExtent())
    into.GetPointData().SetScalars(to_vtk(array))
    matrix = vtk.vtkMatrix4x4()
    source.GetImageToWorldMatrix(matrix)
    into.SetGeometryFromImageToWorldMatrix(matrix)


def _into_frame(image, node, other) -> None:
    """Move an image from the frame of one segmentation node (below its transform) into that of another."""
    first, second = node.GetParentTransformNode(), other.GetParentTransformNode()
    if first is second:
        return
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(first, second, transform)
    linear = vtk.vtkTransform()
    if slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(transform, linear):
        slicer.vtkOrientedImageDataResample.TransformOrientedImage(image, linear, True)
    else:
        slicer.vtkOrientedImageDataResample.TransformOrientedImage(image, transform)


def _copy_into(labels: np.ndarray, binary, image, value: int) -> None:
    """Write `value` wherever `binary`, on the grid of `image`, is not 0; its extent may be a part of it, or reach beyond."""
    full, part = image.GetExtent(), binary.GetExtent()
    low = [max(full[2 * axis], part[2 * axis]) for axis in range(3)]
    high = [min(full[2 * axis + 1], part[2 * axis + 1]) + 1 for axis in range(3)]
    if any(a >= b for a, b in zip(low, high)):  # noqa: B905
        return
    here = tuple(slice(low[axis] - full[2 * axis], high[axis] - full[2 * axis]) for axis in (2, 1, 0))
    there = tuple(slice(low[axis] - part[2 * axis], high[axis] - part[2 * axis]) for axis in (2, 1, 0))
    labels[here][to_numpy(binary)[there] != 0] = value


def _beside(node, reference) -> None:
    """Put the node where the reference is in the subject hierarchy: under its study."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(reference) if hierarchy is not None else 0
    if item:
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), hierarchy.GetItemParent(item))


def _checksum(labels: np.ndarray) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(labels)):08x}"


def _tag(segment, name: str) -> str:
    """The value of a segment's tag, '' without one; Slicer's GetTag needs a reference to write into."""
    value = vtk.reference("")
    return str(value.get()) if segment.GetTag(name, value) else ""


def _matrix(array: np.ndarray):
    matrix = vtk.vtkMatrix4x4()
    for i in range(4):
        for j in range(4):
            matrix.SetElement(i, j, float(array[i, j]))
    return matrix
