"""A network's first pass, before it is added: what cannot be opened or answers wrongly is refused then, not at the end of a patient's run."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from .errors import ResourceError
from .hardware import this_machine
from .model_card import ModelCard
from .providers import candidates
from .runtime import Session
from .tiling import predict, smallest_side

__all__ = ["try_out"]


def try_out(weights: Path, card: ModelCard) -> None:
    """Open the network on the CPU and show it noise, the smallest piece of a brain there can be. Raises ModelError.

    Where there is no runtime or no room for that, it goes untried.
    """
    noise = np.random.default_rng(0).standard_normal((len(card.roles), *[smallest_side(card.size_multiple)] * 3), np.float32)
    with suppress(ResourceError):
        session = Session(weights, (), candidates("cpu", None), 0, this_machine())   # not kept open, as `open_session` would
        predict(noise, session, card.size_multiple, card.bytes_per_voxel, regions=len(card.regions))
