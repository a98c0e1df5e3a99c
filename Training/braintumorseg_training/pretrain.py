"""Pretraining without labels: the network fills in what was hidden of a brain, and so learns what brains look like.

A masked autoencoder (He 2022, arXiv:2111.06377) in three dimensions, which restores intensities through the whole encoder and decoder as Models
Genesis does (Zhou 2021, Med Image Anal 67:101840), and hides whole sequences as well as places (M3AE: Liu 2023, arXiv:2303.05302). The network is
the one that `fit` trains, but for its last layer; `fit --init` takes up all the rest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

from braintumorseg.errors import InputError, MissingFile
from braintumorseg.study import ROLES

from .brain_view import Brain
from .case_table import patient_of
from .config import PretrainConfig
from .cut import cut
from .data import PHANTOM, SYNTHETIC, Case, Split, load_cases
from .lineage import is_published, learned_here
from .networks import build
from .packing import PackedFacts, packed_names, read_facts, require_spacing
from .precision import precision_of
from .train import Task, fit_task

__all__ = ["HiddenPatches", "ReconstructionLoss", "choose_volumes", "hide", "pretrain"]

_HELD_OUT_SEED = 1_000_000  # patches of the volumes that are held out: the same ones at every look
_LOOKS = 8


def pretrain(config: PretrainConfig, folders: list[Path], split: Split, out: Path, *, device: str = "auto",
             say: Callable[[str], None] = print, workers: int | None = None) -> Path:
    """Train until `config.steps` and return the checkpoint's path. What is learned from, and what is left out, is said.

    Args:
        folders: packed cases, labelled or not; labels are not looked at.
        split: its validation and test cases are left out, whichever folder they are in.
        workers: as in `fit_task`.
        out: run folder, as in `fit_task`; its split.json says what is learned from and what is held out to watch.
    """
    learnt, held_out = choose_volumes(folders, split, config, say)
    called = _names_apart([(case.packed, case.name) for case in (*learnt, *held_out)])
    own = Split(*(tuple(called[case.packed, case.name] for case in cases) for cases in (learnt, held_out)), "for pretraining, labels not looked at")
    task = Task(build=lambda: build(config, outputs=len(ROLES)), stream=lambda first, count: HiddenPatches(learnt, config, first, count),
                loss=ReconstructionLoss(config.deep_supervision), watch=_watcher(held_out, config) if held_out else None,
                scores=("cubes", "sequences"), about=f"{len(learnt)} volumes without their labels", measure="share restored",
                split=own, learned=tuple(learned_here(case.packed, case.name) for case in learnt))
    return fit_task(config, task, out, device=device, say=say, workers=workers)


def choose_volumes(folders: list[Path], split: Split, config: PretrainConfig, say: Callable[[str], None]) -> tuple[list[Case], list[Case]]:
    """The packed cases to learn from and those to watch, which are a share of the former taken away by chance (config.seed).

    A name is another patient's in another folder, unless it is a published one or an image is the same. In neither are the split's validation and
    test cases nor, under another name or in another folder, other cases of the same patients or the same images; which folder the split means
    it does not say, so a name that it holds out is left out of all. Made-up cases are left out too, for their texture is not a scanner's.
    """
    empty = [folder.name for folder in folders if not packed_names(folder)]
    if empty:
        raise MissingFile(f"There is no packed case in {', '.join(empty)}.", "Run braintumorseg-train prepare or prepare-unlabelled first.")
    folders = {folder.resolve(): folder for folder in folders}.values()
    found = {(folder, name): read_facts(folder, name) for folder in folders for name in packed_names(folder)}
    real = {one: facts for one, facts in found.items() if facts.cohort not in (PHANTOM, SYNTHETIC)}
    unseen = {*split.validation, *split.test}
    barred = [facts for facts in real.values() if facts.name in unseen]
    elsewhere = unseen - {facts.name for facts in barred}    # of those the name tells whose they are
    patients = {facts.patient for facts in barred} | {patient_of(name) for name in elsewhere}
    images = {digest for facts in barred for digest in facts.digests if digest}
    kept_away = {one: facts for one, facts in real.items() if facts.patient in patients or images & set(facts.digests)}
    volumes = _once({one: facts for one, facts in real.items() if one not in kept_away})
    if not volumes:
        raise InputError(f"No volume is left to learn from: the {len(found)} packed there are validation cases or made up.",
                         "Give folders with others, packed by prepare or prepare-unlabelled.")
    for folder, name in volumes:
        require_spacing(folder, [name], config.spacing_mm)
    called = _names_apart([*kept_away, *volumes])
    say(f"the split's validation and test cases, not looked at: {', '.join(sorted(map(called.get, kept_away))) or 'none of them is there'}")
    held = round(config.held_out_share * len(volumes)) if len(volumes) > 1 else 0
    order = np.random.default_rng(config.seed).permutation(len(volumes))
    say(f"held out to watch: {', '.join(sorted(called[volumes[at]] for at in order[:held])) or 'none'}")
    return tuple([load_cases(volumes[at][0], [volumes[at][1]])[0] for at in sorted(part)] for part in (order[held:], order[:held]))


def _names_apart(cases: Sequence[tuple[Path, str]]) -> dict[tuple[Path, str], str]:
    """(folder, name) of packed cases -> what each is called: its name, with its folder where several of them have that name."""
    times, folders = Counter(name for _, name in cases), Counter(folder.name for folder in {folder for folder, _ in cases})
    titles = {folder: folder.name if folders[folder.name] == 1 else str(folder) for folder, _ in cases}
    return {(folder, name): name if times[name] == 1 else f"{titles[folder]}/{name}" for folder, name in cases}


def _once(volumes: Mapping[tuple[Path, str], PackedFacts]) -> list[tuple[Path, str]]:
    """The volumes by name; of a case that was packed into several folders the last: its name is a published one's, or an image is the same."""
    kept: dict[str, list[tuple[tuple[Path, str], PackedFacts]]] = defaultdict(list)
    for one, facts in volumes.items():
        kept[facts.name] = [(other, known) for other, known in kept[facts.name] if not _one_case(known, facts)] + [(one, facts)]
    return [one for _, namesakes in sorted(kept.items()) for one, _ in namesakes]


