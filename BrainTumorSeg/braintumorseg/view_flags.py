"""Flags about the brain in view: where the image ends, and whether a brain can have the size and shape that its header gives it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .flag import Flag
from .midline import STEEP_DEG
from .volume import Volume

__all__ = ["edges", "field_of_view"]

# A brain that ends by itself tapers: 3 mm inside its end the section is at most 0.12 of the largest (25 patients). A wider one
# was cut, as at the end of a slab.
CUT_DEPTH_MM = 3.0
CUT_SHARE = 0.18
# Less contact than this with the image's edge may be a stray voxel.
CONTACT_MM2 = 10.0
# Adults' brains measure at least 120 mm across, 140 mm from front to back and 110 mm in height.
SMALLEST_BRAIN_MM = {"R": 100.0, "A": 120.0, "S": 90.0}
# A newborn's is longer than 100 mm.
SMALLEST_LENGTH_MM = 80.0
# Brains are longest from front to back: their height is at most 1.00 of that, their width 0.92 (24 patients, 20 label maps, 3 atlases, and as found
# in 4 heads), where only sections of a tenth of the largest count, and no spinal cord. Turned by a right angle, all but one would measure 1.11 and
# 1.09 at least.
MOST_OVER_LENGTH = 1.05
CORD_SHARE = 0.1

_EDGES = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "top", "I": "bottom"}
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_SPANS = {"R": "from right to left", "A": "from front to back", "S": "from top to bottom"}


def edges(reference: Volume, tumour: list[np.ndarray], brain: list[np.ndarray]) -> Iterator[Flag]:
    """Where the image ends inside the brain, at its own border or at that of a slab within it, and tumour lies there."""
    touched = []
    for axis, grows in enumerate(reference.orientation):
        layers = np.flatnonzero(brain[axis])
        contact_mm2 = tumour[axis] * reference.voxel_ml * 1000 / reference.spacing_mm[axis]
        depth = int(CUT_DEPTH_MM / reference.spacing_mm[axis])
        for inwards, border, side in ((layers, 0, _OPPOSITE[grows]), (layers[::-1], reference.shape[axis] - 1, grows)):
            outer = inwards[:depth + 1]
            if len(outer) and brain[axis][outer[-1]] < CUT_SHARE * brain[axis].max():
                outer = outer[:1][outer[:1] == border]  # it tapers: only the image's own border can have cut it
            if contact_mm2[outer].max(initial=0) >= CONTACT_MM2:
                touched.append(_EDGES[side])
    if touched:
        yield Flag("touches_edge", "warning",
                   f"The tumour reaches the edge of the image ({', '.join(touched)}): a part may lie outside, and volumes may be "
                   "too small; use a series that covers the whole brain.")


def field_of_view(reference: Volume, brain: Sequence[np.ndarray]) -> Iterator[Flag]:
    """`brain`: how many voxels of it each layer across I, J and K has."""
    mm = dict(zip(_spans(reference), _lengths(reference, brain, 0.0), strict=True))
    short = ", ".join(f"{mm[span]:.0f} mm {_SPANS[span]}" for span in mm if mm[span] < SMALLEST_BRAIN_MM[span])
    whole = all(map(_tapers, brain))
    if short and not whole:
        yield Flag("small_field_of_view", "warning",
                   f"The image shows only a part of the brain ({short}), and tumour outside it is not found; "
                   "use a series that covers the whole brain.")
    elif max(mm.values()) < SMALLEST_LENGTH_MM:
        yield Flag("wrong_spacing", "warning",
                   f"The brain is whole and measures {short}, less than a newborn's: the spacing in the header cannot be right, and no volume or "
                   "diameter is; convert the image from its source again, or set its spacing, and segment again.")
    elif short:
        yield Flag("small_brain", "warning",
                   f"The brain is whole and smaller than adults' brains ({short}): either the spacing in the header is wrong, and every volume "
                   "with it, or this is a child's or an animal's, which the network does not know; check the spacing.")
    if whole and reference.grid.tilt_deg <= STEEP_DEG:
        yield from _shape(dict(zip(_spans(reference), _lengths(reference, brain, CORD_SHARE), strict=True)))


def _shape(mm: dict[str, float]) -> Iterator[Flag]:
    """`mm`: span of _SPANS -> size of a whole brain."""
    longer = [f"{mm[span]:.0f} mm {_SPANS[span]}" for span in "SR" if mm[span] > MOST_OVER_LENGTH * mm["A"]]
    if longer:
        yield Flag("turned_image", "warning",
                   f"The brain measures {' and '.join(longer)} and {mm['A']:.0f} mm from front to back, and every brain is longest from front to "
                   "back: the header turns the image by a right angle or has a wrong spacing, so sides, planes and diameters may be wrong; "
                   "convert it from its source again.")


def _spans(reference: Volume) -> list[str]:
    return [grows if grows in _SPANS else _OPPOSITE[grows] for grows in reference.orientation]


def _lengths(reference: Volume, brain: Sequence[np.ndarray], share: float) -> list[float]:
    """From the first to the last layer with more than `share` of the largest section, in mm along I, J and K; 0.0 where there is none."""
    layers = [np.flatnonzero(counts > share * counts.max()) for counts in brain]
    return [float(found[-1] - found[0] + 1) * mm if len(found) else 0.0 for found, mm in zip(layers, reference.spacing_mm, strict=True)]


def _tapers(counts: np.ndarray) -> bool:
    """Whether a brain ends by itself at both ends, whatever the spacing: 3 mm are a fiftieth of it."""
    layers = np.flatnonzero(counts)
    depth = int(CUT_DEPTH_MM / 150 * len(layers))
    return len(layers) > 0 and max(counts[layers[depth]], counts[layers[-1 - depth]]) < CUT_SHARE * counts.max()
