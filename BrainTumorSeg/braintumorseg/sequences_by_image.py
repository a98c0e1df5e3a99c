"""Which sequence a volume is, from its voxels: how bright fluid and grey matter are, and how the volumes of a patient relate.

For images whose header or name says nothing. A classifier of five numbers per image and two per pair of images, over the middle of
the brain, where no fat shines: T2 alone shows fluid brighter than the brain, FLAIR and T1 show it dark; grey matter is darker than
white in T1 and brighter in FLAIR and T2, so T1s vary together and against the others. One of two T1s is after contrast where it is
clearly brighter in places and nowhere darker. Volumes are compared where their headers put them.

The numbers were fitted on 31 patients (24 gliomas, brain only; 4 others, three of them whole heads; 3 phantoms) by
Testing/benchmarks/fit_sequences_by_image.py. Each patient left out of the fit in turn: of 29 sets of four files without names 23 are
told right and 6 left open; of 117 sets of three 40 right, 76 open and 1 wrong (a FLAIR of an MS patient that looks like a T1); of 177
sets of two 34 right and 143 open.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .background import LARGEST_BRAIN_ML, brain_only_mask
from .masks import largest_piece
from .resample import canonical_grid, resample
from .volume import Volume

__all__ = ["CERTAIN", "KINDS", "Look", "Opinion", "brighter", "kinds_of", "roles_of"]

KINDS = ("t1", "t2", "flair")  # 't1' with or without contrast
CERTAIN = 0.95                 # less is 'not certain'

_MM = 2.0
_LEAST_VOXELS = 2000
_TEMPER = 0.5  # the relations of several pairs are not independent of each other
# Five traits of an image (see Look.traits): mean, sd; then a weight for each kind, and a constant.
_MEAN = (-0.02, -0.18, 0.45, 1.29, 0.93)
_SD = (0.42, 0.91, 0.15, 0.25, 0.15)
_WEIGHTS = ((-2.14, 1.59, 0.55), (-1.22, 0.85, 0.37), (0.49, 0.31, -0.81), (-0.65, 1.16, -0.52), (-1.0, 0.65, 0.35))
_CONSTANT = (0.28, -1.35, 1.07)
# Relations of a pair (see Look.relation), by their kinds: mean and sd of the first two. Two T2s or two FLAIRs are as alike as two T1s.
_RELATIONS = {("t1", "t1"): ((0.56, 0.8), (0.19, 0.38)), ("t1", "t2"): ((-0.44, 1.21), (0.17, 0.29)),
              ("t1", "flair"): ((-0.03, 0.37), (0.22, 0.42)), ("t2", "flair"): ((0.13, -1.61), (0.26, 0.46))}

# 29 pairs of T1 and T1ce: the brightening is at least 1.3 times as large as the darkening, and 0.3 of the brain's brightness.
_LEAST_GAIN, _LEAST_BRIGHTER = 1.25, 0.28
_ALIKE_GAIN, _ALIKE_CORRELATION = 1.15, 0.9


@dataclass(frozen=True)
class Opinion:
    """`kind` of KINDS with its probability; `certain` when that is enough to act on."""

    kind: str
    probability: float

    @property
    def certain(self) -> bool:
        return self.probability >= CERTAIN


@dataclass(frozen=True, eq=False)
class Look:
    """A volume at some 2 mm, canonical: brightness relative to its surroundings (I, J, K) where `region` is True, the middle of the brain."""

    volume: Volume
    region: np.ndarray
    brightness: np.ndarray = field(repr=False)

    @classmethod
    def at(cls, volume: Volume) -> Look | None:
        """None where too little of a brain is shown to judge by."""
        canonical = volume.canonical()
        small = resample(canonical, canonical_grid(canonical.grid, tuple(max(_MM, mm) for mm in canonical.spacing_mm)))
        region = _middle_of_brain(small)
        return None if np.count_nonzero(region) < _LEAST_VOXELS else cls(small, region, _flattened(small, region))

    def traits(self) -> np.ndarray:
        """(5,) skew of the middle half and of nearly all brightness, dark end, bright end, grey beside dark fluid against white far from it."""
        values = self.brightness[self.region]
        p2, p5, p25, p50, p75, p90, p95 = np.percentile(values, [2, 5, 25, 50, 75, 90, 95])
        skew = np.log((p75 - p50) / (p50 - p25)), np.log((p95 - p50) / (p50 - p5))
        return np.array([*skew, p2 / p50, p90 / p50, self._near_fluid(p50)])

    def _near_fluid(self, middle: float) -> float:
        from scipy.ndimage import distance_transform_edt

        dark = self.region & (self.brightness < 0.6 * middle)
        if np.count_nonzero(dark) < 30:
            return 1.0
        mm = distance_transform_edt(~dark, sampling=self.volume.spacing_mm)
        near, far = self.region & (mm >= 2.5) & (mm < 5.5), self.region & (mm > 9)
        if min(np.count_nonzero(near), np.count_nonzero(far)) < 50:
            return 1.0
        return float(np.median(self.brightness[near]) / np.median(self.brightness[far]))

    def relation(self, other: Look) -> np.ndarray | None:
        """(4,) correlation where both are of middling brightness; log of how much brighter `other` gets in places over how much darker;
        how much brighter, in the brain's brightness; correlation everywhere. None where they do not show the same place."""
        moved = resample(other.volume, self.volume.grid).voxels
        both = self.region & (moved > 0)
        if np.count_nonzero(both) < max(_LEAST_VOXELS, 0.5 * np.count_nonzero(self.region)):
            return None
        one, two = self.brightness[both], _flattened(self.volume.with_voxels(moved), both)[both]
        middling = np.ones(len(one), bool)
        for values in (one, two):
            low, high = np.percentile(values, [15, 85])
            middling &= (values > low) & (values < high)
        if np.count_nonzero(middling) < 200:
            return None
        difference = two / np.median(two) - one / np.median(one)
        up, down = np.percentile(difference, 99.5), -np.percentile(difference, 0.5)
        return np.array([np.corrcoef(one[middling], two[middling])[0, 1], np.log((up + 0.05) / (down + 0.05)), up, np.corrcoef(one, two)[0, 1]])


