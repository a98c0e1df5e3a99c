"""The series that a result refers to: its headers, where its slices lie, and which frame each slice is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadImage, InputError
from ..volume import Grid
from .dicom_grid import series_grid

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["MANUFACTURER", "SourceSeries", "put_character_set", "series_number", "source_series"]

MANUFACTURER = "BrainTumorSeg"
# Away from the scanner's own series, and beside the source when a viewer sorts by number.
_SERIES_NUMBER_OFFSETS = {"SEG": 1000, "SR": 2000, "SC": 3000}

# Type 2 attributes that some exports drop and that our objects copy: present and empty says "not known".
_MAY_BE_EMPTY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex",
                 "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName")
_MUST_BE_THERE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
_LEAST_SHEAR = 1e-3  # of the slice distance: above what rounded positions make of an upright stack


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """One series, checked: its slices make a regular box, and it has the UIDs that others refer to.

    headers: without pixels, absent type 2 attributes filled with nothing; in slice order, or the one of a multi-frame object.
    frames: for each slice along K the number of its frame within that object (1..n); () for single-frame slices.
    grid: I along a row, J down a column, K from slice to slice; K leans where the gantry was tilted.
    character_set: in which the texts that are copied from it are to be written; None for plain ASCII.
    """

    headers: tuple[Dataset, ...]
    frames: tuple[int, ...]
    grid: Grid
    character_set: object = None

    @property
    def first(self) -> Dataset:
        """The header that speaks for the series."""
        return self.headers[0]

    @property
    def tilted(self) -> bool:
        """True when the slices are shifted against their normal, so that no result lies on their voxels."""
        row, column, step = self.grid.affine[:3, :3].T
        normal = np.cross(row, column)
        return bool(np.linalg.norm(np.cross(step, normal)) > _LEAST_SHEAR * np.linalg.norm(step) * np.linalg.norm(normal))

    def slice_header(self, index: int) -> Dataset:
        """The header of the object that holds slice `index` along K."""
        return self.headers[0] if self.frames else self.headers[index]


def source_series(headers: Sequence[Dataset], frames: Sequence[int] = ()) -> SourceSeries:
    """The series of these headers: its single-frame slices in any order, or one multi-frame object (pixels are not looked at).

    frames: of a multi-frame object that holds several volumes, the frame numbers (1..n) of the one that is meant.
    Raises BadImage when UIDs are missing or the slices do not make one regular box, InputError for several series at once.
    """
    filled = [_filled(header) for header in headers]
    series = {str(header.SeriesInstanceUID) for header in filled}
    if len(series) > 1:
        raise InputError(f"{len(series)} DICOM series were given, and a result refers to one.", "Give the files of one series only.")
    if any("NumberOfFrames" in header for header in filled) and len(filled) > 1:
        raise BadImage("The DICOM series is made of several multi-frame objects.", "Give the one file in which the segmentation was made.")
    character_set = _character_set(headers[0], filled[0])
    if "NumberOfFrames" not in filled[0]:
        order = _order(filled)
        return SourceSeries(tuple(filled[index] for index in order), (), series_grid(filled), character_set)
    numbers = list(frames) or list(range(1, int(filled[0].NumberOfFrames) + 1))
    planes = [_plane(filled[0], number) for number in numbers]
    return SourceSeries(tuple(filled), tuple(numbers[index] for index in _order(planes)), series_grid(planes), character_set)


def _filled(header: Dataset) -> Dataset:
    """A copy without the pixels and with empty values where attributes are missing. Raises BadImage without the UIDs."""
    from pydicom import Dataset

    missing = [name for name in _MUST_BE_THERE if not header.get(name)]
    if missing:
        raise BadImage(f"The DICOM series has no {', '.join(missing)}, so no DICOM result can refer to it.",
                       "Export the series from the PACS again, or use the NIfTI result.")
    filled = Dataset()
    # A DICOM file keeps its texts as bytes until they are asked for, and it knows their character set: ask it, not the copy.
    filled.update({tag: header[tag] for tag in header.keys() if tag.group < 0x7FE0})  # noqa: SIM118 - without .keys() it gives elements
    for name in _MAY_BE_EMPTY:
        if name not in filled:
            setattr(filled, name, None)
    filled.pop("SpecificCharacterSet", None)  # highdicom copies it, and refuses many valid ones: `put_character_set` does it for us
    return filled


def _order(planes: Sequence[Dataset]) -> list[int]:
    """The planes' indices along their common normal; as they are when one has no place (`series_grid` says so then)."""
    if any("ImagePositionPatient" not in plane or "ImageOrientationPatient" not in plane for plane in planes):
        return list(range(len(planes)))
    row, column = np.array(planes[0].ImageOrientationPatient, float).reshape(2, 3)
    along = [float(np.dot(np.array(plane.ImagePositionPatient, float), np.cross(row, column))) for plane in planes]
    return [int(index) for index in np.argsort(along, kind="stable")]


def _plane(header: Dataset, number: int) -> Dataset:
    """Frame `number` of a multi-frame object as the header of a slice: its place alone (PS3.3 C.7.6.16)."""
    from pydicom import Dataset

    plane = Dataset()
    plane.Rows, plane.Columns = header.Rows, header.Columns
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = header.PerFrameFunctionalGroupsSequence[number - 1] if "PerFrameFunctionalGroupsSequence" in header else Dataset()
    for sequence, names in (("PlanePositionSequence", ("ImagePositionPatient",)), ("PlaneOrientationSequence", ("ImageOrientationPatient",)),
                            ("PixelMeasuresSequence", ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"))):
        for group in own.get(sequence) or shared.get(sequence) or ():
            for name in names:
                if name in group:
                    setattr(plane, name, group[name].value)
    return plane


def series_number(series: SourceSeries, kind: str) -> int:
    """The number of our series of that kind ('SEG', 'SR', 'SC'): the source's, moved away from those of the scanner."""
    own = str(series.first.get("SeriesNumber") or 0)
    return (int(own) if own.lstrip("+-").isdigit() else 0) % 1_000_000 + _SERIES_NUMBER_OFFSETS[kind]


def put_character_set(dataset: Dataset, series: SourceSeries) -> None:
    """Give an object that copies texts of the series the character set in which they are written."""
    dataset.pop("SpecificCharacterSet", None)
    if series.character_set:
        dataset.SpecificCharacterSet = series.character_set


def _character_set(header: Dataset, filled: Dataset):
    """The header's own, which PACS and viewers there can show; UTF-8 where it has none that holds its texts; None for plain ASCII."""
    from pydicom.charset import python_encoding

    own = header.get("SpecificCharacterSet")
    if own and all(one in python_encoding for one in ([own] if isinstance(own, str) else own)):
        return own
    texts = "".join(str(filled.get(name) or "") for name in _MAY_BE_EMPTY)
    return None if texts.isascii() else "ISO_IR 192"
