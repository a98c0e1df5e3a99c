"""Volume nodes seen from the engine: what they are, where their voxels lie, and their way into a file.

World is Slicer's: RAS, mm, with every parent transform applied. Arrays are (K, J, I), as slicer.util gives them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

__all__ = ["Placement", "VolumeFacts", "examine", "local_matrix", "parent_matrix", "placed", "placement_now", "to_numpy", "to_vtk", "voxels",
           "world_matrix", "write_nrrd"]

_CHUNK_BYTES = 8 << 20  # written at a time: a few ms, so that the window stays alive between them
_STILL_MM = 0.01        # what did not move; transforms that are inverted by iteration do not give the same to the last digit
_SHEAR = 1e-3           # cosine between two voxel axes; rounding gives 1e-6
_NRRD_TYPES = {"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32", "i8": "int64", "u8": "uint64",
               "f4": "float", "f8": "double"}


@dataclass(frozen=True)
class VolumeFacts:
    """What a chosen node is, as far as it decides whether it can be segmented. `size` counts voxels along I, J, K."""

    node_id: str
    kind: str                    # 'scalar', 'labelmap', or the class for anything else
    size: tuple                  # (0, 0, 0) without voxels
    components: int              # values a voxel
    time_series: bool = False    # shows one item of a sequence
    sheared: bool = False        # its axes are not perpendicular in the world
    patient: str = ""            # tells patients apart; never shown
    study: str = ""              # likewise for examinations


@dataclass(frozen=True)
class Placement:
    """Where a result goes: the grid of the reference (size along I, J, K and voxel-to-RAS below its transform), and that transform."""

    size: tuple
    local: np.ndarray            # (4, 4)
    world: np.ndarray            # (4, 4)
    transform_id: str = ""       # '' when the node has none, or a deforming one that was hardened
    deformed: np.ndarray | None = None  # (27, 3) where a deforming one put corners, edges and middles of the volume in the world
    checksum: int | None = None         # of the node's voxels; their times of change tell nothing, for Slicer renews them for any reason


def examine(node, patient: str = "", study: str = "") -> VolumeFacts:
    """The facts about a volume node; identities come from the caller, who knows the DICOM database."""
    image = node.GetImageData()
    size = image.GetDimensions() if image is not None else (0, 0, 0)
    components = image.GetNumberOfScalarComponents() if image is not None and image.GetPointData().GetScalars() is not None else 0
    if min(size) < 1 or not components:
        size = (0, 0, 0)
    kinds = {"vtkMRMLScalarVolumeNode": "scalar", "vtkMRMLLabelMapVolumeNode": "labelmap"}
    axes = world_matrix(node)[:3, :3]
    axes = axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-12)
    return VolumeFacts(node.GetID(), kinds.get(node.GetClassName(), node.GetClassName()), tuple(size), components,
                       _is_time_series(node), bool(np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR), patient, study)


def _is_time_series(node) -> bool:
    """True for the node that shows the items of a sequence of several images one after the other."""
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode") if node.GetScene() is slicer.mrmlScene else ():
        sequence = browser.GetSequenceNode(node)
        if sequence is not None and sequence.GetNumberOfDataNodes() > 1:
            return True
    return False


def local_matrix(node) -> np.ndarray:
    """(4, 4) voxel index to RAS of a volume node, its parent transform left aside."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    found = slicer.util.arrayFromVTKMatrix(matrix)
    extent = node.GetImageData().GetExtent() if node.GetImageData() is not None else (0,) * 6
    found[:3, 3] += found[:3, :3] @ np.array(extent[0::2])  # arrays count from the first voxel, whatever its number
    return found


def world_matrix(node) -> np.ndarray:
    """(4, 4) voxel index to world; only the linear part counts where a parent transform deforms (see `placed`)."""
    return parent_matrix(node) @ local_matrix(node)


def parent_matrix(node) -> np.ndarray:
    """(4, 4) of a node's parent transform to the world; that of no transform where there is none, or one that deforms."""
    parent, matrix = node.GetParentTransformNode(), vtk.vtkMatrix4x4()
    if parent is not None and parent.IsTransformToWorldLinear():
        parent.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def voxels(node) -> np.ndarray:
    """(K, J, I) the node's own voxels, not a copy."""
    image = node.GetImageData()
    return to_numpy(image)


