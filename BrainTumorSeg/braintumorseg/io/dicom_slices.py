"""One slice of an image: its place, its facts, and what tells it from another slice at the same place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BadImage
from .dicom_enhanced import frames_of, is_enhanced, other_dimensions
from .dicom_facts import facts_of, integer, number, text, texts
from .dicom_grid import Place, place_of
from .dicom_header import Header
from .dicom_series import Facts, Frame

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Slice", "slices_of"]

_AGAIN = "Export the series from the PACS again."


@dataclass(frozen=True, eq=False)
class Slice:
    """place: None where the header does not say it, or the pixels cannot be read; `trouble` says why then, and `damaged` if something is broken.

    kind: what may not differ within one stack, beside the place. times: what may tell slices at one place apart, by name.
    """

    frame: Frame
    facts: Facts
    place: Place | None
    sop_uid: str
    kind: tuple
    times: tuple[tuple[str, object], ...] = ()
    number: int | None = None
    location: float | None = None
    spacing_between: float | None = None
    expected: int | None = None             # ImagesInAcquisition
    trouble: str = ""
    fix: str = ""


def slices_of(header: Header, salt: bytes) -> list[Slice]:
    """The slices in one file; one without a place, that says why, when it cannot be used."""
    dataset = header.dataset
    frames = [(0, dataset)]
    trouble, fix = header.trouble, header.fix
    if not trouble:
        trouble, fix = _refusal(dataset)
    if not trouble and is_enhanced(dataset):
        try:
            frames = list(enumerate(frames_of(dataset)))
        except BadImage as error:
            trouble, fix = error.what, error.fix
    elif not trouble and (integer(dataset, "NumberOfFrames") or 1) > 1:
        trouble, fix = "several frames in one file without the places of the frames", "Export it as Enhanced or as single images."
    return [_slice(header, index, frame, salt, trouble, fix) for index, frame in frames]


def _refusal(dataset: Dataset) -> tuple[str, str]:
    if "MOSAIC" in (part.upper() for part in texts(dataset, "ImageType")):
        return ("a Siemens mosaic: all slices are tiles of one picture", "Export it as Enhanced or interoperable (un-mosaicked) DICOM.")
    if dataset.get("ModalityLUTSequence"):
        return "its values go through a table (Modality LUT), which is not read here", "Export it with rescaled values."
    return "", ""


def _slice(header: Header, index: int, dataset: Dataset, salt: bytes, trouble: str, fix: str) -> Slice:
    place = None
    if not trouble:
        try:
            place = place_of(dataset)
        except BadImage as error:
            trouble, fix = error.what, error.fix
    facts = facts_of(dataset, salt)
    return Slice(
        frame=Frame(header.path, index), facts=facts, place=place, sop_uid=text(dataset, "SOPInstanceUID"),
        kind=(facts.frame_of_reference_uid, facts.image_type, facts.echo_number, facts.b_value, text(dataset, "StackID")),
        times=_times(dataset), number=integer(dataset, "InstanceNumber"), location=number(dataset, "SliceLocation"),
        spacing_between=number(dataset, "SpacingBetweenSlices"), expected=integer(dataset, "ImagesInAcquisition"), trouble=trouble, fix=fix)


def _times(dataset: Dataset) -> tuple[tuple[str, object], ...]:
    """What splits repeated places, the surest first."""
    return (
        ("time point", integer(dataset, "TemporalPositionIdentifier")),
        ("inversion time", number(dataset, "InversionTime")),
        ("gradient direction", texts(dataset, "DiffusionGradientOrientation") or texts(dataset, 0x0019100E)),
        ("dimension", other_dimensions(dataset)),
        ("acquisition", integer(dataset, "AcquisitionNumber")),
        ("trigger time", number(dataset, "TriggerTime")),
    )