def _one_case(known: PackedFacts, facts: PackedFacts) -> bool:
    """Of two of one name; without digests, which older versions did not keep, nothing better is known than that."""
    images = [{digest for digest in one.digests if digest} for one in (known, facts)]
    return is_published(facts.name) or not all(images) or bool(images[0] & images[1])


class HiddenPatches(Dataset):
    """Patch number n of a run is a function of (seed, n) alone: what the network is shown (C, *patch), and its target as `hide` gives it."""

    def __init__(self, cases: list[Case], config: PretrainConfig, first: int, count: int):
        self.cases, self.config, self.first, self.count = cases, config, first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng((self.config.seed, self.first + index))
        case = self.cases[rng.integers(len(self.cases))]
        shape, patch = np.array(case.labels.shape), np.array(self.config.patch)
        half = np.minimum(patch / 2 - 12, shape / 2).clip(0)
        centre = np.clip(shape * rng.uniform(0.25, 0.75, 3), half, shape - half)
        image, _ = cut(Brain(case.channels, case.labels), centre, self.config, rng)
        return hide(image, self.config, rng)


def hide(image: torch.Tensor, config: PretrainConfig, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """What is shown of (C, I, J, K), zeros where hidden, and the target (2, C, I, J, K): the image, and 1 where it is to be restored.

    Cubes are hidden in all sequences at once, so that they must be told from their surroundings; in `sequence_share` of the patches also one
    sequence or more from end to end, to be told from the others. Only the brain is restored, and no sequence that the case never had.
    """
    hidden = torch.from_numpy(_cubes(image.shape[1:], config, rng))[None].expand_as(image).clone()
    there = [index for index, sequence in enumerate(image) if sequence.any()]
    if len(there) > 1 and rng.random() < config.sequence_share:
        hidden[rng.permutation(there)[: int(rng.integers(1, len(there)))]] = True
    wanted = hidden & (image != 0)
    return image * ~hidden, torch.stack([image, wanted.float()])


def _cubes(shape: tuple[int, ...], config: PretrainConfig, rng: np.random.Generator) -> np.ndarray:
    """(I, J, K) bool: hidden cubes of a lattice that begins anywhere."""
    drawn = rng.random([-(-n // config.cube) + 1 for n in shape]) < config.hidden_share
    for axis in range(3):
        drawn = drawn.repeat(config.cube, axis)
    return drawn[tuple(slice(low, low + n) for low, n in zip(rng.integers(0, config.cube, 3), shape, strict=True))]


class ReconstructionLoss(torch.nn.Module):
    """Mean absolute error, in z-scores, over the voxels to be restored; `side_weight` of the same at a quarter of the resolution.

    Takes the restored image (B, C, I, J, K), or a pair of it and a coarse one, and targets (B, 2, C, I, J, K) as `hide` gives them.
    """

    def __init__(self, side_weight: float):
        super().__init__()
        self.side_weight = side_weight

    def forward(self, output, target: torch.Tensor) -> torch.Tensor:
        restored, side = output if isinstance(output, tuple) else (output, None)
        image, wanted = target[:, 0], target[:, 1]
        loss = _error(restored, image, wanted)
        if side is not None and self.side_weight:
            share = F.avg_pool3d(wanted, 4)
            loss = loss + self.side_weight * _error(side, F.avg_pool3d(image * wanted, 4) / share.clamp_min(1e-6), share)
        return loss


def _error(restored: torch.Tensor, image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (weight * (restored.float() - image).abs()).sum() / weight.sum().clamp_min(1.0)


def _watcher(cases: list[Case], config: PretrainConfig):
    """How much of a hidden brain is restored: 1 is all, 0 no more than its mean intensity would (the z-scores' zero).

    cubes: with cubes hidden in all sequences; sequences: with one sequence hidden as well, counted in that sequence alone.
    """
    from dataclasses import replace

    plain = HiddenPatches(cases, replace(config, spatial=0.0, sequence_share=0.0, seed=config.seed + _HELD_OUT_SEED), 0, _LOOKS)

    @torch.inference_mode()
    def watch(network: torch.nn.Module, where: torch.device) -> dict[str, float]:
        errors = {"cubes": [0.0, 0.0], "sequences": [0.0, 0.0]}
        for number in range(len(plain)):
            shown, (image, wanted) = plain[number]
            gone = number % len(image)
            for name in errors:
                given, counted = shown, wanted
                if name == "sequences":
                    given, counted = image.clone(), torch.zeros_like(wanted)
                    given[gone], counted[gone] = 0, (image[gone] != 0).float()
                with precision_of(config, where):
                    restored = network(given[None].to(where)).float().cpu()[0]
                errors[name][0] += float((counted * (restored - image).abs()).sum())
                errors[name][1] += float((counted * image.abs()).sum())
        return {name: max(0.0, 1 - wrong / whole) if whole else 0.0 for name, (wrong, whole) in errors.items()}

    return watch
