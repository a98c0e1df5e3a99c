"""Training in one sitting: patches, network, loss, loop. `fit` takes up a run where its last checkpoint left it."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from braintumorseg.errors import ModelError, OutputError
from braintumorseg.labels import REGIONS, region_mask
from braintumorseg.metrics import dice

from .config import Config, RunConfig, config_from, write_config
from .data import Case, Patches, Split, load_cases, load_made_up
from .losses import RegionLoss
from .networks import build

__all__ = ["Task", "fit", "fit_task", "load_checkpoint", "pick_device"]

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
# Which fields may differ between a checkpoint and the run that takes it up: they change how long, not what.
MAY_CHANGE = {"steps", "decay_share", "learning_rate", "ema", "tumour_share", "phantom_share", "synthetic_share", "transplant",
              "transplant_scale", "heal", "all_sequences_share", "lesion_share", "thick_share", "stripped_share", "defaced_share", "empty_share",
              "save_every", "validate_every", "compile"}


@dataclass(frozen=True, eq=False)
class Task:
    """What the loop learns from. The loop is the same for every task.

    build: the network with fresh weights.
    stream: (first, count) -> the run's inputs and targets from number `first` on, each a function of its number alone.
    loss: (output, targets) -> scalar tensor.
    watch: (averaged network, device) -> score by name, 0..1; None where nothing is held out.
    scores: the names that `watch` gives.
    about: what is learned from, in a few words.
    """

    build: Callable[[], torch.nn.Module]
    stream: Callable[[int, int], Dataset]
    loss: Callable
    watch: Callable[[torch.nn.Module, torch.device], dict[str, float]] | None
    scores: tuple[str, ...]
    about: str


def fit(config: Config, packed: Path, split: Split, out: Path, *, device: str = "auto", say: Callable[[str], None] = print) -> Path:
    """Train the tumour network until `config.steps` and return the checkpoint's path.

    Args:
        packed: folder of packed cases (`prepare`); cases of the cohort 'phantom' are used when they are there.
        split: names to train on and to watch; those to watch are never trained on.
        out: run folder, as in `fit_task`.
    """
    made_up = load_made_up(packed)
    train_cases = load_cases(packed, split.train) + made_up
    watch_cases = load_cases(packed, split.validation) if split.validation else []
    task = Task(build=lambda: build(config), stream=lambda first, count: Patches(train_cases, config, first, count),
                loss=RegionLoss(config.deep_supervision),
                watch=(lambda network, where: watch(network, watch_cases, config, where)) if watch_cases else None,
                scores=tuple(REGIONS), about=f"{len(train_cases)} cases ({len(made_up)} made up)")
    return fit_task(config, task, out, device=device, say=say)


def fit_task(config: RunConfig, task: Task, out: Path, *, device: str = "auto", say: Callable[[str], None] = print) -> Path:
    """Train until `config.steps` and return the checkpoint's path; a run that was stopped goes on from its last checkpoint.

    `out` is the run's folder: config.json, log.csv, checkpoint.pt (weights, averaged weights, optimiser, step).
    """
    where = pick_device(device)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    network = task.build().to(where)
    average = deepcopy(network).eval()                        # EMA weights: these are validated and exported
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.99))
    step = _resume(out, config, network, average, optimiser)
    write_config(config, out / "config.json")
    say(f"{task.about}, {sum(p.numel() for p in network.parameters()) / 1e6:.1f} M weights, on {where}, step {step} of {config.steps}")

    forward = _forward(network, task, config, where)

    began, began_at, recent = time.time(), step, []
    for image, labels in _batches(task, config, step):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        network.train()
        loss = forward(image.to(where), labels.to(where))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        if torch.isfinite(norm):                              # one overflowing patch must not end a night's run
            optimiser.step()
        step += 1
        _average(average, network, min(config.ema, (1 + step) / (10 + step)))
        recent.append(loss.item())
        if step % 25 == 0 or step == config.steps:
            pace = (time.time() - began) / (step - began_at)
            say(f"step {step}/{config.steps}  loss {np.mean(recent):.4f}  {pace:.2f} s/step  {_clock(pace * (config.steps - step))} left")
            _log(out, task, {"step": step, "loss": round(float(np.mean(recent)), 5), "rate": f"{learning_rate(config, step):.2e}"})
            recent = []
        if step % config.save_every == 0 or step == config.steps:
            _save(out, config, network, average, optimiser, step)
        if task.watch and (step % config.validate_every == 0 or step == config.steps):
            found = task.watch(average, where)
            say("validation Dice  " + "  ".join(f"{name} {value:.3f}" for name, value in found.items()))
            _log(out, task, {"step": step, **{f"dice_{name}": round(value, 4) for name, value in found.items()}})
    return out / CHECKPOINT


def learning_rate(config: RunConfig, step: int) -> float:
    """Linear growth, constant, linear fall to 0: a run can be lengthened up to its fall."""
    decay = max(1, int(config.steps * config.decay_share))
    return config.learning_rate * min(1.0, (step + 1) / max(1, config.warm_up), max(0.0, (config.steps - step) / decay))


@torch.inference_mode()
def watch(network: torch.nn.Module, cases: list[Case], config: Config, where: torch.device) -> dict[str, float]:
    """Mean Dice per region over whole cases, all sequences, threshold 0.5 (both empty counts 1). For watching; the card's numbers come from ONNX."""
    scores = {region: [] for region in REGIONS}
    for case in cases:
        shape = case.labels.shape
        pad = [n for side in reversed(shape) for n in (0, -side % config.size_multiple)]
        image = torch.nn.functional.pad(torch.from_numpy(np.array(case.channels)).float(), pad)[None]
        with _precision(config, where):
            logits = network(image.to(where)).float().cpu().numpy()[0]
        for index, region in enumerate(REGIONS):
            found = logits[index][tuple(slice(n) for n in shape)] > 0
            scores[region].append(dice(region_mask(case.labels, region), found))
    return {region: float(np.mean(values)) for region, values in scores.items()}


