"""What a run leaves on the disk to go on from, and its best weights. Each file is whole or not there, and the one before is kept.

    checkpoint.pt            weights, averaged weights, optimiser, where the run stands
    checkpoint.previous.pt   the same, of the step that was saved before
    best.pt                  the averaged weights of the best validation, nothing else: what a full disk or a damaged checkpoint cannot take
"""

from __future__ import annotations

import errno
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from braintumorseg.errors import ModelError, OutputError
from braintumorseg.io.replacing import put, replacing

from .config import RunConfig, config_from, plain_fields
from .lineage import Lineage, plain_lineage

__all__ = ["BEST", "CHECKPOINT", "MAY_CHANGE", "PREVIOUS", "Progress", "find_checkpoint", "has_checkpoint", "load_checkpoint", "load_weights",
           "refuse_another", "save_average", "save_best", "save_checkpoint", "writing"]

CHECKPOINT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
BEST = "best.pt"
# Which fields may differ between a checkpoint and the run that takes it up: they change how long or how fast, not what.
MAY_CHANGE = {"steps", "schedule", "decay_share", "learning_rate", "ema", "patience", "tumour_share", "phantom_share", "transplant",
              "synthetic_share", "transplant_scale", "heal", "faint", "no_uptake", "low_resolution", "elastic",
              "all_sequences_share", "lesion_share", "thick_share", "stripped_share", "defaced_share", "empty_share",
              "log_every", "save_every", "validate_every", "compile"}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass
class Progress:
    """Where a run stands, apart from its tensors.

    step: how many are done.
    validated: the step of the last validation.
    best: the best mean validation Dice so far; -1 before the first.
    stale: validations since then.
    recent: losses since the last row of the log.
    """

    step: int = 0
    validated: int = 0
    best: float = -1.0
    stale: int = 0
    recent: list[float] = field(default_factory=list)

    def note(self, score: float) -> bool:
        """Take in a validation's mean Dice; True when it is the best so far."""
        self.validated = self.step
        better = score > self.best
        self.best, self.stale = (score, 0) if better else (self.best, self.stale + 1)
        return better


def save_checkpoint(out: Path, config: RunConfig, processes: int, progress: Progress, network: nn.Module, average: nn.Module,
                    optimiser: torch.optim.Optimizer, *, again: bool = False, learned_from: Lineage | None = None) -> None:
    """Write out/checkpoint.pt; the one there becomes checkpoint.previous.pt. Raises OutputError, and both are as they were.

    again: the one there is of this same step (before its validation): it is replaced, so that the previous one stays that of an earlier step.
    learned_from: for whoever begins from these weights; None where nobody knows.
    """
    _save(out / CHECKPOINT, {"config": plain_fields(config), "processes": processes, "step": progress.step, "progress": asdict(progress),
                             "network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(),
                             **_known(learned_from)},
          keep=None if again else out / PREVIOUS)


def save_best(out: Path, config: RunConfig, step: int, scores: dict[str, float], average: nn.Module, *,
              learned_from: Lineage | None = None) -> None:
    """Write out/best.pt: `config`, `step`, `scores` of that validation by name, `average` (a state_dict), `learned_from` as above.

    Raises OutputError; the old one stays.
    """
    _save(out / BEST, {"config": plain_fields(config), "step": step, "scores": scores, "average": average.state_dict(), **_known(learned_from)})


def save_average(out: Path, saved: dict, mean: dict[str, torch.Tensor], parts: Sequence[str], learned_from: Lineage | None = None) -> None:
    """Write out/checkpoint.pt: the mean of several networks' weights (a state dict), made of these `parts`, with the configuration and step of the
    checkpoint `saved`. It can be exported, and nothing can go on from it. Raises OutputError."""
    kept = {key: saved[key] for key in ("config", "step", "processes") if key in saved}
    _save(out / CHECKPOINT, {**kept, "average_of": list(parts), "average": mean, **_known(learned_from)})


def has_checkpoint(out: Path) -> bool:
    return (out / CHECKPOINT).exists() or (out / PREVIOUS).exists()


