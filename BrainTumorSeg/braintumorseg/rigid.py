"""One image against another under a rigid motion: how alike they are, and the motion that makes them most alike.

The measure is the mutual information of Mattes 2003 (doi:10.1109/TMI.2003.809072), with ITK. Points are drawn with a fixed seed
and summed by one thread (several finish in any order, and a search follows the last bit), so the same images give the same
transform on one machine. Other processors and other versions of ITK may differ by some 0.01 mm.

Transforms are 4x4, world mm RAS+, a point of the fixed image -> the same anatomy in the moving one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .io.itk import to_itk
from .masks import largest_piece
from .resample import canonical_grid, resample
from .volume import Grid, Volume

__all__ = ["Pair", "View"]

_BINS = 32
_SEED = 20
_START_DEGREES = 15.0
# The search measures lengths in this unit, about the radius of a head: then a step in an angle (rad) and in a shift move the head
# equally far, which is what its step lengths take for granted.
_UNIT_MM = 60.0
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS+ <-> LPS+


@dataclass(frozen=True, eq=False)
class View:
    """An image at a working resolution and where it shows something: a bool mask (I, J, K); some 4000 points (N, 4), mm and a 1."""

    volume: Volume
    shown: np.ndarray
    points: np.ndarray

    @classmethod
    def of(cls, volume: Volume, mm: float, margin: int = 0) -> View:
        """Voxels of `mm`, but no finer than they are: a slice of 5 mm stays one. `margin`: voxels around the head that belong to it."""
        spacing = tuple(max(mm, own) for own in volume.grid.canonical().spacing_mm)
        small = resample(volume, canonical_grid(volume.grid, spacing), fill=float(volume.voxels.min()))
        shown = _foreground(small.voxels, margin)
        indices = np.argwhere(shown)
        indices = indices[:: max(1, len(indices) // 4000)]
        return cls(small, shown, np.c_[indices, np.ones(len(indices))] @ small.affine.T)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images at one working resolution."""

    fixed: View
    moving: View

    def similarity(self, moved: np.ndarray) -> float:
        """Mutual information (nats) a point of what the fixed image shows; 0 where the images do not meet."""
        method = self._method(moved, by_gradient=False)
        try:
            information = -method.MetricEvaluate(_itk(self.fixed.volume), _itk(self.moving.volume))
        except RuntimeError as error:
            _require_no_overlap(error)
            return 0.0
        # ITK looks only at points that fall inside the moving image; the others have nothing to tell.
        return information * _inside(self.fixed.points @ moved.T, self.moving.volume.grid)

    @property
    def spacings_mm(self) -> tuple[float, ...]:
        """Edge lengths of both images' voxels."""
        return self.fixed.volume.spacing_mm + self.moving.volume.spacing_mm

    def search(self, moved: np.ndarray, points: int, *, downhill: bool, step_mm: float) -> np.ndarray:
        """The rigid transform nearest to `moved` where the images are most alike; `moved` itself where they do not meet.

        Down the gradient (reaches far), or by Powell's method, which asks for no gradient (exact: ITK's gradient of an image
        with thick slices does not fit the image that it interpolates).
        """
        method = self._method(moved, by_gradient=downhill)
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

    def centred(self) -> list[np.ndarray]:
        """Two shifts: the middle of what one image shows onto that of the other; the middle of one field of view onto the other."""
        middles = [view.volume.affine @ np.append((np.array(view.volume.shape) - 1) / 2, 1) for view in (self.fixed, self.moving)]
        shown = [view.points.mean(axis=0) for view in (self.fixed, self.moving)]
        return [np.eye(4) + np.outer(moving - fixed, [0, 0, 0, 1]) for fixed, moving in (shown, middles)]

    def mirrored(self) -> Pair:
        """With the moving image reversed along its axis to the right, about the middle of what it shows."""
        view, affine = self.moving, self.moving.volume.affine
        back = np.linalg.inv(affine)
        flip = np.diag([-1.0, 1.0, 1.0, 1.0])
        flip[0, 3] = 2 * (back @ view.points.mean(axis=0))[0]
        return Pair(self.fixed, View(Volume(view.volume.voxels, affine @ flip), view.shown, view.points @ (affine @ flip @ back).T))

    def turned(self, moved: np.ndarray) -> list[np.ndarray]:
        """`moved`, and `moved` after a turn to either side about each axis through the middle of the head."""
        return [moved, *(moved @ turn for turn in self._turns(_START_DEGREES))]

    def nudged(self, mm: float, degrees: float) -> list[np.ndarray]:
        """Small motions away from the headers' place: to either side along each axis, and to either side about it."""
        shifts = [np.eye(4) + np.outer(np.append(axis * mm, 0), [0, 0, 0, 1]) for axis in np.vstack([np.eye(3), -np.eye(3)])]
        return shifts + self._turns(degrees)

    def _turns(self, degrees: float) -> list[np.ndarray]:
        middle, turns = self.fixed.points.mean(axis=0)[:3], []
        for angle in np.radians([degrees, -degrees]):
            for axis in range(3):
                one, other = (axis + 1) % 3, (axis + 2) % 3
                turn = np.eye(4)
                turn[one, one] = turn[other, other] = np.cos(angle)
                turn[other, one], turn[one, other] = np.sin(angle), -np.sin(angle)
                turn[:3, 3] = middle - turn[:3, :3] @ middle
                turns.append(turn)
        return turns

    def _method(self, moved: np.ndarray, by_gradient: bool):
        import SimpleITK as sitk

        method = sitk.ImageRegistrationMethod()
        if not by_gradient:  # ITK would make an image of each one's gradient, half the time of a comparison that never looks at them
            method.MetricUseFixedImageGradientFilterOff()
            method.MetricUseMovingImageGradientFilterOff()
        method.SetNumberOfWorkUnits(1)
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricFixedMask(_itk(self.fixed.volume.with_voxels(self.fixed.shown)))
        method.SetInterpolator(sitk.sitkLinear)
        method.SetInitialTransform(_euler(moved, self.fixed.points.mean(axis=0)))
        return method


def _foreground(voxels: np.ndarray, margin: int) -> np.ndarray:
    """(I, J, K) bool: the head, or the brain that was cut out, without holes; what exceeds a tenth of the range of brightness.

    The threshold is that of BET (Smith 2002, doi:10.1002/hbm.10062).
    """
    from scipy import ndimage

    low, high = np.percentile(voxels, (2, 98))
    bright = voxels > low + 0.1 * (high - low)
    solid = ndimage.binary_opening(bright)
    largest = largest_piece(solid if solid.any() else bright) if bright.any() else np.ones(voxels.shape, bool)
    filled = ndimage.binary_fill_holes(largest)
    return ndimage.binary_dilation(filled, iterations=margin) if margin else filled


def _inside(points: np.ndarray, grid: Grid, shown: np.ndarray | None = None) -> float:
    """Share of `points` (N, 4) that fall on voxels of `grid`, or on those where `shown`."""
    indices = np.rint(points @ np.linalg.inv(grid.affine).T)[:, :3].astype(int)
    within = ((indices >= 0) & (indices < grid.shape)).all(axis=1)
    if shown is not None:
        within[within] = shown[tuple(indices[within].T)]
    return float(within.mean())


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
