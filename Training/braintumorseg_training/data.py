"""Cases packed once into arrays that train fast, and the endless stream of patches made from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from braintumorseg.errors import MissingFile
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.study import ROLES

from .augment import augment, drawn_sequences
from .brain_view import Brain, Graft
from .config import Config
from .cut import Note, cut, untold
from .packing import PHANTOM, SYNTHETIC, UNLABELLED, PackedFacts, open_channels, open_labels, pack_case, packed_names, read_facts, read_spots
from .splits import Split, read_split
from .transplant import fade, heal, mirror_of, transplant
from .uptake import MADE_OF, without_uptake

__all__ = ["PHANTOM", "SYNTHETIC", "UNLABELLED", "Case", "Patches", "Split", "load_cases", "load_made_up", "pack_case", "read_split"]

AFTER_HEALING = 0.7  # share of healed brains that get another patient's lesion
FAINTER = (0.25, 0.6)  # share of healthy tissue in a lesion that is made fainter


@dataclass(frozen=True, eq=False)
class Case:
    """A packed case; `spots`: label -> (N, 3) some of its voxels; `there`: the numbers of the sequences that it has.

    Its arrays are opened anew each time they are asked for, which takes 0.1 ms: a process may have no more than about a thousand files open, and
    data sets have more cases.
    """

    name: str
    cohort: str
    spots: dict[int, np.ndarray]
    there: tuple[int, ...]
    packed: Path

    @property
    def channels(self) -> np.ndarray:
        """(C, I, J, K) float16, normalised; on the disk, read where it is touched."""
        return open_channels(self.packed, self.name)

    @property
    def labels(self) -> np.ndarray:
        """(I, J, K) uint8, likewise."""
        return open_labels(self.packed, self.name)


def load_cases(packed: Path, names: Iterable[str] | None = None) -> list[Case]:
    """The packed cases of these names (all of them without names); arrays stay on disk and are read as needed.

    Raises MissingFile for a case that is not packed, InputError for one that is damaged.
    """
    names = packed_names(packed) if names is None else list(names)
    missing = [name for name in names if not (packed / f"{name}.npz").is_file()]
    if missing or not names:
        raise MissingFile(f"{packed.name} lacks the packed case{'s' * (len(missing) > 1)} {', '.join(missing[:5]) or '(there is none)'}.",
                          "Run braintumorseg-train prepare first.")
    return [Case(name, *read_spots(packed, name), packed) for name in names]


def load_made_up(packed: Path, split: Split | None = None) -> list[Case]:
    """The packed phantoms and synthetic brains, but for those that the split names; [] when there are none.

    Patients' cases may have names like theirs: what was packed with them tells, a cohort of ours and no folder that they came from.
    """
    named = {*split.train, *split.validation, *split.test} if split else set()
    names = [name for name in packed_names(packed) if name not in named and _is_made_up(read_facts(packed, name))]
    return load_cases(packed, names) if names else []


def _is_made_up(facts: PackedFacts) -> bool:
    return facts.cohort in (PHANTOM, SYNTHETIC) and not facts.origin


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
        """Image (C, *patch) and labels (*patch) uint8; the image in bfloat16 where the configuration has that: half as much to hand over."""
        image, target = self.look(index)
        return image.bfloat16() if self.config.bf16 else image, target

    def look(self, index: int, note: Note = untold) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (C, *patch) float32 and labels (*patch) uint8; `note` is told what was done on the way, for a preview."""
        rng = np.random.default_rng((self.config.seed, self.first + index))
        pool = self._pool(rng.random())
        case = pool[rng.integers(len(pool))]
        note(case.name)
        kept = drawn_sequences(case.there, self.config.all_sequences_share, rng)
        no_uptake = self.config.no_uptake > 0 and rng.random() < self.config.no_uptake
        no_uptake = no_uptake and set(MADE_OF) <= set(case.there)    # a donor's would be all that an empty one holds
        made = list(range(len(ROLES))) if no_uptake else kept        # no work for what is taken away
        brain = Brain(case.channels, case.labels, sequences=made)
        spots = self._with_other_lesions(brain, case, rng, note)
        image, target = cut(brain, _centre(spots, brain.shape, self.config, rng), self.config, rng, note)
        if no_uptake and (changed := without_uptake(image, target)) is not None:
            image, target = changed
            note("no contrast taken up")
        if made != kept:
            image = image[kept]
        image = augment(image, [ROLES[number] for number in kept], self.config, rng, note)
        for number in set(case.there).difference(kept):
            note("taken away", ROLES[number])
        return _all_of_them(image, kept), target

    def _with_other_lesions(self, brain: Brain, case: Case, rng: np.random.Generator, note: Note) -> dict[int, np.ndarray]:
        """The case's brain gets grafts that change its lesion or bring another; returns the spots to look at then."""
        spots = case.spots
        healed = self.config.heal > 0 and rng.random() < self.config.heal and self._graft(brain, heal(brain, self._mirror(case)))
        if healed:
            spots = {}
            note("own lesion healed")
        fainter = rng.uniform(*FAINTER) if self.config.faint > 0 and rng.random() < self.config.faint else 0.0
        if fainter and not healed and self._graft(brain, fade(brain, self._mirror(case), fainter)):
            note(f"{fainter:.0%} fainter")
        if len(self.real) > 1 and rng.random() < (AFTER_HEALING if healed else self.config.transplant):
            donor, graft = self.real[rng.integers(len(self.real))], None
            if set(case.there) <= set(donor.there):    # or the lesion would be a hole in what the donor lacks
                graft = transplant(brain, Brain(donor.channels, donor.labels, sequences=brain.sequences), self.config.transplant_scale, rng)
            if graft is not None and fainter:
                graft = replace(graft, weight=(1 - fainter) * graft.weight)
            if self._graft(brain, graft):
                spots = _spots(graft, rng)
                note(f"lesion of {donor.name}")
                if fainter:
                    note(f"{fainter:.0%} fainter")
        return spots

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


def _all_of_them(image: torch.Tensor, kept: list[int]) -> torch.Tensor:
    """The sequences that a patch keeps as all four, zeros for the others."""
    if len(kept) == len(ROLES):
        return image
    whole = image.new_zeros(len(ROLES), *image.shape[1:])
    whole[kept] = image
    return whole


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
