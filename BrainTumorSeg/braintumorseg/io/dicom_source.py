"""The series that a result refers to: its headers, where its slices lie, and which frame each slice is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BadImage, InputError
from ..volume import Grid
from .dicom_enhanced import frames_of, is_enhanced
from .dicom_facts import damage
from .dicom_grid import grid_of, place_of, slots_of, tilt_deg
from .dicom_quiet import quiet

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

    from .dicom_series import Stack

__all__ = ["MANUFACTURER", "SourceSeries", "put_character_set", "series_number", "source_of_stack", "source_series"]

MANUFACTURER = "BrainTumorSeg"
# Away from the scanner's own series, and beside the source when a viewer sorts by number.
_SERIES_NUMBER_OFFSETS = {"SEG": 1000, "SR": 2000, "SC": 3000}
# Type 2 attributes that some exports drop and that our objects copy: present and empty says "not known".
_MAY_BE_EMPTY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex",
                 "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName")
# By these an archive files objects and finds their order: in its own letters, however odd, or ours lie apart from the series.
_FILED_BY = ("PatientID", "AccessionNumber")
_TEXTS = ("AS", "CS", "DA", "LO", "LT", "PN", "SH", "ST", "TM")
_OLD_MARKS = {"DA": ".", "TM": ":"}  # 2020.01.31 and 10:12:00 are what ACR-NEMA allowed
_MUST_BE_THERE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
_TILTED_DEG = 0.05  # as the reader has it: above what rounded positions make of an upright stack


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """One series, checked: its slices make a regular box, and it has the UIDs that others refer to.

    headers: without pixels, absent type 2 attributes filled with nothing; in slice order, or the one of a multi-frame object.
    frames: for each slice that is there the number of its frame within that object (1..n); () for single-frame slices.
    slots: the slice along K of `grid` that each header, or each of `frames`, is.
    grid: I along a row, J down a column, K from slice to slice; K leans where the gantry was tilted.
    character_set: in which the texts that are copied from it are to be written; None for plain ASCII.
    """

    headers: tuple[Dataset, ...]
    frames: tuple[int, ...]
    slots: tuple[int, ...]
    grid: Grid
    character_set: object = None

    @property
    def first(self) -> Dataset:
        """The header that speaks for the series."""
        return self.headers[0]

    @property
    def tilted(self) -> bool:
        """True when the slices are shifted against their normal, so that no result lies on their voxels."""
        return tilt_deg(self.grid) > _TILTED_DEG

    def slice_of(self, k: int) -> tuple[Dataset, int | None] | None:
        """(header, frame number or None) of the object that shows slice `k` along K; None where it is not the series' own."""
        if self.tilted or k not in self.slots:
            return None
        index = self.slots.index(k)
        return (self.headers[0], self.frames[index]) if self.frames else (self.headers[index], None)


def source_of_stack(stack: Stack) -> SourceSeries:
    """The series of a stack that `scan_dicom` found. Raises as `source_series`, and NotAnImage for a header that cannot be read."""
    from .dicom import stack_headers

    one_file = len({frame.path for frame in stack.frames}) == 1
    frames = tuple(frame.index + 1 for frame in stack.frames) if one_file else ()
    return source_series(stack_headers(stack), frames, gaps=bool(stack.missing))


