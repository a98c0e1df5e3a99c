"""How the patient moved between the sequences of a study, or that the headers already agree.

Rigid, by the mutual information of Mattes 2003 (doi:10.1109/TMI.2003.809072), coarse to fine, with ITK. Nothing is resampled
for the network here: an `Alignment` holds the transform that `resample` and `prepare` take as `moved`.

Points are drawn with a fixed seed and the work is cut into a fixed number of pieces, so the same images give the same transform
on one machine. Other processors and versions of ITK round sums differently: expect agreement to some 0.01 mm, not to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .io.itk import to_itk
from .resample import canonical_grid, resample
from .study import Study
from .volume import Grid, Volume

__all__ = ["Alignment", "align"]

# A motion below both is within the error of the method (its median is 0.2 to 0.4 mm on 5 mm slices), and the headers are kept.
AGREE_MM, AGREE_DEGREES = 0.5, 0.5
LEAST_GAIN = 0.005  # relative; the similarity of aligned images varies that much with interpolation alone
# Nobody moves further in a head coil between two series; a result past these is a wrong optimum.
LARGEST_MM, LARGEST_DEGREES = 60.0, 45.0
LEAST_OVERLAP = 0.5  # of the smaller of both foregrounds
LEAST_SLICES, LEAST_EXTENT_MM = 4, 20.0
DECOY_MM, LEAST_PEAK = 15.0, 1.15  # the place found must be this much more similar than places so far from it

_COARSE_MM, _COARSE_POINTS = 4.0, 6_000
_FINE_MM, _FINE_POINTS = 2.0, 15_000
_BINS = 32
_SEED = 20
_PIECES = 1
# The search measures lengths in this unit, about the radius of a head: then a step in an angle (rad) and in a shift move the head
# equally far, which is what its step lengths take for granted.
_UNIT_MM = 60.0
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS+ <-> LPS+


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


def align(study: Study, *, progress: Callable[[float], None] = lambda done: None) -> dict[str, Alignment]:
    """Role -> Alignment for every sequence but the reference; empty for a study of one sequence.

    A sequence on the reference's own grid counts as registered to it and costs nothing. For any other the rigid motion is
    measured from where the headers put the images (from centre on centre where they do not overlap), and used when it is more
    than the method's error, makes the images more alike, and is one that a patient can make. `progress` is told the share done.

    Images may show the brain alone or the whole head. Raises BadImage for a sheared affine.
    """
    others = [role for role in study.roles if role != study.reference_role]
    found, reference = {}, []
    for number, role in enumerate(others, start=1):
        volume = study.volumes[role]
        if volume.grid.same_as(study.reference.grid):
            found[role] = Alignment(None, "same grid")
        elif _too_thin(volume.grid) or _too_thin(study.reference.grid):
            found[role] = _doubtful("there are too few slices to compare the images")
        else:
            reference = reference or [_View.of(study.reference, mm) for mm in (_COARSE_MM, _FINE_MM)]
            coarse, fine = (_Pair(fixed, _View.of(volume, mm)) for fixed, mm in zip(reference, (_COARSE_MM, _FINE_MM), strict=True))
            found[role] = _align(coarse, fine)
        progress(number / len(others))
    return found


@dataclass(frozen=True, eq=False)
class _View:
    """An image at a working resolution and where it shows something: a bool mask (I, J, K); some 4000 points (N, 4), mm and a 1."""

    volume: Volume
    shown: np.ndarray
    points: np.ndarray

    @classmethod
    def of(cls, volume: Volume, mm: float) -> _View:
        """Voxels of `mm`, but no finer than they are: a slice of 5 mm stays one."""
        spacing = tuple(max(mm, own) for own in volume.canonical().spacing_mm)
        small = resample(volume, canonical_grid(volume.grid, spacing), fill=float(volume.voxels.min()))
        shown = _foreground(small.voxels)
        indices = np.argwhere(shown)
        indices = indices[:: max(1, len(indices) // 4000)]
        return cls(small, shown, np.c_[indices, np.ones(len(indices))] @ small.affine.T)


@dataclass(frozen=True, eq=False)
class _Pair:
    """The reference and another sequence at one working resolution. Transforms are 4x4, world mm RAS+, fixed -> moving."""

    fixed: _View
    moving: _View

    def similarity(self, moved: np.ndarray) -> float:
        """Mutual information (nats) a point of the reference, over all of them; 0 where the images do not meet."""
        method = self._method(moved)
        try:
            information = -method.MetricEvaluate(_itk(self.fixed.volume), _itk(self.moving.volume))
        except RuntimeError as error:
            _require_no_overlap(error)
            return 0.0
        # ITK looks only at points that fall inside the moving image; the others have nothing to tell.
        return information * _inside(self.fixed.points @ moved.T, self.moving.volume.grid)

    def search(self, moved: np.ndarray, points: int, *, downhill: bool, step_mm: float) -> np.ndarray:
        """The rigid transform nearest to `moved` where the images are most alike; `moved` itself where they do not meet.

        Down the gradient (reaches far), or by Powell's method, which asks for no gradient (exact: ITK's gradient of an image
        with thick slices does not fit the image that it interpolates).
        """
        method = self._method(moved)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(min(1.0, points / self.fixed.shown.sum()), _SEED)
        step = step_mm / _UNIT_MM
        if downhill:
            method.SetOptimizerAsRegularStepGradientDescent(step, step / 40, 200, 0.6, 1e-6)
        else:
            method.SetOptimizerAsPowell(20, 20, step, step / 50, 1e-6)
        method.SetOptimizerScales([1.0] * 6)
        try:
            return _matrix(method.Execute(_itk(self.fixed.volume), _itk(self.moving.volume)))
        except RuntimeError as error:
            _require_no_overlap(error)
            return moved

    def overlap(self, moved: np.ndarray) -> float:
        """Share 0..1 of what one image shows that the other shows too; the larger of both (a slab lies wholly within a head)."""
        return max(_inside(self.fixed.points @ moved.T, self.moving.volume.grid, self.moving.shown),
                   _inside(self.moving.points @ np.linalg.inv(moved).T, self.fixed.volume.grid, self.fixed.shown))

    def centred(self) -> np.ndarray:
        """The shift that lays the middle of what one image shows on the middle of what the other shows."""
        moved = np.eye(4)
        moved[:, 3] += self.moving.points.mean(axis=0) - self.fixed.points.mean(axis=0)
        return moved

    def _method(self, moved: np.ndarray):
        import SimpleITK as sitk

        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfWorkUnits(_PIECES)
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricFixedMask(_itk(self.fixed.volume.with_voxels(self.fixed.shown)))
        method.SetInterpolator(sitk.sitkLinear)
        method.SetInitialTransform(_euler(moved, self.fixed.points.mean(axis=0)))
        return method


def _align(coarse: _Pair, fine: _Pair) -> Alignment:
    apart = coarse.overlap(np.eye(4)) < LEAST_OVERLAP
    start = coarse.centred() if apart else np.eye(4)
    found = coarse.search(start, _COARSE_POINTS, downhill=True, step_mm=4.0)
    found = coarse.search(found, _COARSE_POINTS, downhill=False, step_mm=2.0)
    found = fine.search(found, _FINE_POINTS, downhill=False, step_mm=0.5)

    mm, degrees = _motion(coarse.fixed.points, start, found)
    size = f"{mm:.1f} mm, {degrees:.1f} degrees"
    doubt = _doubt(coarse, found, mm, degrees)
    if doubt:
        return _doubtful(doubt)
    if apart:
        far, turned = _motion(coarse.fixed.points, np.eye(4), found)
        return Alignment(found, f"registered: {far:.1f} mm, {turned:.1f} degrees (the headers put the images side by side)")
    if mm < AGREE_MM and degrees < AGREE_DEGREES:
        return Alignment(None, f"headers agree: within {size}")
    if fine.similarity(found) < (1 + LEAST_GAIN) * fine.similarity(start):
        return Alignment(None, f"headers agree: moving by {size} makes the images no more alike")
    return Alignment(found, f"registered: {size}")


def _doubtful(why: str) -> Alignment:
    return Alignment(None, f"doubtful: {why}; the headers are trusted", doubtful=True)


def _doubt(pair: _Pair, found: np.ndarray, mm: float, degrees: float) -> str:
    """Why the transform found cannot be trusted; empty when it can."""
    if mm > LARGEST_MM or degrees > LARGEST_DEGREES:
        return f"a motion of {mm:.0f} mm and {degrees:.0f} degrees is more than a patient makes"
    if pair.overlap(found) < LEAST_OVERLAP:
        return "the images do not show the same part of the head"
    if pair.similarity(found) < LEAST_PEAK * max(pair.similarity(decoy) for decoy in _decoys(found)):
        return f"the images are hardly more alike than when moved apart by {DECOY_MM:.0f} mm"
    return ""


def _decoys(found: np.ndarray):
    for axis in range(3):
        for shift in (-DECOY_MM, DECOY_MM):
            decoy = found.copy()
            decoy[axis, 3] += shift
            yield decoy


def _too_thin(grid: Grid) -> bool:
    return min(grid.shape) < LEAST_SLICES or min(grid.size_mm) < LEAST_EXTENT_MM


def _foreground(voxels: np.ndarray) -> np.ndarray:
    """(I, J, K) bool: the head, or the brain that was cut out, without holes; what exceeds a tenth of the range of brightness.

    The threshold is that of BET (Smith 2002, doi:10.1002/hbm.10062).
    """
    from scipy import ndimage

    low, high = np.percentile(voxels, (2, 98))
    bright = voxels > low + 0.1 * (high - low)
    solid = ndimage.binary_opening(bright)
    parts, count = ndimage.label(solid if solid.any() else bright)
    largest = parts == 1 + np.bincount(parts.ravel())[1:].argmax() if count else np.ones(voxels.shape, bool)
    return ndimage.binary_fill_holes(largest)


def _inside(points: np.ndarray, grid: Grid, shown: np.ndarray | None = None) -> float:
    """Share of `points` (N, 4) that fall on voxels of `grid`, or on those where `shown`."""
    indices = np.rint(points @ np.linalg.inv(grid.affine).T)[:, :3].astype(int)
    within = ((indices >= 0) & (indices < grid.shape)).all(axis=1)
    if shown is not None:
        within[within] = shown[tuple(indices[within].T)]
    return float(within.mean())


def _motion(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[float, float]:
    """(mean displacement of `points` in mm, angle in degrees) from one rigid transform to another."""
    mm = np.linalg.norm(points @ (end - start).T, axis=1).mean()
    turn = end[:3, :3] @ start[:3, :3].T
    return float(mm), float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


def _itk(volume: Volume):
    """A SimpleITK image, float32 or a uint8 mask, with its place in units of _UNIT_MM."""
    affine = volume.affine.copy()
    affine[:3] /= _UNIT_MM
    return to_itk(Volume(volume.voxels, affine))


def _euler(moved: np.ndarray, centre: np.ndarray):
    """ITK's transform (LPS, units) that turns about `centre` (4, mm)."""
    import SimpleITK as sitk

    lps, about = _FLIP @ moved @ _FLIP, (_FLIP @ centre)[:3]
    transform = sitk.Euler3DTransform()
    transform.SetCenter((about / _UNIT_MM).tolist())
    transform.SetMatrix(lps[:3, :3].ravel().tolist(), 1e-5)
    transform.SetTranslation(((lps[:3, :3] @ about + lps[:3, 3] - about) / _UNIT_MM).tolist())
    return transform


def _matrix(transform) -> np.ndarray:
    """4x4, world mm RAS+, of an ITK transform in units; read off from where it puts four points."""
    corners = np.c_[np.zeros(3), np.eye(3)].T
    placed = np.array([transform.TransformPoint(corner.tolist()) for corner in corners])
    lps = np.eye(4)
    lps[:3, :3] = (placed[1:] - placed[0]).T
    lps[:3, 3] = placed[0] * _UNIT_MM
    return _FLIP @ lps @ _FLIP


def _require_no_overlap(error: RuntimeError) -> None:
    """Accepts ITK's complaint that too few points fall inside the moving image; raises any other."""
    if "overlap" not in str(error) and "outside" not in str(error):
        raise error
