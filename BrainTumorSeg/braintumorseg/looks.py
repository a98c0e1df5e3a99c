"""The sequences of a study at points of the reference's world: nearest voxels, without resampling a volume."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from .background import background_of
from .masks import bounding_box
from .sequences_by_image import Look, middle_of_brain
from .study import Study
from .volume import Grid, Volume

__all__ = ["Looks"]

_MM = 3.0   # of the voxels that are looked at to tell sequences apart: 2 mm say the same and take three times as long
_LEAST_VOXELS, _LEAST_SHARE = 2000, 0.9   # of the middle of the brain


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

    def in_one_place(self, brain: np.ndarray, roles: Collection[str]) -> dict[str, Look]:
        """Role -> Look at the middle of `brain` (I, J, K bool, on the reference's grid), all within one region: where each shows something.

        Roles that show too little of it are left out.
        """
        import nibabel

        own = self.study.reference.grid
        every = [max(1, round(_MM / mm)) for mm in own.canonical().spacing_mm]
        thinned = nibabel.apply_orientation(brain, nibabel.io_orientation(own.affine))[tuple(slice(None, None, step) for step in every)]
        grid = Grid(thinned.shape, own.canonical().affine @ np.diag([*every, 1.0]))
        region = middle_of_brain(thinned, grid.spacing_mm)
        places = np.argwhere(region)                                              # (N, 3)
        if len(places) < _LEAST_VOXELS:
            return {}
        points = places @ grid.affine[:3, :3].T + grid.affine[:3, 3]
        seen = {role: self._brightness(role, points) for role in roles}           # (N,) each, 0 where nothing is shown
        seen = {role: values for role, values in seen.items() if np.mean(values > 0) >= _LEAST_SHARE}
        both = np.logical_and.reduce([values > 0 for values in seen.values()]) if seen else np.zeros(len(places), bool)
        region[tuple(places[~both].T)] = False
        box = bounding_box(region)
        if np.count_nonzero(both) < _LEAST_VOXELS or box is None:
            return {}

        def look(values: np.ndarray) -> Look:
            image = np.zeros(region.shape, np.float32)
            image[region] = values[both]
            return Look.within(Volume(image[box], grid.part(box).affine), middle)

        middle = region[box]
        return {role: look(values) for role, values in seen.items()}

    def _brightness(self, role: str, points: np.ndarray) -> np.ndarray:
        """(N,) float32 above the background; 0 outside the sequence's grid."""
        values, inside = self.at(role, points)
        background = background_of(self.study.volumes[role])
        return np.where(inside, values - np.float32(background.value if background else 0), 0).astype(np.float32)
