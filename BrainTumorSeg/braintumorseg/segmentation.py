"""What comes out: labels on the reference's native grid, their table, and how they came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .labels import region_mask
from .model_card import Label
from .skull_strip import StudyBrain
from .volume import Volume

__all__ = ["Provenance", "Segmentation"]


@dataclass(frozen=True)
class Provenance:
    """How a segmentation came about; goes into report.json as it is. Holds nothing that identifies a patient."""

    model: str
    version: str
    sha256: str
    provider: str                                  # what the session really used, such as 'OpenVINO' or 'CPUExecutionProvider'
    provider_note: str = ""                        # why it was not the one asked for, if so
    precision: str = "float32"                     # what it computed in: float32, bfloat16 or int8
    weights: str = ""                              # the file that was run: the network's own, or a variant's
    passes: int = 1                                # forward passes of one look: 1, or the number of tiles
    looks: int = 1                                 # with other sequences withheld each time; their mean is the result
    expected_dice: Mapping[str, float] = field(default_factory=dict)   # region -> how sure several looks are; empty after a single one
    signs: Mapping[str, float] = field(default_factory=dict)        # that the outline may be wrong: see `signs`
    reference: str = ""                            # role whose grid carries the result
    roles: Mapping[str, str] = field(default_factory=dict)          # role -> how it was recognised
    missing: tuple[str, ...] = ()
    alignment: Mapping[str, str] = field(default_factory=dict)      # role -> 'same grid', 'headers agree', 'registered: 3.1 mm, 1.2 degrees', ...
    doubtful: tuple[str, ...] = ()                                  # roles that may not lie where the others do
    brain: str = ""                                # how it was found; empty where the images show it alone
    seconds: Mapping[str, float] = field(default_factory=dict)      # step -> wall-clock time
    software: Mapping[str, str] = field(default_factory=dict)       # package -> version


@dataclass(frozen=True, eq=False)
class Segmentation:
    """uint8 labels (I, J, K) on the reference's native grid, the table that names them, and their provenance.

    moved: role -> 4x4 rigid transform, reference world -> that sequence's world (mm, RAS+), for those that were registered.
    brain: where the brain is in images of whole heads; None where they show it alone.
    """

    labels: Volume
    table: tuple[Label, ...]
    provenance: Provenance
    moved: Mapping[str, np.ndarray] = field(default_factory=dict)
    brain: StudyBrain | None = None

    def __post_init__(self):
        if self.labels.voxels.dtype != np.uint8:
            raise TypeError(f"labels are uint8, not {self.labels.voxels.dtype}")

    def region(self, name: str) -> np.ndarray:
        """(I, J, K) bool: the voxels of region WT, TC or ET."""
        return region_mask(self.labels.voxels, name)
