"""Bringing the sequences of a study into alignment: how the patient moved between them, or that the headers already agree.

Rigid, by Mattes mutual information (Mattes 2003, doi:10.1109/TMI.2003.809072), coarse to fine, with ITK. Nothing is resampled
here: an `Alignment` is a transform that `resample` and `prepare` take as `moved`.

The same images give the same transform on the same machine: points are drawn with a fixed seed and the work is cut into a fixed
number of pieces. Between processors and versions of ITK sums are rounded differently, and results may differ by some 0.01 mm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .brain import brain_only_mask
from .resample import canonical_grid, resample
from .study import Study
from .volume import Grid, Volume

__all__ = ["Alignment", "align"]

COARSE_MM, FINE_MM = 4.0, 2.0
COARSE_POINTS, FINE_POINTS = 12_000, 40_000
BINS = 32
SEED = 20
WORKERS = 4


@dataclass(frozen=True, eq=False)
class Image:
    """One sequence at a working resolution, and (I, J, K) bool: where it shows something."""
    volume: Volume
    mask: np.ndarray
    brain_only: bool


def look(volume, mm):
    spacing = tuple(max(mm, s) for s in volume.canonical().spacing_mm)
    small = resample(volume, canonical_grid(volume.grid, spacing), fill=float(volume.voxels.min()))
    return small


def foreground(small: Volume):
    from scipy import ndimage
    low, high = np.percentile(small.voxels, (2, 98))
    mask = small.voxels > low + 0.1 * (high - low)
    mask = ndimage.binary_opening(mask)
    parts, count = ndimage.label(mask)
    if count > 1:
        mask = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    return ndimage.binary_fill_holes(mask)


def optimise(fixed, moving, fmask, mmask, start, centre, points, step, min_step, iters=100, opt="rsgd"):
    import SimpleITK as sitk
    from .io.itk import to_itk
    m = sitk.ImageRegistrationMethod()
    m.SetNumberOfWorkUnits(WORKERS)
    m.SetMetricAsMattesMutualInformation(BINS)
    m.SetMetricFixedMask(to_itk(fixed.with_voxels(fmask.astype(np.uint8))))
    if mmask is not None:
        m.SetMetricMovingMask(to_itk(moving.with_voxels(mmask.astype(np.uint8))))
    m.SetMetricSamplingStrategy(m.RANDOM)
    # share of the whole virtual domain
    m.SetMetricSamplingPercentage(min(1.0, points / fmask.sum()), SEED)
    m.SetInterpolator(sitk.sitkLinear)
    if opt == "rsgd":
        m.SetOptimizerAsRegularStepGradientDescent(step, min_step, iters, relaxationFactor=0.5, gradientMagnitudeTolerance=1e-5)
    m.SetOptimizerScalesFromPhysicalShift()
    t = sitk.Euler3DTransform(start)
    m.SetInitialTransform(t, inPlace=True)
    m.Execute(to_itk(fixed), to_itk(moving))
    return t, m.GetMetricValue(), m.GetOptimizerIteration()
