"""Where the brain is: in whole heads a small network finds it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from .background import brain_only_mask, is_brain_only
from .errors import ModelError
from .masks import bounding_box, largest_piece
from .model_card import ModelCard
from .model_zoo import load_model
from .normalise import normalise
from .resample import canonical_grid, resample
from .runtime import Session, open_session
from .tiling import predict
from .volume import Grid, Volume

__all__ = ["BRAIN_MODEL", "BrainFinder", "brain_probability", "decide_brain", "find_brain", "find_in_head", "open_brain_finder"]

BRAIN_MODEL = "brain"
_SMOOTHING = 0.5  # voxels of the network's grid; its own outline wavers by about that


@dataclass(frozen=True, eq=False)
class BrainFinder:
    """An open network that finds the brain, and its card. `turn`: a pass takes every core, so there is one at a time."""

    card: ModelCard
    session: Session
    turn: threading.Lock = field(default_factory=threading.Lock)


def open_brain_finder(device: str = "auto", threads: int = 0, provider: str | None = None) -> BrainFinder:
    """The embedded network, opened as `open_session` does. Raises ModelError or ResourceError."""
    model = load_model(BRAIN_MODEL)
    if model.card.finds != "brain":
        raise ModelError(f"{model.card.name} finds the {model.card.finds}, not the brain.", "Install BrainTumorSeg again.")
    return BrainFinder(model.card, open_session(model.weights, device, threads, provider=provider, variants=model.card.variants))


def find_brain(image: Volume, finder: BrainFinder) -> Volume:
    """uint8 on the image's own grid: 1 in the brain with its ventricles and sulci, in one smooth piece without holes; all 0 where there is none.

    An image that shows a brain alone keeps what it shows; any other is a head (see `find_in_head`).
    """
    find = cache(lambda volume: find_in_head(volume, finder))
    if is_brain_only(image, find):
        return image.with_voxels(_one_piece(brain_only_mask(image)).astype(np.uint8))
    return find(image)


def find_in_head(image: Volume, finder: BrainFinder) -> Volume:
    """What the network alone says, as `find_brain` gives it; of a brain that was cut out, too.

    Any sequence and orientation; it reads at 2 mm, axes growing right, anterior, superior.
    """
    return image.with_voxels(decide_brain(brain_probability(image, finder), image.grid, finder.card).astype(np.uint8))


def brain_probability(image: Volume, finder: BrainFinder) -> Volume:
    """(I, J, K) float32, 0..1, on the canonical grid of the network's spacing over the image's field of view."""
    card = finder.card
    image = image.canonical()  # so that rounding does not depend on how the voxels are stored
    small = resample(image, canonical_grid(image.grid, card.spacing_mm))
    shape = small.shape
    channel = normalise(small.voxels, np.ones(shape, bool), card.normalisation)
    # Zeros on both sides, as in training: nothing is seen beyond the field of view.
    pads = [(-side % card.size_multiple // 2, -(-(-side % card.size_multiple) // 2)) for side in shape]
    with finder.turn:
        found, _ = predict(np.pad(channel, pads)[None], finder.session, card.size_multiple, card.bytes_per_voxel, regions=len(card.regions))
    return small.with_voxels(found[0][tuple(slice(low, low + side) for (low, _), side in zip(pads, shape, strict=True))])


def decide_brain(probability: Volume, grid: Grid, card: ModelCard) -> np.ndarray:
    """(I, J, K) bool on `grid`: the largest piece above the card's threshold, smooth and without holes."""
    from scipy import ndimage

    threshold = card.post_processing.thresholds["brain"]
    smooth = ndimage.gaussian_filter(probability.voxels, _SMOOTHING, mode="nearest")
    piece = _one_piece(smooth > threshold)
    # The piece's own slope is kept, so that its surface on a finer grid lies between voxels; holes are filled and other pieces go.
    near = ndimage.binary_dilation(piece, np.ones((3, 3, 3)))
    smooth = np.where(piece, np.maximum(smooth, threshold + 1e-3), np.where(near, np.minimum(smooth, threshold), 0))
    return _one_piece(resample(probability.with_voxels(smooth.astype(np.float32)), grid).voxels > threshold)


def _one_piece(mask: np.ndarray) -> np.ndarray:
    """The largest piece (by faces) of a mask (I, J, K), its holes filled; empty when the mask is."""
    from scipy import ndimage

    box = bounding_box(mask)
    out = np.zeros(mask.shape, bool)
    if box is None:
        return out
    out[box] = ndimage.binary_fill_holes(largest_piece(mask[box]))
    return out
