"""The phantom's cortex: sulci, grey ribbon and white matter of the hemispheres.

Sulci are the zero level of band-passed noise taken at the nearest point of the brain's surface, so that they run inwards at
right angles to it, each to its own depth; grey matter is what lies within about 3 mm of a sulcus or of the surface. Shapes are
made on 2 mm grids (i, j, k) and refined to 1 mm (I, J, K).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .phantom_shapes import banded_noise, refine, sample_periodic, signed_distance, smooth_noise, step
from .phantom_structures import callosum, cerebrum, diencephalon, sylvian

__all__ = ["fold"]

_PERIOD, _WAVE = 96, 23.0  # voxels of 2 mm before the noise repeats; mm from crest to crest of it, so a sulcus every 12 mm


def fold(patient, coarse):
    """(depth, pial, white), each (I, J, K) mm, from head coordinates `coarse` (3 x (i, j, k)).

    depth: inwards from the outer surface, sulci filled. pial: inwards from the nearest grey surface (sulci are negative).
    white: inwards from the border of grey and white.
    """
    x, y, z = coarse
    generator = patient.generator("cortex")
    depth = ndimage.gaussian_filter(-signed_distance(cerebrum(x, y, z) < 0, 2), 0.9)
    joined = np.minimum(diencephalon(x, y, z), callosum(x, y, z) - 1)
    midline = np.hypot(x, np.maximum(-joined, 0))
    walls = ndimage.gaussian_filter(-signed_distance((cerebrum(x, y, z) < 0) & ~((np.abs(x) < 2) & (joined > 0)), 2), 1.2)
    sheet, reach = _sulci(generator, walls, x)
    fissure = sylvian(*(c + 2.2 * smooth_noise(generator, c.shape, 5) for c in coarse))
    depth, walls, sheet, reach, midline, fissure = (refine(f) for f in (depth, walls, sheet, reach, midline, fissure))

    wide = np.float32(patient.atrophy)
    mouth = (0.9 + 0.6 * wide) * np.exp(-np.maximum(walls, 0) / 3)          # half widths: gyri are rounded at the surface,
    gap = (0.35 + wide) * (1 - 0.6 * np.clip(walls / 18, 0, 1))             # sulci narrow inwards
    sulcus = np.hypot(sheet, np.maximum(walls - reach, 0)) - mouth - gap
    pial = np.minimum(np.minimum(depth, sulcus), np.minimum(midline - (0.8 + 0.5 * wide), fissure - (0.5 + wide)))
    thick = np.float32(patient.cortex_mm) + 0.35 * smooth_noise(generator, pial.shape, 8)
    return depth, pial, pial - thick


def _sulci(generator, walls, x):
    """Distance to the sulci's sheets and how deep each reaches, (i, j, k) mm; `walls` is the depth from a hemisphere's walls."""
    towards = np.gradient(walls, 2.0)
    length = np.sqrt(sum(t * t for t in towards)) + 1e-3
    nodes = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in walls.shape], indexing="ij", sparse=True)
    # The nearest surface point in voxels; deep sulci lean a little, and the two sides have folds of their own.
    back = np.clip(walls, 0, 30) / 2
    lean = [(0.8 + 0.28 * back) * smooth_noise(generator, walls.shape, 4) for _ in range(3)]
    surface = [n - back * t / length + lean_ for n, t, lean_ in zip(nodes, towards, lean, strict=True)]
    surface[1] = surface[1] + np.where(x < 0, 41, 0)
    noise = sample_periodic(banded_noise(generator, _PERIOD, _WAVE / 2), *surface)
    slope = np.sqrt(sum(g * g for g in np.gradient(noise, 2.0))) + 1e-3
    turn = np.float32(_WAVE / (2 * np.pi))
    sheet = np.abs(turn * np.arctan(noise / (slope * turn)))  # exact for a sinusoid, and never far beyond a quarter wave
    reach = 15 + 5 * sample_periodic(banded_noise(generator, _PERIOD, 22), *surface)
    return sheet, np.clip(reach, 4, 25) * (0.65 + 0.35 * step(np.abs(x), 6, 26))  # shallower on the inner walls
