"""What is outlined in a segmentation now: the label and the voxels of its segments, what a person added, and whether anything was edited."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from .mrml_segmentation import (
    AUTOMATIC,
    LABEL_TAG,
    SEMIAUTOMATIC,
    checksum,
    first_outlines_of,
    is_ours,
    mark_segment,
    placement_of,
    reference_image,
    report_of,
    tag_of,
)
from .mrml_volumes import to_numpy, to_vtk

__all__ = ["Outlines", "algorithm_type", "is_edited", "label_named", "label_values", "labels_on", "mark_edited", "outlines_of", "segment_of_label"]

_latest: dict = {}  # the last Outlines by the state of their node: the panel asks several times a visit, and a fine grid takes a second


@dataclass(frozen=True, eq=False)
class Outlines:
    """A result as it is outlined now. Equal `checksum`s mean equal volumes.

    labels: (K, J, I) uint8, the box around all that has a label; its first voxel is `corner` (k, j, i) of the node's reference grid.
    others: (name, voxels) of each segment that has some and none of our labels.
    edited: they are no longer those that the engine wrote, or a person added a segment.
    """

    labels: np.ndarray
    corner: tuple
    others: tuple
    checksum: str
    edited: bool


def outlines_of(node) -> Outlines:
    """Of one of ours. Made anew only when a segment was changed since the last call."""
    state = _state(node)
    if _latest.get("state") != state:
        _latest.update(state=state, outlines=_look(node))
    return _latest["outlines"]


def is_edited(node) -> bool:
    """True when the outlines are no longer those that the engine wrote, or a person added a segment with voxels."""
    return outlines_of(node).edited


def algorithm_type(node) -> str:
    return SEMIAUTOMATIC if is_edited(node) else AUTOMATIC


def mark_edited(node, edited: bool) -> None:
    """Write into the DICOM tags of every segment with a label whether a person had a hand in it."""
    known = _latest.get("state") == _state(node)
    for segment_id in label_values(node):
        mark_segment(node.GetSegmentation().GetSegment(segment_id), edited)
    if known:
        _latest["state"] = _state(node)  # a mark changes no outline


def label_values(node) -> dict:
    """Segment ID -> label value, for the segments that carry a label of our table: the engine's, and those that a person made of them or beside
    them, told by name (see `label_named`) or by a code of the table. Others are not in it.

    Segment Editor gives a new segment the code of the one before it: that says nothing about what was drawn.
    """
    segmentation, table, found, before = node.GetSegmentation(), report_of(node)["model"]["labels"] if is_ours(node) else [], {}, ""
    codes = {(label["code"][1], label["code"][0]): label["value"] for label in table}
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        code, own = _code(segment), tag_of(segment, LABEL_TAG)
        value = int(own) if own else label_named(segment.GetName() or "", table)
        if value is None and code != before:
            value = codes.get(code)
        if value is not None:
            found[segment_id] = value
        before = code
    return found


def label_named(name: str, table: Iterable) -> int | None:
    """The value of the label of a report's table that a segment's name means: the label's own name or the meaning of its code, perhaps with a
    number, as Segment Editor names the pieces of one (Islands: Edema_2)."""
    whole = name.strip().casefold()
    for words in (whole, re.sub(r"_\d+$", "", whole)):
        for label in table:
            if words and words in (label["name"].casefold(), str(label["code"][-1]).casefold()):
                return label["value"]
    return None


def segment_of_label(node, value: int) -> str:
    """The segment ID of a label value, the engine's own before others; '' when the user removed it."""
    found = [segment_id for segment_id, label in label_values(node).items() if label == value]
    return next((one for one in found if one in _engines_own(node)), found[0] if found else "")


def labels_on(node, values: Mapping, grid=None) -> np.ndarray:
    """(K, J, I) uint8: the values of `values` (segment ID -> value) on the node's own reference grid, or on that of node `grid`.

    Where segments overlap the later one wins. Nearest voxels, in the world, where the grids differ. Raises ValueError for a segment that
    cannot be turned into voxels.
    """
    labels = np.zeros(reference_image(grid or node).GetDimensions()[::-1], np.uint8)
    for segment_id, value in values.items():
        here, mask = _voxels(node, segment_id, grid or node)
        labels[here][mask] = value
    return labels


