"""What a training run is, as one dataclass a task; saved as JSON beside the weights it made."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

from braintumorseg.errors import ModelError

__all__ = ["NETWORKS", "NORMS", "OPTIMISERS", "SCHEDULES", "BrainConfig", "Config", "PretrainConfig", "RunConfig", "config_from", "override",
           "plain_fields", "read_config", "write_config"]

NETWORKS = ("resunet", "unet", "attention_unet", "segresnet")     # what each is: architectures.py
NORMS = ("instance", "none")                                      # why one would do without: fold.py
OPTIMISERS = ("adamw", "sgd")
LARGEST_ELASTIC = 3.0   # voxels
_DIGITS = 18            # of a whole number: more do not go into 64 bits, as torch's random numbers want them
SCHEDULES = ("constant_then_linear", "poly", "cosine")


@dataclass(frozen=True)
class RunConfig:
    """What every run has, whatever its network learns."""

    network: str = "resunet"                             # one of NETWORKS
    channels: tuple[int, ...] = (32, 48, 96, 128, 192)   # features at 2, 4, 8, 16, 32 voxels; of segresnet at 1, 2, 4, ... voxels
    norm: str = "instance"                               # or none: a network that began with norms, which --init folds into its convolutions
    # Input
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)   # that of the packed cases: prepare --spacing
    patch: tuple[int, int, int] = (128, 128, 128)        # voxels
    batch: int = 1                                       # patches of one forward pass, in each process
    # Optimisation
    accumulate: int = 1              # batches whose gradients make one step
    steps: int = 6000
    optimiser: str = "adamw"         # or sgd, with Nesterov momentum of 0.99; it takes rates near 1e-2 and a weight decay near 3e-5 (nnU-Net's)
    learning_rate: float = 8e-4
    weight_decay: float = 1e-2
    schedule: str = "constant_then_linear"   # or poly or cosine, which fall all the way
    warm_up: int = 200               # steps of linear growth
    decay_share: float = 0.3         # of constant_then_linear: last share of the steps, over which the rate falls to 0
    ema: float = 0.999               # decay of the averaged weights, per step
    clip: float = 1.0                # largest gradient norm
    deep_supervision: float = 0.4    # weight of the loss at 4 voxels
    bf16: bool = True                # where the device has it; float32 elsewhere
    compile: bool = False            # torch.compile, which needs a C++ compiler: a minute at the start, then steps about 1.5 times faster
    seed: int = 1
    patience: int = 0                # validations without a better mean Dice after which the run ends; 0: never
    # Transfer
    init: str = ""                   # what the run started from: file name and sha256, filled in by --init; "" = fresh weights
    freeze_encoder: int = 0          # steps at the beginning in which the encoder keeps the weights of --init and the rest learns
    # Bookkeeping, in steps
    log_every: int = 25
    save_every: int = 250
    validate_every: int = 1000

    def __post_init__(self):
        for field in fields(self):
            self._check_type(field.name, getattr(self, field.name), field.default)
        for name, known in (("network", NETWORKS), ("norm", NORMS), ("optimiser", OPTIMISERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                self._refuse(f"{name} {getattr(self, name)!r} is none of {', '.join(known)}")
        if len(self.channels) < 2 or min(self.channels) < 4:
            self._refuse(f"channels {list(self.channels)} need two levels or more of at least 4")
        if any(side % self.size_multiple for side in self.patch):
            self._refuse(f"patch {list(self.patch)} is not a multiple of {self.size_multiple}, which {len(self.channels)} levels need")
        if self.network == "attention_unet" and len(self.channels) < 3:
            self._refuse("attention_unet has gates on all skips but the first, so it needs three channels or more")
        if self.network == "segresnet" and (self.channels[0] % 8 or any(b != 2 * a for a, b in pairwise(self.channels))):
            self._refuse(f"channels {list(self.channels)} do not suit segresnet, which doubles them from level to level, from a multiple of 8 on")
        if self.network == "segresnet" and self.norm == "none":
            self._refuse("segresnet's norms come before its activations, so no convolution can take them in; norm none is for the other networks")
        for name in ("batch", "accumulate", "steps", "log_every", "save_every", "validate_every"):
            if getattr(self, name) < 1:
                self._refuse(f"{name} starts at 1")
        for name in ("warm_up", "patience", "weight_decay", "deep_supervision", "seed", "freeze_encoder"):
            if getattr(self, name) < 0:
                self._refuse(f"{name} cannot be negative")
        for name in ("learning_rate", "clip"):
            if getattr(self, name) <= 0:
                self._refuse(f"{name} is above 0")
        if min(self.spacing_mm) <= 0:
            self._refuse("spacing_mm is above 0")
        if min(self.patch) < self.size_multiple or max(self.patch) == self.size_multiple:
            self._refuse(f"patch {list(self.patch)} leaves a single voxel, or none, at the deepest of {len(self.channels)} levels")
        for field in fields(self):
            if field.name.endswith("_share") and not 0 <= getattr(self, field.name) <= 1:
                self._refuse(f"{field.name} is a share, 0 to 1")
        if not 0 < self.ema < 1:
            self._refuse("ema lies between 0 and 1")

    def _check_type(self, name: str, value, default) -> None:
        """As the default: bool, int, float (an int will do), str, or a tuple of one of them; as long as the default, but for `channels`."""
        if any(isinstance(one, int) and abs(one) >= 10**_DIGITS for one in (value if isinstance(value, tuple) else (value,))):
            self._refuse(f"{name} has more than {_DIGITS} digits")
        if isinstance(default, tuple):
            fits = isinstance(value, tuple) and all(_is_a(type(default[0]), one) for one in value) and (name == "channels"
                                                                                                        or len(value) == len(default))
            wanted = f"a list of {'' if name == 'channels' else f'{len(default)} '}{_WORDS[type(default[0])].removeprefix('a ')}s"
        else:
            fits, wanted = _is_a(type(default), value), _WORDS[type(default)]
        if not fits:
            self._refuse(f"{name} is {value!r} and should be {wanted}")

    def _check_elastic(self, spread: float) -> None:
        if not 0 <= spread <= LARGEST_ELASTIC:
            self._refuse(f"elastic lies between 0 and {LARGEST_ELASTIC:g} voxels: beyond, neighbours would change places")

    def _check_normed(self) -> None:
        if self.norm == "none":
            self._refuse("norm none is for a run that starts from a trained network, and this one starts from random weights")

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
    uneven: float = 1.0              # how often coils are uneven, of how often they were as tuned; how much is a matter of intensity
    low_resolution: float = 1.0      # thick slices along one axis, as 2-D clinical series have them
    elastic: float = 0.0             # voxels, spread of a smooth displacement that goes with the rotations; 0: none
    transplant: float = 0.2          # share of patches that get another patient's lesion (CarveMix, Zhang 2021)
    transplant_scale: tuple[float, float] = (0.4, 1.0)  # its size, of the size it had
    heal: float = 0.0                # share of patches whose own lesion gives way to the tissue opposite
    faint: float = 0.0               # share of patches whose lesions are fainter: mixed with healthy tissue
    no_uptake: float = 0.0           # share of patches whose enhancing tumour takes up no contrast agent

    def __post_init__(self):
        super().__post_init__()
        for name in ("transplant", "heal", "faint", "no_uptake"):
            if not 0 <= getattr(self, name) <= 1:
                self._refuse(f"{name} is a share, 0 to 1")
        if self.phantom_share + self.synthetic_share >= 1:
            self._refuse(f"phantom_share {self.phantom_share:g} and synthetic_share {self.synthetic_share:g} leave no patches for real cases")
        for name in ("spatial", "intensity", "uneven", "low_resolution"):
            if getattr(self, name) < 0:
                self._refuse(f"{name} cannot be negative: 0 switches it off")
        self._check_elastic(self.elastic)
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

    def __post_init__(self):
        super().__post_init__()
        self._check_normed()


@dataclass(frozen=True)
class PretrainConfig(RunConfig):
    """A run that learns to fill in what was hidden of a brain, without labels."""

    steps: int = 3000
    deep_supervision: float = 0.2
    cube: int = 16                   # voxels, side of the cubes that are hidden
    hidden_share: float = 0.6        # share of the cubes that are hidden
    sequence_share: float = 0.35     # share of patches in which whole sequences are hidden too
    held_out_share: float = 0.1      # share of the volumes that are watched and not learned from
    spatial: float = 1.0             # strength of rotation and scaling, as in the tumour network's runs
    elastic: float = 0.0             # as in the tumour network's runs

    def __post_init__(self):
        super().__post_init__()
        self._check_elastic(self.elastic)
        self._check_normed()
        if not 2 <= self.cube <= min(self.patch):
            self._refuse(f"cube {self.cube} lies between 2 and the patch's smallest side")
        if not 0 < self.hidden_share < 1:
            self._refuse("hidden_share lies between 0 and 1: something is to be hidden, and something shown")
        if self.held_out_share == 1:
            self._refuse("held_out_share 1 leaves nothing to learn from")


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}


def _is_a(kind: type, value) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float)) and math.isfinite(value) if kind is float else isinstance(value, kind)


def config_from(kind: type[RunConfig], given: dict) -> RunConfig:
    """The configuration of that kind with these fields, as JSON and checkpoints hold them. Raises ModelError, for an unknown field too."""
    _refuse_unknown(kind, given)
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})


def override(config: RunConfig, settings: Iterable[str]) -> RunConfig:
    """The configuration with FIELD=VALUE set, each VALUE as JSON has it (words may go without quotes). Raises ModelError."""
    changes = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ModelError(f"--set {setting} sets nothing.", "Write it as --set FIELD=VALUE, for example --set learning_rate=0.001.")
        _refuse_unknown(type(config), [name])
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        changes[name] = tuple(value) if isinstance(value, list) else value
    return replace(config, **changes)


def plain_fields(config: RunConfig) -> dict:
    """The fields as JSON and checkpoints hold them: tuples as lists."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}


def read_config(path: Path, kind: type[RunConfig] = Config) -> RunConfig:
    try:
        given = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ModelError(f"The configuration {path.name} cannot be read ({error}).", "Check its path and that it is JSON.") from None
    if not isinstance(given, dict):
        raise ModelError(f"The configuration {path.name} is not a JSON object.", 'Write it as {"FIELD": VALUE, ...}.')
    return config_from(kind, given)


def write_config(config: RunConfig, path: Path) -> None:
    path.write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")


def _refuse_unknown(kind: type[RunConfig], names: Iterable[str]) -> None:
    known = [field.name for field in fields(kind)]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise ModelError(f"The configuration has no field {name!r}.",
                             f"Did you mean {near[0]}?" if near else f"The fields are {', '.join(known)}.")
