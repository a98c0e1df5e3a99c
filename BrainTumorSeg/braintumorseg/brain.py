"""Where the brain is. In this version: recognise images that show the brain alone, and refuse whole heads."""

from __future__ import annotations

import numpy as np

from .errors import NotBrainOnly
from .volume import Volume

__all__ = ["brain_only_mask", "require_brain_only"]

# A brain with its CSF measures 0.9 to 1.9 l; a head down to the chin 3 l and more.
LARGEST_BRAIN_ML = 2400.0
# Around a brain that was cut out there is empty space; a scan fills its field of view with noise.
LEAST_EMPTY = 0.05


def brain_only_mask(image: Volume) -> np.ndarray:
    """(I, J, K) bool: the voxels that differ from the background, which is the value that most corners of the volume share."""
    corners = image.voxels[:: image.shape[0] - 1 or 1, :: image.shape[1] - 1 or 1, :: image.shape[2] - 1 or 1]
    values, counts = np.unique(corners, return_counts=True)
    return image.voxels != values[counts.argmax()]


def require_brain_only(role: str, image: Volume) -> None:
    """Raises NotBrainOnly when the image shows more than a brain surrounded by an empty background."""
    mask = brain_only_mask(image)
    shown_ml = float(mask.sum()) * image.voxel_ml
    if mask.mean() > 1 - LEAST_EMPTY:
        why = "nothing around the brain is empty"
    elif shown_ml > LARGEST_BRAIN_ML:
        why = f"{shown_ml:.0f} ml are not empty and a brain has at most about {LARGEST_BRAIN_ML:.0f}"
    else:
        return
    raise NotBrainOnly(f"{role} looks like a whole head, not a brain that was cut out ({why}); the network reads the brain alone.",
                       "Remove skull and face first (HD-BET or SynthStrip do it), or add --stripped if the image is brain-only after all.")
