"""Cases packed once into arrays that train fast, and the endless stream of patches made from them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from braintumorseg.errors import BrainTumorSegError, GridMismatch, InputError, MissingFile
from braintumorseg.io.readers import read_volume
from braintumorseg.labels import ED, ET, NCR, from_convention
from braintumorseg.model_card import ModelCard
from braintumorseg.preprocess import prepare
from braintumorseg.resample import resample
from braintumorseg.study import ROLES, Study
from braintumorseg.volume import Volume

from .augment import augment, cut
from .brain_view import Brain, Graft
from .config import Config
from .transplant import heal, mirror_of, transplant

__all__ = ["PHANTOM", "SYNTHETIC", "Case", "Patches", "Split", "load_cases", "load_made_up", "pack_case", "pack_folder", "read_conventions",
           "read_split"]

PHANTOM = "phantom"
SYNTHETIC = "synthetic"
AFTER_HEALING = 0.7  # share of healed brains that get another patient's lesion


@dataclass(frozen=True, eq=False)
class Case:
    """channels (C, I, J, K) float16, normalised; labels (I, J, K) uint8; `spots`: label -> (N, 3) some of its voxels."""

    name: str
    cohort: str
    channels: np.ndarray
    labels: np.ndarray
    spots: dict[int, np.ndarray]


@dataclass(frozen=True)
class Split:
    train: tuple[str, ...]
    validation: tuple[str, ...]
    reason: str = ""

    def __post_init__(self):
        both = sorted(set(self.train) & set(self.validation))
        if both:
            raise InputError(f"The split has {', '.join(both)} in training and in validation.", "Keep each patient on one side.")


def read_split(path: Path) -> Split:
    """A split file: JSON with `train`, `validation` and, better than not, the `reason` for the choice."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return Split(tuple(given["train"]), tuple(given["validation"]), given.get("reason", ""))
    except (OSError, ValueError) as error:
        raise InputError(f"The split {path.name} cannot be read ({error.__class__.__name__}).", "Check its path and that it is JSON.") from None
    except (KeyError, TypeError):
        raise InputError(f"The split {path.name} lacks a list of train or validation cases.",
                         'Write it as {"train": [...], "validation": [...]}.') from None


def read_conventions(table: Path) -> dict[str, str]:
    """case -> label convention from a CSV with the columns `case` and `labels` (whose first word counts)."""
    with table.open(newline="", encoding="utf-8") as file:
        return {row["case"]: row["labels"].split()[0] for row in csv.DictReader(file)}


def pack_folder(cases: Path, out: Path, card: ModelCard, conventions: dict[str, str], default: str | None,
                say: Callable[[str], None]) -> list[str]:
    """Pack every sub-folder of `cases` that holds t1, t1ce, t2, flair and seg; returns what was refused and why, a line each."""
    folders = sorted(path for path in cases.iterdir() if path.is_dir()) if cases.is_dir() else []
    if not folders:
        raise MissingFile(f"There are no case folders in {cases.name}.", "Give a folder with one folder a patient: t1, t1ce, t2, flair, seg.")
    refused = []
    for number, folder in enumerate(folders, 1):
        convention = conventions.get(folder.name, default)
        try:
            if convention is None:
                raise InputError(f"The label convention of {folder.name} is not declared.", "Give --labels or --table.")
            study, truth = read_case(folder, convention)
            pack_case(folder.name, cohort_of(folder.name), study, truth, card, out)
            say(f"{number}/{len(folders)} {folder.name} packed")
        except BrainTumorSegError as error:
            refused.append(f"{folder.name}: {error}")
            say(f"{number}/{len(folders)} {folder.name} refused: {error}")
    return refused


def read_case(folder: Path, convention: str) -> tuple[Study, Volume]:
    """The four sequences and the truth (labels 1 NCR, 2 ED, 3 ET) of one case folder."""
    study = Study({role: read_volume(folder / f"{role}.nii.gz") for role in ROLES})
    seg = read_volume(folder / "seg.nii.gz")
    if not seg.grid.same_as(study.reference.grid):
        raise GridMismatch(f"seg is {seg.grid.describe()} and the images are {study.reference.grid.describe()}.", "They must share one grid.")
    return study, seg.with_voxels(from_convention(seg.voxels, convention, "seg"))


def cohort_of(name: str) -> str:
    """BraTS2021 or TCIA, by the case's name, for tables across cohorts."""
    return "TCIA" if "TCIA" in name else "BraTS2021"


