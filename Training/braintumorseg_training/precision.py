"""In what a run computes: bfloat16 where its device multiplies in that, float32 elsewhere, whatever the configuration would like.

A processor without such instructions has them imitated by torch, which is no error and no warning, only 40 times slower: a step of a small
network took 60 s on two cores with AVX2, and 1.4 s in float32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from braintumorseg.hardware import cpu_features

from .config import RunConfig

__all__ = ["in_bfloat16", "precision_of"]

_ENOUGH = frozenset({"avx512_bf16", "amx_bf16"})   # of a processor's features, each


def _has_bfloat16(where: torch.device) -> bool:
    """Whether that device has instructions of its own for products of bfloat16."""
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return where.type != "cpu" or bool(_ENOUGH & cpu_features())


def in_bfloat16(config: RunConfig, where: torch.device) -> bool:
    """Whether a run with that configuration computes in bfloat16 there."""
    return config.bf16 and _has_bfloat16(where)


def precision_of(config: RunConfig, where: torch.device) -> AbstractContextManager:
    """The context in which the network is run."""
    return torch.autocast(where.type, torch.bfloat16) if in_bfloat16(config, where) else nullcontext()
