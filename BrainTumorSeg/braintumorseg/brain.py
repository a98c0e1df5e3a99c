"""Where the brain is: images that show the brain alone are recognised, and in whole heads a small network finds it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from weakref import WeakKeyDictionary

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

__all__ = ["BRAIN_MODEL", "Background", "BrainFinder", "background_of", "brain_only_mask", "brain_probability", "decide_brain", "find_brain",
           "find_in_head", "is_brain_only", "open_brain_finder", "sections"]

BRAIN_MODEL = "brain"
# A brain with its CSF measures 0.9 to 1.9 l; a head down to the chin 3 l and more.
LARGEST_BRAIN_ML = 2400.0
# Past these it may be a head that is not all in view: 25 brains that were cut out measure at most 1731 ml and 166, 153 and 198 cm² in their
# largest section across these axes; heads 210 cm² and more in the last, from 7 cm below the vertex on.
ORDINARY_BRAIN_ML = 1800.0
ORDINARY_SECTION_CM2 = dict.fromkeys("RL", 190.0) | dict.fromkeys("AP", 165.0) | dict.fromkeys("SI", 205.0)
# What is shown, over the brain found in it: at most 1.11 in 97 images of brains that were cut out, 1.67 and more in 60 of heads.
MOST_OVER_BRAIN = 1.3
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
    pieces, count = ndimage.label(mask[box])
    largest = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1 if count > 1 else mask[box]
    out[box] = ndimage.binary_fill_holes(largest)
    return out


@dataclass(frozen=True)
class Background:
    """The value of the empty space around what an image shows; what differs from it by at most `faintest` is empty, too."""

    value: float
    faintest: float

    def shown(self, voxels: np.ndarray) -> np.ndarray:
        """(...) bool: what is not background."""
        low, high = self.value - self.faintest, self.value + self.faintest
        if voxels.dtype.kind in "iu":
            low, high = math.ceil(low), math.floor(high)  # the same, and whole numbers are compared without a copy
        return (voxels > high) | (voxels < low)


_backgrounds: WeakKeyDictionary[Volume, Background | None] = WeakKeyDictionary()  # of the volumes that are in use: many steps ask


def background_of(image: Volume) -> Background | None:
    """What most voxels in the corners share; None where they share nothing, as in the noise around a head."""
    if image not in _backgrounds:
        _backgrounds[image] = _look_into_corners(image)
    return _backgrounds[image]


def _look_into_corners(image: Volume) -> Background | None:
    ends = [np.unique([*range(min(3, n)), *range(max(0, n - 3), n)]) for n in image.shape]
    corners = image.voxels[np.ix_(*ends)].astype(np.float32)
    value = float(np.median(corners))
    faintest = FAINTEST * _bright(image.voxels[::2, ::2, ::2].astype(np.float32) - np.float32(value))
    return Background(value, faintest) if np.mean(np.abs(corners - value) <= faintest) >= ALIKE else None


def _bright(differences: np.ndarray) -> float:
    """What the brightest hundredth of the voxels that differ at all reaches; 0.0 when none does."""
    differences = np.abs(differences[differences != 0])
    return float(np.percentile(differences, 99)) if differences.size else 0.0


def brain_only_mask(image: Volume) -> np.ndarray:
    """(I, J, K) bool: the voxels that clearly differ from the background; all of them where there is none (see `background_of`)."""
    background = background_of(image)
    return np.ones(image.shape, bool) if background is None else background.shown(image.voxels)


def is_brain_only(image: Volume, find: Callable[[Volume], Volume] | None = None, *, doubted: bool = False) -> bool:
    """True when the image shows a brain that was cut out: empty space around it, and hardly more than the brain.

    A head in air that was set to 0 can look like that, and measure no more, where its lower part is out of view. `find` (a volume -> its
    brain on its own grid, not 0 within) tells them apart. It takes its time, so it is asked only where more is shown than an ordinary
    brain, or where the image is `doubted` for another reason; without it the size alone decides.
    """
    background = background_of(image)
    if background is None:
        return False
    thinned = tuple(slice(None, None, max(1, n // 64)) for n in image.shape)  # half a million voxels tell the size to 0.1 %
    shown = background.shown(image.voxels[thinned])
    share = np.count_nonzero(shown) / shown.size
    ml = share * math.prod(image.shape) * image.voxel_ml
    if share > 1 - LEAST_EMPTY or ml > LARGEST_BRAIN_ML:
        return False
    if find is None or not (doubted or ml > ORDINARY_BRAIN_ML or _is_wide(shown, image.grid)):
        return True
    return bool(ml <= MOST_OVER_BRAIN * np.count_nonzero(find(image).voxels) * image.voxel_ml)


def sections(mask: np.ndarray) -> list[np.ndarray]:
    """How many voxels of `mask` (I, J, K) each layer across I, J and K has."""
    counted = mask.view(np.uint8)
    along_k, along_i = counted.sum(axis=2, dtype=np.int64), counted.sum(axis=0, dtype=np.int64)
    return [along_k.sum(axis=1), along_k.sum(axis=0), along_i.sum(axis=0)]


def _is_wide(shown: np.ndarray, grid: Grid) -> bool:
    """Whether a section of what is shown (bool, evenly thinned) is larger than those of an ordinary brain."""
    field_cm2 = math.prod(grid.size_mm) / np.array(grid.size_mm) / 100
    layer = np.array(shown.size) / shown.shape  # voxels
    largest = [counts.max() for counts in sections(shown)] / layer * field_cm2
    return any(cm2 > ORDINARY_SECTION_CM2[grows] for cm2, grows in zip(largest, grid.orientation, strict=True))
