"""DICOM Segmentation objects (PS3.3 A.51), ours and other tools', as label volumes: BINARY, FRACTIONAL and LABELMAP.

Only what places and names the voxels is asked for: SEGs by common tools lack much else that the standard wants, and are read here all
the same. Nothing is shared with the code that writes ours, so that reading one back proves something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadImage, GridMismatch, NotAnImage
from ..volume import Grid, Volume
from .dicom_codes import SegmentLabel, value_of_segment
from .dicom_facts import damage
from .dicom_grid import LPS_FROM_RAS, onto_grid
from .dicom_header import inflates_beyond_reason
from .dicom_quiet import quiet
from .files import existing_file

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["joint_grid", "read_dicom_seg", "read_seg_labels"]

_SEGMENTATION_STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # the second holds LABELMAPs
_HALF = 0.5                      # from this probability or occupancy on a voxel of a FRACTIONAL segment belongs to it
_BACKGROUND = ("125040", "DCM")  # LABELMAPs may describe what is no segment
_OFF_GRID = 0.05                 # of the slice distance, and of a pixel
_ROUNDED_MM = 0.03               # as far apart places that are rounded to 0.01 mm seem to lie
_LEAST_LEAN = 1e-3               # of a step: less is rounding, more is a tilted gantry
_MOST_SLICES = 10_000            # a place written wrongly must not ask for all memory
_AS_WRITTEN = "Give a SEG as its maker wrote it."


@dataclass(frozen=True, eq=False)
class _Frames:
    """The frames of a SEG: pixels (F, rows, columns) as stored, the segment (F,) of each (0 in a LABELMAP), its slice (F,), and their grid."""

    pixels: np.ndarray
    segments: np.ndarray
    slices: np.ndarray
    grid: Grid


def read_dicom_seg(path: Path | str, reference: Grid | None = None, table: Sequence[SegmentLabel] | None = None) -> Volume:
    """The labels of a SEG as uint8 (I, J, K) on `reference`, or on the grid that its own frames span; 0 where there is no segment.

    A segment becomes the value whose code in `table` is its type; without a table its segment number. A SEG may hold only slices
    with something in them and so cover a part of `reference`; its voxels must be voxels there. Where segments overlap the later
    one wins; a voxel of a FRACTIONAL segment belongs to it from one half on, and where two do the greater wins.
    Raises MissingFile, NotAnImage, GridMismatch, and BadImage for a segment that the table does not know.
    """
    path = existing_file(path)
    dataset = _opened(path)
    segments = _segments(dataset)
    values = {number: number if table is None else value_of_segment(segment, table) for number, segment in segments.items()}
    return _labels(dataset, values, path.name, reference)


def read_seg_labels(path: Path | str, reference: Grid | None = None) -> Volume:
    """As `read_dicom_seg`, with our label values 1, 2, 3 told by the coded types of the segments, whoever made them.

    Raises BadImage for a segment whose type is none of ours.
    """
    path = existing_file(path)
    dataset = _opened(path)
    return _labels(dataset, {number: value_of_segment(segment) for number, segment in _segments(dataset).items()}, path.name, reference)


def joint_grid(a: Grid, b: Grid) -> Grid:
    """The smallest grid on the voxels of `a` that holds `b` too: two SEGs of one series hold different slices of it.

    Raises GridMismatch when the voxels of `b` are none of that lattice.
    """
    places = (b.corners @ (np.linalg.inv(a.affine) @ b.affine).T)[:, :3]
    low = np.minimum(np.rint(places.min(axis=0)).astype(int), 0)
    shape = np.maximum(np.rint(places.max(axis=0)).astype(int) + 1, a.shape) - low
    if np.abs(places - np.rint(places)).max() > _OFF_GRID or shape.max() > _MOST_SLICES:
        raise GridMismatch(f"One SEG is {a.describe()} and the other {b.describe()}: they share no voxels.", "Give two of one series.")
    affine = a.affine.copy()
    affine[:3, 3] = a.affine[:3, :3] @ low + a.affine[:3, 3]
    return Grid(tuple(shape.tolist()), affine)


def _opened(path: Path) -> Dataset:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with quiet(), path.open("rb") as file:
            if inflates_beyond_reason(file):
                raise ValueError
            dataset = pydicom.dcmread(file)
    except InvalidDicomError:
        raise NotAnImage(f"{path.name} is not a DICOM file.", "Give a DICOM Segmentation.") from None
    except damage() as error:
        raise NotAnImage(f"{path.name} is a damaged DICOM file.", "Copy or download it again.") from error
    if dataset.get("SOPClassUID") not in _SEGMENTATION_STORAGE:
        raise NotAnImage(f"{path.name} is DICOM, and not a DICOM Segmentation.", "Give a SEG; a series of images is given as its folder.")
    return dataset


def _segments(dataset: Dataset) -> dict[int, Dataset]:
    """Segment number -> its description, without what stands for the background."""
    found = {}
    for segment in dataset.get("SegmentSequence") or ():
        kinds = segment.get("SegmentedPropertyTypeCodeSequence")
        background = bool(kinds) and (kinds[0].get("CodeValue"), kinds[0].get("CodingSchemeDesignator")) == _BACKGROUND
        number = int(segment.get("SegmentNumber", 0))
        if number and not background and number != dataset.get("PixelPaddingValue"):
            found[number] = segment
    return found


def _labels(dataset: Dataset, values: dict[int, int], name: str, reference: Grid | None) -> Volume:
    if not values:
        raise NotAnImage(f"{name} describes no segment.", "Give a SEG that holds one.")
    if max(values.values()) > np.iinfo(np.uint8).max:
        raise BadImage(f"{name} has a segment {max(values.values())}; at most 255 are told apart by their number.",
                       "Take the segments that are needed into a SEG of their own.")
    frames = _frames(dataset, name, reference)
    kind = dataset.get("SegmentationType")
    voxels = np.zeros(frames.grid.shape, np.uint8)
    best = np.zeros(frames.grid.shape if kind == "FRACTIONAL" else (0, 0, 0), np.float32)
    least = _HALF * float(dataset.get("MaximumFractionalValue") or 1)
    for number, value in sorted(values.items()):
        for index in np.flatnonzero(frames.segments == (0 if kind == "LABELMAP" else number)):
            pixels, k = frames.pixels[index].T, frames.slices[index]           # (columns, rows)
            if kind == "FRACTIONAL":
                stronger = (pixels >= least) & (pixels > best[:, :, k])
                best[:, :, k][stronger] = pixels[stronger]
                voxels[:, :, k][stronger] = value
            else:
                voxels[:, :, k][pixels == number if kind == "LABELMAP" else pixels > 0] = value
    volume = Volume(voxels, frames.grid.affine)
    return volume if reference is None else onto_grid(volume, reference, name, part=True)


def _frames(dataset: Dataset, name: str, reference: Grid | None) -> _Frames:
    try:
        with quiet():
            pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    except (*damage(), RuntimeError) as error:
        raise NotAnImage(f"The pixels of {name} cannot be decoded ({type(error).__name__}).",
                         "Store it uncompressed (dcmtk's dcmdjpeg or dcmdrle), or copy it again.") from error
    try:
        own = dataset.PerFrameFunctionalGroupsSequence
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
        positions = np.array([_group(frame, shared, "PlanePositionSequence").ImagePositionPatient for frame in own], float)        # (F, 3)
        turns = np.array([_group(frame, shared, "PlaneOrientationSequence").ImageOrientationPatient for frame in own], float)      # (F, 6)
        measures = [_group(frame, shared, "PixelMeasuresSequence") for frame in own]
        spacing = np.array([measure.PixelSpacing for measure in measures], float)                                                  # (F, 2)
        segments = np.array([0 if dataset.get("SegmentationType") == "LABELMAP" else
                             _group(frame, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber for frame in own], int)  # (F,)
    except damage() as error:
        raise NotAnImage(f"{name} does not say where its frames lie.", _AS_WRITTEN) from error
    if len(pixels) != len(own) or np.ptp(turns, axis=0).max() > 1e-3 or np.ptp(spacing, axis=0).max() > 1e-3:
        raise NotAnImage(f"The frames of {name} are not those of one volume.", _AS_WRITTEN)
    axes = turns[0].reshape(2, 3)
    stated = abs(float(measures[0].get("SpacingBetweenSlices") or measures[0].get("SliceThickness") or 0))
    steps = [_step_of(reference, np.cross(*axes)), np.cross(*axes) * stated]
    grid, slices = _stacked(positions, axes, (spacing[0, 1], spacing[0, 0]), steps, pixels.shape[:0:-1], name)
    return _Frames(pixels, segments, slices, grid)


def _step_of(reference: Grid | None, normal: np.ndarray) -> np.ndarray:
    """From slice to slice of `reference`, LPS mm along `normal`; zeros when there is none or its slices are not parallel to the frames.

    Places that are rounded make the slices of a series lean a little, and headers may state a wrong distance: it knows better.
    """
    if reference is None:
        return np.zeros(3)
    axes = (LPS_FROM_RAS @ reference.affine)[:3, :3].T
    axis = max(axes, key=lambda axis: abs(axis @ normal))
    leans = np.linalg.norm(axis - axis @ normal * normal) > _LEAST_LEAN * np.linalg.norm(axis)
    return np.zeros(3) if leans else axis * np.sign(axis @ normal)


def _group(frame: Dataset, shared: Dataset | None, sequence: str) -> Dataset:
    """A functional group of a frame, its own or the shared one. Raises TypeError when there is neither."""
    return (frame.get(sequence) or (shared.get(sequence) if shared is not None else None))[0]


def _stacked(positions: np.ndarray, axes: np.ndarray, spacing: tuple[float, float], steps: Sequence[np.ndarray], shape: tuple[int, int],
             name: str) -> tuple[Grid, np.ndarray]:
    """The smallest grid with every frame in one of its slices, and the slice (F,) of each frame. Slices in between may have no frame.

    steps: from slice to slice as others state it, the most trusted first; the distance of the closest frames tells it when none fits.
    """
    normal = np.cross(*axes)
    along = positions @ normal
    along = along - along.min()
    gaps = np.diff(np.unique(along.round(4)))
    stated = next((step for step in steps if step.any()), normal)
    for step in (*steps, normal * gaps[gaps > 1e-3].min() if (gaps > 1e-3).any() else stated):
        if not step.any():
            continue
        last = round(along.max() / (step @ normal))
        step = step * along.max() / (last * (step @ normal)) if last else step  # the header's digits may not last for many slices
        slices = np.rint(along / (step @ normal)).astype(int)
        if np.abs(along / (step @ normal) - slices).max() <= _OFF_GRID and last < _MOST_SLICES:
            break
    else:
        raise NotAnImage(f"The frames of {name} are not evenly spaced.", _AS_WRITTEN)
    first = positions[int(along.argmin())]
    off = positions - first - np.outer(slices, step)
    if np.linalg.norm(off - np.outer(off @ normal, normal), axis=1).max() > max(_OFF_GRID * min(spacing), _ROUNDED_MM):
        raise NotAnImage(f"The frames of {name} are shifted against each other (a tilted gantry), and no volume has voxels so.",
                         "Export it from its maker on an upright grid.")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = axes[0] * spacing[0], axes[1] * spacing[1], step
    affine[:3, 3] = first
    return Grid((*shape, int(slices.max()) + 1), LPS_FROM_RAS @ affine), slices
