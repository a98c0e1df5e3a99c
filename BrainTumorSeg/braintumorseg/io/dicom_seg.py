"""DICOM Segmentation objects (PS3.3 A.51, BINARY), written on the grid of the series they were found in and read back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import BadImage, NotAnImage, OutputError
from ..volume import Grid, Volume
from .dicom_grid import LPS_FROM_RAS, onto_grid, series_grid
from .files import existing_file

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom import Dataset

__all__ = ["SegSummary", "SegmentLabel", "WrittenSegment", "read_dicom_seg", "write_dicom_seg"]

_MANUFACTURER = "BrainTumorSeg"
_CATEGORY = ("49755003", "SCT", "Morphologically Abnormal Structure")
_REGION = ("12738006", "SCT", "Brain")
_FAMILY = ("123110", "DCM", "Artificial Intelligence")
# Type 2 attributes that some exports drop and that a SEG copies: present and empty says "not known".
_MAY_BE_EMPTY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex",
                 "AccessionNumber", "StudyID", "StudyDate", "StudyTime")
_MUST_BE_THERE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
_SERIES_NUMBER_OFFSET = 1000  # away from the scanner's own series, beside the source when a viewer sorts by number


class SegmentLabel(Protocol):
    """One label of the result, as in the model card: voxel value, name, (value, scheme, meaning) of its type, colour 0..255."""

    value: int
    name: str
    code: tuple[str, str, str]
    rgb: tuple[int, int, int]


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


def write_dicom_seg(labels: Volume, source: Sequence[Dataset], table: Sequence[SegmentLabel], path: Path | str, *,
                    algorithm: str, version: str, sha256: str) -> SegSummary:
    """Write `labels` (I, J, K; uint8, 0 and the values of `table`) as a BINARY SEG that refers to the slices of one series.

    `source` are those slices (headers are enough), in any order; `labels` lies on their grid, axes in any order and direction.
    The identity of patient and study is copied from the source. The file is read back and compared voxel by voxel before it
    gets its name; with no labelled voxel none is written.
    Raises GridMismatch when the grids differ, BadImage when the source cannot carry a SEG, OutputError when the file reads
    back wrong.
    """
    path = Path(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pydicom and highdicom print unusual patient names in theirs
        return _write(labels, source, table, path, algorithm, version, sha256)


def _write(labels: Volume, source: Sequence[Dataset], table: Sequence[SegmentLabel], path: Path,
           algorithm: str, version: str, sha256: str) -> SegSummary:
    source = [_with_identity(dataset) for dataset in source]
    labels = onto_grid(labels, series_grid(source), "The result")
    counts = {label.value: int(np.count_nonzero(labels.voxels == label.value)) for label in table}
    if sum(counts.values()) != np.count_nonzero(labels.voxels):
        raise ValueError(f"The labels hold values that are not in the table of {', '.join(map(str, counts))}")
    left_out = tuple(label.name for label in table if not counts[label.value])
    kept = [label for label in table if counts[label.value]]
    if not kept:
        return SegSummary(None, (), left_out)

    segments = tuple(_written(number, label, counts[label.value]) for number, label in enumerate(kept, start=1))
    descriptions = [_description(*pair, algorithm, version, sha256) for pair in zip(segments, kept, strict=True)]
    seg = _segmentation(labels, source, segments, descriptions, algorithm, version)
    partial = path.with_name(f".{path.name}.partial")
    try:
        seg.save_as(partial)
        if not np.array_equal(read_dicom_seg(partial, labels.grid, kept).voxels, labels.voxels):
            raise OutputError(f"{path.name} did not read back as it was written.", "Report this, and use segmentation.nii.gz.")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return SegSummary(path, segments, left_out, str(seg.SeriesInstanceUID), str(seg.SOPInstanceUID))


def read_dicom_seg(path: Path | str, reference: Grid, table: Sequence[SegmentLabel] | None = None) -> Volume:
    """The labels of a SEG as uint8 (I, J, K) on `reference`; 0 where there is no segment.

    A segment becomes the value whose code in `table` is its type; without a table its segment number. A SEG holds only slices
    with something in them, so it may cover a part of `reference`; its voxels must be voxels there. Where segments overlap the
    later one wins. Raises MissingFile, NotAnImage, GridMismatch, and BadImage for a segment that the table does not know.
    """
    import highdicom
    import pydicom
    from pydicom.errors import InvalidDicomError

    path = existing_file(path)
    try:
        dataset = pydicom.dcmread(path)
        if dataset.get("SegmentationType") == "FRACTIONAL":
            raise ValueError("it holds probabilities, not labels")
        seg = highdicom.seg.Segmentation.from_dataset(dataset, copy=False)
        found = seg.get_volume(combine_segments=False, dtype=np.uint8)
    except InvalidDicomError:
        raise NotAnImage(f"{path.name} is not a DICOM file.", "Give a DICOM Segmentation.") from None
    except (ValueError, RuntimeError, AttributeError, KeyError) as error:
        raise NotAnImage(f"{path.name} is not a DICOM Segmentation of one regular volume ({error}).",
                         "Give a SEG as its maker wrote it.") from error
    values = [_value(description, table) for description in seg.SegmentSequence]
    voxels = np.zeros(found.spatial_shape[::-1], np.uint8)                 # (columns, rows, slices)
    for channel, value in enumerate(values):
        voxels[found.array[..., channel].transpose(2, 1, 0) > 0] = value   # highdicom: (slices, rows, columns, segments)
    affine = LPS_FROM_RAS @ found.affine[:, [2, 1, 0, 3]]
    return onto_grid(Volume(voxels, affine), reference, path.name, part=True)


def _with_identity(dataset: Dataset) -> Dataset:
    """A copy of a source slice's header with empty values where attributes are missing. Raises BadImage without the UIDs."""
    from pydicom import Dataset

    missing = [name for name in _MUST_BE_THERE if not dataset.get(name)]
    if missing:
        raise BadImage(f"The DICOM series has no {', '.join(missing)}, so no segmentation can refer to it.",
                       "Export the series from the PACS again, or use the NIfTI result.")
    filled = Dataset()
    filled.update({tag: element for tag, element in dataset.items() if tag.group < 0x7FE0})  # without the pixels
    for name in _MAY_BE_EMPTY:
        if name not in filled:
            setattr(filled, name, None)
    return filled