def find_checkpoint(out: Path, say: Callable[[str], None]) -> dict:
    """The dictionary in the newest whole checkpoint of a run. A damaged one is said, and the previous one takes its place.

    Raises ModelError when none is whole.
    """
    for left in out.glob(".partial-*"):  # of a run that was killed while it wrote
        with suppress(OSError):
            left.unlink(missing_ok=True)
    try:
        return load_checkpoint(out / CHECKPOINT)
    except ModelError as error:
        if not (out / PREVIOUS).exists():
            raise
        saved = load_checkpoint(out / PREVIOUS)
        what = error.what if (out / CHECKPOINT).exists() else f"A saving in {out.name} was cut off."
        say(f"{what} The run goes on from the checkpoint before it, step {saved['step']}.")
        with writing(out / CHECKPOINT):
            put(out / PREVIOUS, out / CHECKPOINT)  # or the next saving would keep the damaged one as the previous
        return saved


def load_checkpoint(path: Path) -> dict:
    """The dictionary in checkpoint.pt or best.pt. Raises ModelError when it is missing or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not look at the checksums
        if damaged:
            raise zipfile.BadZipFile(damaged)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"There is no {path.name} in {path.parent.name}.", "Give the folder that fit wrote.") from None
    except Exception as error:  # torch raises whatever the damaged pickle or zip raises
        raise ModelError(f"The checkpoint {path.name} is damaged ({type(error).__name__}).", "Remove it to start again, or restore a copy.") from None


def refuse_another(out: Path, saved: dict, config: RunConfig, processes: int) -> None:
    """Raises ModelError, naming the fields, unless a checkpoint is of a run with this configuration (MAY_CHANGE apart).

    Two processes with a batch of one take the same steps as one process with a batch of two, so either takes up the other's run.
    """
    if "average_of" in saved:
        raise ModelError(f"{out.name} holds an average of weights, from which no run can go on.",
                         f"Give another --out, and --init {out.name}/{CHECKPOINT}.")
    try:
        was = config_from(type(config), saved["config"])
    except ModelError as error:
        raise ModelError(f"The run in {out.name} is another network's, or a newer version's: {error.what}", "Give another --out.") from None
    was_whole, now_whole = was.batch * saved.get("processes", 1), config.batch * processes
    if was_whole != now_whole:
        raise ModelError(f"The run in {out.name} was made with {was_whole} patches at once and this would be {now_whole} (batch times processes).",
                         "Choose batch, or the number of processes, to the same product; or give another --out.")
    was = replace(was, batch=config.batch, **{name: getattr(config, name) for name in MAY_CHANGE if hasattr(config, name)})
    different = [f"{name} ({value}, now {asdict(config)[name]})" for name, value in asdict(was).items() if value != asdict(config)[name]]
    if different:
        raise ModelError(f"The run in {out.name} was made with another {', '.join(different)}.", "Give another --out, or the same configuration.")


def load_weights(network: nn.Module, weights: dict, source: str) -> None:
    """`load_state_dict`, with a ModelError of one line when names or shapes are another architecture's. `source`: where they come from."""
    wanted, there = ({name: tuple(value.shape) for name, value in state.items()} for state in (network.state_dict(), weights))
    different = [name for name in {**wanted, **there} if wanted.get(name) != there.get(name)]
    if different:
        first = different[0]
        raise ModelError(f"The weights in {source} are of another architecture: {len(different)} of {len(wanted)} do not fit, {first} first "
                         f"({there.get(first, 'missing')} instead of {wanted.get(first, 'nothing')}).",
                         "Give the run that this configuration made, or another --out.")
    network.load_state_dict(weights)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around the writing of one file of a run: what the disk refuses becomes an OutputError."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch's writer answers a failing file with a RuntimeError of its own
        refusal = next((one for one in (error, error.__context__) if isinstance(one, OSError)), None)
        if refusal is None:
            raise
        fix = ("Make room on the disk" if refusal.errno in _FULL else "Put that right") + " and run the same command again"
        untouched, from_there = ("; the checkpoint before is untouched", ": it goes on from there") if has_checkpoint(path.parent) else ("", "")
        raise OutputError(f"{path.name} could not be written ({refusal.strerror or refusal}){untouched}.", f"{fix}{from_there}.") from None


def _known(learned_from: Lineage | None) -> dict:
    return {} if learned_from is None else {"learned_from": list(learned_from.names), "lineage": plain_lineage(learned_from)}


def _save(path: Path, content: dict, keep: Path | None = None) -> None:
    """Replace `path` by `content`; what is there is renamed to `keep` before."""
    with writing(path):
        with replacing(path, keep) as partial, partial.open("wb") as file:     # torch given a path says nothing of a full disk
            torch.save(content, file)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring the renames to the disk, where the system has a way to (Windows has none)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