def to_numpy(image) -> np.ndarray:
    """(K, J, I) the voxels of a vtkImageData with one value a voxel, not a copy."""
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def to_vtk(array: np.ndarray):
    """The voxels (K, J, I) as a vtkDataArray that owns them."""
    return numpy_support.numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True)


@contextmanager
def placed(node) -> Iterator[tuple]:
    """(node, Placement) with every parent transform accounted for: a linear one through the matrix, a deforming one by resampling a copy.

    The copy leaves the scene at the end; the user's node is never changed.
    """
    parent = node.GetParentTransformNode()
    if parent is None or parent.IsTransformToWorldLinear():
        yield node, replace(_placement(node, parent.GetID() if parent is not None else ""), checksum=_checksum(node))
        return
    copy = slicer.mrmlScene.AddNewNodeByClass(node.GetClassName(), "BrainTumorSeg hardened copy")
    try:
        copy.SetHideFromEditors(True)
        image = vtk.vtkImageData()
        image.DeepCopy(node.GetImageData())
        copy.SetAndObserveImageData(image)
        copy.CopyOrientation(node)
        copy.SetAndObserveTransformNodeID(parent.GetID())
        copy.HardenTransform()
        yield copy, replace(_placement(copy, ""), deformed=_deformed(node), checksum=_checksum(node))
    finally:
        if slicer.mrmlScene.IsNodePresent(copy):  # the scene may have been closed meanwhile
            slicer.mrmlScene.RemoveNode(copy)


def placement_now(node, then: Placement) -> Placement | None:
    """Where a result that was computed on `node` while it lay as `then` belongs now: on the same voxels, wherever they were moved.

    None when it belongs nowhere: the node has other voxels, or another deformation than then.
    """
    if then.deformed is not None:
        still = np.allclose(_deformed(node), then.deformed, atol=_STILL_MM)
    else:
        still = node.GetImageData() is not None and tuple(node.GetImageData().GetDimensions()) == then.size
    if not still or _checksum(node) != then.checksum:
        return None
    return then if then.deformed is not None else replace(_placement(node, node.GetTransformNodeID() or ""), checksum=then.checksum)


def write_nrrd(node, path: Path) -> Iterator[float]:
    """Write a volume node as it lies in the world; yields the share done, 0..1, after every few MB.

    By hand, for the header then holds the geometry to the last digit, and nothing of the node but its voxels. Raises OSError.
    """
    array, affine = np.ascontiguousarray(voxels(node)), world_matrix(node)
    directions = np.diag([-1.0, -1, 1, 1]) @ affine  # RAS to LPS
    vector = "({:.17g},{:.17g},{:.17g})".format
    kind = array.dtype.newbyteorder("<")
    header = ["NRRD0004", f"type: {_NRRD_TYPES[array.dtype.str[1:]]}", "dimension: 3", "space: left-posterior-superior",
              "sizes: " + " ".join(str(n) for n in array.shape[::-1]),
              "space directions: " + " ".join(vector(*directions[:3, axis]) for axis in range(3)),
              "kinds: domain domain domain", "endian: little", "encoding: raw", "space origin: " + vector(*directions[:3, 3])]
    data = memoryview(array.astype(kind, copy=False).reshape(-1).view(np.uint8))
    with path.open("wb") as file:
        file.write(("\n".join(header) + "\n\n").encode("ascii"))
        for start in range(0, len(data), _CHUNK_BYTES):
            file.write(data[start:start + _CHUNK_BYTES])
            yield min(1.0, (start + _CHUNK_BYTES) / len(data))


def _placement(node, transform_id: str) -> Placement:
    return Placement(tuple(node.GetImageData().GetDimensions()), local_matrix(node), world_matrix(node), transform_id)


def _checksum(node) -> int | None:
    """Of the voxels, None without any; 13 ms for those of BraTS."""
    image = node.GetImageData()
    return None if image is None or image.GetPointData().GetScalars() is None else zlib.crc32(np.ascontiguousarray(voxels(node)))


def _deformed(node) -> np.ndarray:
    """(27, 3) corners, middles of edges and faces, and middle of a volume in the world, whatever transform it lies under."""
    size = node.GetImageData().GetDimensions() if node.GetImageData() is not None else (0, 0, 0)
    places = np.array([(i, j, k, 1) for i in (0, 0.5, 1) for j in (0, 0.5, 1) for k in (0, 0.5, 1)]) * (*size, 1)
    found = []
    for place in places @ local_matrix(node).T:
        found.append([0.0] * 3)
        node.TransformPointToWorld(place[:3], found[-1])
    return np.array(found)