def _written(number: int, label: SegmentLabel, voxels: int) -> WrittenSegment:
    from pydicom.uid import generate_uid

    return WrittenSegment(number, label.value, label.name, voxels, f"{label.name} {number}", str(generate_uid(prefix=None)))


def _description(segment: WrittenSegment, label: SegmentLabel, algorithm: str, version: str, sha256: str) -> SegmentDescription:
    import highdicom
    from highdicom.sr import CodedConcept

    return highdicom.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.name,
        segmented_property_category=CodedConcept(*_CATEGORY),
        segmented_property_type=CodedConcept(*label.code),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=algorithm, family=CodedConcept(*_FAMILY), version=version, source=_MANUFACTURER,
            parameters={"weights_sha256": sha256}),
        tracking_uid=segment.tracking_uid,
        tracking_id=segment.tracking_id,
        anatomic_regions=[CodedConcept(*_REGION)],
        display_color=highdicom.color.CIELabColor.from_rgb(*label.rgb),
    )


def _segmentation(labels: Volume, source: Sequence[Dataset], segments: Sequence[WrittenSegment],
                  descriptions: Sequence[SegmentDescription], algorithm: str, version: str) -> Segmentation:
    import highdicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    numbers = np.zeros(256, np.uint8)
    for segment in segments:
        numbers[segment.value] = segment.number
    # A Volume carries its own affine: a bare array would be mirrored without a word, as highdicom stacks slices the other way.
    volume = highdicom.Volume(numbers[labels.voxels].transpose(2, 1, 0), LPS_FROM_RAS @ labels.affine[:, [2, 1, 0, 3]],
                              coordinate_system="PATIENT", frame_of_reference_uid=source[0].FrameOfReferenceUID)
    seg = highdicom.seg.Segmentation(
        source_images=source,
        pixel_array=volume,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(prefix=None),
        series_number=int(source[0].get("SeriesNumber") or 0) + _SERIES_NUMBER_OFFSET,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=_MANUFACTURER,
        manufacturer_model_name=algorithm,
        software_versions=version,
        device_serial_number=version,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="BRAIN_TUMOR",
        content_description="Brain tumour parts, found automatically; research use only",
        series_description="Brain tumour segmentation (research use only)",
    )
    seg.ContentCreatorName = None  # type 2: nobody drew it, and it must be there
    if "SpecificCharacterSet" in source[0]:  # highdicom 0.27 leaves it out, and the patient's name would lose its letters
        seg.SpecificCharacterSet = source[0].SpecificCharacterSet
    return seg


def _value(description: Dataset, table: Sequence[SegmentLabel] | None) -> int:
    if table is None:
        return int(description.SegmentNumber)
    kind = description.SegmentedPropertyTypeCodeSequence[0]
    for label in table:
        if label.code[:2] == (kind.CodeValue, kind.CodingSchemeDesignator):
            return label.value
    raise BadImage(f"The segment {description.SegmentLabel} is {kind.CodeMeaning} ({kind.CodeValue}, "
                   f"{kind.CodingSchemeDesignator}), which is none of the labels asked for.",
                   "Read it without a label table, by segment number.")
