"""Study: one patient's MR sequences by role, each on its own grid; one of them is the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from .errors import BadImage, UnclearRoles
from .io.dicom_series import LeftAside, Stack
from .volume import Grid, Volume

__all__ = ["REFERENCE_ORDER", "ROLES", "TITLES", "Study"]

# The sequences a network may read: T1, T1 with contrast, T2, T2-FLAIR.
ROLES = ("t1", "t1ce", "t2", "flair")
TITLES = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "FLAIR"}   # as radiologists write them
# Scanners' bores are 600 to 700 mm wide, and they image less than that at a time.
LARGEST_FIELD_MM = 700.0
# The sequence whose grid carries the result: where surgeons look first.
REFERENCE_ORDER = ("t1ce", "flair", "t1", "t2")


@dataclass(frozen=True, eq=False)
class Study:
    """Role -> Volume, at least one. `sources` says per role where it came from and why it has that role (for the report).

    stacks: role -> DICOM series, for those sequences that came as one. left_out: what was there beside them and why it is not used.

    Raises UnclearRoles for an empty study or an unknown role, BadImage for a sequence that is NaN, constant, a label map, or larger
    than any scanner's field of view.
    """

    volumes: Mapping[str, Volume]
    sources: Mapping[str, str] = field(default_factory=dict)
    stacks: Mapping[str, Stack] = field(default_factory=dict)
    left_out: tuple[LeftAside, ...] = ()

    def __post_init__(self):
        unknown = sorted(set(self.volumes) - set(ROLES))
        if unknown:
            raise UnclearRoles(f"There is no sequence named {', '.join(unknown)}.", f"Use {', '.join(ROLES)}.")
        if not self.volumes:
            raise UnclearRoles("No sequence was given.", f"Give at least one of {', '.join('--' + role for role in ROLES)}.")
        for role, volume in self.volumes.items():
            _check_image(role, volume.voxels)
            _check_size(role, volume.grid)
        object.__setattr__(self, "volumes", MappingProxyType({role: self.volumes[role] for role in ROLES if role in self.volumes}))
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))
        object.__setattr__(self, "stacks", MappingProxyType(dict(self.stacks)))

    def __reduce__(self):
        return Study, (dict(self.volumes), dict(self.sources), dict(self.stacks), self.left_out)

    @property
    def roles(self) -> tuple[str, ...]:
        """The sequences there are, in the order of ROLES."""
        return tuple(self.volumes)

    @property
    def missing(self) -> tuple[str, ...]:
        """The sequences there are not, in the order of ROLES."""
        return tuple(role for role in ROLES if role not in self.volumes)

    @property
    def reference_role(self) -> str:
        return next(role for role in REFERENCE_ORDER if role in self.volumes)

    @property
    def reference(self) -> Volume:
        return self.volumes[self.reference_role]

    @property
    def on_one_grid(self) -> bool:
        """True when every sequence lies on the reference's grid, voxel by voxel."""
        return all(volume.grid.same_as(self.reference.grid) for volume in self.volumes.values())


def _check_image(role: str, voxels: np.ndarray) -> None:
    if voxels.dtype.kind not in "iuf":
        raise BadImage(f"{role} holds {voxels.dtype} voxels; an MR volume holds one number a voxel.", "Give a grey-scale image.")
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        bad = int(voxels.size - np.isfinite(voxels).sum())
        raise BadImage(f"{role} has {bad} voxels that are NaN or infinite.", "Convert the image from its source again.")
    low, high = voxels.min(), voxels.max()
    if low == high:
        raise BadImage(f"{role} is constant: every voxel is {low:g}.", "Check that the right file was given.")
    if _is_label_map(voxels):
        raise BadImage(f"{role} holds only {len(np.unique(voxels))} whole numbers from {low:g} to {high:g}: it is a label map, not an MR image.",
                       "Give the image that was segmented, not the segmentation.")


def _check_size(role: str, grid: Grid) -> None:
    if max(grid.size_mm) > LARGEST_FIELD_MM:
        raise BadImage(f"{role} has {grid.describe()}: it would be {max(grid.size_mm):.0f} mm long, and no scanner shows more than "
                       f"{LARGEST_FIELD_MM:.0f} mm.", "Convert it from its source again, or correct its spacing, which is in mm.")


def _is_label_map(voxels: np.ndarray) -> bool:
    """A few small whole numbers only: no MR series looks like that, every mask and label map does."""
    sample = voxels[:: max(1, voxels.shape[0] // 64)]
    if voxels.max() > 300 or len(np.unique(sample)) > 16:
        return False
    values = np.unique(voxels)
    return len(values) <= 16 and bool((values == np.round(values)).all())
