"""What a training run is, as one dataclass; saved as JSON beside the weights it made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from braintumorseg.errors import ModelError

__all__ = ["Config", "read_config", "write_config"]


@dataclass(frozen=True)
class Config:
    # Network: a residual U-Net whose first and last layers step between 1 mm voxels and 2 mm features.
    channels: tuple[int, ...] = (32, 48, 96, 128, 192)   # features at 2, 4, 8, 16, 32 voxels
    # Input
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    patch: tuple[int, int, int] = (128, 128, 128)        # voxels
    # Sampling
    batch: int = 1
    tumour_share: float = 0.4        # share of patches centred on a tumour voxel
    phantom_share: float = 0.08      # share of patches from made-up patients, when there are any
    all_sequences_share: float = 0.55  # share of patches that keep all four sequences
    # Augmentation strengths, 1 = as tuned; 0 switches a family off
    spatial: float = 1.0
    intensity: float = 1.0
    transplant: float = 0.2          # share of patches that get another patient's lesion (CarveMix, Zhang 2021)
    # Optimisation
    steps: int = 6000
    learning_rate: float = 8e-4
    weight_decay: float = 1e-2
    warm_up: int = 200               # steps of linear growth
    decay_share: float = 0.3         # last share of the steps, over which the rate falls to 0
    ema: float = 0.999               # decay of the averaged weights, per step
    clip: float = 1.0                # largest gradient norm
    deep_supervision: float = 0.4    # weight of the loss at 4 voxels
    bf16: bool = True
    seed: int = 1
    # Bookkeeping, in steps
    save_every: int = 250
    validate_every: int = 1000

    def __post_init__(self):
        def refuse(why: str):
            raise ModelError(f"The training configuration contradicts itself: {why}.", "Change that field.")

        if len(self.channels) < 2 or min(self.channels) < 4:
            refuse(f"channels {list(self.channels)} need two levels or more of at least 4")
        if any(side % self.size_multiple for side in self.patch):
            refuse(f"patch {list(self.patch)} is not a multiple of {self.size_multiple}, which {len(self.channels)} levels need")
        if self.batch < 1 or self.steps < 1:
            refuse("batch and steps start at 1")
        for name in ("tumour_share", "phantom_share", "all_sequences_share", "transplant", "decay_share"):
            if not 0 <= getattr(self, name) <= 1:
                refuse(f"{name} is a share, 0 to 1")
        if not 0 < self.ema < 1:
            refuse("ema lies between 0 and 1")

    @property
    def size_multiple(self) -> int:
        """Every side of an input is a multiple of this many voxels."""
        return 2 ** len(self.channels)


def read_config(path: Path) -> Config:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return Config(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})
    except (OSError, ValueError) as error:
        raise ModelError(f"The configuration {path.name} cannot be read ({error}).", "Check its path and that it is JSON.") from None
    except TypeError as error:
        raise ModelError(f"The configuration {path.name} has a field that is unknown ({error}).",
                         f"The fields are {', '.join(f.name for f in fields(Config))}.") from None


def write_config(config: Config, path: Path) -> None:
    path.write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
