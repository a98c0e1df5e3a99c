"""The model card: everything the engine must know about a network, as JSON beside its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from .errors import ModelError
from .io.atomic import refusal
from .io.replacing import replacing
from .labels import REGIONS
from .study import ROLES

__all__ = ["ANY", "FINDS", "Label", "ModelCard", "Normalisation", "PostProcessing", "Variant", "read_card", "write_card"]

# What a network finds -> the regions that come out of it, in this order, each inside the one before.
FINDS = {"tumour": tuple(REGIONS), "brain": ("brain",)}
PRECISIONS = ("bfloat16", "int8")
ANY = "any"  # the only role of a network that reads one image of whatever sequence


@dataclass(frozen=True)
class Label:
    """One value of the result: its name, its DICOM code (value, scheme, meaning) and its colour."""

    value: int
    name: str
    code: tuple[str, str, str]
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class Normalisation:
    """Intensities of one sequence -> what the network reads.

    brain_zscore: clipped to two percentiles of the brain, then z-scored within it; 0 outside the brain. As in nnU-Net (Isensee 2021) with
        the clipping added, for bright vessels and artefacts differ between scanners.
    volume_percentiles: two percentiles of the whole volume become 0 and 1; for networks that read a head whose brain is not known yet.
    """

    kind: str = "brain_zscore"
    clip_percentiles: tuple[float, float] = (0.5, 99.5)


@dataclass(frozen=True)
class PostProcessing:
    """Numbers that turn probabilities into labels.

    thresholds: region -> probability from which a voxel belongs to it.
    smallest_lesion_ml: whole-tumour islands smaller than this are dropped.
    smallest_et_ml: when all enhancing tumour is less than this, it is taken for core (a few bright vessel voxels are not tumour).
    """

    thresholds: Mapping[str, float] = field(default_factory=lambda: {"WT": 0.5, "TC": 0.5, "ET": 0.5})
    smallest_lesion_ml: float = 0.0
    smallest_et_ml: float = 0.0


@dataclass(frozen=True)
class Variant:
    """Another way to run the same network, that was held against the float32 one and lost next to nothing.

    file, sha256: of its .onnx, beside the network's own; or the network's own, run in another precision.
    precision: 'bfloat16' or 'int8', what the convolutions are computed in.
    provider: which entry of the provider table it is for.
    needs: features of the processor (`hardware.FEATURES`), all of which must be there.
    parity: how it was checked: the change of the mean Dice of each region, in points, and on what.
    """

    file: str
    sha256: str
    precision: str
    provider: str
    needs: tuple[str, ...] = ()
    parity: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelCard:
    """See the fields. Raises ModelError when they contradict each other."""

    name: str
    version: str
    task: str                                # in words
    sha256: str                              # of the .onnx file
    roles: tuple[str, ...]                   # input channels in this order
    may_be_missing: tuple[str, ...]          # sequences the network was trained to do without (zeros in their channel)
    spacing_mm: tuple[float, float, float]   # working grid, axes growing right, anterior, superior
    size_multiple: int                       # every side of the input is a multiple of this
    bytes_per_voxel: float                   # memory of one forward pass at its peak, for each input voxel
    brain_only: bool                         # the network reads the brain alone, 0 outside
    regions: tuple[str, ...]                 # output channels in this order, probabilities 0..1, each region inside the one before
    labels: tuple[Label, ...]
    normalisation: Normalisation = field(default_factory=Normalisation)
    post_processing: PostProcessing = field(default_factory=PostProcessing)
    licence: str = ""
    intended_use: str = ""
    limits: tuple[str, ...] = ()
    training_data: tuple[Mapping[str, object], ...] = ()   # name, licence, cases, citation
    metrics: Mapping[str, object] = field(default_factory=dict)  # definition, split, N, values
    minimum_onnxruntime: str = "1.23"
    training: Mapping[str, object] = field(default_factory=dict)  # recipe, steps, how to repeat it
    finds: str = "tumour"                    # one of FINDS; a network that finds the brain prepares images for the others
    variants: tuple[Variant, ...] = ()       # best first; the engine takes the first that fits the provider and the processor

    def __post_init__(self):
        def refuse(why: str):
            raise ModelError(f"The card of {self.name or 'a network'} is not usable: {why}.", "Get the network again from its maker.")

        if not self.name or not self.version:
            refuse("name and version must be there")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            refuse("sha256 is not 64 hexadecimal digits")
        if self.finds not in FINDS:
            refuse(f"it finds {self.finds}, which is unknown to this version")
        if self.finds == "brain" and (self.roles != (ANY,) or self.may_be_missing or self.brain_only):
            refuse(f"a network that finds the brain reads a whole head of any sequence: roles ['{ANY}'], none missing, not brain_only")
        if self.finds == "tumour" and (not self.roles or set(self.roles) - set(ROLES) or len(set(self.roles)) != len(self.roles)):
            refuse(f"roles {list(self.roles)} are not distinct ones of {', '.join(ROLES)}")
        if set(self.may_be_missing) - set(self.roles):
            refuse("may_be_missing names a sequence that is not an input")
        if len(self.spacing_mm) != 3 or not all(0.2 <= s <= 10 for s in self.spacing_mm):
            refuse(f"spacing_mm {list(self.spacing_mm)} is not three lengths between 0.2 and 10")
        if self.size_multiple < 1 or self.bytes_per_voxel <= 0:
            refuse("size_multiple or bytes_per_voxel is not positive")
        if self.regions != FINDS[self.finds]:
            refuse(f"regions {list(self.regions)} are not {', '.join(FINDS[self.finds])}, in this order")
        values = [1] if self.finds == "brain" else [1, 2, 3]
        if sorted(label.value for label in self.labels) != values:
            refuse(f"labels do not name the values {values} once each")
        if self.normalisation.kind != ("volume_percentiles" if self.finds == "brain" else "brain_zscore"):
            refuse(f"normalisation {self.normalisation.kind} is not known for a network that finds the {self.finds}")
        low, high = self.normalisation.clip_percentiles
        if not 0 <= low < high <= 100:
            refuse("clip_percentiles are not two growing numbers from 0 to 100")
        if set(self.post_processing.thresholds) != set(self.regions) or not all(0 < t < 1 for t in self.post_processing.thresholds.values()):
            refuse("thresholds do not give one number between 0 and 1 for each region")
        for one in self.variants:
            if Path(one.file).name != one.file or not one.file.endswith(".onnx") or len(one.sha256) != 64:
                refuse(f"the variant {one.file} is not named by a file beside it and a SHA-256")
            if one.precision not in PRECISIONS:
                refuse(f"the variant {one.file} is of precision {one.precision}, which is unknown to this version")


def read_card(path: Path) -> ModelCard:
    """The card in a JSON file. Raises ModelError for JSON that is damaged, lacks a field or has one that is unknown."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"The model card {path.name} cannot be read ({error}).", "Get the network again from its maker.") from None
    try:
        given = {**given,
                 "labels": tuple(Label(**{**label, "code": tuple(label["code"]), "rgb": tuple(label["rgb"])}) for label in given["labels"]),
                 "normalisation": Normalisation(**{**given.get("normalisation", {}),
                                                   "clip_percentiles": tuple(given.get("normalisation", {}).get("clip_percentiles", (0.5, 99.5)))}),
                 "post_processing": PostProcessing(**given.get("post_processing", {})),
                 "variants": tuple(Variant(**{**one, "needs": tuple(one.get("needs", ()))}) for one in given.get("variants", ()))}
        for name in ("roles", "may_be_missing", "spacing_mm", "regions", "limits", "training_data"):
            if name in given:
                given[name] = tuple(given[name])
        return ModelCard(**given)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ModelError(f"The model card {path.name} does not fit this version ({error}).",
                         f"Its fields are {', '.join(f.name for f in fields(ModelCard))}.") from None


def write_card(card: ModelCard, path: Path) -> None:
    """Write NAME.json; a card that was there is replaced whole or not at all. Raises OutputError."""
    try:
        with replacing(path) as partial:
            partial.write_text(json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise refusal(error, path) from error
