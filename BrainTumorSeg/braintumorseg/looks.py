"""The sequences of a study at points of the reference's world: nearest voxels, without resampling a volume."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .study import Study

__all__ = ["Looks"]


class Looks:
    """`study` after registration; `moved`: role -> 4x4 rigid transform, reference world -> that sequence's world (mm, RAS+)."""

    def __init__(self, study: Study, moved: Mapping[str, np.ndarray]):
        self.study, self.moved = study, moved

    def points(self, mask: np.ndarray, most: int) -> np.ndarray:
        """(N, 3) world mm of evenly spread voxels of a mask (I, J, K) on the reference's grid, N < 2 * `most`."""
        flat = np.flatnonzero(mask)
        chosen = np.stack(np.unravel_index(flat[:: max(1, len(flat) // most)], mask.shape), axis=1)
        affine = self.study.reference.affine
        return chosen @ affine[:3, :3].T + affine[:3, 3]

    def at(self, role: str, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(values (N,) with 0 outside, (N,) bool: inside the sequence's grid)."""
        volume = self.study.volumes[role]
        into = np.linalg.inv(volume.affine) @ self.moved.get(role, np.eye(4))
        places = np.rint(points @ into[:3, :3].T + into[:3, 3]).astype(int)
        inside = ((places >= 0) & (places < volume.shape)).all(axis=1)
        values = np.zeros(len(points), volume.voxels.dtype)
        values[inside] = volume.voxels[tuple(places[inside].T)]
        return values, inside
