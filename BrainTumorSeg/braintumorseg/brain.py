"""Where the brain is: images that show the brain alone are recognised, and in whole heads a small network finds it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from .errors import ModelError
from .metrics import bounding_box
from .model_card import ModelCard
from .model_zoo import load_model
from .normalise import normalise
from .resample import canonical_grid, resample
from .runtime import Session, open_session
from .tiling import predict
from .volume import Grid, Volume

__all__ = ["BRAIN_MODEL", "BrainFinder", "brain_only_mask", "brain_probability", "decide_brain", "find_brain", "is_brain_only",
           "open_brain_finder"]

BRAIN_MODEL = "brain"
# A brain with its CSF measures 0.9 to 1.9 l; a head down to the chin 3 l and more.
LARGEST_BRAIN_ML = 2400.0
# Around a brain that was cut out there is empty space; a scan fills its field of view with noise.
LEAST_EMPTY = 0.05
# Resampling leaves faint ripples around a brain that was cut out: less than this share of the bright voxels is nothing.
FAINTEST = 0.005
ALIKE = 0.6  # share of the corners' voxels
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

    An image that shows a brain alone keeps what it shows. Any sequence and orientation; the network reads at 2 mm, axes growing right,
    anterior, superior.
    """
    if is_brain_only(image):
        return image.with_voxels(_one_piece(brain_only_mask(image)).astype(np.uint8))
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
        found, _ = predict(np.pad(channel, pads)[None], finder.session, card.size_multiple, card.bytes_per_voxel)
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
    pieces, count = ndimage.label(mask[box])
    largest = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1 if count > 1 else mask[box]
    out[box] = ndimage.binary_fill_holes(largest)
    return out


def brain_only_mask(image: Volume) -> np.ndarray:
    """(I, J, K) bool: the voxels that clearly differ from the background, which is what most voxels in the corners share.

    Where they share nothing, as in the noise around a head, all voxels count.
    """
    ends = [np.unique([*range(min(3, n)), *range(max(0, n - 3), n)]) for n in image.shape]
    corners = image.voxels[np.ix_(*ends)].astype(np.float32)
    background = float(np.median(corners))
    faintest = FAINTEST * _bright(image.voxels[::2, ::2, ::2].astype(np.float32) - np.float32(background))
    if np.mean(np.abs(corners - background) <= faintest) < ALIKE:
        return np.ones(image.shape, bool)
    return (image.voxels > background + faintest) | (image.voxels < background - faintest)


def _bright(differences: np.ndarray) -> float:
    """What the brightest hundredth of the voxels that differ at all reaches; 0.0 when none does."""
    differences = np.abs(differences[differences != 0])
    return float(np.percentile(differences, 99)) if differences.size else 0.0


def is_brain_only(image: Volume) -> bool:
    """True when the image shows a brain that was cut out: empty space around it, and no more than a brain can measure."""
    mask = brain_only_mask(image)
    return bool(mask.mean() <= 1 - LEAST_EMPTY) and float(mask.sum()) * image.voxel_ml <= LARGEST_BRAIN_ML
