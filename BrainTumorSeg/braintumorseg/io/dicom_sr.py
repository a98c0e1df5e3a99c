"""A DICOM structured report of the measurements (PS3.16 TID 1500): ml for each segment and region, the axes of the enhancing lesions, and what to
be careful about."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..diameters import MOST_LESIONS, Axis, Diameters, enhancing_lesions
from ..labels import ET
from ..measure import LABEL_VALUES, Measurements, estimated
from ..volume import Grid, Volume
from .dicom_codes import ABNORMAL_STRUCTURE, BRAIN, Code, SegmentLabel
from .dicom_grid import onto_grid
from .dicom_quiet import quiet
from .dicom_seg import SegSummary
from .dicom_source import MANUFACTURER, SourceSeries, put_character_set, series_number

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..quality import Flag

__all__ = ["SrSummary", "write_dicom_sr"]

_VOLUME: Code = ("118565006", "SCT", "Volume")
_LONG_AXIS: Code = ("103339001", "SCT", "Long Axis")
_SHORT_AXIS: Code = ("103340004", "SCT", "Short Axis")
_SUM_OF_PRODUCTS: Code = ("sum-of-products", "99BRAINTUMORSEG", "Sum of products of perpendicular diameters")   # PS3.16 has none
_ML: Code = ("ml", "UCUM", "milliliter")
_MM: Code = ("mm", "UCUM", "millimeter")
_MM2: Code = ("mm2", "UCUM", "square millimeter")
_EVALUATIONS: Code = ("C0034375", "UMLS", "Qualitative Evaluations")
_COMMENT: Code = ("121106", "DCM", "Comment")
_NOT_FOUND = "No tumour was found. This is no proof of absence: look at the images."
_NEOPLASM: Code = ("108369006", "SCT", "Neoplasm")
_ESTIMATED: Code = ("414135002", "SCT", "Estimated")
_PROCEDURE: Code = ("24590-2", "LN", "MR Brain")
_REGIONS = {"WT": "Whole tumour (necrosis, edema, enhancing)", "TC": "Tumour core (necrosis, enhancing)", "ET": "Enhancing tumour"}


@dataclass(frozen=True)
class SrSummary:
    """The report written; `diameters` are the largest enhancing lesion's, None when nothing enhances, or T1ce was missing."""

    path: Path
    series_uid: str
    sop_uid: str
    diameters: Diameters | None


def write_dicom_sr(labels: Volume, measurements: Measurements, series: SourceSeries, seg: SegSummary, table: Sequence[SegmentLabel],
                   path: Path | str, *, algorithm: str, version: str, sha256: str, missing: Collection[str] = (),
                   flags: Sequence[Flag] = ()) -> SrSummary:
    """Write the measurements as a Comprehensive SR that refers to the segments of `seg` by number and tracking identity.

    Each segment has its volume (TID 1411); WT, TC and ET have theirs, and the largest enhancing lesion and every other that is measurable its
    long and short axis, with their ends on the slice of the source where they lie (TID 1501); then comes RANO's sum of products. Where a slice
    is not the source's own (cut across its slices, resampled under a tilt, made up) the ends are points of its frame of reference, which only
    a Comprehensive 3D SR may hold. Without T1ce there are no axes, and what is estimated is coded so. Warnings, and that nothing was found,
    are comments for people. The identity of patient and study is copied from the source.

    Args:
        labels: (I, J, K) uint8 on the source's grid, axes in any order and direction.
        measurements: of those labels.
        series, seg: what the labels were found in, and the SEG that holds them.
        table: codes of the labels.
        path: the file.
        algorithm, version, sha256: as for `write_dicom_seg`.
        missing: the sequences that the network had to do without.
        flags: of the result; the warnings among them are written, in ASCII.
    """
    import highdicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    path = Path(path)
    if not series.tilted:
        labels = onto_grid(labels, series.grid, "The result")
    lesions, guessed = enhancing_lesions(labels, missing), estimated(missing)
    in_space = any(_place(one, series) is None for one in lesions)
    with quiet():
        made_by = None
        if algorithm:
            made_by = highdicom.sr.AlgorithmIdentification(name=algorithm, version=version, parameters=[f"weights_sha256={sha256}"])
        groups = [*_segment_groups(measurements, guessed, series, seg, table, made_by), *_region_groups(measurements, guessed, table, made_by)]
        groups += [_axes_group(one, number, labels.grid, series, table, made_by) for number, one in enumerate(lesions, 1)]
        groups += _sum_group([one for one in lesions if one.measurable][:MOST_LESIONS], table, made_by)
        content = highdicom.sr.MeasurementReport(observation_context=_observer(algorithm, version), procedure_reported=_concept(_PROCEDURE),
                                                 imaging_measurements=groups)[0]
        content.ContentSequence.extend(_comments(measurements, flags))
        report = (highdicom.sr.Comprehensive3DSR if in_space else highdicom.sr.ComprehensiveSR)(
            evidence=[*series.headers, *_seg_header(seg)],
            content=content,
            series_instance_uid=generate_uid(prefix=None),
            series_number=series_number(series, "SR"),
            sop_instance_uid=generate_uid(prefix=None),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=algorithm or MANUFACTURER,
            software_versions=version or "0",
            is_complete=True,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            series_description="Brain tumour measurements (research use only)",
        )
        put_character_set(report, series)
        report.save_as(path)
    return SrSummary(path, str(report.SeriesInstanceUID), str(report.SOPInstanceUID), lesions[0] if lesions else None)


