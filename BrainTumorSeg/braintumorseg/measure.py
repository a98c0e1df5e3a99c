"""How much tumour: ml per label and region, and each lesion with its size and place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from .labels import ED, ET, NCR, REGIONS
from .masks import bounding_box, pieces
from .segmentation import Segmentation

__all__ = ["LABEL_VALUES", "Lesion", "Measurements", "estimated", "measure"]

# Short name -> value: the keys of reports and tables, whatever a card calls its labels.
LABEL_VALUES = {"NCR": NCR, "ED": ED, "ET": ET}


@dataclass(frozen=True)
class Lesion:
    """One 26-connected piece of the whole tumour.

    `ml` of the whole piece, `region_ml` of its part in WT, TC and ET; `centre_mm` is the mean of its voxel centres in world mm
    (RAS+), which may lie outside a curved lesion; to the left and right of `across_mm` (world x) lies a fifth of it each, for `midline.side`.
    """

    ml: float
    region_ml: Mapping[str, float]
    centre_mm: tuple[float, float, float]
    across_mm: tuple[float, float]


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
    origin = volume.affine @ [*(side.start for side in box), 1]
    counts, centres, across = _pieces(volume.voxels[box], volume.affine[0, :3])              # (N, values), (N, 3), (N, 2)
    world = centres @ volume.affine[:3, :3].T + origin[:3]
    total = counts.sum(axis=0)
    return Measurements(
        label_ml={name: float(total[value] * volume.voxel_ml) for name, value in LABEL_VALUES.items()},
        region_ml=_region_ml(total, volume.voxel_ml),
        lesions=tuple(Lesion(ml=float(count.sum() * volume.voxel_ml), region_ml=_region_ml(count, volume.voxel_ml),
                             centre_mm=(float(r), float(a), float(s)), across_mm=(float(low), float(high)))
                      for count, (r, a, s), (low, high) in zip(counts, world, across + origin[0], strict=True)))


def _pieces(labels: np.ndarray, x_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(voxels of each label value (N, values), centres in voxels (N, 3), where world x has a fifth of the piece to its left and to its right
    (N, 2)) of the N 26-connected pieces, largest first; `x_mm`: steps of world x along I, J, K, which is 0 in the first voxel."""
    numbered, count = pieces(labels != 0)                                 # (I, J, K), 1..count
    places = np.nonzero(numbered)
    piece, label = numbered[places] - 1, labels[places]                   # (N,), (N,)
    values = max(LABEL_VALUES.values()) + 1
    counts = np.bincount(piece * values + label, minlength=count * values).reshape(count, values)
    sizes = counts.sum(axis=1)
    centres = np.stack([np.bincount(piece, weights=place, minlength=count) / sizes for place in places], axis=1)
    x = np.float32(sum(step * place for step, place in zip(x_mm, places, strict=True)))
    x = x[np.lexsort((x, piece))]                                         # piece by piece, from left to right
    low = np.cumsum(sizes) - sizes + sizes // 5
    across = np.stack([x[low], x[low + sizes - 1 - 2 * (sizes // 5)]], axis=1)
    largest_first = np.argsort(-sizes, kind="stable")
    return counts[largest_first], centres[largest_first], across[largest_first]


def _region_ml(counts: np.ndarray, voxel_ml: float) -> dict[str, float]:
    """Region -> ml from the number of voxels of each label value."""
    return {region: float(counts[list(values)].sum() * voxel_ml) for region, values in REGIONS.items()}
