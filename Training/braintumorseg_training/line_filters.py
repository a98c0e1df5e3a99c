"""Linear filters along one axis of an image, each as one matrix product."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

__all__ = ["along", "blur", "coarsen", "linear"]


def along(x: torch.Tensor, axis: int, response: torch.Tensor) -> torch.Tensor:
    """A linear filter along one of the last three axes of x, as one matrix product: response[i] is what an impulse at voxel i turns into."""
    if axis == 2:
        return x @ response
    if axis == 1:
        return response.T @ x
    *lead, count, j, k = x.shape
    return (response.T @ x.reshape(*lead, count, j * k)).view(*lead, -1, j, k)


def linear(where: np.ndarray, count: int) -> torch.Tensor:
    """The filter (count, len(where)) that reads a line of `count` voxels between them, at `where`."""
    lower = np.clip(np.floor(where).astype(int), 0, count - 2)
    share = np.clip(where - lower, 0, 1)
    response = np.zeros((count, len(where)), np.float32)
    columns = np.arange(len(where))
    response[lower, columns] = 1 - share
    response[lower + 1, columns] = share
    return torch.from_numpy(response)


def coarsen(x: torch.Tensor, axis: int, factor: float) -> torch.Tensor:
    """(..., I, J, K) in slices `factor` voxels thick along `axis`, interpolated back."""
    count = x.shape[axis - 3]
    slices = max(1, round(count / factor))
    thin = F.interpolate(torch.eye(count)[None], size=slices, mode="area")
    return along(x, axis, F.interpolate(thin, size=count, mode="linear")[0])


def blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    for axis in range(3):
        steps = torch.arange(x.shape[axis - 3], dtype=torch.float32)
        apart = steps[:, None] - steps[None]
        taps = torch.exp(-0.5 * (apart / sigma) ** 2) * (apart.abs() <= 3)
        x = along(x, axis, taps / taps.sum(0).max())
    return x
