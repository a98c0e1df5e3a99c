"""The mean of several networks' weights, which often does better than each of them, above all on images unlike those they were trained on.

Wortsman et al. 2022, "Model soups", ICML: networks that were fine-tuned from one start lie in one valley, and its middle is flat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import torch

from braintumorseg.errors import MissingFile, ModelError, OutputError
from braintumorseg.io.replacing import put
from braintumorseg.model_card import read_card

from .checkpoints import CHECKPOINT, load_checkpoint, save_average, writing
from .config import Config, config_from
from .lineage import Learned, Lineage, joined
from .networks import build
from .run_split import keep_split, split_of_run
from .splits import Split
from .transfer import learned_from, match_weights, read_weights

__all__ = ["average"]

_MAY_LACK = "side_head."                                # deep supervision's, which an export lacks
_SAME = ("network", "norm", "channels", "spacing_mm")   # fields of the configuration


def average(parts: Sequence[Path], out: Path, say: Callable[[str], None] = print) -> dict[str, torch.Tensor]:
    """Write the equal mean of the weights of `parts` as a run in `out`, which `export` takes; returns it as a state dict.

    Args:
        parts: run folders (their averaged weights) or networks that `export` wrote (NAME.onnx, NAME.json beside it); the first is a run, whose
            configuration and validation cases the result has. A tensor that a part lacks is the mean of the others'.
        out: a folder that is not there yet.

    The split in `out` trains on every case that any part was trained on. Raises ModelError when the parts are of different networks or do not
    say what they were trained on, MissingFile, or OutputError when `out` is there.
    """
    if len(parts) < 2:
        raise ModelError("An average needs two networks or more.", "Give further run folders, or .onnx files that export wrote.")
    if out.exists():
        raise OutputError(f"{out.name} is there already.", "Choose another --out.")
    if parts[0].suffix == ".onnx":
        raise ModelError(f"{parts[0].name} is no run, and the first of an average gives the configuration.", "Give a folder that fit wrote first.")
    saved = load_checkpoint(parts[0] / CHECKPOINT)
    network = build(config_from(Config, saved["config"]))
    whole = network.state_dict()
    for part in parts[1:]:
        _refuse_another(part, saved["config"], parts[0].name)
    found = [_weights_of(part, network) for part in parts]
    mean = {name: torch.stack([weights[name] for weights in found if name in weights]).mean(0) for name in whole}
    splits = [_split_of(part) for part in parts]
    trained = tuple(dict.fromkeys(name for split in splits for name in split.train))
    whole = joined(learned_from(part if part.suffix == ".onnx" else part / CHECKPOINT) or Lineage(complete=False) for part in parts)
    inherited = replace(whole, cases=_without(whole.cases, trained))
    learned = {*trained, *whole.names}
    seen = [name for name in (*splits[0].validation, *splits[0].test) if name in learned]
    if seen:
        say(f"WARNING: {len(seen)} held-out cases of {parts[0].name} were trained on by another part, and are none of the average's: "
            f"{', '.join(seen[:3])}{' ...' if len(seen) > 3 else ''}")
    names = [_name_of(part) for part in parts]
    validation, test = (tuple(name for name in cases if name not in learned) for cases in (splits[0].validation, splits[0].test))
    split = Split(trained, validation, f"the mean of {', '.join(names)}", test, inherited)
    with _made(out) as partial:
        keep_split(partial, split)
        save_average(partial, saved, mean, names, whole)
    say(f"the mean of {len(parts)}: {', '.join(names)}; {len(trained)} training cases, {len(validation)} validation cases")
    return mean


@contextmanager
def _made(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out`, which becomes `out` when the block ends well and is gone when it does not: `out` is whole or not there."""
    partial = out.with_name(f".partial-{out.name}")
    try:
        with writing(out):
            partial.mkdir(parents=True, exist_ok=True)     # one may lie there of a process that was killed
        yield partial
        with writing(out):
            put(partial, out)
    finally:
        rmtree(partial, ignore_errors=True)


def _weights_of(part: Path, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    match = match_weights(network, read_weights(part if part.suffix == ".onnx" else part / CHECKPOINT))
    # By name, not by share: norms and biases are hardly 1 % of the numbers.
    different = [name for name in (*match.missing, *match.shape, *match.unused) if not name.startswith(_MAY_LACK)]
    if different:
        raise ModelError(f"{part.name} does not hold the first network's weights: {len(different)} tensors are in one of the two alone, or of "
                         f"another shape, {different[0]} first.",
                         "Average networks of one architecture and size, best trained from one start; of an .onnx give the run's folder.")
    return match.fits


def _refuse_another(part: Path, first: dict, name: str) -> None:
    """Raises ModelError when a part says of itself that it is of another kind than the `first` configuration, that of `name`."""
    exported = part.suffix == ".onnx"
    own = read_card(part.with_suffix(".json")).training.get("recipe", {}) if exported else load_checkpoint(part / CHECKPOINT)["config"]
    different = [f"{field} ({own[field]}, not {first[field]})" for field in _SAME if field in own and field in first and own[field] != first[field]]
    if different:
        raise ModelError(f"{part.name} is of another {', '.join(different)} than {name}.",
                         "Average networks of one architecture and size, best trained from one start.")


def _split_of(part: Path) -> Split:
    if part.suffix != ".onnx":
        split = split_of_run(part)
        if split is None:
            raise MissingFile(f"{part.name} has no split.json, for it is of an older version.", "Put the split that it was trained with there.")
        return split
    card = read_card(part.with_suffix(".json"))
    if "trained_on" not in card.training:
        raise ModelError(f"The card of {card.name} {card.version} does not say on which cases it was trained.", "Export it again.")
    inherited = Counter(card.training.get("inherited", ()))
    own = tuple(name for name, count in Counter(card.training["trained_on"]).items() if count > inherited[name])
    return Split(own, tuple(card.training.get("held_out", ())))


def _without(cases: Sequence[Learned], trained: Sequence[str]) -> tuple[Learned, ...]:
    """The cases that are of no part's training: of each name that is, one stands for it there, and others of the same name remain."""
    left, kept = set(trained), []
    for case in cases:
        if case.name in left:
            left.discard(case.name)
        else:
            kept.append(case)
    return tuple(kept)


def _name_of(part: Path) -> str:
    if part.suffix == ".onnx":
        card = read_card(part.with_suffix(".json"))
        return f"{card.name} {card.version} ({card.sha256[:12]})"
    return f"{part.resolve().name} ({load_checkpoint(part / CHECKPOINT)['step']} steps)"
