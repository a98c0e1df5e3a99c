"""The model card: everything the engine must know about a network, as JSON beside its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Optional, TypedDict

from .declared import misfit, shaped, walk
from .errors import ModelError
from .io.atomic import refusal
from .io.dicom_codes import MEANT_BY_CODE
from .io.replacing import replacing
from .labels import REGIONS
from .study import ROLES

__all__ = ["ANY", "FINDS", "Label", "ModelCard", "Normalisation", "PostProcessing", "Variant", "read_card", "write_card"]

# What a network finds -> the regions that come out of it, in this order, each inside the one before.
FINDS = {"tumour": tuple(REGIONS), "brain": ("brain",)}
PRECISIONS = ("bfloat16", "int8")
ANY = "any"  # the only role of a network that reads one image of whatever sequence
_LARGEST_MULTIPLE = 256        # voxels; a head of 1 mm voxels is no longer
_MOST_BYTES_PER_VOXEL = 1e6
_LARGEST_ISLAND_ML = 100.0     # that may be dropped: beyond, it is no speck
_SHORT, _LONG = 16, 64         # letters of a code and of a name, as DICOM takes them
# What a terminal obeys, but for line ends and tabs, and halves of letters, which no file takes.
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_Score = Optional[float]       # noqa: UP045, evaluated, and Slicer 5.8's Python cannot do the other


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


class DataSet(TypedDict, total=False):
    """What a network learned from."""

    name: str
    licence: str
    citation: str
    cases: int


class Scores(TypedDict, total=False):
    """Of `n` cases; None where there was none to score."""

    n: int
    mean: _Score
    median: _Score
    worst: _Score


class Sureness(TypedDict, total=False):
    """What `thorough.sureness` was in validation: at least `low`."""

    low: _Score


class Metrics(TypedDict, total=False):
    """What reports and warnings read of a network's measured quality; a card may say more."""

    definition: str
    split: str
    dice: Mapping[str, Scores]                              # by region
    dice_by_sequences: Mapping[str, Mapping[str, float]]    # 't1ce + flair' -> region -> mean
    sureness: Mapping[str, Sureness]                        # by region


@dataclass(frozen=True)
class ModelCard:
    """See the fields. Raises ModelError when one is of another type or they contradict each other."""

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
    training_data: tuple[DataSet, ...] = ()
    metrics: Metrics = field(default_factory=dict)
    minimum_onnxruntime: str = "1.23"
    training: Mapping[str, object] = field(default_factory=dict)  # recipe, steps, how to repeat it
    finds: str = "tumour"                    # one of FINDS; a network that finds the brain prepares images for the others
    variants: tuple[Variant, ...] = ()       # best first; the engine takes the first that fits the provider and the processor

    def __post_init__(self):
        def refuse(why: str):
            whose = self.name if _is_name(self.name) else "a network"
            raise ModelError(f"The card of {whose} is not usable: {why}.", "Get the network again from its maker.")

        if wrong := misfit(self, ModelCard):
            refuse(wrong)
        for text, _, where in walk(self, ModelCard):
            if isinstance(text, str) and _UNWRITABLE.search(text):
                refuse(f"{where} holds characters that cannot be shown")
        if not self.name or not self.version:
            refuse("name and version must be there")
        if not _is_name(self.name) or not _is_name(self.version):
            refuse(f"name and version are not one line of at most {_LONG} letters")
        if not _is_sha256(self.sha256):
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
        if not 1 <= self.size_multiple <= _LARGEST_MULTIPLE:
            refuse(f"size_multiple {self.size_multiple} is not from 1 to {_LARGEST_MULTIPLE}")
        if not 1 <= self.bytes_per_voxel <= _MOST_BYTES_PER_VOXEL:
            refuse(f"bytes_per_voxel {self.bytes_per_voxel:g} is not from 1 to {_MOST_BYTES_PER_VOXEL:g}")
        if self.regions != FINDS[self.finds]:
            refuse(f"regions {list(self.regions)} are not {', '.join(FINDS[self.finds])}, in this order")
        values = [1] if self.finds == "brain" else [1, 2, 3]
        if sorted(label.value for label in self.labels) != values:
            refuse(f"labels do not name the values {values} once each")
        for label in self.labels:
            self._check_label(label, refuse)
        if self.normalisation.kind != ("volume_percentiles" if self.finds == "brain" else "brain_zscore"):
            refuse(f"normalisation {self.normalisation.kind} is not known for a network that finds the {self.finds}")
        low, high = self.normalisation.clip_percentiles
        if not 0 <= low < high <= 100:
            refuse("clip_percentiles are not two growing numbers from 0 to 100")
        if set(self.post_processing.thresholds) != set(self.regions) or not all(0 < t < 1 for t in self.post_processing.thresholds.values()):
            refuse("thresholds do not give one number between 0 and 1 for each region")
        for name in ("smallest_lesion_ml", "smallest_et_ml"):
            if not 0 <= getattr(self.post_processing, name) <= _LARGEST_ISLAND_ML:
                refuse(f"{name} is not from 0 to {_LARGEST_ISLAND_ML:g}")
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})*", self.minimum_onnxruntime):
            refuse("minimum_onnxruntime is not a version, such as 1.23")
        for one in self.variants:
            if Path(one.file).name != one.file or not one.file.endswith(".onnx") or not _is_sha256(one.sha256):
                refuse(f"the variant {one.file} is not named by a file beside it and a SHA-256")
            if one.file == f"{self.name}.onnx" and one.sha256 != self.sha256:
                refuse(f"the variant {one.file} is the network's own file, and has another SHA-256")
            if one.precision not in PRECISIONS:
                refuse(f"the variant {one.file} is of precision {one.precision}, which is unknown to this version")

    def _check_label(self, label: Label, refuse: Callable[[str], None]) -> None:
        if not all(0 <= shade <= 255 for shade in label.rgb):
            refuse(f"the colour of label {label.value} is not three numbers from 0 to 255")
        if not all(_is_name(part, most) for part, most in zip((label.name, *label.code), (_LONG, _SHORT, _SHORT, _LONG))):  # noqa: B905, as above
            refuse(f"the name and code of label {label.value} are not four short texts: name, and value, scheme and meaning of its code")
        if self.finds == "tumour" and MEANT_BY_CODE.get(label.code[:2]) != label.value:
            refuse(f"label {label.value} has the code {label.code[0]} ({label.code[1]}), and a code of what this version means by {label.value} is "
                   + " or ".join(f"{code} ({scheme})" for (code, scheme), value in MEANT_BY_CODE.items() if value == label.value))


def _is_name(text: object, most: int = _LONG) -> bool:
    return isinstance(text, str) and 0 < len(text.strip()) == len(text) <= most and text.isprintable()


def _is_sha256(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def read_card(path: Path) -> ModelCard:
    """The card in a JSON file. Raises ModelError for JSON that is damaged, lacks a field or has one that is unknown."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"The model card {path.name} cannot be read ({error}).", "Get the network again from its maker.") from None
    try:
        if not isinstance(given, dict):
            raise TypeError("it has no fields")
        return shaped(ModelCard, given)
    except (TypeError, RecursionError) as error:
        raise ModelError(f"The model card {path.name} does not fit this version ({error}).",
                         f"Its fields are {', '.join(f.name for f in fields(ModelCard))}.") from None


def write_card(card: ModelCard, path: Path) -> None:
    """Write NAME.json; a card that was there is replaced whole or not at all. Raises OutputError."""
    try:
        with replacing(path) as partial:
            partial.write_text(json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise refusal(error, path) from error
