"""One slice of an image: its place, its facts, and what tells it from another slice at the same place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadImage
from .dicom_enhanced import frames_of, is_enhanced, other_dimensions
from .dicom_facts import damage, facts_of, integer, number, text, texts
from .dicom_grid import Place, place_of
from .dicom_header import Header, read_header
from .dicom_padding import padding_of
from .dicom_series import Facts, Frame, LeftAside

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Slice", "slices_in"]

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")  # JPEG Baseline, Extended; JPEG-LS near lossless
_AGAIN = "Export the series from the PACS again."


@dataclass(frozen=True, eq=False)
class Slice:
    """place: None where the header does not say it, or the pixels cannot be read; `trouble` says why then, `damaged` whether something is broken.

    kind: what may not differ within one stack, beside the place. times: what may tell slices at one place apart, the surest first.
    """

    frame: Frame
    facts: Facts
    place: Place | None
    sop_uid: str
    kind: tuple
    times: tuple = ()
    number: int | None = None
    location: float | None = None
    spacing_between: float | None = None
    expected: int | None = None             # ImagesInAcquisition
    padding: tuple[int, int] | None = None  # lowest and highest stored value that is no part of the picture
    trouble: str = ""
    fix: str = ""
    damaged: bool = True


def slices_in(path: Path, salt: bytes) -> list[Slice] | LeftAside:
    """The slices in a file, or why it holds no image. An image that cannot be used is one slice without a place, which says why."""
    header = read_header(path)
    if isinstance(header, LeftAside):
        return header
    dataset = header.dataset
    trouble, fix, damaged = header.trouble, header.fix, True
    if not trouble:
        try:
            trouble, fix, damaged = _refusal(dataset)
            if not trouble:
                frames = frames_of(dataset) if is_enhanced(dataset) else [dataset]
                return [_slice(header, index, frame, salt) for index, frame in enumerate(frames)]
        except BadImage as error:
            trouble, fix, damaged = error.what, error.fix, True
        except damage():
            trouble, fix, damaged = "its header is damaged", _AGAIN, True
    return [_useless(header, salt, trouble, fix, damaged)]


def _refusal(dataset: Dataset) -> tuple[str, str, bool]:
    """(why, fix, is something damaged?) for an image that is no tomogram that is read here; ('', '', False) for one that is."""
    if text(dataset, "SOPClassUID").startswith(_SECONDARY_CAPTURE) and "ImagePositionPatient" not in dataset and not is_enhanced(dataset):
        return "a picture without a place in the patient (secondary capture)", "", False
    if "MOSAIC" in (part.upper() for part in texts(dataset, "ImageType")):
        return "a Siemens mosaic: all slices are tiles of one picture", "Export it as Enhanced or interoperable (un-mosaicked) DICOM.", False
    if (integer(dataset, "NumberOfFrames") or 1) > 1 and not is_enhanced(dataset):
        return "several frames in one file without the places of the frames", "Export it as Enhanced or as single images.", False
    if dataset.get("ModalityLUTSequence"):
        return "its values go through a table (Modality LUT), which is not read here", "Export it with rescaled values.", True
    return "", "", False


def _useless(header: Header, salt: bytes, trouble: str, fix: str, damaged: bool) -> Slice:
    """What stands for a file without usable slices: its series must not be read as if it were complete."""
    facts = facts_of(header.dataset, salt)
    return Slice(Frame(header.path), facts, None, text(header.dataset, "SOPInstanceUID"), (), trouble=trouble, fix=fix, damaged=damaged)


def _slice(header: Header, index: int, dataset: Dataset, salt: bytes) -> Slice:
    facts = facts_of(dataset, salt)
    if text(header.dataset.file_meta, "TransferSyntaxUID") in _LOSSY:
        facts = replace(facts, lossy=True)
    return Slice(
        frame=Frame(header.path, index), facts=facts, place=place_of(dataset), sop_uid=text(dataset, "SOPInstanceUID"),
        kind=(facts.frame_of_reference_uid, facts.image_type, facts.echo_number, facts.b_value, text(dataset, "StackID")),
        times=_times(dataset), number=integer(dataset, "InstanceNumber"), location=number(dataset, "SliceLocation"),
        spacing_between=number(dataset, "SpacingBetweenSlices"), expected=integer(dataset, "ImagesInAcquisition"),
        padding=padding_of(header.dataset))


def _times(dataset: Dataset) -> tuple:
    """What splits repeated places, the surest first."""
    return (integer(dataset, "TemporalPositionIdentifier"), number(dataset, "InversionTime"),
            texts(dataset, "DiffusionGradientOrientation") or texts(dataset, 0x0019100E),  # Siemens, private
            other_dimensions(dataset), integer(dataset, "AcquisitionNumber"), number(dataset, "TriggerTime"))
