"""How the patient moved between the sequences of a study, or that the headers already agree.

Rigid, by mutual information, coarse to fine (see rigid). Nothing is resampled for the network here: an `Alignment` holds the
transform that `resample` and `prepare` take as `moved`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .parallel import at_once
from .rigid import Pair, View
from .study import Study
from .volume import Grid, Volume

__all__ = ["Alignment", "align"]

# A motion below these is within the error of the method, and the headers are kept. The error grows with the slices.
AGREE_MM, AGREE_SLICES, AGREE_DEGREES = 0.5, 0.15, 0.5
LEAST_GAIN = 0.005  # relative; the similarity of aligned images varies that much with interpolation alone
# Nobody moves further in a head coil between two series; a result past these is a wrong optimum.
LARGEST_MM, LARGEST_DEGREES = 60.0, 45.0
LEAST_OVERLAP = 0.5  # of what one image shows, in the other
LEAST_SLICES, LEAST_EXTENT_MM = 4, 20.0
# The images must be this much more alike in the place found than so far from it: aligned heads measure 1.5 to 4, noise 1.0.
DECOY_MM, LEAST_PEAK = 15.0, 1.15

# (voxel mm, voxels of margin around what is shown). The outer edge leads from afar, 7 of 7 starts where without it half go astray;
# the last step does without, because two tools that cut out a brain leave two edges.
_LEVELS = ((8.0, 1), (4.0, 1), (2.0, 0))
_POINTS = (6_000, 6_000, 15_000)
LEAST_ARRIVALS, ARRIVAL_MM = 3, 8.0  # of the 7 starts, this many must end this near to the best

# Images on one grid are moved this little to either side, and turned: aligned ones are then at most 0.95 times as alike (19 patients,
# 57 pairs), and those that lie elsewhere by half of it or more become more alike in one direction.
PROBE_MM, PROBE_DEGREES = 3.0, 3.0

# Voxels reversed on an affine that was kept: no motion mends that.
_MIRRORED = "it or the reference looks mirrored left for right, an accident of conversion; convert both again from their source"


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where one sequence lies relative to the reference.

    moved: 4x4 rigid, world mm RAS+, a point of the reference -> the same anatomy in the sequence; None for the identity.
    text: what was found, for the report: "same grid", "headers agree: ...", "registered: 3.1 mm, 1.2 degrees", "doubtful: ...".
    doubtful: the sequence may be out of place; the headers were kept.
    """

    moved: np.ndarray | None
    text: str
    doubtful: bool = False

    def __post_init__(self):
        if self.moved is None:
            return
        moved = np.array(self.moved, np.float64)
        turn = moved[:3, :3]
        if moved.shape != (4, 4) or not np.allclose(turn @ turn.T, np.eye(3), atol=1e-6) or np.linalg.det(turn) < 0:
            raise ValueError(f"not a rigid 4x4 transform: {moved.tolist()}")
        moved.setflags(write=False)
        object.__setattr__(self, "moved", moved)


def align(study: Study, *, progress: Callable[[float], None] = lambda done: None) -> dict[str, Alignment]:
    """Role -> Alignment for every sequence but the reference; empty for a study of one sequence.

    A sequence on the reference's own grid, in whatever order it is stored and however cropped, is registered to it as a rule: that is
    tried, by moving it a little, and believed when the images are most alike where they are. For any other the rigid motion is measured
    from where the headers put the images (from centre on centre where they do not overlap), and used when it is more than the method's
    error, makes the images more alike, and is one that a patient can make. What is more alike when mirrored is doubtful in either case.
    `progress` is told the share done, and may raise to stop.

    Images may show the brain alone or the whole head. Raises BadImage for a sheared affine.
    """
    others = [role for role in study.roles if role != study.reference_role]
    reference, shares = _Views(study.reference), _Shares(len(others), progress)

    def one(number: int) -> Alignment:
        found = _align_one(reference, _Views(study.volumes[others[number]]), lambda done: shares.tell(number, done))
        shares.tell(number, 1.0)
        return found

    return dict(zip(others, at_once(one, range(len(others))), strict=True))


class _Shares:
    """How far several works at once are: tells `progress` their mean, one thread after the other."""

    def __init__(self, count: int, progress: Callable[[float], None]):
        self._done, self._progress, self._turn = [0.0] * count, progress, threading.Lock()

    def tell(self, number: int, done: float) -> None:
        with self._turn:
            self._done[number] = done
            self._progress(sum(self._done) / len(self._done))


class _Views:
    """An image at the levels of the search, each made when it is first looked at, by whichever thread that is."""

    def __init__(self, volume: Volume):
        self.volume, self._made, self._turn = volume, {}, threading.Lock()

    def __getitem__(self, level: int) -> View:
        with self._turn:
            if level not in self._made:
                self._made[level] = View.of(self.volume, *_LEVELS[level])
            return self._made[level]