def _segment_groups(measurements: Measurements, guessed: Collection[str], series: SourceSeries, seg: SegSummary,
                    table: Sequence[SegmentLabel], made_by) -> list:
    from highdicom import sr

    code_of = {label.value: label.code for label in table}
    name_of = {value: name for name, value in LABEL_VALUES.items()}
    source = sr.SourceSeriesForSegmentation(series.first.SeriesInstanceUID)
    return [sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(segment.tracking_uid, segment.tracking_id),
        referenced_segment=sr.ReferencedSegment(seg.sop_class_uid, seg.sop_uid, segment.number, source_series=source),
        finding_category=_concept(ABNORMAL_STRUCTURE), finding_type=_concept(code_of[segment.value]),
        finding_sites=[sr.FindingSite(_concept(BRAIN))], algorithm_id=made_by,
        measurements=[_volume(measurements.label_ml[name_of[segment.value]], name_of[segment.value] in guessed)]) for segment in seg.segments]


def _region_groups(measurements: Measurements, guessed: Collection[str], table: Sequence[SegmentLabel], made_by) -> list:
    from highdicom import sr

    enhancing = next(label.code for label in table if label.value == ET)
    return [sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(identifier=_REGIONS[region] + ", estimated without T1ce" * (region in guessed)),
        finding_category=_concept(ABNORMAL_STRUCTURE), finding_type=_concept(enhancing if region == "ET" else _NEOPLASM),
        finding_sites=[sr.FindingSite(_concept(BRAIN))], algorithm_id=made_by,
        measurements=[_volume(ml, region in guessed)]) for region, ml in measurements.region_ml.items()]


def _axes_group(found: Diameters, number: int, grid: Grid, series: SourceSeries, table: Sequence[SegmentLabel], made_by):
    which = "Largest enhancing lesion" if number == 1 else f"Enhancing lesion {number}"
    which += f", on one {found.plane.name} slice at {found.position(grid)} (RANO{'' if found.measurable else ', not measurable'})"
    which += ", across necrosis and gaps" * found.hollow + ", not comparable with axial measurements" * (found.plane.name != "axial")
    return _enhancing_group(which, [_measurement(name, round(axis.mm, 1), _MM, _coordinates(axis, found, grid, series))
                                    for name, axis in ((_LONG_AXIS, found.long), (_SHORT_AXIS, found.short))], table, made_by)


