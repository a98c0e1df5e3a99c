"""Training in one sitting: patches, network, loss, loop. `fit` takes up a run where its last checkpoint left it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from braintumorseg.cores import granted_cores
from braintumorseg.errors import Cancelled, InputError, ModelError
from braintumorseg.labels import REGIONS, region_mask
from braintumorseg.metrics import dice

from .checkpoints import CHECKPOINT, load_checkpoint
from .config import Config, RunConfig
from .data import UNLABELLED, Case, Patches, Split, load_cases, load_made_up
from .distributed import Ranks, join, pick_device
from .failures import naming_failures
from .fold import whole_image
from .interrupt import end_with, ignore_stops, noticing_stops
from .lineage import learned_here
from .losses import RegionLoss
from .networks import build, encoder_of
from .packing import require_spacing
from .precision import in_bfloat16, precision_of
from .run import Run
from .schedule import learning_rate, set_rate
from .splits import refuse_shared_patients
from .task import Task

__all__ = ["CHECKPOINT", "Task", "fit", "fit_task", "load_checkpoint", "pick_device", "usual_workers"]

_MOST_WORKERS = 16   # one makes about 5 patches of 128 voxels a second, and holds four batches ready


def fit(config: Config, packed: Path, split: Split, out: Path, *, device: str = "auto", workers: int | None = None,
        say: Callable[[str], None] = print, start: Callable[[torch.nn.Module], None] | None = None) -> Path:
    """Train the tumour network until `config.steps` and return the checkpoint's path.

    Args:
        packed: folder of packed cases (`prepare`); phantoms and synthetic brains are used when they are there and the split names them nowhere.
        split: names to train on and to watch; those to watch are never trained on, nor are others of their patients.
        out: run folder, as in `fit_task`.
        workers, start: as in `fit_task`.
    """
    if not split.train:
        raise InputError("The split has no training cases.", "Name some under train.")
    made_up = load_made_up(packed, split)
    train_cases = load_cases(packed, split.train) + made_up
    watch_cases = load_cases(packed, split.validation) if split.validation else []
    refuse_shared_patients(packed, split)
    require_spacing(packed, [case.name for case in [*train_cases, *watch_cases]], config.spacing_mm)
    unlabelled = [case.name for case in [*train_cases, *watch_cases] if case.cohort == UNLABELLED]
    if unlabelled:
        raise InputError(f"{', '.join(unlabelled[:5])} was packed without labels.", "Take it out of the split; pretrain can learn from it.")
    task = Task(build=lambda: build(config), stream=lambda first, count: Patches(train_cases, config, first, count),
                loss=RegionLoss(config.deep_supervision),
                watch=(lambda network, where: watch(network, watch_cases, config, where)) if watch_cases else None,
                scores=tuple(REGIONS), about=f"{len(train_cases)} cases ({len(made_up)} made up)",
                split=replace(split, made_up=tuple(case.name for case in made_up)),
                learned=tuple(learned_here(packed, case.name) for case in train_cases))
    return fit_task(config, task, out, device=device, workers=workers, say=say, start=start)


@naming_failures()
def fit_task(config: RunConfig, task: Task, out: Path, *, device: str = "auto", workers: int | None = None,
             say: Callable[[str], None] = print, start: Callable[[torch.nn.Module], None] | None = None) -> Path:
    """Train until `config.steps` and return the checkpoint's path; a run that was stopped goes on from its last checkpoint.

    Killed at any moment and started again, a run gives the losses and weights that it would have given uninterrupted. In several processes
    (`distributed`) a step is that of one process with all their batches.

    Args:
        out: the run's folder: config.json, split.json, log.csv, curves.png and the files of `checkpoints`.
        workers: processes beside this one that make its patches; `usual_workers` without a number, and 0 for none: then this one makes them.
        start: changes the weights of the fresh network in place, on its device; called in the first process and at the beginning of a run
            only, not when a checkpoint is taken up.

    Raises Cancelled after Ctrl-C or SIGTERM, when the step is finished and saved; ResourceError when memory runs out.
    """
    ranks = join(device)
    if config.patience and not task.watch:
        raise ModelError("patience needs validation cases, and the split names none.", "Set patience to 0, or name some.")
    run = Run(config, task, out, ranks, say, start)
    weights = sum(p.numel() for p in run.network.parameters()) / 1e6
    processes = f", {ranks.size} processes" if ranks.size > 1 else ""
    bfloat16 = in_bfloat16(config, ranks.device)
    precision = "bfloat16" if bfloat16 else "float32 (it has no bfloat16)" if config.bf16 else "float32"
    run.say(f"{task.about}, {weights:.1f} M weights, on {ranks.device}{processes} in {precision}, step {run.progress.step} of {config.steps}")

    forward = _forward(run.network, task, ranks, bfloat16)
    if config.compile:
        run.network.to(memory_format=torch.channels_last_3d)  # faster only where the norms are compiled too
        forward = torch.compile(forward, dynamic=False)
    with noticing_stops() as stop, closing(run.log), closing(_batches(task, config, run.progress.step, ranks, workers)) as batches:
        if task.watch and run.is_due(config.validate_every) and run.progress.validated < run.progress.step:
            run.validate(stop)                                # it was stopped before
        while not run.is_over:
            _seed(config, run.progress.step, ranks)
            set_rate(run.optimiser, learning_rate(config, run.progress.step))
            run.network.train()
            run.optimiser.zero_grad(set_to_none=True)
            total = 0.0
            for image, labels in islice(batches, config.accumulate):
                image = image.to(ranks.device, None if bfloat16 else torch.float32)
                loss = forward(image, labels.to(ranks.device)) / config.accumulate
                loss.backward()
                total += loss.item()
            ranks.sum_gradients(run.network)
            if run.progress.step < config.freeze_encoder:
                for module in encoder_of(run.network):
                    module.zero_grad(set_to_none=True)        # without a gradient the optimiser leaves a weight alone
            norm = torch.nn.utils.clip_grad_norm_(run.network.parameters(), config.clip)
            if torch.isfinite(norm):                          # one overflowing patch must not end a night's run
                run.optimiser.step()
            run.progress.step += 1
            run.progress.recent.append(total)
            _average(run.average, run.network, min(config.ema, (1 + run.progress.step) / (10 + run.progress.step)))

            stopping, looking = ranks.any(stop.asked), task.watch and run.is_due(config.validate_every)
            if run.is_due(config.log_every):
                run.report()
            if stopping or looking or run.is_due(config.save_every):
                run.save()
            if stopping:
                raise Cancelled(f"Stopped; step {run.progress.step} of {config.steps} is saved.", "The same command goes on from there.")
            if looking:
                run.validate(stop)
    if not task.watch:                                        # or the last validation has drawn them
        run.draw()
    return out / CHECKPOINT


@torch.inference_mode()
def watch(network: torch.nn.Module, cases: list[Case], config: Config, where: torch.device) -> dict[str, float]:
    """Mean Dice per region over whole cases, all sequences, threshold 0.5 (both empty counts 1). For watching; the card's numbers come from ONNX."""
    scores = {region: [] for region in REGIONS}
    for case in cases:
        shape = case.labels.shape
        image = whole_image(case.channels, config.size_multiple)
        with precision_of(config, where):
            logits = network(image.to(where)).float().cpu().numpy()[0]
        for index, region in enumerate(REGIONS):
            found = logits[index][tuple(slice(n) for n in shape)] > 0
            scores[region].append(dice(region_mask(case.labels, region), found))
    return {region: float(np.mean(values)) for region, values in scores.items()}


