"""What a training run is, as one dataclass a task; saved as JSON beside the weights it made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from braintumorseg.errors import ModelError

__all__ = ["BrainConfig", "Config", "RunConfig", "config_from", "read_config", "write_config"]


@dataclass(frozen=True)
class RunConfig:
    """What every run has, whatever its network learns."""

    # Network: a residual U-Net whose first and last layers step between voxels and features of twice their size.
    channels: tuple[int, ...] = (32, 48, 96, 128, 192)   # features at 2, 4, 8, 16, 32 voxels
    # Input
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    patch: tuple[int, int, int] = (128, 128, 128)        # voxels
    batch: int = 1
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
    compile: bool = False            # torch.compile, which needs a C++ compiler: a minute at the start, then steps about 1.5 times faster
    seed: int = 1
    # Bookkeeping, in steps
    save_every: int = 250
    validate_every: int = 1000

    def __post_init__(self):
        if len(self.channels) < 2 or min(self.channels) < 4:
            self._refuse(f"channels {list(self.channels)} need two levels or more of at least 4")
        if any(side % self.size_multiple for side in self.patch):
            self._refuse(f"patch {list(self.patch)} is not a multiple of {self.size_multiple}, which {len(self.channels)} levels need")
        if self.batch < 1 or self.steps < 1:
            self._refuse("batch and steps start at 1")
        for field in fields(self):
            if field.name.endswith("_share") and not 0 <= getattr(self, field.name) <= 1:
                self._refuse(f"{field.name} is a share, 0 to 1")
        if not 0 < self.ema < 1:
            self._refuse("ema lies between 0 and 1")

    def _refuse(self, why: str):
        raise ModelError(f"The training configuration contradicts itself: {why}.", "Change that field.")

    @property
    def size_multiple(self) -> int:
        """Every side of an input is a multiple of this many voxels."""
        return 2 ** len(self.channels)


@dataclass(frozen=True)
class Config(RunConfig):
    """A run of the tumour network."""

    # Sampling
    tumour_share: float = 0.4        # share of patches centred on a tumour voxel
    phantom_share: float = 0.08      # share of patches from made-up patients, when there are any
    synthetic_share: float = 0.08    # the same of brains made from label maps
    all_sequences_share: float = 0.55  # share of patches that keep all four sequences
    # Augmentation strengths, 1 = as tuned; 0 switches a family off
    spatial: float = 1.0
    intensity: float = 1.0
    transplant: float = 0.2          # share of patches that get another patient's lesion (CarveMix, Zhang 2021)
    transplant_scale: tuple[float, float] = (0.4, 1.0)  # its size, of the size it had
    heal: float = 0.0                # share of patches whose own lesion gives way to the tissue opposite

    def __post_init__(self):
        super().__post_init__()
        for name in ("transplant", "heal"):
            if not 0 <= getattr(self, name) <= 1:
                self._refuse(f"{name} is a share, 0 to 1")
        low, high = self.transplant_scale
        if not 0 < low <= high:
            self._refuse("transplant_scale is a smallest and a largest size, above 0")


@dataclass(frozen=True)
class BrainConfig(RunConfig):
    """A run of the network that finds the brain, from synthetic heads; the whole head is one patch."""

    channels: tuple[int, ...] = (16, 32, 64, 96)
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    patch: tuple[int, int, int] = (96, 112, 112)
    batch: int = 1
    steps: int = 2400
    learning_rate: float = 1.5e-3
    warm_up: int = 100
    ema: float = 0.997
    save_every: int = 100
    validate_every: int = 300
    # Sampling
    lesion_share: float = 0.6        # share of heads with a tumour or a cavity
    thick_share: float = 0.55        # share of images in slices of 2.5 to 8 mm
    stripped_share: float = 0.10     # share of images that show the brain alone
    defaced_share: float = 0.08      # share of images whose face was cut away
    empty_share: float = 0.05        # share of images without a head: noise, clouds, a ball


def config_from(kind: type[RunConfig], given: dict) -> RunConfig:
    """The configuration of that kind with these fields, as JSON and checkpoints hold them. Raises TypeError for an unknown field."""
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})


def read_config(path: Path, kind: type[RunConfig] = Config) -> RunConfig:
    try:
        return config_from(kind, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ModelError(f"The configuration {path.name} cannot be read ({error}).", "Check its path and that it is JSON.") from None
    except TypeError as error:
        raise ModelError(f"The configuration {path.name} has a field that is unknown ({error}).",
                         f"The fields are {', '.join(f.name for f in fields(kind))}.") from None


def write_config(config: RunConfig, path: Path) -> None:
    path.write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
