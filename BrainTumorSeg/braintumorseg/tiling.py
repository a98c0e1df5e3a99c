"""A forward pass over the whole brain where memory allows it, over overlapping tiles where it does not."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import numpy as np

from . import memory
from .errors import Cancelled, ModelError, OutOfMemory, ResourceError
from .runtime import Session

__all__ = ["largest_tile", "predict", "smallest_side", "tile_starts"]

_OVERLAP = 0.25          # share of a tile that its neighbour sees too
_SMALLEST_TILE = 64      # voxels a side; below that a network no longer knows where in the brain it is
_SHARE_OF_MEMORY = 0.7   # of what is free
_TOLERANCE = 0.01        # by which a quantised network may miss 0 and 1
_ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
_ANOTHER = "Get another version from its maker."


def predict(channels: np.ndarray, session: Session, multiple: int, bytes_per_voxel: float, *, regions: int | None = None,
            free_bytes: float | None = None, progress: Callable[[float], None] = lambda done: None,
            cancel: threading.Event | None = None) -> tuple[np.ndarray, int]:
    """Probabilities (R, I, J, K) float32 of channels (C, I, J, K), and the number of passes they took.

    Args:
        multiple: every side of an input is a multiple of it.
        bytes_per_voxel: what a pass needs at its peak for each input voxel (from the card).
        regions: R, as the card has it; None takes as many as there come.
        free_bytes: memory a pass may use; None asks the system.
        progress: is told the share that is done, after each pass.

    A pass that does not fit is tried again with tiles of half the length, and when even the smallest does not fit, on the session's next
    provider; ResourceError when there is none. ModelError when what comes back cannot be probabilities of these voxels.
    """
    shape = channels.shape[1:]
    tile = largest_tile(shape, multiple, bytes_per_voxel, memory.free_bytes() if free_bytes is None else free_bytes)
    while True:
        provider = session.provider
        try:
            return _by_tiles(channels, session, tile, regions, progress, cancel)
        except OutOfMemory as error:
            smallest = smallest_side(multiple)
            if max(tile) <= smallest:
                if not session.fall_back(provider, error.what):
                    raise
                return predict(channels, session, multiple, bytes_per_voxel, regions=regions, free_bytes=free_bytes, progress=progress,
                               cancel=cancel)
            tile = tuple(min(side, max(smallest, side // 2 // multiple * multiple)) for side in tile)


def largest_tile(shape: tuple[int, ...], multiple: int, bytes_per_voxel: float, free_bytes: float) -> tuple[int, ...]:
    """The tile (I, J, K) for `shape`: all of it when that fits into memory, else its longest sides are cut down until it does."""
    tile = list(shape)
    while np.prod(tile, dtype=float) * bytes_per_voxel > free_bytes * _SHARE_OF_MEMORY:
        longest = int(np.argmax(tile))
        if tile[longest] - multiple < smallest_side(multiple):
            need = np.prod(tile, dtype=float) * bytes_per_voxel / _SHARE_OF_MEMORY
            raise ResourceError(f"Even the smallest piece of this study needs {need / 1e9:.1f} GB of memory and {free_bytes / 1e9:.1f} GB are free.",
                                "Close other programs, or use a machine with more memory.")
        tile[longest] -= multiple
    return tuple(tile)


def smallest_side(multiple: int) -> int:
    """The side of the smallest tile, itself a multiple."""
    return -(-_SMALLEST_TILE // multiple) * multiple


def tile_starts(length: int, tile: int) -> list[int]:
    """First voxels of evenly spread tiles that cover `length`, neighbours overlapping by a quarter of a tile or more."""
    if tile >= length:
        return [0]
    count = int(np.ceil((length - tile) / (tile * (1 - _OVERLAP)))) + 1
    return [round(start) for start in np.linspace(0, length - tile, count)]


def _by_tiles(channels, session, tile, regions, progress, cancel) -> tuple[np.ndarray, int]:
    shape = channels.shape[1:]
    places = list(itertools.product(*(tile_starts(length, side) for length, side in zip(shape, tile, strict=True))))
    if len(places) == 1:
        _go_on(cancel)
        found = _pass(channels, session, regions, cancel)
        progress(1.0)
        return found, 1
    weight = _bump(tile)
    total = total_weight = None
    for number, place in enumerate(places, 1):
        _go_on(cancel)
        at = tuple(slice(start, start + side) for start, side in zip(place, tile, strict=True))
        found = _pass(np.ascontiguousarray(channels[(slice(None), *at)]), session, regions, cancel)
        if total is None:
            total, total_weight = np.zeros((len(found), *shape), np.float32), np.zeros(shape, np.float32)
        total[(slice(None), *at)] += found * weight
        total_weight[at] += weight
        progress(number / len(places))
    total /= total_weight
    return total, len(places)


def _pass(channels: np.ndarray, session: Session, regions: int | None, cancel: threading.Event | None) -> np.ndarray:
    """What a session answers, if it can be believed: NaN would be read as healthy brain, and voxels of another size as other places."""
    found = session.run(channels, cancel)
    if found.shape[1:] != channels.shape[1:] or regions not in (None, len(found)) or not found.size:
        raise ModelError(f"The network answers with {_sides(found.shape)} numbers, and {regions or 'its'} regions of {_sides(channels.shape[1:])} "
                         "voxels were expected.", _ANOTHER)
    low, high = float(found.min()), float(found.max())   # NaN if there is one; some 10 ms on 3 x 160 x 192 x 160
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ModelError(f"The network answers with what is no number (NaN or infinite), on {session.provider} in {session.precision}.",
                         _elsewhere(session))
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        raise ModelError(f"The network answers with numbers from {low:.3g} to {high:.3g}, which are no probabilities.",
                         "Have it exported with its last step (a sigmoid) in it.")
    return found


def _elsewhere(session: Session) -> str:
    if session.provider in _ON_GPU:
        return "Run it with --device cpu."
    return "Run it with --provider onnxruntime." if session.provider == "OpenVINO" and session.precision != "float32" else _ANOTHER


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _bump(tile: tuple[int, ...]) -> np.ndarray:
    """(I, J, K) float32 weights, 1 in the middle and small but positive at the rim, where a network sees least context."""
    sides = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 4)) ** 2).astype(np.float32) for n in tile]
    return np.maximum(sides[0][:, None, None] * sides[1][:, None] * sides[2], 1e-3)


def _go_on(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled("The run was cancelled.")
