"""Where the parts of an adult brain are, as signed distances (mm, negative inside) in head coordinates x, y, z (I, J, K).

Head coordinates: mm, RAS, origin near the anterior commissure. The numbers are the usual places of textbooks (Talairach and
Tournoux 1988), written by hand; no atlas or image went into them.
"""

from __future__ import annotations

import numpy as np

from .phantom_shapes import ellipsoid, polyline, step

__all__ = ["callosum", "cerebellum", "cerebrum", "deep_grey", "diencephalon", "lateral_ventricle", "midline_ventricles", "stem",
           "sylvian"]

# Tubes: (|x|, y, z, radius); plates: (y, z, half thickness).
_FRONTAL = [(6.5, 33, 3, 2.2), (8, 27, 8, 4.4), (9, 18, 12, 4.8), (10.5, 4, 18, 4.0),
            (13, -14, 22, 4.2), (19, -30, 20, 5.2), (25, -41, 11, 6.3)]
_OCCIPITAL = [(25, -41, 11, 5.5), (27, -55, 8, 3.6), (25, -68, 6, 1.6)]
_TEMPORAL = [(25, -41, 8, 4.6), (33, -32, -6, 2.4), (34, -20, -14, 2.2), (30, -8, -18, 1.6)]
_CALLOSUM = [(20, -3, 1.0), (30, 5, 3.2), (30, 15, 3.8), (21, 24, 2.8), (2, 29, 2.3),
             (-18, 29, 2.3), (-32, 24, 3), (-39, 16, 4), (-37, 9, 2.2)]
_CAUDATE = [(11, 19, 2, 4.8), (14, 12, 10, 5), (16.5, 0, 18, 3.4), (20, -16, 20, 2.2), (24, -30, 15, 1.6)]
_STEM = [(0, -18, -4, 9), (0, -25, -11, 11), (0, -26, -24, 12.5), (0, -28, -33, 11.5),
         (0, -37, -47, 8), (0, -42, -62, 6.5), (0, -45, -95, 6)]
_AQUEDUCT = [(0, -27, -2, 1.2), (0, -33, -14, 1.0), (0, -38, -24, 1.5)]


def cerebrum(x, y, z):
    """The cerebral hemispheres as one body, fissures and sulci filled."""
    wide = 1 + 0.0016 * np.clip(-y - 10, -75, 40) - 0.03 * step(y, 10, 60)        # parietal wide, frontal narrow
    aside = np.abs(x)
    power = 2.35  # a little boxier than an ellipsoid
    across, along, up = aside / wide / 65, np.abs(y + 17) / 86, np.abs(z - 14) / 63
    body = 64 * ((across**power + along**power + up**power) ** (1 / power) - 1)
    orbits = -21 + 6 * np.exp(-((aside - 27) / 14) ** 2 - ((y - 42) / 18) ** 2)   # frontal lobes sit on the roofs of the orbits
    temples = np.where(aside > 17, -41, -41 + 27 * step(aside, 20, 9)) + 0.10 * np.clip(y + 20, -40, 40)
    tent = -17 + 15 * np.exp(-((aside / 20) ** 2)) + 0.12 * (y + 60)
    floor = orbits + (temples - orbits) * step(y, 27, 17)
    floor = floor + (tent - floor) * step(y, -32, -62)
    return np.maximum(body, (floor - z) * np.float32(0.8))


def diencephalon(x, y, z):
    """The block around the third ventricle that joins the hemispheres."""
    return ellipsoid(x, y, z, (0, -10, 6), (26, 27, 18))


def callosum(x, y, z):
    """The corpus callosum: a bent plate whose sides rise, and fan forwards and backwards into the white matter."""
    fanned = y - 0.016 * x * x * np.clip(y / 25, -1, 1)
    return np.maximum(polyline((fanned, z - 0.008 * x * x), _CALLOSUM), np.abs(x) - 21)


def sylvian(x, y, z):
    """Distance (never negative) to the lateral fissure and to the sulcus around the insula, both sheets without thickness."""
    aside, run = np.abs(x), np.array([-66.0, 34.0]) / np.hypot(66, 34)
    along = (y - 26) * run[0] + (z + 18) * run[1]
    across = -(y - 26) * run[1] + (z + 18) * run[0]
    ends = np.maximum(along - 68, 0) + np.maximum(-along, 0)
    fissure = np.sqrt(across**2 + np.maximum(37 - aside, 0) ** 2 + ends**2)
    oval = (np.sqrt(((along - 27) / 25) ** 2 + ((across + 1) / 13) ** 2) - 1) * 13
    insula = np.hypot(aside - 37.5 + 0.012 * (along - 27) ** 2 / 2, np.maximum(oval, 0))
    return np.minimum(fissure, insula)


def cerebellum(x, y, z):
    """Two hemispheres and the vermis."""
    aside = np.abs(x)
    hemisphere = ellipsoid(aside, y, z + 0.1 * aside, (24, -63, -36), (31, 30, 22))
    vermis = ellipsoid(x, y, z, (0, -63, -28), (16, 25, 24))
    nearer = np.minimum(hemisphere, vermis)
    return nearer - np.clip(3 - np.abs(hemisphere - vermis), 0, 3) ** 2 / 12  # the cleft between them is shallow


def stem(x, y, z):
    """Midbrain, pons with its belly, medulla and upper cord."""
    tube = polyline((x, y, z), _STEM)
    pons = ellipsoid(x, y, z, (0, -23, -29), (16, 11, 13))
    arms = ellipsoid(np.abs(x), y, z, (14, -38, -33), (6, 13, 6))  # middle cerebellar peduncles
    return np.minimum(np.minimum(tube, pons), arms)


def deep_grey(aside, y, z):
    """(name, signed distance) of the grey nuclei of one side; `aside` is |x|."""
    turn = np.deg2rad(16)
    across, along = (np.cos(turn) * (aside - 25) + np.sin(turn) * (y - 2), -np.sin(turn) * (aside - 25) + np.cos(turn) * (y - 2))
    return [
        ("thalamus", ellipsoid(aside - 0.25 * (-18 - y), y, z, (11, -18, 8), (8.5, 14, 8.5))),
        ("striatum", polyline((aside, y, z), _CAUDATE)),
        ("striatum", ellipsoid(across, along, z, (1.5, 0, 2), (4.2, 16, 10))),
        ("pallidum", ellipsoid(across, along, z, (-5, -3, 0), (3.6, 9, 6.5))),
        ("striatum", ellipsoid(aside, y, z, (25, -14, -18), (5.5, 14, 5))),  # hippocampus and amygdala
    ]


def lateral_ventricle(aside, y, z):
    """One lateral ventricle with its four horns; `aside` is |x|."""
    tubes = [polyline((aside, y, z), points) for points in (_FRONTAL, _OCCIPITAL, _TEMPORAL)]
    return np.maximum(np.minimum(np.minimum(tubes[0], tubes[1]), tubes[2]), 1.0 - aside)  # the septum stays


def midline_ventricles(x, y, z):
    """Third ventricle, aqueduct and fourth ventricle."""
    third = ellipsoid(x, y, z, (0, -11, -1), (2.4, 14, 12))
    fourth = ellipsoid(x, y, z, (0, -45, -31), (8, 5, 9))
    return np.minimum(np.minimum(third, fourth), polyline((x, y, z), _AQUEDUCT))