def _look(node) -> Outlines:
    values, own = label_values(node), _engines_own(node)
    size = placement_of(node).size
    full = np.zeros(size[::-1], np.uint8)
    box, others, added = [list(size[::-1]), [0, 0, 0]], [], []
    for segment_id in node.GetSegmentation().GetSegmentIDs():
        here, mask = _voxels(node, segment_id, node)
        if not mask.size:
            continue
        name = node.GetSegmentation().GetSegment(segment_id).GetName() or ""
        if segment_id in values:
            full[here][mask] = values[segment_id]
            box = [[min(a, part.start) for a, part in zip(box[0], here)], [max(b, part.stop) for b, part in zip(box[1], here)]]  # noqa: B905
        else:
            others.append((name, int(np.count_nonzero(mask))))
        if segment_id not in own:
            added.append(f"{name} {here} {zlib.crc32(np.ascontiguousarray(mask)):08x}")
    found = " ".join([checksum(full), *added])
    lacking = {label["value"] for label in report_of(node)["model"]["labels"]} - set(own.values())
    part = tuple(slice(a, max(a, b)) for a, b in zip(*box))  # noqa: B905
    labels = full[part].copy() if box[1] != [0, 0, 0] else np.zeros((0, 0, 0), np.uint8)
    labels.flags.writeable = False
    return Outlines(labels, tuple(one.start for one in part), tuple(others), found, found != first_outlines_of(node) or bool(lacking))


def _engines_own(node) -> dict:
    """Segment ID -> value of the segments that the engine made: the first with each value's mark, for copies have it, too."""
    segmentation, found = node.GetSegmentation(), {}
    for segment_id in segmentation.GetSegmentIDs():
        value = tag_of(segmentation.GetSegment(segment_id), LABEL_TAG)
        if value and int(value) not in found.values():
            found[segment_id] = int(value)
    return found


def _state(node) -> tuple:
    """What is equal as long as the outlines are the same: VTK gives every change of an object a time of its own."""
    segmentation = node.GetSegmentation()
    kind, parts = segmentation.GetSourceRepresentationName(), []
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        shape = segment.GetRepresentation(kind) if kind else None
        parts.append((segment_id, segment.GetMTime(), shape.GetMTime() if shape is not None else 0))
    geometry = segmentation.GetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName())
    return node.GetID(), first_outlines_of(node), kind, geometry, tuple(parts)


def _code(segment) -> tuple:
    """(scheme, value) of what the segment is, by Slicer's terminology entry; () without one."""
    fields = tag_of(segment, segment.GetTerminologyEntryTagName()).split("~")
    return tuple(fields[2].split("^")[:2]) if len(fields) > 2 else ()


def _voxels(node, segment_id: str, grid) -> tuple:
    """(place, mask): a part of the reference grid of node `grid` as slices along K, J, I, and which of its voxels are in the segment; the part is
    no larger than the segment, and without a voxel where there is none."""
    nothing = (slice(0, 0),) * 3, np.zeros((0, 0, 0), bool)
    segment = _with_labelmap(node, segment_id, grid)
    source = segment.GetRepresentation(_binary())
    if source is None or source.IsEmpty():
        return nothing
    image, binary = reference_image(grid), slicer.vtkOrientedImageData()
    if not _extract(source, segment.GetLabelValue(), binary):
        return nothing
    _into_frame(binary, node, grid)
    same = slicer.vtkOrientedImageDataResample.DoGeometriesMatch(binary, image)  # then only their extents differ
    if not same and not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(binary, image, binary, False):
        raise RuntimeError(f"The segment {segment.GetName()} could not be put on the reference's grid.")
    return _part_of(binary, image) or nothing


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


def _extract(source, value: int, into) -> bool:
    """The voxels of one label of a shared label map, as 0 and 1, in the box around them; False when there is none."""
    mask, extent, matrix = to_numpy(source) == value, source.GetExtent(), vtk.vtkMatrix4x4()
    box = _box(mask)
    if box is None:
        return False
    into.SetExtent(*(extent[2 * axis] + end for axis, part in enumerate(box[::-1]) for end in (part.start, part.stop - 1)))
    into.GetPointData().SetScalars(to_vtk(mask[box].astype(np.uint8)))
    source.GetImageToWorldMatrix(matrix)
    into.SetGeometryFromImageToWorldMatrix(matrix)
    return True


def _box(mask: np.ndarray) -> tuple | None:
    """The smallest part of `mask` with all that is True, as slices; None where nothing is."""
    box = []
    for axis in range(mask.ndim):  # each look is at what the one before has left
        filled = np.flatnonzero(mask[tuple(box)].any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(filled):
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


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


def _part_of(binary, image) -> tuple | None:
    """Where `binary`, on the grid of `image`, lies within that, and which voxels there are not 0; None where it lies outside."""
    full, part = image.GetExtent(), binary.GetExtent()
    low = [max(full[2 * axis], part[2 * axis]) for axis in range(3)]
    high = [min(full[2 * axis + 1], part[2 * axis + 1]) + 1 for axis in range(3)]
    if any(a >= b for a, b in zip(low, high)):  # noqa: B905
        return None
    there = tuple(slice(low[axis] - part[2 * axis], high[axis] - part[2 * axis]) for axis in (2, 1, 0))
    mask = to_numpy(binary)[there] != 0
    box = _box(mask)
    if box is None:
        return None
    starts = [low[axis] - full[2 * axis] for axis in (2, 1, 0)]
    return tuple(slice(start + one.start, start + one.stop) for start, one in zip(starts, box)), mask[box]  # noqa: B905


def _binary() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
