"""A network run as processors without AMX run it, on one that has it.

INT8 is for processors with VNNI and no AMX (with it bfloat16 is faster), and the two do not compute alike: where AMX is, OpenVINO 2026.4 runs
3-D convolutions of 8 bits with float32 kernels. A file that lost 3.4 points of Dice on five patients lost 0.2 there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from braintumorseg.errors import ResourceError
from braintumorseg.model_card import ModelCard, Variant
from braintumorseg.runtime import open_session
from braintumorseg.tiling import predict

__all__ = ["LIMIT", "WithoutAmx"]

LIMIT = ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")   # oneDNN's own switch; read once, when OpenVINO is loaded


class WithoutAmx:
    """A process of its own in which OpenVINO does without AMX. A context manager; nothing of it stays behind."""

    def __init__(self):
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_limit)

    def __enter__(self) -> WithoutAmx:
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown(cancel_futures=True)

    def predict(self, channels: np.ndarray, weights: Path, card: ModelCard, variants: Sequence[Variant]) -> tuple[np.ndarray, str]:
        """(probabilities (R, I, J, K) of channels (C, I, J, K), the precision that they were computed in).

        Raises what the session raises, and ResourceError when the process was ended from outside.
        """
        try:
            return self._pool.submit(_predict, channels, weights, card, tuple(variants)).result()
        except BrokenProcessPool:
            raise ResourceError("The process that runs the network without AMX has ended, perhaps for want of memory.",
                                "Close other programs.") from None


def _limit() -> None:
    os.environ.update([LIMIT])


def _predict(channels: np.ndarray, weights: Path, card: ModelCard, variants: tuple[Variant, ...]) -> tuple[np.ndarray, str]:
    session = open_session(weights, "cpu", provider="openvino", variants=variants)
    return predict(channels, session, card.size_multiple, card.bytes_per_voxel)[0], session.precision
