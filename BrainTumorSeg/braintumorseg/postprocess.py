"""From probabilities to labels, on the reference's native grid."""

from __future__ import annotations

import numpy as np

from .labels import ED, ET, NCR
from .masks import bounding_box, pieces
from .model_card import ModelCard
from .resample import resample, within_reach
from .volume import Grid, Volume

__all__ = ["decide", "onto_native"]


def onto_native(probabilities: np.ndarray, working: Grid, native: Grid, card: ModelCard) -> np.ndarray:
    """(I, J, K) uint8 labels on `native` from probabilities (R, I, J, K) on `working`.

    Probabilities are brought over, not labels: a border between two labels would come out as stairs, or as a third label.
    """
    thresholds, labels = card.post_processing.thresholds, np.zeros(native.shape, np.uint8)
    reaching = {region: probability >= thresholds[region] for region, probability in zip(card.regions, probabilities, strict=True)}
    box = bounding_box(np.logical_or.reduce(list(reaching.values())))
    part = box and within_reach(working, box, native)   # farther away every mean is of what is below the thresholds
    if part is None:
        return labels
    grid = native.part(part)
    if _only_flipped(working, native):   # every voxel keeps its own probability, so a mask may be brought over instead: a quarter of the bytes
        masks = {region: _unflipped(Volume(mask, working.affine), grid) for region, mask in reaching.items()}
    else:
        masks = {region: resample(Volume(probability, working.affine), grid).voxels >= thresholds[region]
                 for region, probability in zip(card.regions, probabilities, strict=True)}
    labels[part] = decide(masks, card, native.voxel_ml)
    return labels


def decide(masks: dict[str, np.ndarray], card: ModelCard, voxel_ml: float) -> np.ndarray:
    """(I, J, K) uint8 labels from the bool masks of WT, TC and ET; an inner region counts for those around it.

    Islands of whole tumour below the card's `smallest_lesion_ml` go; enhancing tumour of less than `smallest_et_ml` in all becomes core.
    """
    labels = np.zeros(masks["WT"].shape, np.uint8)
    labels[masks["WT"]] = ED
    labels[masks["TC"]] = NCR
    labels[masks["ET"]] = ET
    numbers = card.post_processing
    if numbers.smallest_lesion_ml > 0 and labels.any():
        _drop_small(labels, numbers.smallest_lesion_ml / voxel_ml)
    enhancing = labels == ET
    if 0 < enhancing.sum() * voxel_ml < numbers.smallest_et_ml:
        labels[enhancing] = NCR
    return labels


def _drop_small(labels: np.ndarray, fewest: float) -> None:
    part = labels[bounding_box(labels > 0)]
    islands, _ = pieces(part > 0)
    sizes = np.bincount(islands.ravel())
    part[sizes[islands] < fewest] = 0


def _only_flipped(working: Grid, native: Grid) -> bool:
    turned = native.canonical()
    offset = np.linalg.inv(turned.affine) @ working.affine
    return bool(np.abs(offset[:3, :3] - np.eye(3)).max() < 1e-4 and np.abs(offset[:3, 3] - np.round(offset[:3, 3])).max() < 1e-3)


def _unflipped(volume: Volume, native: Grid) -> np.ndarray:
    """The working crop pasted into the native grid's canonical form, then flipped and swapped back; no interpolation."""
    import nibabel

    turn = nibabel.io_orientation(native.affine)
    turned = native.canonical()
    low = np.round((np.linalg.inv(turned.affine) @ volume.affine)[:3, 3]).astype(int)
    out = np.zeros(turned.shape, volume.voxels.dtype)
    first, last = np.maximum(low, 0), np.minimum(low + volume.shape, turned.shape)
    out[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = volume.voxels[
        tuple(slice(a - o, b - o) for a, b, o in zip(first, last, low, strict=True))]
    back = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), turn)
    return nibabel.apply_orientation(out, back)
