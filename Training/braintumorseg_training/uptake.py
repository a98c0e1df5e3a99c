"""Tumours that take up no contrast agent, made from those that do.

Few patients with enhancing tumours teach a network that what does not enhance is none, and gliomas of lower grade mostly do not. Where contrast
agent stays in the vessels, T1ce looks as T1 does, but for its scanner settings: so the lesion's T1ce gives way to its T1, in the intensities
that T1 has elsewhere in this brain's T1ce.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from braintumorseg.labels import ET, NCR
from braintumorseg.study import ROLES

__all__ = ["MADE_OF", "without_uptake"]

MADE_OF = _T1, _T1CE = ROLES.index("t1"), ROLES.index("t1ce")
_MARGIN = 3      # voxels around the tumour that give way too
_SEAM = 2        # voxels over which they fade out
_EVERY = 3       # the intensities are fitted on every so many voxels a side
_FEWEST = 100    # voxels for that fit


def without_uptake(image: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The patch (4, I, J, K) and labels (I, J, K) with the tumour's enhancement gone: its T1ce from its T1, and ET as NCR, which is also the label
    of core that does not enhance. None where nothing enhances, or T1 or T1ce is missing."""
    if not (target == ET).any():
        return None
    t1, t1ce = image[_T1], image[_T1CE]
    fit = _line(t1[::_EVERY, ::_EVERY, ::_EVERY], t1ce[::_EVERY, ::_EVERY, ::_EVERY], target[::_EVERY, ::_EVERY, ::_EVERY] == 0)
    if fit is None:
        return None
    places = (target > 0).nonzero()
    reach = _MARGIN + _SEAM
    box = tuple(slice(max(0, int(low) - reach), int(high) + reach + 1) for low, high in zip(places.amin(0), places.amax(0), strict=True))
    share = _faded((target[box] > 0).float())
    offset, slope = fit
    changed = image.clone()
    changed[_T1CE][box] = torch.where(t1ce[box] == 0, 0.0, torch.lerp(t1ce[box], offset + slope * t1[box], share))
    return changed, torch.where(target == ET, NCR, target).to(target.dtype)


def _line(x: torch.Tensor, y: torch.Tensor, healthy: torch.Tensor) -> tuple[float, float] | None:
    """(offset, slope) of the least-squares line y = offset + slope x over healthy brain; None where there is too little of it."""
    used = healthy & (x != 0) & (y != 0)
    if int(used.sum()) < _FEWEST:
        return None
    x, y = x[used].double(), y[used].double()
    spread = x.var(correction=0)
    if spread < 1e-6:
        return None
    slope = ((x - x.mean()) * (y - y.mean())).mean() / spread
    return float(y.mean() - slope * x.mean()), float(slope)


def _faded(mask: torch.Tensor) -> torch.Tensor:
    """(I, J, K) 0..1: 1 in the mask and _MARGIN voxels around it, falling to 0 over _SEAM more."""
    grown = mask[None, None]
    for axis in range(3):
        kernel = [1, 1, 1]
        kernel[axis] = 2 * _MARGIN + 1
        grown = F.max_pool3d(grown, kernel, stride=1, padding=[side // 2 for side in kernel])
    return F.avg_pool3d(grown, 2 * _SEAM - 1, stride=1, padding=_SEAM - 1, count_include_pad=False)[0, 0]