def kinds_of(looks: Mapping[str, Look], known: Mapping[str, str] | None = None) -> dict[str, Opinion]:
    """Name -> the most probable kind of each look, all of them judged together; those in `known` (name -> kind) are given.

    {} for no looks. The probability is that of the whole assignment for two or more images, of the one image otherwise.
    """
    known, names = known or {}, list(looks)
    alone = {name: _log_softmax(_scores(looks[name].traits())) for name in names}
    pairs = {(one, two): relation for one, two in itertools.combinations(names, 2)
             if (relation := looks[one].relation(looks[two])) is not None}
    choices = [[known[name]] if name in known else KINDS for name in names]
    ways = list(itertools.product(*choices))
    scores = np.array([_score(dict(zip(names, way, strict=True)), alone, pairs) for way in ways])
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    best = ways[int(np.argmax(chances))] if names else ()
    return {name: Opinion(kind, float(sum(chance for way, chance in zip(ways, chances, strict=True) if way[place] == kind)))
            for place, (name, kind) in enumerate(zip(names, best, strict=True)) if name not in known}


def brighter(one: Look, other: Look) -> str:
    """Of two T1s: 'one' or 'other' is after contrast, 'neither' when they are the same picture, '' when it is not certain.

    They are compared on the coarser grid, where both show the same detail.
    """
    if one.volume.voxel_ml < other.volume.voxel_ml:
        return {"one": "other", "other": "one"}.get(found := brighter(other, one), found)
    relation = one.relation(other)
    if relation is None:
        return ""
    _, gain, up, correlation = relation
    down = (up + 0.05) / np.exp(gain) - 0.05
    if gain >= np.log(_LEAST_GAIN) and up >= _LEAST_BRIGHTER:
        return "other"
    if gain <= -np.log(_LEAST_GAIN) and down >= _LEAST_BRIGHTER:
        return "one"
    return "neither" if abs(gain) <= np.log(_ALIKE_GAIN) and correlation >= _ALIKE_CORRELATION else ""


