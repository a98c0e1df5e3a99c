"""Weights from elsewhere as the start of a run (transfer learning): read, matched by name and shape, and said what fitted and what did not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from braintumorseg.errors import BrainTumorSegError, MissingFile, ModelError
from braintumorseg.model_card import ModelCard, read_card
from braintumorseg.model_zoo import sha256_of

from .card_words import DATA_SETS
from .checkpoints import BEST, CHECKPOINT, PREVIOUS, has_checkpoint
from .config import RunConfig
from .data import PHANTOM, SYNTHETIC
from .lineage import Lineage, learned_here, lineage_from, names_alone, same_case
from .run_split import init_of, learned_by
from .splits import Split

__all__ = ["SMALLEST_SHARE", "Match", "begin_from", "inherit", "learned_from", "lineage_of_card", "match_weights", "read_weights", "take_weights"]

SMALLEST_SHARE = 0.25  # of the network's numbers; below it, the file is another network's and the start would be as good as fresh
# Where tools keep the weights in their checkpoints; ours first, whose averaged weights are the better ones.
_NESTED = ("average", "state_dict", "network_weights", "model_state_dict", "model", "network", "net", "weights")
_WRAPPER = re.compile(r"^(module|_orig_mod|network|model|net)\.")  # put before names by DDP, torch.compile and export
_SHOWN = 6


@dataclass(frozen=True)
class Match:
    """What a file and a network have in common, by name: `fits`, `missing` in the file, of another `shape`, `unused` by the network.

    share: of the network's numbers that the file gives, 0..1.
    """

    fits: dict[str, torch.Tensor]
    missing: tuple[str, ...]
    shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unused: tuple[str, ...]
    share: float

    def table(self) -> list[str]:
        """Lines for a person."""
        return [f"  loaded      {len(self.fits)} tensors, {100 * self.share:.1f} % of the network's weights",
                f"  not there   {_some(self.missing)}",
                f"  other shape {_some([f'{name} (file {_by(a)}, network {_by(b)})' for name, (a, b) in self.shape.items()])}",
                f"  not used    {_some(self.unused)}"]


def begin_from(config: RunConfig, weights: Path | None, out: Path, say: Callable[[str], None] = print,
               change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] = lambda found: found,
               ) -> tuple[RunConfig, Callable[[torch.nn.Module], None] | None]:
    """The configuration with `init` filled in, and what `fit_task` takes as `start`; (config with the init that the run has, None) without `weights`.

    Args:
        weights: a file as `read_weights` reads it.
        out: the run's folder; a run that is taken up keeps its `init`.
        change: what becomes of the weights before they are taken, at the beginning of a run only (`fold.folded_start`).
    """
    if weights is not None:
        found = read_weights(weights)
        named = replace(config, init=f"{weights.name} sha256 {sha256_of(weights)}")
        return named, lambda network: take_weights(network, change(found), weights.name, say)
    if has_checkpoint(out):
        return replace(config, init=init_of(out)), None
    if config.init:
        raise ModelError(f"The configuration says that the run starts from {config.init.split()[0]}, and no weights are given.",
                         "Give the file with --init, or take the field init out.")
    if config.norm == "none":
        raise ModelError("A network without norms does not learn from random weights.",
                         "Give a trained one with --init, whose norms are then folded into its convolutions; or set norm to instance.")
    if config.freeze_encoder:
        raise ModelError(f"The configuration freezes the encoder for {config.freeze_encoder} steps, and its weights would be random ones.",
                         "Give weights with --init, or set freeze_encoder to 0.")
    return config, None


def inherit(split: Split, weights: Path | None, packed: Path, say: Callable[[str], None] = print) -> Split:
    """The split with what `weights` (None: fresh ones) `inherited`: all that they had learned from besides its training cases, which are `packed`.

    What is not known of them is said, here and whenever a run begins from what comes of this one.
    """
    if weights is None:
        return replace(split, inherited=None)
    learned = learned_from(weights) or Lineage(complete=False)
    if not learned.complete:
        say(f"WARNING: what {weights.name} had learned from is not {'all ' if learned.cases else ''}known. If patients of the split's validation or "
            "test are among it, their scores are not those of unseen patients.")
    own = {name: learned_here(packed, name) for name in split.train}
    besides = tuple(case for case in learned.cases if case.name not in own or not same_case(case, own[case.name]))
    if real := [case for case in besides if case.cohort not in (PHANTOM, SYNTHETIC)]:
        say(f"{weights.name} had learned from {len(real)} case{'s' * (len(real) > 1)} that the split does not train on; the card will "
            "count them as trained on")
    return replace(split, inherited=replace(learned, cases=besides))


def learned_from(weights: Path) -> Lineage | None:
    """What these weights had learned from, and those before them: as the checkpoint, its run's split or the .onnx's card says.

    None where none of them does, as for other tools' files. Raises what `read_weights` does for a file that cannot be read.
    """
    _require_file(weights)
    if weights.suffix == ".onnx":
        try:
            return lineage_of_card(read_card(weights.with_suffix(".json")))
        except BrainTumorSegError:
            return None
    saved = _torch_file(weights)
    saved = saved if isinstance(saved, dict) else {}
    if "lineage" in saved:
        return _plain(saved["lineage"])
    # Older versions kept names alone, and forgot weights of unknown origin.
    config = saved.get("config")
    begun = bool(isinstance(config, dict) and config.get("init"))
    if saved.get("learned_from") is not None:
        return names_alone(saved["learned_from"], complete=not begun)
    found = learned_by(weights.parent) if weights.name in (CHECKPOINT, PREVIOUS, BEST) else None     # yet older ones kept no names there
    return found and replace(found, complete=found.complete and not begun)


def lineage_of_card(card: ModelCard) -> Lineage | None:
    """What a card says that its network learned from; None where it does not say it."""
    training = card.training
    if "lineage" in training:
        return _plain(training["lineage"])
    if "trained_on" not in training:
        return None
    found = names_alone(training["trained_on"], complete=not training.get("recipe", {}).get("init"))
    counted = Counter(DATA_SETS[case.cohort]["name"] for case in found.cases if case.cohort in DATA_SETS)
    return replace(found, rows=tuple(row for row in card.training_data if counted.get(row.get("name")) != row.get("cases")))


def _plain(given: object) -> Lineage | None:
    try:
        return lineage_from(given)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def take_weights(network: torch.nn.Module, found: dict[str, torch.Tensor], name: str, say: Callable[[str], None]) -> Match:
    """Copy what fits into the network, in place, and say so. Raises ModelError when less than SMALLEST_SHARE does; then nothing is changed."""
    match = match_weights(network, found)
    if match.share < SMALLEST_SHARE:
        raise ModelError(f"{name} gives {100 * match.share:.0f} % of the network's weights by name and shape (of {len(found)} tensors "
                         f"{len(match.fits)} fit, {len(match.shape)} have another shape); a start needs {100 * SMALLEST_SHARE:.0f} %.",
                         "Give weights of the same architecture, or set channels and architecture in the configuration as the file has them.")
    with torch.no_grad():
        state = network.state_dict()
        for key, tensor in match.fits.items():
            state[key].copy_(tensor)
    say(f"starts from {name}:")
    for line in match.table():
        say(line)
    return match


def match_weights(network: torch.nn.Module, found: dict[str, torch.Tensor]) -> Match:
    """Which tensors of a file fit a network's, by name (with or without wrappers' prefixes) and shape."""
    wanted = network.state_dict()
    named = {_unwrapped(key, wanted): tensor for key, tensor in found.items()}
    common = [key for key in wanted if key in named]
    fits = {key: named[key] for key in common if named[key].shape == wanted[key].shape}
    total = sum(tensor.numel() for tensor in wanted.values())
    return Match(fits, tuple(key for key in wanted if key not in named),
                 {key: (tuple(named[key].shape), tuple(wanted[key].shape)) for key in common if key not in fits},
                 tuple(key for key in named if key not in wanted), sum(tensor.numel() for tensor in fits.values()) / total)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by state-dict name, float32, of a file: a run's checkpoint (its averaged weights), a torch state dict, or an exported .onnx of ours.

    Raises MissingFile, or ModelError when it cannot be read, holds no weights, or holds NaN.
    """
    _require_file(path)
    found = _from_onnx(path) if path.suffix == ".onnx" else _from_torch(path)
    if not found:
        raise ModelError(f"{path.name} holds no weights by name.", "Give a checkpoint.pt, a torch state dict, or an .onnx that export wrote.")
    broken = [name for name, tensor in found.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ModelError(f"{path.name} holds numbers that are not finite, in {broken[0]}.", "Give weights of a run that did not diverge.")
    return found


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise MissingFile(f"There are no weights {path.name}.", "Give a checkpoint.pt that fit or pretrain wrote, a torch state dict, or an .onnx.")


def _from_torch(path: Path) -> dict[str, torch.Tensor]:
    saved = _torch_file(path)
    for key in _NESTED:
        if isinstance(saved, dict) and _tensors(saved.get(key)):
            return _tensors(saved[key])
    return _tensors(saved)


def _torch_file(path: Path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damaged pickle or zip raises
        raise ModelError(f"{path.name} cannot be read as torch weights ({type(error).__name__}); files that hold more than tensors and plain "
                         "values are not opened, for they can run code.",
                         "Save the state dict alone: torch.save(network.state_dict(), FILE).") from None


def _tensors(given) -> dict[str, torch.Tensor]:
    if not isinstance(given, dict):
        return {}
    return {str(key): value.float() for key, value in given.items() if isinstance(value, torch.Tensor) and value.is_floating_point()}


def _from_onnx(path: Path) -> dict[str, torch.Tensor]:
    """The initialisers under the names that torch gave them: halves widened, and equal tensors that the exporter stored once found again."""
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(path).graph
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    except Exception as error:  # protobuf's own errors
        raise ModelError(f"{path.name} cannot be read as ONNX ({type(error).__name__}).", "Give a file that export wrote.") from None
    stored = {name for name in values if name.endswith("_half")}
    # Export stores large weights as halves with a Cast behind; torch's exporter stores equal tensors once, with an Identity for the others.
    for node in sorted(graph.node, key=lambda node: node.op_type != "Cast"):
        if node.op_type in ("Cast", "Identity") and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in values.items()
            if name not in stored and np.issubdtype(value.dtype, np.floating)}


def _unwrapped(name: str, wanted) -> str:
    """The name without as many wrappers' prefixes as it takes to be one of `wanted`; as it is, when none helps."""
    bare = name
    while bare not in wanted and _WRAPPER.match(bare):
        bare = _WRAPPER.sub("", bare)
    return bare if bare in wanted else name


def _some(names) -> str:
    shown, more = list(names)[:_SHOWN], max(0, len(names) - _SHOWN)
    return (", ".join(shown) + (f" and {more} more" if more else "")) or "nothing"


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