def _sum_group(lesions: Sequence[Diameters], table: Sequence[SegmentLabel], made_by) -> list:
    """The sum of the products of the lengths as they are given; [] where no lesion is measurable."""
    total = sum(round(round(one.long.mm, 1) * round(one.short.mm, 1)) for one in lesions)
    which = f"Sum of products of {len(lesions)} measurable enhancing lesion{'s' * (len(lesions) > 1)} (RANO)"
    return [_enhancing_group(which, [_measurement(_SUM_OF_PRODUCTS, total, _MM2)], table, made_by)] if lesions else []


def _enhancing_group(which: str, measured: Sequence, table: Sequence[SegmentLabel], made_by):
    from highdicom import sr

    enhancing = next(label.code for label in table if label.value == ET)
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(identifier=which),
        finding_category=_concept(ABNORMAL_STRUCTURE), finding_type=_concept(enhancing), finding_sites=[sr.FindingSite(_concept(BRAIN))],
        algorithm_id=made_by, measurements=measured)


def _place(found: Diameters, series: SourceSeries) -> tuple[Dataset, int | None] | None:
    """The source's slice in which the axes lie, as `SourceSeries.slice_of` has it."""
    return series.slice_of(found.slice) if found.plane.axis == 2 else None


def _coordinates(axis: Axis, found: Diameters, grid: Grid, series: SourceSeries) -> list:
    """The axis as a line on its slice: (column, row) from the outer corner of the first pixel, whose centre is (0.5, 0.5) (PS3.3 C.18.6); where
    that is not the source's own as a line in its frame of reference, in LPS mm (C.18.9)."""
    from highdicom import sr

    place = _place(found, series)
    if place is None:
        return [sr.CoordinatesForMeasurement3D(sr.GraphicTypeValues3D.POLYLINE, found.ends_mm(axis, grid) * (-1, -1, 1),
                                               series.first.FrameOfReferenceUID)]
    header, frame = place
    image = sr.SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID, [frame] if frame else None)
    return [sr.CoordinatesForMeasurement(sr.GraphicTypeValues.POLYLINE, np.array(axis.ends) + 0.5, image)]


def _comments(measurements: Measurements, flags: Sequence[Flag]) -> list:
    """The container of TID 1500 for qualitative evaluations, with a text for each warning; [] where there is nothing to say."""
    from highdicom import sr

    said = [flag.text for flag in flags if flag.severity == "warning"]
    if not measurements.lesions and not any(flag.code == "empty_result" for flag in flags):
        said.insert(0, _NOT_FOUND)
    if not said:
        return []
    container = sr.ContainerContentItem(_concept(_EVALUATIONS), relationship_type=sr.RelationshipTypeValues.CONTAINS)
    container.ContentSequence = sr.ContentSequence([
        sr.TextContentItem(_concept(_COMMENT), text.encode("ascii", "replace").decode("ascii"), sr.RelationshipTypeValues.CONTAINS) for text in said])
    return [container]


def _volume(ml: float, guessed: bool):
    return _measurement(_VOLUME, round(ml, 3), _ML, derivation=_ESTIMATED if guessed else None)


def _measurement(name: Code, value: float, unit: Code, coordinates: Sequence = (), derivation: Code | None = None):
    from highdicom import sr

    return sr.Measurement(name=_concept(name), value=value, unit=_concept(unit), derivation=_concept(derivation) if derivation else None,
                          referenced_coordinates=coordinates or None)


def _observer(algorithm: str, version: str):
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    uid = generate_uid(prefix="2.25.", entropy_srcs=[MANUFACTURER, algorithm, version])  # the same program is the same observer
    return sr.ObservationContext(observer_device_context=sr.ObserverContext(
        codes.DCM.Device, sr.DeviceObserverIdentifyingAttributes(uid=uid, name=MANUFACTURER, manufacturer_name=MANUFACTURER,
                                                                 model_name=algorithm or MANUFACTURER)))


def _seg_header(seg: SegSummary) -> list[Dataset]:
    import pydicom

    return [pydicom.dcmread(seg.path, stop_before_pixels=True)] if seg.path else []


def _concept(code: Code):
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)
