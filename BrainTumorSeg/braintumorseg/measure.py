"""How much tumour: ml per label and region, and each lesion with its size and place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from .labels import ED, ET, NCR, REGIONS
from .metrics import bounding_box
from .segmentation import Segmentation

__all__ = ["LABEL_VALUES", "Lesion", "Measurements", "estimated", "measure"]

# Short name -> value: the keys of reports and tables, whatever a card calls its labels.
LABEL_VALUES = {"NCR": NCR, "ED": ED, "ET": ET}


@dataclass(frozen=True)
class Lesion:
    """One 26-connected piece of the whole tumour.

    `ml` of the whole piece, `region_ml` of its part in WT, TC and ET; `centre_mm` is the mean of its voxel centres in world mm
    (RAS+), which may lie outside a curved lesion.
    """

    ml: float
    region_ml: Mapping[str, float]
    centre_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Measurements:
    """`label_ml` by NCR, ED, ET; `region_ml` by WT, TC, ET; `lesions` largest first. Zeros and () when nothing was found."""

    label_ml: Mapping[str, float]
    region_ml: Mapping[str, float]
    lesions: tuple[Lesion, ...]


def estimated(missing: Collection[str]) -> tuple[str, ...]:
    """The regions and labels that are guessed rather than seen where T1ce is among the `missing` sequences: the core and its parts, which
    contrast alone tells apart; () where it is there."""
    every = {**REGIONS, **{name: (value,) for name, value in LABEL_VALUES.items()}}
    return tuple(name for name, values in every.items() if set(values) <= set(REGIONS["TC"])) if "t1ce" in missing else ()


def measure(segmentation: Segmentation) -> Measurements:
    """Volumes and lesions of a segmentation, by counting voxels on its native grid."""
    volume = segmentation.labels
    box = bounding_box(volume.voxels != 0)
    if box is None:
        return Measurements(dict.fromkeys(LABEL_VALUES, 0.0), dict.fromkeys(REGIONS, 0.0), ())
    counts, centres = _pieces(volume.voxels[box])                                            # (N, values), (N, 3)
    world = (centres + [side.start for side in box]) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    total = counts.sum(axis=0)
    return Measurements(
        label_ml={name: float(total[value] * volume.voxel_ml) for name, value in LABEL_VALUES.items()},
        region_ml=_region_ml(total, volume.voxel_ml),
        lesions=tuple(Lesion(ml=float(count.sum() * volume.voxel_ml), region_ml=_region_ml(count, volume.voxel_ml),
                             centre_mm=(float(r), float(a), float(s)))
                      for count, (r, a, s) in zip(counts, world, strict=True)))


def _pieces(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(voxels of each label value (N, values), centres in voxels (N, 3)) of the N 26-connected pieces, largest first."""
    from scipy import ndimage

    pieces, count = ndimage.label(labels != 0, np.ones((3, 3, 3), bool))  # (I, J, K), 1..count
    places = np.nonzero(pieces)
    piece, label = pieces[places] - 1, labels[places]                     # (N,), (N,)
    values = max(LABEL_VALUES.values()) + 1
    counts = np.bincount(piece * values + label, minlength=count * values).reshape(count, values)
    sizes = counts.sum(axis=1)
    centres = np.stack([np.bincount(piece, weights=place, minlength=count) / sizes for place in places], axis=1)
    largest_first = np.argsort(-sizes, kind="stable")
    return counts[largest_first], centres[largest_first]


def _region_ml(counts: np.ndarray, voxel_ml: float) -> dict[str, float]:
    """Region -> ml from the number of voxels of each label value."""
    return {region: float(counts[list(values)].sum() * voxel_ml) for region, values in REGIONS.items()}