def _align_one(fixed: _Views, moving: _Views, tell: Callable[[float], None]) -> Alignment:
    one_grid = moving.volume.grid.place_in(fixed.volume.grid) is not None
    if _too_thin(moving.volume.grid) or _too_thin(fixed.volume.grid):
        return Alignment(None, "same grid") if one_grid else _doubtful("there are too few slices to compare the images")
    if one_grid and _most_alike_as_they_are(pair := _pair(fixed, moving, 1)):
        mirrored = pair.mirrored().similarity(np.eye(4)) > pair.similarity(np.eye(4))
        return _doubtful(_MIRRORED) if mirrored else Alignment(None, "same grid, and the images agree")
    return _align(*(_pair(fixed, moving, level) for level in range(len(_LEVELS))), tell)


def _pair(fixed: _Views, moving: _Views, level: int) -> Pair:
    own = moving[level]  # first: while one thread makes the reference's view, the others make their own
    return Pair(fixed[level], own)


def _most_alike_as_they_are(pair: Pair) -> bool:
    if pair.overlap(np.eye(4)) < LEAST_OVERLAP:
        return False
    return pair.similarity(np.eye(4)) >= max(pair.similarity(probe) for probe in pair.nudged(PROBE_MM, PROBE_DEGREES))


def _align(coarse: Pair, middle: Pair, fine: Pair, tell: Callable[[float], None]) -> Alignment:
    apart = coarse.overlap(np.eye(4)) < LEAST_OVERLAP
    found, start, arrivals = _from_afar(coarse, coarse.centred() if apart else [np.eye(4)], tell)
    found = middle.search(found, _POINTS[1], downhill=False, step_mm=2.0)
    tell(0.7)
    found = fine.search(found, _POINTS[2], downhill=False, step_mm=0.5)

    mm, degrees = _motion(fine.fixed.points, start, found)
    size = f"{mm:.1f} mm, {degrees:.1f} degrees"
    doubt = _doubt(middle, found, mm, degrees, arrivals)
    if doubt:
        return _doubtful(doubt)
    if apart:
        far, turned = _motion(fine.fixed.points, np.eye(4), found)
        return Alignment(found, f"registered: {far:.1f} mm, {turned:.1f} degrees (the headers put the images side by side)")
    if mm < max(AGREE_MM, AGREE_SLICES * max(fine.spacings_mm)) and degrees < AGREE_DEGREES:
        return Alignment(None, f"headers agree: within {size}")
    if fine.similarity(found) < (1 + LEAST_GAIN) * fine.similarity(start):
        return Alignment(None, f"headers agree: moving by {size} makes the images no more alike")
    return Alignment(found, f"registered: {size}")


def _from_afar(pair: Pair, starts: list[np.ndarray], tell: Callable[[float], None]) -> tuple[np.ndarray, np.ndarray, int]:
    """(best transform, the start that it came from, how many of the turned copies of that start end there)."""
    tried = []
    for number, start in enumerate(starts):
        turns, ends = pair.turned(start), []
        for turned in turns:
            ends.append(pair.search(turned, _POINTS[0], downhill=True, step_mm=2.0))
            tell(0.5 * (number + len(ends) / len(turns)) / len(starts))
        best = max(ends, key=pair.similarity)
        arrivals = sum(_motion(pair.fixed.points, best, end)[0] < ARRIVAL_MM for end in ends)
        tried.append((best, start, arrivals))
    return max(tried, key=lambda one: pair.similarity(one[0]))


def _doubtful(why: str) -> Alignment:
    return Alignment(None, f"doubtful: {why}; the headers are trusted", doubtful=True)


def _doubt(pair: Pair, found: np.ndarray, mm: float, degrees: float, arrivals: int) -> str:
    """Why the transform found cannot be trusted; empty when it can."""
    if mm > LARGEST_MM or degrees > LARGEST_DEGREES:
        return f"a motion of {mm:.0f} mm and {degrees:.0f} degrees is more than a patient makes"
    if pair.overlap(found) < LEAST_OVERLAP:
        return "the images do not show the same part of the head"
    if arrivals < LEAST_ARRIVALS:
        return "searches from several places end in several places"
    alike = pair.similarity(found)
    if alike < LEAST_PEAK * max(pair.similarity(decoy) for decoy in _decoys(found)):
        return f"the images are hardly more alike than when moved apart by {DECOY_MM:.0f} mm"
    # What turns the mirror image of a tilted head upright turns the head itself too far.
    mirrored = pair.mirrored()
    nearby = mirrored.search(found, _POINTS[1], downhill=True, step_mm=2.0)
    return _MIRRORED if max(mirrored.similarity(one) for one in (found, nearby)) > alike else ""


def _decoys(found: np.ndarray):
    for axis in range(3):
        for shift in (-DECOY_MM, DECOY_MM):
            decoy = found.copy()
            decoy[axis, 3] += shift
            yield decoy


def _too_thin(grid: Grid) -> bool:
    return min(grid.shape) < LEAST_SLICES or min(grid.size_mm) < LEAST_EXTENT_MM


def _motion(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[float, float]:
    """(mean displacement of `points` in mm, angle in degrees) from one rigid transform to another."""
    mm = np.linalg.norm(points @ (end - start).T, axis=1).mean()
    turn = end[:3, :3] @ start[:3, :3].T
    return float(mm), float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
