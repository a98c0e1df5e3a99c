"""The phantom's brain: tissues as soft layers on a 1 mm box, grown from a seed.

Places and sizes of structures are the usual ones of an adult brain, written here as numbers in head coordinates: mm, RAS,
the origin near the anterior commissure (as in Talairach and Tournoux 1988). A patient's head differs from them by size, a smooth
random warp, folds that are his own, and the mass effect of his tumour.

The cortex: sulci are the zero level of band-passed noise taken at the nearest point of the brain's surface, so that they run
inwards at right angles to it, each to its own depth; grey matter is what lies within about 3 mm of them or of the surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .phantom_shapes import (
    banded_noise,
    ellipsoid,
    inside,
    polyline,
    refine,
    sample_periodic,
    signed_distance,
    smooth_noise,
    step,
)
from .volume import Grid

__all__ = ["BOX", "Brain", "Patient", "draw_patient", "grow_brain"]

# The brain's box in head coordinates: first and last node of each axis in mm; nodes 2 mm apart, refined to 1 mm.
_FIRST, _LAST = np.array([-76, -114, -72]), np.array([76, 78, 82])
BOX = Grid(tuple(_LAST - _FIRST + 1), np.array([[1, 0, 0, -76], [0, 1, 0, -114], [0, 0, 1, -72], [0, 0, 0, 1]]))

# Tubes (|x|, y, z, radius) and plates (y, z, half thickness).
_VENTRICLE = [(7, 33, 3, 2.5), (8.5, 27, 8, 4.6), (9.5, 18, 12, 5), (11, 4, 18, 4.3), (13.5, -14, 22, 4.3), (19, -30, 20, 5.5), (25, -41, 11, 6.5)]
_OCCIPITAL_HORN = [(25, -41, 11, 5.5), (27, -55, 8, 4), (25, -68, 6, 2)]
_TEMPORAL_HORN = [(25, -41, 8, 5), (33, -32, -6, 2.8), (34, -20, -14, 2.4), (30, -8, -18, 1.8)]
_CALLOSUM = [(20, -3, 1.2), (30, 5, 3.4), (29, 15, 3.8), (20, 23, 2.8), (2, 28, 2.4), (-18, 28, 2.4), (-32, 23, 3), (-39, 15, 4), (-37, 9, 2.5)]
_CAUDATE = [(11, 19, 1, 4.5), (14, 12, 10, 5), (16.5, 0, 18, 3.4), (20, -16, 20, 2.2), (24, -30, 15, 1.6)]
_STEM = [(0, -20, -4, 9), (0, -26, -12, 12), (0, -27, -24, 13.5), (0, -29, -34, 12), (0, -36, -48, 8.5), (0, -41, -62, 6.8), (0, -44, -90, 6)]


@dataclass(frozen=True)
class Patient:
    """What makes one made-up patient different from the next (sizes as factors of the usual ones; ml; mm)."""

    seed: int
    scale: tuple[float, float, float]  # along right, anterior, superior
    warp_mm: float                     # how far the head departs from the usual shape
    ventricles: float
    atrophy: float                     # 0 none .. 1 wide sulci
    cortex_mm: float
    core_ml: float                     # necrosis and enhancing part together
    oedema_ml: float
    necrosis: float                    # wanted share of the core, 0 for a solid tumour
    enhances: bool
    side: int                          # -1 left, +1 right
    push: float                        # mass effect: share of the core's room that tissue gave way

    def generator(self, stage: str) -> np.random.Generator:
        """Random numbers of one stage: stages do not shift each other's numbers."""
        return np.random.default_rng([self.seed, *stage.encode()])


@dataclass(frozen=True, eq=False)
class Brain:
    """Tissues on BOX. `layers` are painted one over the other: (tissue, share of the voxel 0..1, (I, J, K) float32)."""

    layers: list[tuple[str, np.ndarray]]
    cavity_mm: np.ndarray    # signed distance to the inner table of the skull, negative inside
    depth_mm: np.ndarray     # from the brain's outer surface inwards (positive inside), sulci filled
    white: np.ndarray        # share of white matter
    fluid: np.ndarray        # share of CSF
    barrier: np.ndarray      # bool: falx and tentorium, which neither tumour nor oedema cross
    centre: np.ndarray       # the tumour's centre, mm
    radius_mm: float         # of a ball of the core's volume


def draw_patient(seed: int) -> Patient:
    """The patient of a seed."""
    g = np.random.default_rng([seed, 1])
    whole = float(5 * 24 ** g.beta(1.6, 1.2))  # 5 to 120 ml, more often large
    share = float(g.uniform(0.2, 0.6))
    enhances = bool(g.random() > 0.15)
    solid = bool(g.random() < 0.2 or whole * share < 3)
    size = g.normal(1, 0.03)
    return Patient(
        seed=seed, scale=tuple(float(np.clip(size * g.normal(1, 0.02), 0.92, 1.06)) for _ in range(3)), warp_mm=float(g.uniform(1, 2.2)),
        ventricles=float(g.uniform(0.75, 1.35)), atrophy=float(g.beta(1.3, 1.8)), cortex_mm=float(g.uniform(2.5, 3.1)),
        core_ml=whole * share, oedema_ml=whole * (1 - share), necrosis=0.0 if solid and enhances else float(g.uniform(0.2, 0.65)),
        enhances=enhances, side=int(g.choice([-1, 1])), push=float(g.uniform(0.45, 0.85)))


def grow_brain(patient: Patient) -> Brain:
    """The brain of `patient` with room made for his tumour, which is not in it yet."""
    usual = _head_coordinates(patient)                                   # 3 x (i, j, k), 2 mm
    outer = _outer_surface(*usual)                                       # (i, j, k) mm, without folds
    centre, radius = _tumour_place(patient, usual, outer)
    pushed = _make_room(usual, outer, centre, radius, patient.push)      # 3 x (i, j, k)
    x, y, z = (refine(c) for c in pushed)                                # 3 x (I, J, K), 1 mm
    layers, depth, white, barrier = _cerebrum(patient, pushed, x, y, z)
    layers += _deep(patient, np.abs(x), y, z)
    layers += _hindbrain(patient, x, y, z)
    layers += _ventricles(patient, x, y, z)
    for tissue, share in layers:
        white *= 1 if tissue == "white" else 1 - share
    fluid = np.ones(BOX.shape, np.float32)
    for tissue, share in layers:
        fluid = fluid * (1 - share) + (share if tissue == "csf" else 0)
    hind = np.minimum(_cerebellum_surface(*pushed), _stem_surface(*pushed))
    together = np.minimum(_outer_surface(*pushed), hind)
    closed = signed_distance(signed_distance(together < 0, 2) < 10, 2) + 10
    cavity = refine(ndimage.gaussian_filter(np.minimum(closed, together), 1.5)) - np.float32(1.6 + 2.2 * patient.atrophy)
    barrier |= (y < -30) & (np.abs(refine(hind)) < 1.5)
    return Brain([("csf", inside(cavity)), *layers], cavity, depth, white, fluid, barrier, centre, radius)
