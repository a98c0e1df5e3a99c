"""DICOM Segmentation objects (PS3.3 A.51), written on the grid of the series they were found in and read back before they get their name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import GridMismatch, InputError, OutputError
from ..measure import LABEL_VALUES, estimated
from ..volume import Volume
from .dicom_codes import ABNORMAL_STRUCTURE, ARTIFICIAL_INTELLIGENCE, BRAIN, SegmentLabel
from .dicom_grid import onto_grid
from .dicom_planes import headers_to_copy, planes
from .dicom_quiet import quiet
from .dicom_seg_reader import read_dicom_seg
from .dicom_source import MANUFACTURER, SourceSeries, put_character_set, series_number, source_series
from .replacing import replacing

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom import Dataset

    from ..quality import Flag

__all__ = ["SegSummary", "SegmentLabel", "WrittenSegment", "read_dicom_seg", "write_dicom_seg"]


_GUESSED = "Estimated without T1 after contrast (T1ce): without it nobody can see what enhances. Not to be read as enhancement, or its absence."


@dataclass(frozen=True)
class WrittenSegment:
    """A segment of a SEG: its number there (1..n), the label it holds, and the tracking identity that a report refers to."""

    number: int
    value: int
    name: str
    voxels: int
    tracking_id: str
    tracking_uid: str


@dataclass(frozen=True)
class SegSummary:
    """What a SEG holds. With every label empty nothing was written: `path` is None, and there are no segments and UIDs."""

    path: Path | None
    segments: tuple[WrittenSegment, ...]
    left_out: tuple[str, ...]  # names of the labels without a voxel: readers reject empty segments
    series_uid: str = ""
    sop_uid: str = ""
    sop_class_uid: str = ""


def write_dicom_seg(labels: Volume, source: SourceSeries | Sequence[Dataset], table: Sequence[SegmentLabel], path: Path | str, *,
                    algorithm: str, version: str, sha256: str, edited: bool = False, labelmap: bool = False, missing: Collection[str] = (),
                    flags: Sequence[Flag] = ()) -> SegSummary:
    """Write `labels` (I, J, K; uint8, 0 and the values of `table`) as a SEG that refers to the slices of one series.

    The file is read back and compared voxel by voxel before it gets its name; with no labelled voxel none is written.

    Args:
        labels: on the source's grid, axes in any order and direction. Where the source's slices lean (a tilted gantry) no upright volume
            has their voxels: the SEG then keeps the grid of `labels`, in the same frame of reference.
        source: the series, or the headers of its slices in any order, or the header of one multi-frame object. The identity of patient
            and study is copied from it.
        table: names, codes and colours.
        path: the file.
        algorithm: what found it, its `version` and the SHA-256 of its weights; '' when a person drew it.
        edited: a person has changed what the algorithm found.
        labelmap: write a LABELMAP, run-length coded and a tenth of the size, which many viewers do not read yet, instead of BINARY.
        missing: the sequences that the network had to do without; segments that are guessed without T1ce say so.
        flags: of the result; the description of the content says that there are warnings among them.

    Raises GridMismatch when the grids differ, BadImage when the source cannot carry a SEG, OutputError when the file reads back wrong.
    """
    path = Path(path)
    with quiet():
        series = source if isinstance(source, SourceSeries) else source_series(source)
        labels = _placed(labels, series)
        counts = {label.value: int(np.count_nonzero(labels.voxels == label.value)) for label in table}
        if sum(counts.values()) != np.count_nonzero(labels.voxels):
            raise ValueError(f"The labels hold values that are not in the table of {', '.join(map(str, counts))}")
        left_out = tuple(label.name for label in table if not counts[label.value])
        kept = [label for label in table if counts[label.value]]
        if not kept:
            return SegSummary(None, (), left_out)
        segments = tuple(_written(number, label, counts[label.value]) for number, label in enumerate(kept, start=1))
        guessed = {LABEL_VALUES[name] for name in estimated(missing) if name in LABEL_VALUES}
        descriptions = [_description(*pair, algorithm, version, sha256, edited, guessed) for pair in zip(segments, kept, strict=True)]
        content = _content(algorithm, sum(flag.severity == "warning" for flag in flags))
        seg = _segmentation(labels, series, segments, descriptions, algorithm, version, labelmap, content)
        _save(seg, path, labels, kept)
    return SegSummary(path, segments, left_out, str(seg.SeriesInstanceUID), str(seg.SOPInstanceUID), str(seg.SOPClassUID))


def _save(seg: Segmentation, path: Path, labels: Volume, kept: Sequence[SegmentLabel]) -> None:
    with replacing(path) as partial:
        seg.save_as(partial)
        _check(partial, path.name, labels, kept)


def _check(written: Path, name: str, labels: Volume, kept: Sequence[SegmentLabel]) -> None:
    """Raises OutputError unless `written` holds `labels`, and states their slice distance, by which other readers rebuild the volume."""
    from pydicom import dcmread

    why = None
    try:
        shared, = dcmread(written, specific_tags=["SharedFunctionalGroupsSequence"]).SharedFunctionalGroupsSequence
        stated = float(shared.PixelMeasuresSequence[0].SpacingBetweenSlices)
        same = np.isclose(stated, labels.spacing_mm[2]) and np.array_equal(read_dicom_seg(written, labels.grid, kept).voxels, labels.voxels)
    except InputError as error:  # its advice is for a file that a user gave
        same, why = False, error
    if not same:
        raise OutputError(f"{name} did not read back as it was written.", "Report this, and use the NIfTI result.") from why


def _placed(labels: Volume, series: SourceSeries) -> Volume:
    """`labels` with their axes as the series has them; where its slices lean, as they are once they prove to lie within them."""
    if not series.tilted:
        return onto_grid(labels, series.grid, "The result")
    found = np.argwhere(labels.voxels)                                                               # (N, 3)
    ends = np.array([found.min(axis=0), found.max(axis=0)]) if len(found) else np.zeros((0, 3))
    places = (np.linalg.inv(series.grid.affine) @ labels.affine @ np.vstack([ends.T, np.ones(len(ends))]))[:3].T
    axes = labels.affine[:3, :3] / labels.spacing_mm
    outside = bool(len(ends)) and (places.min() < -1 or (places.max(axis=0) > series.grid.shape).any())
    if outside or np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4:
        raise GridMismatch(f"The result is {labels.grid.describe()}, and the slices of the series, which lean, are not there "
                           "or its own axes lean too.", "Give the series in which the segmentation was made, as this program read it.")
    return labels


def _written(number: int, label: SegmentLabel, voxels: int) -> WrittenSegment:
    from pydicom.uid import generate_uid

    return WrittenSegment(number, label.value, label.name, voxels, f"{label.name} {number}", str(generate_uid(prefix=None)))


def _content(algorithm: str, warnings: int) -> str:
    """Of the SEG, in the 64 letters of an LO."""
    if not warnings:
        return f"Brain tumour parts, {'found automatically' if algorithm else 'drawn by hand'}; research use only"
    return f"Brain tumour parts; {warnings} warning{'s' * (warnings > 1)}: see report; research use only"


def _description(segment: WrittenSegment, label: SegmentLabel, algorithm: str, version: str, sha256: str, edited: bool,
                 guessed: Collection[int]) -> SegmentDescription:
    import highdicom
    from highdicom.sr import CodedConcept

    how = highdicom.seg.SegmentAlgorithmTypeValues
    made_by = None
    if algorithm:
        made_by = highdicom.AlgorithmIdentificationSequence(
            name=algorithm, family=CodedConcept(*ARTIFICIAL_INTELLIGENCE), version=version, source=MANUFACTURER,
            parameters={"weights_sha256": sha256})
    description = highdicom.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.name,
        segmented_property_category=CodedConcept(*ABNORMAL_STRUCTURE),
        segmented_property_type=CodedConcept(*label.code),
        algorithm_type=how.MANUAL if made_by is None else how.SEMIAUTOMATIC if edited else how.AUTOMATIC,
        algorithm_identification=made_by,
        tracking_uid=segment.tracking_uid,
        tracking_id=segment.tracking_id,
        anatomic_regions=[CodedConcept(*BRAIN)],
        display_color=highdicom.color.CIELabColor.from_rgb(*label.rgb),
    )
    if segment.value in guessed:
        description.SegmentDescription = _GUESSED
    return description


def _segmentation(labels: Volume, series: SourceSeries, segments: Sequence[WrittenSegment],
                  descriptions: Sequence[SegmentDescription], algorithm: str, version: str, labelmap: bool, content: str) -> Segmentation:
    import highdicom
    from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

    numbers = np.zeros(256, np.uint8)
    for segment in segments:
        numbers[segment.value] = segment.number
    kinds = highdicom.seg.SegmentationTypeValues
    seg = highdicom.seg.Segmentation(
        source_images=headers_to_copy(series, labels),
        **planes(numbers[labels.voxels].transpose(2, 1, 0), labels, series),
        segmentation_type=kinds.LABELMAP if labelmap else kinds.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(prefix=None),
        series_number=series_number(series, "SEG"),
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=algorithm or MANUFACTURER,
        software_versions=version or "0",
        device_serial_number=version or "0",
        transfer_syntax_uid=RLELossless if labelmap else ExplicitVRLittleEndian,  # single bits cannot be run-length coded
        content_label="BRAIN_TUMOR",
        content_description=content,
        series_description="Brain tumour segmentation (research use only)",
    )
    seg.ContentCreatorName = None  # type 2: must be there, and nobody is named
    put_character_set(seg, series)
    if series.frames:
        _keep_references(seg, series.frames)
    return seg


def _keep_references(seg: Segmentation, frames: Sequence[int]) -> None:
    """Of the frames of a multi-frame source that lie where ours do (other echoes, b-values) keep those in which the result was made."""
    for frame in seg.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence", ()):
            derivation.SourceImageSequence = [item for item in derivation.SourceImageSequence if int(item.ReferencedFrameNumber) in frames]
