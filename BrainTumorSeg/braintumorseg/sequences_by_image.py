"""Which sequence a volume is, from its voxels: how bright fluid and grey matter are, and how the volumes of a patient relate.

For images whose header or name says nothing. A classifier of five numbers per image and two per pair of images, over the middle of
the brain, where no fat shines: T2 alone shows fluid brighter than the brain, FLAIR and T1 show it dark; grey matter is darker than
white in T1 and brighter in FLAIR and T2, so T1s vary together and against the others. One of two T1s is after contrast where it is
clearly brighter in places and nowhere darker. Volumes are compared where their headers put them, or in one place of a study that was registered
(`Look.within`).

The numbers were fitted on 31 patients (24 gliomas, brain only; 4 others, three of them whole heads; 3 phantoms) by
Testing/benchmarks/fit_sequences_by_image.py. Each patient left out of the fit in turn: of 29 sets of four files without names 23 are
told right and 6 left open; of 117 sets of three 40 right, 76 open and 1 wrong (a FLAIR of an MS patient that looks like a T1); of 177
sets of two 34 right and 143 open.

Where names are given, less is asked: whether two of them were exchanged. So judged (`exchanged`, 29 patients, each left out of the fit),
527 of 566 exchanges of two kinds are told in sets of two to four, and all 112 of T1 and T1ce; none of 312 sets with the right names is
called exchanged.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .background import LARGEST_BRAIN_ML, brain_only_mask
from .masks import bounding_box, largest_piece
from .resample import canonical_grid, resample
from .volume import Volume

__all__ = ["CERTAIN", "KINDS", "Look", "Opinion", "brighter", "exchanged", "kinds_of", "middle_of_brain", "roles_of"]

KINDS = ("t1", "t2", "flair")  # 't1' with or without contrast
CERTAIN = 0.95                 # less is 'not certain'
# How much more (log) the exchange of given names must explain than the names themselves, which it does by 2.2 at most in 312 right sets of two to
# four sequences; and how odd the images' relations may be even so: of sets of three and four that is 4.2 at most.
LEAST_EXCHANGED, MOST_ODD = 4.0, 4.0

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
        region = _middle_of_head(small)
        return None if np.count_nonzero(region) < _LEAST_VOXELS else cls.within(small, region)

    @classmethod
    def within(cls, volume: Volume, region: np.ndarray) -> Look:
        """Of a small volume in a region that is known; looks within one region are compared there, voxel by voxel."""
        return cls(volume, region, _flattened(volume, region))

    def traits(self) -> np.ndarray:
        """(5,) skew of the middle half and of nearly all brightness, dark end, bright end, grey beside dark fluid against white far from it."""
        values = self.brightness[self.region]
        p2, p5, p25, p50, p75, p90, p95 = np.percentile(values, [2, 5, 25, 50, 75, 90, 95])
        skew = np.log((p75 - p50) / (p50 - p25)), np.log((p95 - p50) / (p50 - p5))
        return np.array([*skew, p2 / p50, p90 / p50, self._near_fluid(p50)])

    def _near_fluid(self, middle: float) -> float:
        from scipy.ndimage import distance_transform_edt

        box = bounding_box(self.region)
        region, brightness = self.region[box], self.brightness[box]
        dark = region & (brightness < 0.6 * middle)
        if np.count_nonzero(dark) < 30:
            return 1.0
        mm = distance_transform_edt(~dark, sampling=self.volume.spacing_mm)
        near, far = region & (mm >= 2.5) & (mm < 5.5), region & (mm > 9)
        if min(np.count_nonzero(near), np.count_nonzero(far)) < 50:
            return 1.0
        return float(np.median(brightness[near]) / np.median(brightness[far]))

    def relation(self, other: Look) -> np.ndarray | None:
        """(4,) correlation where both are of middling brightness; log of how much brighter `other` gets in places over how much darker;
        how much brighter, in the brain's brightness; correlation everywhere. None where they do not show the same place."""
        if other.region is self.region:
            one, two = self.brightness[self.region], other.brightness[self.region]
        else:
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
    ways = list(itertools.product(*([known[name]] if name in known else KINDS for name in names)))
    scores = _scores_of(ways, looks, _relations(looks))
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


def exchanged(looks: Mapping[str, Look]) -> dict[str, str]:
    """Given role of study.ROLES -> the role, or the kind, that its image has, for those that have each other's names; {} unless that is certain."""
    given = tuple("t1" if role == "t1ce" else role for role in looks)
    ways = [given, *sorted({*itertools.permutations(given)} - {given})]
    pairs = _relations(looks)
    scores = _scores_of(ways, looks, pairs)
    best = int(np.argmax(scores))
    sure = 1 / np.exp(scores - scores[best]).sum() >= CERTAIN and _oddness(dict(zip(looks, ways[best], strict=True)), pairs) <= MOST_ODD
    told = ways[best] if sure and scores[best] - scores[0] >= LEAST_EXCHANGED else given
    found = {role: other for role, kind, other in zip(looks, given, told, strict=True) if other != kind}
    if {"t1", "t1ce"} <= set(looks) - set(found) and brighter(looks["t1"], looks["t1ce"]) == "one":
        found |= {"t1": "t1ce", "t1ce": "t1"}
    return found


def _relations(looks: Mapping[str, Look]) -> dict[tuple[str, str], np.ndarray]:
    found = {(one, two): looks[one].relation(looks[two]) for one, two in itertools.combinations(looks, 2)}
    return {pair: relation for pair, relation in found.items() if relation is not None}


