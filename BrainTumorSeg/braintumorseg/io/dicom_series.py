"""What a folder of DICOM files holds: stacks of slices that are each one checked volume, and what was left aside with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..volume import Grid
from .files import printable

__all__ = ["Facts", "Frame", "LeftAside", "Scan", "Stack"]


@dataclass(frozen=True)
class Facts:
    """What the header says of a series that helps to tell its sequence. Free text (description, protocol) may hold anything, a name too:
    it is for recognising only and is never shown, logged or written unless the user asks for identity."""

    study_uid: str = ""
    series_uid: str = ""
    frame_of_reference_uid: str = ""
    patient_key: str = ""                       # tells patients apart within one scan; not the identifier itself
    name_key: str = ""                          # tells spellings of the name apart in the same way; '' where there is none
    name_words: frozenset[str] = frozenset()    # the same for each word of the name in Latin letters
    number: int | None = None                   # SeriesNumber
    modality: str = ""
    sop_class_uid: str = ""
    image_type: tuple[str, ...] = ()
    description: str = ""                       # SeriesDescription, free text
    protocol: str = ""                          # ProtocolName, free text
    sequence_name: str = ""                     # SequenceName / PulseSequenceName, the vendor's
    scanning_sequence: tuple[str, ...] = ()     # SE, GR, IR, EP, RM
    sequence_variant: tuple[str, ...] = ()
    scan_options: tuple[str, ...] = ()
    acquisition_type: str = ""                  # '2D' or '3D'
    repetition_ms: float | None = None
    echo_ms: float | None = None
    inversion_ms: float | None = None
    flip_deg: float | None = None
    echo_train: int | None = None
    echo_number: int | None = None
    b_value: float | None = None                # s/mm2, where the header says so
    contrast_agent: str = ""                    # ContrastBolusAgent, or 'yes' where only a sequence of items says so
    acquired: str = ""                          # date and time of the first slice, sortable; '' where unknown
    body_part: str = ""
    manufacturer: str = ""
    model: str = ""
    thickness_mm: float | None = None
    lossy: bool = False                         # LossyImageCompression '01'


@dataclass(frozen=True)
class Frame:
    """One slice: its file, and the frame within the file (0 in a classic single-frame object)."""

    path: Path
    index: int = 0


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices of one series that make one regular volume, checked without their pixels. `io.dicom.read_stack` reads them.

    grid: where the volume lies when it is read: I along a row, J down a column, K along the normal (after the resampling of a tilted stack).
    frames: in slice order.
    notes: what was noticed and dealt with ("1 slice was there twice and is read once"); nothing that identifies a patient.
    shear_deg: gantry tilt; not 0 where slices are shifted against their normal, and then reading resamples.
    missing: slices of the grid without a frame; only when the caller asked for gaps to be filled.
    volume: which of the volumes with this series number in its study, from 1 on; 0 where it is the only one.
    """

    facts: Facts
    grid: Grid
    frames: tuple[Frame, ...]
    notes: tuple[str, ...] = ()
    shear_deg: float = 0.0
    missing: tuple[int, ...] = ()
    volume: int = 0


@dataclass(frozen=True)
class LeftAside:
    """A file or a series that is not used: `what` it is ("series 4", "3 files", a file's name; never a path's folder), why, and how to fix it
    ('' if nothing is wrong). `nameless`: what it is without a file's name, which may be a patient's; '' where `what` holds none."""

    what: str
    why: str
    fix: str = ""
    series_uid: str = ""
    damaged: bool = False                       # True where data is missing or broken, False where it is just nothing for us
    nameless: str = ""

    @classmethod
    def of_file(cls, path: Path, why: str, fix: str = "", damaged: bool = False) -> LeftAside:
        return cls(path.name, why, fix, damaged=damaged, nameless="a file")

    def __post_init__(self):
        object.__setattr__(self, "what", printable(self.what))
        object.__setattr__(self, "why", self.why.rstrip("."))  # it stands within sentences


@dataclass(frozen=True, eq=False)
class Scan:
    """Everything that was found below one or more paths."""

    stacks: tuple[Stack, ...] = ()
    left_aside: tuple[LeftAside, ...] = field(default_factory=tuple)
