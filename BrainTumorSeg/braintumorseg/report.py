"""report.json: what was found, what to be careful about, and how it came about. Plain types, stable keys, no patient's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from .background import brain_only_mask
from .diameters import MOST_LESIONS, Diameters, enhancing_lesions
from .io.dicom_facts import damage, integer
from .io.dicom_quiet import quiet
from .io.dicom_series import Stack
from .measure import Measurements, estimated
from .midline import middle_mm, side
from .quality import Flag, warnings_first
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
    """The report as a dict that `json.dumps` takes: ml and seconds to 0.001, mm to 0.1, mm2 to 1; zeros, [] and None when nothing was found.

    `made_at` is when, in local time with its offset. `enhancing_mm` is the largest enhancing lesion, measurable or not, `enhancing_lesions_mm`
    are those that are measurable, by size, and `sum_of_products_mm2` adds up the first five; None without T1ce. A `side` is one of
    `midline.SIDES`, of the patient, None where the brain in view has no middle or the reference's file does not say how the patient lay;
    what ends in `_mm_ras` are world mm.

    There is a 'patient' only where `identity` is given. The reasons under 'recognised' are the study's own words: file names appear
    there only if the reader put them in.
    """
    made, middle = segmentation.provenance, _middle(study, segmentation)
    axes = [_axes(one, study, segmentation, middle) for one in enhancing_lesions(segmentation.labels, made.missing)]
    measurable = [one for one in axes if one["measurable"]]
    return {
        "format": FORMAT,
        "made_at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "research_use_only": RESEARCH_USE_ONLY,
        **({"patient": dict(identity)} if identity else {}),
        "volumes_ml": {"labels": _rounded(measurements.label_ml, 3), "regions": _rounded(measurements.region_ml, 3)},
        "lesions": [{"ml": round(lesion.ml, 3), "regions_ml": _rounded(lesion.region_ml, 3),
                     "centre_mm_ras": _mm(lesion.centre_mm), "side": side(*lesion.across_mm, middle)} for lesion in measurements.lesions],
        "estimated_without_t1ce": list(estimated(made.missing)),
        "enhancing_mm": axes[0] if axes else None,
        "enhancing_lesions_mm": measurable,
        "sum_of_products_mm2": None if "t1ce" in made.missing else sum(one["product_mm2"] for one in measurable[:MOST_LESIONS]),
        "flags": [{"code": flag.code, "severity": flag.severity, "text": flag.text} for flag in warnings_first(flags)],
        "sequences": {role: {"grid": volume.grid.describe(), "spacing_mm": [round(mm, 3) for mm in volume.spacing_mm],
                             "recognised": made.roles.get(role, study.sources.get(role, ""))}
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
        "signs": _rounded(made.signs, 3),
        "seconds": _rounded(made.seconds, 3),
        "software": dict(made.software),
    }


def _middle(study: Study, segmentation: Segmentation) -> float | None:
    """World x of the brain's middle; None where which side is which was assumed."""
    if study.reference.assumed:
        return None
    brain = segmentation.brain
    return middle_mm(brain_only_mask(study.reference) if brain is None else brain.mask.voxels != 0, study.reference.grid)


def _axes(found: Diameters, study: Study, segmentation: Segmentation, middle: float | None) -> dict:
    """Long and short axis of an enhancing lesion on one slice, as RANO measures it.

    Where the slice is one of the reference's own, `slice` counts along its K from 0 and `image` is the number under which a DICOM viewer shows
    it; both are None where it was cut across those. `centre_mm_ras` is the middle of the long axis. `product_mm2` is that of the lengths given;
    `measurable_from_mm` and `slices` (on which the lesion is seen) say why it is not `measurable`; `filled` is its share of its convex hull.
    """
    grid = segmentation.labels.grid
    own = found.slice if found.plane.axis == 2 else None
    long, short = round(found.long.mm, 1), round(found.short.mm, 1)
    return {"long": long, "short": short, "product_mm2": round(long * short), "measurable": found.measurable,
            "measurable_from_mm": found.limit_mm, "slices": found.slices, "filled": round(found.filled, 2),
            "plane": found.plane.name, "position": found.position(grid), "tilt_deg": round(found.plane.tilt_deg, 1),
            "centre_mm_ras": _mm(found.middle_mm(grid)), "side": side(*found.across_mm(grid), middle),
            "long_ends_mm_ras": [*map(_mm, found.ends_mm(found.long, grid))], "short_ends_mm_ras": [*map(_mm, found.ends_mm(found.short, grid))],
            "slice": own, "image": None if own is None else _image_number(study.stacks.get(study.reference_role), own)}


def _mm(values) -> list[float]:
    return [round(float(mm), 1) for mm in values]


def _image_number(stack: Stack | None, k: int) -> int | None:
    """The InstanceNumber of slice `k` of a DICOM series, or its frame's number in a multi-frame object; None where it is not the series' own."""
    import pydicom

    if stack is None or stack.shear_deg or k in stack.missing:
        return None
    frame, files = stack.frames[k - sum(gap < k for gap in stack.missing)], {frame.path for frame in stack.frames}
    if len(files) < len(stack.frames):
        return frame.index + 1 if len(files) == 1 else None
    try:
        with quiet():
            return integer(pydicom.dcmread(frame.path, specific_tags=["InstanceNumber"], stop_before_pixels=True, force=True), "InstanceNumber")
    except damage():  # the files may be gone: the position stands without it
        return None


def _brain(brain: StudyBrain | None) -> dict | None:
    """None where the images show the brain alone."""
    if brain is None:
        return None
    return {"found": brain.text, "ml": round(float(np.count_nonzero(brain.mask.voxels)) * brain.mask.voxel_ml, 1),
            "agreement": _rounded(brain.agreement, 3)}


def _rounded(numbers, digits: int) -> dict[str, float]:
    return {key: round(float(number), digits) for key, number in numbers.items()}
