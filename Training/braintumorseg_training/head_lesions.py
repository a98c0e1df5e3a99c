"""Tumours in a label map: blobs of oedema, tumour, rim, necrosis or cavity, anywhere in the brain and up to its edge."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .head_maps import TISSUES, Head

__all__ = ["with_lesion"]

_PLACE = {tissue: place for place, tissue in enumerate(TISSUES)}


def with_lesion(head: Head, rng: np.random.Generator, surgery: bool = True) -> np.ndarray:
    """The head's tissues (I, J, K) uint8 with one lesion painted over the brain; the brain's own mask stays true.

    With `surgery` one lesion in four is a cavity.
    """
    tissues = head.tissues.copy()
    reach = rng.uniform(8, 38)   # mm, from the middle to the outer edge of its oedema
    middle = _somewhere(head.brain, rng)
    box = tuple(slice(max(0, int(c - 1.4 * reach)), int(c + 1.4 * reach) + 1) for c in middle)
    part, brain = tissues[box], head.brain[box]
    axes = np.meshgrid(*(np.arange(side.start, side.start + n) - c for side, n, c in zip(box, part.shape, middle, strict=True)),
                       indexing="ij", sparse=True)
    stretch = np.exp(rng.normal(0, 0.2, 3))
    distance = np.sqrt(sum((axis / s) ** 2 for axis, s in zip(axes, stretch, strict=True))) / reach     # 1 at the outer edge
    distance = distance + _bumps(part.shape, reach, rng)
    halo, solid, core = 1.0, rng.uniform(0.45, 0.85), rng.uniform(0.2, 0.8)
    kind = rng.random()
    if kind < 0.75 or not surgery:
        spared = np.isin(part, (_PLACE["ventricle"], _PLACE["csf"], _PLACE["artery"], _PLACE["vein"]))
        part[brain & (distance < halo) & ~spared] = _PLACE["oedema"]
        inner = brain & (distance < solid)
        part[inner] = _PLACE["rim"] if rng.random() < 0.6 else _PLACE["tumour"]
        part[brain & (distance < solid * core)] = _PLACE["necrosis"] if rng.random() < 0.6 else _PLACE["tumour"]
    else:  # after surgery: fluid with a rim
        part[brain & (distance < solid)] = _PLACE["rim"]
        part[brain & (distance < solid * rng.uniform(0.8, 0.97))] = _PLACE["cavity"]
    return tissues


def _somewhere(brain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random voxel of the brain."""
    while True:
        place = [int(rng.integers(n)) for n in brain.shape]
        if brain[tuple(place)]:
            return np.array(place)


def _bumps(shape, reach: float, rng: np.random.Generator) -> np.ndarray:
    coarse = rng.normal(0, 0.16, (6, 6, 6)).astype(np.float32)
    return ndimage.zoom(coarse, [n / 6 for n in shape], order=1)[tuple(slice(n) for n in shape)]
