"""report.json: what was found, what to be careful about, and how it came about. Plain types, stable keys, no patient's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .diameters import largest_diameters
from .labels import ET
from .measure import Measurements
from .quality import Flag
from .segmentation import Segmentation
from .skull_strip import StudyBrain
from .study import Study

__all__ = ["FORMAT", "RESEARCH_USE_ONLY", "build_report"]

# Changes when a key changes its meaning or goes away; new keys may come without.
FORMAT = "braintumorseg report 1"
RESEARCH_USE_ONLY = ("For research use only. Not a medical device: not for diagnosis or treatment. "
                     "Every outline and number must be checked by a qualified reader.")


def build_report(study: Study, segmentation: Segmentation, measurements: Measurements, flags: Sequence[Flag],
                 identity: Mapping[str, str] | None = None) -> dict:
    """The report as a dict that `json.dumps` takes: ml and seconds to 0.001, mm to 0.1; zeros, [] and None when nothing was found.

    There is a 'patient' only where `identity` is given. The reasons under 'recognised' are the study's own words: file names appear
    there only if the reader put them in.
    """
    made = segmentation.provenance
    return {
        "format": FORMAT,
        "research_use_only": RESEARCH_USE_ONLY,
        **({"patient": dict(identity)} if identity else {}),
        "volumes_ml": {"labels": _rounded(measurements.label_ml, 3), "regions": _rounded(measurements.region_ml, 3)},
        "lesions": [{"ml": round(lesion.ml, 3), "regions_ml": _rounded(lesion.region_ml, 3),
                     "centre_mm_ras": [round(mm, 1) for mm in lesion.centre_mm]} for lesion in measurements.lesions],
        "enhancing_mm": _axes(segmentation),
        "flags": [{"code": flag.code, "severity": flag.severity, "text": flag.text} for flag in flags],
        "sequences": {role: {"grid": volume.grid.describe(), "recognised": made.roles.get(role, study.sources.get(role, ""))}
                      for role, volume in study.volumes.items()},
        "left_out": [{"what": one.nameless or one.what, "why": one.why} for one in study.left_out],
        "missing": list(made.missing),
        "reference": made.reference or study.reference_role,
        "alignment": dict(made.alignment),
        "brain": _brain(segmentation.brain),
        "model": {"name": made.model, "version": made.version, "sha256": made.sha256,
                  "labels": [{"value": label.value, "name": label.name, "code": list(label.code), "rgb": list(label.rgb)}
                             for label in segmentation.table]},
        "provider": made.provider,
        "provider_note": made.provider_note,
        "precision": made.precision,
        "weights": made.weights,
        "passes": made.passes,
        "looks": made.looks,
        "expected_dice": _rounded(made.expected_dice, 3),
        "seconds": _rounded(made.seconds, 3),
        "software": dict(made.software),
    }


def _axes(segmentation: Segmentation) -> dict | None:
    """Long and short axis of the largest enhancing lesion on one slice of the reference, as RANO measures it; None where nothing enhances."""
    found = largest_diameters(segmentation.labels.voxels == ET, segmentation.labels.grid)
    if found is None:
        return None
    return {"long": round(found.long.mm, 1), "short": round(found.short.mm, 1), "slice": found.slice, "measurable": found.measurable}


def _brain(brain: StudyBrain | None) -> dict | None:
    """None where the images show the brain alone."""
    if brain is None:
        return None
    return {"found": brain.text, "ml": round(float(np.count_nonzero(brain.mask.voxels)) * brain.mask.voxel_ml, 1),
            "agreement": _rounded(brain.agreement, 3)}


def _rounded(numbers, digits: int) -> dict[str, float]:
    return {key: round(float(number), digits) for key, number in numbers.items()}
