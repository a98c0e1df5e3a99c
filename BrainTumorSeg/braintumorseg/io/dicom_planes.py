"""Where the frames of a SEG lie, as highdicom is told: much of it highdicom copies from the source's headers, whatever else it is given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..volume import SAME_PLACE_MM, Volume
from .dicom_enhanced import frames_of
from .dicom_facts import number
from .dicom_grid import LPS_FROM_RAS
from .dicom_source import SourceSeries

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["headers_to_copy", "planes"]

_EVEN = 0.005  # of a step that a slice may lie off: highdicom reads a volume from steps that are even to 1 %


def headers_to_copy(series: SourceSeries, labels: Volume) -> list[Dataset]:
    """The headers of the series with one orientation, a slice thickness, and the slice distance of `labels`.

    Headers may leave these out, contradict the places of their slices, and differ in the last digits of the orientation. Where the places
    are rounded so coarsely that they leave the grid, they are put back onto it: readers of a SEG want even steps.
    """
    plane = frames_of(series.first)[series.frames[0] - 1] if series.frames else series.first
    step = labels.spacing_mm[2]
    measures = {"PixelSpacing": plane.PixelSpacing, "SliceThickness": _decimal(abs(number(plane, "SliceThickness") or step)),
                "SpacingBetweenSlices": _decimal(step)}
    turn = {"ImageOrientationPatient": plane.ImageOrientationPatient}
    places = _places(series)
    if not series.frames:
        return [_with(header, ImagePositionPatient=place, **measures, **turn) for header, place in zip(series.headers, places, strict=True)]
    frames = list(series.first.PerFrameFunctionalGroupsSequence)
    for frame, place in zip(series.frames, places, strict=True):
        frames[frame - 1] = _with(frames[frame - 1], PlanePositionSequence=[_with(ImagePositionPatient=place)])
    shared = (series.first.get("SharedFunctionalGroupsSequence") or [None])[0]
    shared = _with(shared, PixelMeasuresSequence=[_with(**measures)], PlaneOrientationSequence=[_with(**turn)])
    return [_with(series.first, SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=frames)]


def planes(numbers: np.ndarray, labels: Volume, series: SourceSeries) -> dict[str, object]:
    """How highdicom is given segment numbers (slices, rows, columns) and their place.

    On the source's slices as a bare array with those slices' own places, digit by digit: highdicom then refers to each as the same place.
    Where some of the slices are made up the places of those too; where all are resampled a highdicom Volume, which carries its place.
    """
    import highdicom

    if series.tilted:
        return {"pixel_array": highdicom.Volume(numbers, LPS_FROM_RAS @ labels.affine[:, [2, 1, 0, 3]], coordinate_system="PATIENT",
                                                frame_of_reference_uid=series.first.FrameOfReferenceUID)}
    places = dict(zip(series.slots, _places(series), strict=True))
    if np.delete(numbers, series.slots, axis=0).any():
        places = dict(enumerate(_even_places(series, range(len(numbers))))) | places
    elif not series.frames:
        return {"pixel_array": numbers[list(series.slots)]}
    return {"pixel_array": numbers[list(places)], "plane_positions": [highdicom.PlanePositionSequence("PATIENT", at) for at in places.values()]}


def _places(series: SourceSeries) -> list:
    """The ImagePositionPatient of each slice as its header has it; of all of them as the grid has it where one lies off the grid."""
    slices = series.headers
    if series.frames:
        slices = [series.first.PerFrameFunctionalGroupsSequence[frame - 1].PlanePositionSequence[0] for frame in series.frames]
    own = [one.ImagePositionPatient for one in slices]
    even = _even_places(series, series.slots)
    off = np.abs(np.array(own, float) - np.array(even, float)).max()
    return own if off <= min(SAME_PLACE_MM, _EVEN * series.grid.spacing_mm[2]) else even


def _even_places(series: SourceSeries, slots: Iterable[int]) -> list[list]:
    affine = LPS_FROM_RAS @ series.grid.affine
    return [[_decimal(mm) for mm in affine[:3, 3] + slot * affine[:3, 2]] for slot in slots]


def _with(dataset: Dataset | None = None, **values: object) -> Dataset:
    """A copy with other values; its elements are those of `dataset`, so none is changed in place."""
    from pydicom import Dataset

    changed = Dataset()
    changed.update(dataset or {})
    for name, value in values.items():
        changed.pop(name, None)
        setattr(changed, name, value)
    return changed


def _decimal(mm: float):
    from pydicom.valuerep import DS

    return DS(round(float(mm), 6), auto_format=True)   # to a nanometre: what was reckoned ends in noise