def pick_device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("--device cuda was asked for and torch sees no CUDA GPU.", "Use --device cpu, or install a CUDA build of torch.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def load_checkpoint(path: Path) -> dict:
    """The dictionary in a checkpoint. Raises ModelError when it is missing or damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"There is no {path.name} in {path.parent.name}.", "Give the folder that fit wrote.") from None
    except Exception as error:  # torch raises whatever the damaged pickle or zip raises
        raise ModelError(f"The checkpoint {path.name} is damaged ({type(error).__name__}).", "Remove it to start again, or restore a copy.") from None


def _batches(task: Task, config: RunConfig, step: int) -> Iterator:
    stream = task.stream(step * config.batch, (config.steps - step) * config.batch)
    return iter(DataLoader(stream, batch_size=config.batch, num_workers=_workers(), prefetch_factor=4, persistent_workers=True,
                           worker_init_fn=_one_thread))


def _workers() -> int:
    return max(1, (os.cpu_count() or 2) // 2)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _forward(network: torch.nn.Module, task: Task, config: RunConfig, where: torch.device) -> Callable:
    """(image, targets) -> loss."""
    def forward(image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with _precision(config, where):
            output = network(image)                           # (B, R, I, J, K) logits
        return task.loss(output, labels)

    if not config.compile:
        return forward
    network.to(memory_format=torch.channels_last_3d)          # faster only where the norms are compiled too
    return torch.compile(forward, dynamic=False)


def _precision(config: RunConfig, where: torch.device):
    return torch.autocast(where.type, torch.bfloat16) if config.bf16 else nullcontext()


@torch.no_grad()
def _average(average: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)


def _resume(out: Path, config: RunConfig, network, average, optimiser) -> int:
    if not (out / CHECKPOINT).is_file():
        return 0
    saved = load_checkpoint(out / CHECKPOINT)
    try:
        was = config_from(type(config), saved["config"])
    except TypeError:
        raise ModelError(f"The run in {out.name} is another network's.", "Give another --out.") from None
    kept = {name: getattr(was, name) for name in MAY_CHANGE if hasattr(was, name)}
    if replace(config, **kept) != was:
        different = [key for key, value in asdict(config).items() if key not in MAY_CHANGE and value != getattr(was, key)]
        raise ModelError(f"The run in {out.name} was made with another {', '.join(different)}.", "Give another --out, or the same configuration.")
    network.load_state_dict(saved["network"])
    average.load_state_dict(saved["average"])
    optimiser.load_state_dict(saved["optimiser"])
    return int(saved["step"])


def _save(out: Path, config: RunConfig, network, average, optimiser, step: int) -> None:
    partial = out / f".{CHECKPOINT}.partial"
    config_fields = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}
    try:
        torch.save({"config": config_fields, "step": step, "network": network.state_dict(), "average": average.state_dict(),
                    "optimiser": optimiser.state_dict()}, partial)
        partial.replace(out / CHECKPOINT)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"The checkpoint could not be written ({error}); the one before is untouched.",
                          "Make room on the disk and run the same command again: it goes on from there.") from None


def _log(out: Path, task: Task, row: dict) -> None:
    names = ["step", "loss", "rate", *(f"dice_{name}" for name in task.scores)]
    fresh = not (out / LOG).exists()
    with (out / LOG).open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _clock(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
