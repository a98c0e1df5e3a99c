"""A DICOM structured report of the measurements (PS3.16 TID 1500): ml for each segment and region, and the axes of the enhancing tumour."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..diameters import Axis, Diameters, enhancing_diameters
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

__all__ = ["SrSummary", "write_dicom_sr"]

_VOLUME: Code = ("118565006", "SCT", "Volume")
_LONG_AXIS: Code = ("103339001", "SCT", "Long Axis")
_SHORT_AXIS: Code = ("103340004", "SCT", "Short Axis")
_ML: Code = ("ml", "UCUM", "milliliter")
_MM: Code = ("mm", "UCUM", "millimeter")
_NEOPLASM: Code = ("108369006", "SCT", "Neoplasm")
_ESTIMATED: Code = ("414135002", "SCT", "Estimated")
_PROCEDURE: Code = ("24590-2", "LN", "MR Brain")
_REGIONS = {"WT": "Whole tumour (necrosis, edema, enhancing)", "TC": "Tumour core (necrosis, enhancing)", "ET": "Enhancing tumour"}


@dataclass(frozen=True)
class SrSummary:
    """The report written; `diameters` are None when nothing enhances, or T1ce was missing."""

    path: Path
    series_uid: str
    sop_uid: str
    diameters: Diameters | None


def write_dicom_sr(labels: Volume, measurements: Measurements, series: SourceSeries, seg: SegSummary, table: Sequence[SegmentLabel],
                   path: Path | str, *, algorithm: str, version: str, sha256: str, missing: Collection[str] = ()) -> SrSummary:
    """Write the measurements as a Comprehensive SR that refers to the segments of `seg` by number and tracking identity.

    Each segment has its volume (TID 1411); WT, TC and ET have theirs, and the largest enhancing lesion its long and short axis, with their
    ends on the slice of the source where they lie (TID 1501). Where that slice is not the source's own (cut across its slices, resampled
    under a tilt, made up) the lengths stand without a place. Without T1ce there are no axes, and what is estimated is coded so. The identity
    of patient and study is copied from the source.

    Args:
        labels: (I, J, K) uint8 on the source's grid, axes in any order and direction.
        measurements: of those labels.
        series, seg: what the labels were found in, and the SEG that holds them.
        table: codes of the labels.
        path: the file.
        algorithm, version, sha256: as for `write_dicom_seg`.
        missing: the sequences that the network had to do without.
    """
    import highdicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    path = Path(path)
    if not series.tilted:
        labels = onto_grid(labels, series.grid, "The result")
    diameters, guessed = enhancing_diameters(labels, missing), estimated(missing)
    with quiet():
        made_by = None
        if algorithm:
            made_by = highdicom.sr.AlgorithmIdentification(name=algorithm, version=version, parameters=[f"weights_sha256={sha256}"])
        groups = [*_segment_groups(measurements, guessed, series, seg, table, made_by), *_region_groups(measurements, guessed, table, made_by)]
        if diameters is not None:
            groups.append(_axes_group(diameters, labels.grid, series, table, made_by))
        report = highdicom.sr.ComprehensiveSR(
            evidence=[*series.headers, *_seg_header(seg)],
            content=highdicom.sr.MeasurementReport(observation_context=_observer(algorithm, version), procedure_reported=_concept(_PROCEDURE),
                                                   imaging_measurements=groups)[0],
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
    return SrSummary(path, str(report.SeriesInstanceUID), str(report.SOPInstanceUID), diameters)


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


def _axes_group(diameters: Diameters, grid: Grid, series: SourceSeries, table: Sequence[SegmentLabel], made_by):
    from highdicom import sr

    enhancing = next(label.code for label in table if label.value == ET)
    plane = diameters.plane
    which = f"Largest enhancing lesion, on one {plane.name} slice at {diameters.position(grid)} (RANO)"
    which += ", not comparable with axial measurements" * (plane.name != "axial")
    place = series.slice_of(diameters.slice) if plane.axis == 2 else None
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(identifier=which),
        finding_category=_concept(ABNORMAL_STRUCTURE), finding_type=_concept(enhancing), finding_sites=[sr.FindingSite(_concept(BRAIN))],
        algorithm_id=made_by,
        measurements=[_measurement(name, round(axis.mm, 1), _MM, _coordinates(axis, place))
                      for name, axis in ((_LONG_AXIS, diameters.long), (_SHORT_AXIS, diameters.short))])


def _coordinates(axis: Axis, place: tuple[Dataset, int | None] | None) -> list:
    """The axis as a line on its slice: (column, row) from the outer corner of the first pixel, whose centre is (0.5, 0.5) (PS3.3 C.18.6)."""
    from highdicom import sr

    if place is None:
        return []
    header, frame = place
    image = sr.SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID, [frame] if frame else None)
    return [sr.CoordinatesForMeasurement(sr.GraphicTypeValues.POLYLINE, np.array(axis.ends) + 0.5, image)]


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
