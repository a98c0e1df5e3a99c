"""Made-up patients for training, from seeds that the demo and the tests never use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from braintumorseg.model_card import ModelCard

from .data import PHANTOM, pack_case

__all__ = ["FIRST_SEED", "pack_phantoms"]

FIRST_SEED = 10_000


def pack_phantoms(count: int, out: Path, card: ModelCard, say: Callable[[str], None]) -> None:
    """Make `count` phantoms in their registered, brain-only form and pack them as training cases named phantom_SEED."""
    if count < 1:
        return
    from braintumorseg.phantom import make_registered

    for number in range(count):
        seed = FIRST_SEED + number
        study, truth = make_registered(seed)
        pack_case(f"{PHANTOM}_{seed}", PHANTOM, study, truth, card, out)
        say(f"{number + 1}/{count} phantom {seed} packed")