def _batches(task: Task, config: RunConfig, step: int, ranks: Ranks, workers: int | None) -> Generator:
    """This process's batches from `step` on: of every `size` batches of the stream its own."""
    whole, left = config.batch * ranks.size, (config.steps - step) * config.accumulate
    stream = task.stream(step * config.accumulate * whole, left * whole)
    mine = [range(first, first + config.batch) for first in range(ranks.rank * config.batch, left * whole, whole)]
    own = torch.Generator().manual_seed(config.seed)          # or the loader, when it starts, draws from the network's
    workers = usual_workers(ranks.device) if workers is None else workers
    yield from DataLoader(stream, batch_sampler=mine, num_workers=workers, prefetch_factor=4 if workers else None, generator=own,
                          worker_init_fn=partial(_prepare_worker, os.getpid()))


def usual_workers(device: torch.device) -> int:
    """How many processes make patches for a network on `device`: of the cores that this process may use all but its own where a GPU computes,
    half where the network needs them, too. Several processes of a run on one machine share its cores."""
    cores = granted_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(_MOST_WORKERS, cores // 2 if device.type == "cpu" else cores - 1))


def _prepare_worker(trainer: int, _: int) -> None:
    ignore_stops()  # the loader ends its workers by a message
    end_with(trainer)
    torch.set_num_threads(1)


def _seed(config: RunConfig, step: int, ranks: Ranks) -> None:
    """What the network draws for itself (dropout) is a function of the step, like the patches: nothing of it need be saved."""
    torch.manual_seed(int(np.random.SeedSequence((config.seed, step, ranks.rank)).generate_state(1)[0]))


def _forward(network: torch.nn.Module, task: Task, ranks: Ranks, bfloat16: bool) -> Callable:
    """(image, targets) -> loss of the whole batch, that of all processes."""
    def forward(image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.autocast(ranks.device.type, torch.bfloat16, enabled=bfloat16):
            output = network(image)                           # (B, R, I, J, K) logits
        return task.loss(ranks.gather(output), ranks.gather(labels))

    return forward


@torch.no_grad()
def _average(average: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