def roles_of(looks: Mapping[str, Look]) -> dict[str, str]:
    """Role of study.ROLES -> name for the two to four sequences of a patient; {} unless each is certain and no two have one role.

    A lone T1 is never certain: whether it is after contrast, only another T1 shows.
    """
    opinions = kinds_of(looks)
    named: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name, opinion in opinions.items():
        named[opinion.kind].append(name)
    counts = {kind: len(names) for kind, names in named.items()}
    if not all(opinion.certain for opinion in opinions.values()) or counts["t1"] not in (0, 2) or max(counts["t2"], counts["flair"]) > 1:
        return {}
    roles = {kind: named[kind][0] for kind in ("t2", "flair") if named[kind]}
    if named["t1"]:
        one, two = named["t1"]
        after = brighter(looks[one], looks[two])
        if after not in ("one", "other"):
            return {}
        roles |= {"t1ce": one, "t1": two} if after == "one" else {"t1ce": two, "t1": one}
    return roles


def _score(kinds: dict[str, str], alone: Mapping[str, np.ndarray], pairs: Mapping[tuple[str, str], np.ndarray]) -> float:
    score = sum(alone[name][KINDS.index(kind)] for name, kind in kinds.items())
    for (one, two), relation in pairs.items():
        first, second = kinds[one], kinds[two]
        correlation, gain = relation[:2]
        if KINDS.index(first) > KINDS.index(second):
            first, second, gain = second, first, -gain
        if first == second:
            gain = abs(gain)
        mean, sd = _RELATIONS["t1", "t1"] if first == second else _RELATIONS[first, second]
        score += _TEMPER * sum(-0.5 * ((value - m) / s) ** 2 - np.log(s) for value, m, s in zip((correlation, gain), mean, sd, strict=True))
    return float(score)


def _scores(traits: np.ndarray) -> np.ndarray:
    return (traits - np.array(_MEAN)) / np.array(_SD) @ np.array(_WEIGHTS) + np.array(_CONSTANT)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max()
    return shifted - np.log(np.exp(shifted).sum())


def _middle_of_brain(image: Volume) -> np.ndarray:
    """(I, J, K) bool: an ellipsoid in what the image shows, below the vertex, well inside the skull; for canonical axes."""
    shown = brain_only_mask(image)
    brain_only = shown.mean() < 0.95 and np.count_nonzero(shown) * image.voxel_ml < LARGEST_BRAIN_ML
    if not brain_only:
        shown = _head(image.voxels)
    di, dj, dk = image.spacing_mm
    layers = np.flatnonzero(shown.sum((0, 1)) * di * dj > 2000)
    if not len(layers):
        return np.zeros(image.shape, bool)
    height = layers[-1] * dk - (60 if brain_only else 70)  # mm; about the level of the ventricles' floor
    i, j, k = (np.arange(n) * mm for n, mm in zip(image.shape, image.spacing_mm, strict=True))
    inside = np.argwhere(shown[:, :, np.abs(k - height) < 35])
    if not len(inside):
        return np.zeros(image.shape, bool)
    low, high = np.percentile(inside[:, :2] * (di, dj), [1, 99], axis=0)
    centre, radius = (low + high) / 2, (high - low) / 2 * (0.8 if brain_only else 0.68)
    within = (((i - centre[0]) / radius[0]) ** 2)[:, None, None] + (((j - centre[1]) / radius[1]) ** 2)[None, :, None] + ((k - height) / 40) ** 2
    return shown & (within < 1)


def _head(voxels: np.ndarray) -> np.ndarray:
    """(I, J, K) bool: the largest piece that is brighter than air, with what it encloses in each layer."""
    from scipy import ndimage

    head = largest_piece(ndimage.binary_opening(voxels > 0.12 * np.percentile(voxels, 99)))
    return np.stack([ndimage.binary_fill_holes(layer) for layer in np.moveaxis(head, 2, 0)], axis=2)


def _flattened(image: Volume, region: np.ndarray) -> np.ndarray:
    """(I, J, K) float32: brightness over its mean within some 30 mm, in the region; a coil's uneven sensitivity goes away."""
    from scipy.ndimage import gaussian_filter

    sigma = [30 / mm for mm in image.spacing_mm]
    voxels = np.where(region, image.voxels, 0).astype(np.float32)
    around = gaussian_filter(voxels, sigma) / np.maximum(gaussian_filter(region.astype(np.float32), sigma), 1e-3)
    return np.where(region, voxels / np.maximum(around, 1e-6), 0)
