"""What hangs together in a mask, and the box around it."""

from __future__ import annotations

import numpy as np

__all__ = ["bounding_box", "largest_piece", "pieces"]


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, slice, slice] | None:
    """Slices along I, J, K of the smallest box around `mask`, `margin` voxels wider where the image has them; None when empty."""
    box = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(filled):
            return None
        box.append(slice(max(0, int(filled[0]) - margin), min(mask.shape[axis], int(filled[-1]) + 1 + margin)))
    return box[0], box[1], box[2]


def pieces(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """(the pieces of `mask` numbered from 1, 0 outside; how many): voxels that share a corner hang together (26-connected in 3-D, 8 in 2-D)."""
    from scipy import ndimage

    numbered, count = ndimage.label(mask, np.ones((3,) * mask.ndim, bool))
    return numbered, int(count)


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest piece of a mask (I, J, K) whose voxels share a face (6-connected), the first of equals; empty when the mask is."""
    from scipy import ndimage

    numbered, count = ndimage.label(mask)
    return numbered == 1 + np.bincount(numbered.ravel())[1:].argmax() if count else np.zeros(mask.shape, bool)