def _scores_of(ways: Sequence[tuple[str, ...]], looks: Mapping[str, Look], pairs: Mapping[tuple[str, str], np.ndarray]) -> np.ndarray:
    """(N,) how well each of N ways to name the kinds of all looks, in their order, explains them: logs of chances up to a constant."""
    alone = {name: _log_softmax(_scores(look.traits())) for name, look in looks.items()}
    return np.array([_score(dict(zip(looks, way, strict=True)), alone, pairs) for way in ways])


def _score(kinds: dict[str, str], alone: Mapping[str, np.ndarray], pairs: Mapping[tuple[str, str], np.ndarray]) -> float:
    score = sum(alone[name][KINDS.index(kind)] for name, kind in kinds.items())
    return float(score + _TEMPER * sum(-0.5 * z**2 - np.log(sd) for z, sd in _deviations(kinds, pairs)))


def _oddness(kinds: dict[str, str], pairs: Mapping[tuple[str, str], np.ndarray]) -> float:
    """Mean squared deviation of the relations from those of such kinds, 1 on average; 0.0 for a single image."""
    return float(np.mean([z**2 for z, _ in _deviations(kinds, pairs)] or [0.0]))


def _deviations(kinds: dict[str, str], pairs: Mapping[tuple[str, str], np.ndarray]) -> Iterator[tuple[float, float]]:
    """(deviation from the mean in standard deviations, standard deviation) of each number of each pair's relation."""
    for (one, two), relation in pairs.items():
        first, second = kinds[one], kinds[two]
        correlation, gain = relation[:2]
        if KINDS.index(first) > KINDS.index(second):
            first, second, gain = second, first, -gain
        if first == second:
            gain = abs(gain)
        mean, sd = _RELATIONS["t1", "t1"] if first == second else _RELATIONS[first, second]
        yield from (((value - m) / s, s) for value, m, s in zip((correlation, gain), mean, sd, strict=True))


def _scores(traits: np.ndarray) -> np.ndarray:
    return (traits - np.array(_MEAN)) / np.array(_SD) @ np.array(_WEIGHTS) + np.array(_CONSTANT)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max()
    return shifted - np.log(np.exp(shifted).sum())


def _middle_of_head(image: Volume) -> np.ndarray:
    """(I, J, K) bool: the middle of the brain, of an image of one or of a whole head, with canonical axes."""
    shown = brain_only_mask(image)
    brain_only = shown.mean() < 0.95 and np.count_nonzero(shown) * image.voxel_ml < LARGEST_BRAIN_ML
    return middle_of_brain(shown, image.spacing_mm) if brain_only else middle_of_brain(_head(image.voxels), image.spacing_mm, 70, 0.68)


def middle_of_brain(shown: np.ndarray, spacing_mm: tuple[float, float, float], below_mm: float = 60, share: float = 0.8) -> np.ndarray:
    """(I, J, K) bool, axes canonical: an ellipsoid in what is shown of a brain, `below_mm` below its top, `share` as wide as it is there."""
    di, dj, dk = spacing_mm
    layers = np.flatnonzero(shown.sum((0, 1)) * di * dj > 2000)
    if not len(layers):
        return np.zeros(shown.shape, bool)
    height = layers[-1] * dk - below_mm  # mm; about the level of the ventricles' floor
    i, j, k = (np.arange(n) * mm for n, mm in zip(shown.shape, spacing_mm, strict=True))
    inside = np.argwhere(shown[:, :, np.abs(k - height) < 35])
    if not len(inside):
        return np.zeros(shown.shape, bool)
    low, high = np.percentile(inside[:, :2] * (di, dj), [1, 99], axis=0)
    centre, radius = (low + high) / 2, (high - low) / 2 * share
    within = (((i - centre[0]) / radius[0]) ** 2)[:, None, None] + (((j - centre[1]) / radius[1]) ** 2)[None, :, None] + ((k - height) / 40) ** 2
    return shown & (within < 1)


def _head(voxels: np.ndarray) -> np.ndarray:
    """(I, J, K) bool: the largest piece that is brighter than air, with what it encloses in each layer."""
    from scipy import ndimage

    head = largest_piece(ndimage.binary_opening(voxels > 0.12 * np.percentile(voxels, 99)))
    return np.stack([ndimage.binary_fill_holes(layer) for layer in np.moveaxis(head, 2, 0)], axis=2)


def _flattened(image: Volume, region: np.ndarray) -> np.ndarray:
    """(I, J, K) float32: brightness over its mean within some 30 mm, in the region; a coil's uneven sensitivity goes away."""
    out, box = np.zeros(region.shape, np.float32), bounding_box(region)
    if box is None:
        return out
    inside = region[box]
    voxels = np.where(inside, image.voxels[box], 0).astype(np.float32)
    around = _around(voxels, image.spacing_mm) / np.maximum(_around(inside.astype(np.float32), image.spacing_mm), 1e-3)
    out[box] = np.where(inside, voxels / np.maximum(around, 1e-6), 0)
    return out


def _around(voxels: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Gaussian mean of (I, J, K) float32, sigma 30 mm, 0 beyond it. As matrices, which are as large as the image: a hundred times faster here."""
    for axis, mm in enumerate(spacing_mm):
        places = mm * np.arange(voxels.shape[axis])
        near = np.exp(-0.5 * (np.subtract.outer(places, places) / 30.0) ** 2) * (mm / (30.0 * np.sqrt(2 * np.pi)))
        voxels = np.moveaxis(np.tensordot(near.astype(np.float32), voxels, (1, axis)), 0, axis)
    return voxels
