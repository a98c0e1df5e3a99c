"""The engine's labels as a segmentation node: what a segment means, where it lies, and what is known of the run. See mrml_outlines for the way back.

Everything that is known about a result hangs on its segmentation node (attributes, tags, references), so it survives saving. A copy that Slicer
makes of a node (Data, Clone) has its attributes and tags and no references: these are found again when somebody asks for them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

import numpy as np
import slicer
import vtk

from .mrml_terminology import load_terminology, term_of
from .mrml_volumes import Placement, local_matrix, parent_matrix, to_vtk

__all__ = ["AUTOMATIC", "LABEL_TAG", "SEMIAUTOMATIC", "checksum", "copies_of", "first_outlines_of", "is_ours", "lies_on_reference",
           "make_segmentation", "mark_segment", "placement_of", "put_beside", "reference_image", "reference_of", "report_of", "results", "run_of",
           "tag_of"]

AUTOMATIC, SEMIAUTOMATIC = "AUTOMATIC", "SEMIAUTOMATIC"
LABEL_TAG = "BrainTumorSeg.Label"                # on a segment: its value in the model's label table

_REPORT, _CHECKSUM = "BrainTumorSeg.Report", "BrainTumorSeg.Checksum"  # attributes of the node
_REFERENCE = "BrainTumorSeg.Reference"           # likewise: ID and name of the reference, for a copy of the node
_OWN_GRID = "BrainTumorSeg.OwnGrid"              # likewise: there when it was made on a deformed copy of the reference
_SAME_MM = 1e-3  # Slicer writes a grid with six digits into a scene
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
        segment.SetTag(LABEL_TAG, str(label["value"]))
        segment.SetTag(segment.GetTerminologyEntryTagName(), term_of(label["code"]))
        mark_segment(segment, edited=False)
        segment.SetTag(_ALGORITHM_NAME, f"BrainTumorSeg {report['model']['name']} {report['model']['version']}")
        node.GetSegmentation().AddSegment(segment, label["name"])
    node.SetAttribute(_REPORT, json.dumps(report, ensure_ascii=True))
    node.SetAttribute(_CHECKSUM, checksum(labels))
    node.GetDisplayNode().SetVisibility3D(False)
    if reference is not None:
        node.SetAttribute(_REFERENCE, _remembered(reference))
        put_beside(node, reference)
    return node


def put_beside(node, other) -> None:
    """Put a node where the other is in the subject hierarchy: under its study."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(other) if hierarchy is not None else 0
    if item:
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), hierarchy.GetItemParent(item))


def is_ours(node) -> bool:
    return node is not None and node.IsA("vtkMRMLSegmentationNode") and node.GetAttribute(_REPORT) is not None


def results() -> list:
    """All of ours in the scene, in the order in which they were made."""
    return [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if is_ours(node)]


def report_of(node) -> dict:
    """The engine's report on the run that made the node."""
    return json.loads(node.GetAttribute(_REPORT))


def run_of(node) -> str:
    """What tells the results of two runs apart, and is the same for copies of one."""
    return checksum(np.frombuffer(node.GetAttribute(_REPORT).encode("utf-8"), np.uint8))


def copies_of(node) -> list:
    """The other results of the same run in the scene."""
    return [other for other in results() if other is not node and other.GetAttribute(_REPORT) == node.GetAttribute(_REPORT)]


def reference_of(node):
    """The volume that the segmentation was made on, or None when it is gone."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    found = node.GetNodeReference(role)
    if found is None and is_ours(node):
        found = _reference_again(node, role)
        if found is not None:
            node.SetNodeReferenceID(role, found.GetID())
    return found


def lies_on_reference(node) -> bool:
    """False when its voxels are not the reference's: that lay under a deforming transform, and a copy of it was segmented."""
    return node.GetAttribute(_OWN_GRID) is None


def placement_of(node) -> Placement:
    """The reference's grid as the segmentation remembers it, whatever became of the volume."""
    image, matrix = reference_image(node), vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    local = slicer.util.arrayFromVTKMatrix(matrix)
    extent = image.GetExtent()
    local[:3, 3] += local[:3, :3] @ np.array(extent[0::2])
    size = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in range(3))
    return Placement(size, local, parent_matrix(node) @ local, node.GetTransformNodeID() or "")


def mark_segment(segment, edited: bool) -> None:
    """Write into its DICOM tag whether a person had a hand in it."""
    segment.SetTag(_ALGORITHM_TYPE, SEMIAUTOMATIC if edited else AUTOMATIC)


def first_outlines_of(node) -> str:
    """The checksum of the labels as the engine wrote them."""
    return node.GetAttribute(_CHECKSUM)


def reference_image(node):
    """An image without voxels on the node's reference grid."""
    image = slicer.vtkOrientedImageData()
    text = node.GetSegmentation().GetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName())
    if not text or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False):
        raise ValueError(f"{node.GetName()} does not know the grid of its source volume.")
    return image


def checksum(labels: np.ndarray) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(labels)):08x}"


def tag_of(segment, name: str) -> str:
    """The value of a segment's tag, '' without one; Slicer's GetTag needs a reference to write into."""
    value = vtk.reference("")
    return str(value.get()) if segment.GetTag(name, value) else ""


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
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(affine))
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
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(placement.local))
    node.GetSegmentation().SetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
                                                  slicer.vtkSegmentationConverter.SerializeImageGeometry(image))


def _remembered(volume) -> str:
    return f"{volume.GetID()} {volume.GetName()}"


def _reference_again(node, role: str):
    """The reference of a copy of a result: that of another copy, or the volume that it remembers, where that is the same one: IDs change
    when scenes are merged."""
    for other in copies_of(node):
        if other.GetNodeReference(role) is not None:
            return other.GetNodeReference(role)
    remembered = node.GetAttribute(_REFERENCE) or ""
    volume = slicer.mrmlScene.GetNodeByID(remembered.partition(" ")[0])
    if volume is None or _remembered(volume) != remembered or volume.GetImageData() is None:
        return None
    then = placement_of(node)
    same = tuple(volume.GetImageData().GetDimensions()) == then.size and np.allclose(local_matrix(volume), then.local, atol=_SAME_MM)
    return volume if same or not lies_on_reference(node) else None