def pack_case(name: str, cohort: str, study: Study, truth: Volume, card: ModelCard, out: Path) -> None:
    """Write one case as the network's own preprocessing leaves it. Whole or not at all."""
    ready = prepare(study, card)
    labels = resample(truth, ready.grid, linear=False).voxels.astype(np.uint8)
    rng = np.random.default_rng(0)
    spots = {}
    for value in (NCR, ED, ET):
        found = np.argwhere(labels == value)
        spots[str(value)] = rng.permutation(found)[:2000].astype(np.int16)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / f"{name}.channels.npy", ready.channels.astype(np.float16))
    partial = out / f".{name}.partial.npz"
    np.savez_compressed(partial, labels=labels, cohort=cohort, **spots)
    partial.replace(out / f"{name}.npz")  # last: a case counts as packed when this file is there


def load_cases(packed: Path, names: Iterable[str] | None = None) -> list[Case]:
    """The packed cases of these names (all of them without names); images stay on disk and are read as needed."""
    names = sorted(path.stem for path in packed.glob("*.npz")) if names is None else list(names)
    missing = [name for name in names if not (packed / f"{name}.npz").is_file()]
    if missing or not names:
        raise MissingFile(f"{packed.name} lacks the packed case{'s' * (len(missing) > 1)} {', '.join(missing[:5]) or '(there is none)'}.",
                          "Run braintumorseg-train prepare first.")
    cases = []
    for name in names:
        with np.load(packed / f"{name}.npz") as file:
            spots = {value: file[str(value)] for value in (NCR, ED, ET)}
            cases.append(Case(name, str(file["cohort"]), np.load(packed / f"{name}.channels.npy", mmap_mode="r"), file["labels"], spots))
    return cases


def load_made_up(packed: Path) -> list[Case]:
    """The packed phantoms and synthetic brains; [] when there are none."""
    names = sorted(path.stem for kind in (PHANTOM, SYNTHETIC) for path in packed.glob(f"{kind}_*.npz"))
    return load_cases(packed, names) if names else []


class Patches(Dataset):
    """Patch number n of a run is a function of (seed, n) alone, so a run that is taken up again sees what it would have seen."""

    def __init__(self, cases: list[Case], config: Config, first: int, count: int):
        self.real = [case for case in cases if case.cohort not in (PHANTOM, SYNTHETIC)]
        self.phantoms = [case for case in cases if case.cohort == PHANTOM]
        self.synthetic = [case for case in cases if case.cohort == SYNTHETIC]
        self.config, self.first, self.count = config, first, count
        self.mirrors: dict[str, int] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng((self.config.seed, self.first + index))
        pool = self._pool(rng.random())
        case = pool[rng.integers(len(pool))]
        brain, spots = Brain(case.channels, case.labels), case.spots
        healed = self.config.heal > 0 and rng.random() < self.config.heal and self._graft(brain, heal(brain, self._mirror(case)))
        if healed:
            spots = {}
        if len(self.real) > 1 and rng.random() < (AFTER_HEALING if healed else self.config.transplant):
            donor = self.real[rng.integers(len(self.real))]
            graft = transplant(brain, Brain(donor.channels, donor.labels), self.config.transplant_scale, rng)
            if self._graft(brain, graft):
                spots = _spots(graft, rng)
        image, target = cut(brain, _centre(spots, brain.shape, self.config, rng), self.config, rng)
        return augment(image, self.config, rng), target

    def _pool(self, chance: float) -> list[Case]:
        for pool, share in ((self.phantoms, self.config.phantom_share), (self.synthetic, self.config.synthetic_share)):
            if pool and chance < share:
                return pool
            chance -= share if pool else 0
        return self.real or self.phantoms or self.synthetic

    def _graft(self, brain: Brain, graft: Graft | None) -> bool:
        if graft is not None:
            brain.grafts.append(graft)
        return graft is not None

    def _mirror(self, case: Case) -> int:
        if case.name not in self.mirrors:
            self.mirrors[case.name] = mirror_of(Brain(case.channels, case.labels))
        return self.mirrors[case.name]


def _spots(graft: Graft, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Some voxels of each label that a graft brings, in the brain it lies in."""
    found = np.argwhere(graft.labelled.numpy())
    found = found[rng.integers(len(found), size=min(200, len(found)))] if len(found) else found
    values = graft.labels.numpy()[tuple(found.T)]
    return {value: found[values == value] + graft.low for value in (NCR, ED, ET)}


def _centre(spots: dict[int, np.ndarray], shape, config: Config, rng: np.random.Generator) -> np.ndarray:
    """A voxel for the middle of a patch: on the tumour, each label as often as the others, or anywhere in the inner half."""
    shape = np.array(shape, float)
    there = [value for value, found in spots.items() if len(found)]
    if there and rng.random() < config.tumour_share:
        found = spots[there[rng.integers(len(there))]]
        centre = found[rng.integers(len(found))] + rng.uniform(-20, 20, 3)
    else:
        centre = shape * rng.uniform(0.25, 0.75, 3)
    # A patch that hangs far outside the brain teaches little.
    half = np.minimum(np.array(config.patch) / 2 - 12, shape / 2)
    return np.clip(centre, half, shape - half)
