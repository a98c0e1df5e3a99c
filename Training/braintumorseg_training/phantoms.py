"""Made-up patients for training, from seeds that the demo and the tests never use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import braintumorseg
from braintumorseg.model_card import ModelCard

from .packing import PHANTOM, fingerprint, pack_case, read_facts

__all__ = ["FIRST_SEED", "pack_phantoms"]

FIRST_SEED = 10_000


def pack_phantoms(count: int, out: Path, card: ModelCard, say: Callable[[str], None], *, force: bool = False) -> None:
    """Make `count` phantoms in their registered, brain-only form and pack them as training cases named phantom_SEED.

    Those that this version packed there before are left as they are, unless `force`.
    """
    if count < 1:
        return
    from braintumorseg.phantom import make_registered

    for number in range(count):
        seed = FIRST_SEED + number
        name, source = f"{PHANTOM}_{seed}", fingerprint((), f"phantom {seed} of {braintumorseg.__version__}", card)
        there = not force and (out / f"{name}.npz").is_file() and read_facts(out, name).source == source
        if not there:
            study, truth = make_registered(seed)
            pack_case(name, PHANTOM, study, truth, card, out, source=source)
        say(f"{number + 1}/{count} phantom {seed} {'there already' if there else 'packed'}")