def source_series(headers: Sequence[Dataset], frames: Sequence[int] = (), gaps: bool = False) -> SourceSeries:
    """The series of these headers: its single-frame slices in any order, or one multi-frame object (pixels are not looked at).

    frames: of a multi-frame object that holds several volumes, the frame numbers (1..n) of the one that is meant.
    gaps: slices may be missing between them.
    Raises BadImage when UIDs are missing or the slices do not make one regular box, InputError for several series at once.
    """
    with quiet():
        known: dict[tuple, object] = {}   # nearly all values repeat from slice to slice
        filled = [_filled(header, known) for header in headers]
    series = {str(header.SeriesInstanceUID) for header in filled}
    if len(series) > 1:
        raise InputError(f"{len(series)} DICOM series were given, and a result refers to one.", "Give the files of one series only.")
    if any(is_enhanced(header) for header in filled) and len(filled) > 1:
        raise BadImage(f"The DICOM series is made of {len(filled)} multi-frame objects, and a DICOM result here refers to one of them.",
                       "Export the series as single images, or use the NIfTI result.")
    several = is_enhanced(filled[0])
    numbers = list(frames) or list(range(1, int(filled[0].get("NumberOfFrames") or 1) + 1)) if several else []
    every = frames_of(filled[0]) if several else []
    places = [place_of(plane) for plane in ([every[number - 1] for number in numbers] if several else filled)]
    grid = grid_of(places, fill_gaps=gaps)
    slots = slots_of(places, grid)
    order = sorted(range(len(slots)), key=slots.__getitem__)
    return SourceSeries(headers=tuple(filled if several else (filled[index] for index in order)),
                        frames=tuple(numbers[index] for index in order) if several else (),
                        slots=tuple(slots[index] for index in order), grid=grid, character_set=_character_set(headers[0], filled[0]))


def _filled(header: Dataset, known: dict[tuple, object]) -> Dataset:
    """A copy without the pixels and with empty values where attributes are missing; `known`: values that were looked at, and what became of them.

    Raises BadImage without the UIDs.
    """
    from pydicom import DataElement, Dataset

    filled = Dataset()
    for tag in header.keys():  # noqa: SIM118 - without .keys() it gives elements
        if tag.group < 0x7FE0:
            # A DICOM file keeps its values as bytes until they are asked for, and it knows their character set: ask it, not the copy.
            # What cannot be told from its bytes (letters where a number belongs) is as good as not there.
            with suppress(*damage()):
                filled[tag] = header[tag]
    missing = [name for name in _MUST_BE_THERE if not filled.get(name)]
    if missing:
        raise BadImage(f"The DICOM series has no {', '.join(missing)}, so no DICOM result can refer to it.",
                       "Export the series from the PACS again, or use the NIfTI result.")
    for element in [one for one in filled if one.VR in _TEXTS and one.keyword not in _FILED_BY and not one.is_empty]:
        key = element.tag, element.VR, repr(element.value)
        if key not in known:
            known[key] = _conforming(element)
        value = known[key]
        if value != element.value:  # another element: this one belongs to `header` too
            filled[element.tag] = DataElement(element.tag, element.VR, value)
    for name in _MAY_BE_EMPTY:
        if name not in filled:
            setattr(filled, name, None)
    filled.pop("SpecificCharacterSet", None)  # highdicom copies it, and refuses many valid ones: `put_character_set` does it for us
    return filled


def _conforming(element: DataElement) -> object:
    """The value as DICOM allows it, None ('not known') for one that it does not: a date '2024', a sex 'male', an age '45', too many letters.

    Dates and times with the points and colons of ACR-NEMA are written as DICOM writes them. Several names where one belongs, as a backslash
    within a name makes them, are one name again; of other attributes nobody can tell which value is meant.
    """
    from pydicom import config
    from pydicom.datadict import dictionary_has_tag, dictionary_VM
    from pydicom.valuerep import DA, TM, validate_value

    values = [str(one) for one in (element.value if element.VM > 1 else [element.value])]
    if element.VM > 1 and dictionary_has_tag(element.tag) and dictionary_VM(element.tag) == "1":
        if element.VR != "PN":
            return None
        values = [" ".join(filter(None, values))]
    if element.VR in _OLD_MARKS:
        values = [value.replace(_OLD_MARKS[element.VR], "") for value in values]
    try:
        for value in filter(None, values):
            validate_value(element.VR, value, config.RAISE)
            {"DA": DA, "TM": TM}.get(element.VR, str)(value)  # the standard's pattern fits the 30th of February, and ranges as queries have them
    except ValueError:
        return None
    if element.keyword == "PatientSex" and values[0] not in ("M", "F", "O"):
        return None
    return values[0] if len(values) == 1 else values


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
