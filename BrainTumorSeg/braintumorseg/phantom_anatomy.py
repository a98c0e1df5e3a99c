"""The phantom's brain: a patient drawn from a seed, and his tissues as soft layers on a 1 mm box.

Head coordinates: mm, RAS, origin near the anterior commissure. A patient's head departs from the usual one by size, a smooth
random warp, folds that are his own, and the mass effect of his tumour. All is grown from random numbers: no atlas, no image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from . import phantom_structures as structures
from .phantom_cortex import fold
from .phantom_shapes import Layer, inside, layer, refine, refined_layer, signed_distance, smooth_noise, step
from .volume import Grid

__all__ = ["BOX", "Brain", "Patient", "draw_patient", "grow_brain"]

_FIRST, _LAST = (-76, -114, -72), (76, 78, 82)  # corners of the brain's box, mm

BOX = Grid(tuple(b - a + 1 for a, b in zip(_FIRST, _LAST, strict=True)),
           np.array([[1, 0, 0, _FIRST[0]], [0, 1, 0, _FIRST[1]], [0, 0, 1, _FIRST[2]], [0, 0, 0, 1]]))


@dataclass(frozen=True)
class Patient:
    """What makes one made-up patient different from the next. Sizes are factors of the usual ones."""

    seed: int
    scale: tuple[float, float, float]  # along right, anterior, superior
    warp_mm: float                     # how far the head departs from the usual shape
    ventricles: float                  # extra width of the ventricles, mm
    atrophy: float                     # 0 none .. 1 wide sulci
    cortex_mm: float
    core_ml: float                     # necrosis and enhancing part together
    oedema_ml: float
    necrosis: float                    # wanted share of the core; 0 for a solid tumour
    enhances: bool
    side: int                          # -1 left, +1 right
    push: float                        # mass effect: how much of the core's room other tissue gave way for, 0..1

    def generator(self, stage: str) -> np.random.Generator:
        """Random numbers of one stage, so that no stage shifts another's."""
        return np.random.default_rng([self.seed, *stage.encode()])


@dataclass(frozen=True, eq=False)
class Brain:
    """Tissues on BOX (I, J, K). `layers` are painted one over the other."""

    layers: list[Layer]
    cavity_mm: np.ndarray    # signed distance to the skull's inner table, negative inside
    tissue_mm: np.ndarray    # signed distance to the brain's outer surface, sulci and cisterns filled, negative inside
    white: np.ndarray        # share of white matter
    fluid: np.ndarray        # share of CSF
    barrier: np.ndarray      # bool: falx and tentorium, which neither tumour nor oedema crosses
    centre: np.ndarray       # where the tumour grew, mm
    radius_mm: float         # of a ball of the core's volume


def draw_patient(seed: int) -> Patient:
    """The patient of a seed: one in seven has a tumour that does not enhance, one in five a solid one."""
    g = np.random.default_rng([seed, 1])
    whole = float(5 * 24 ** g.beta(1.8, 1.1))  # 5 to 120 ml, more often large
    share = float(g.uniform(0.2, 0.6))
    enhances, solid = bool(g.random() > 0.14), bool(g.random() < 0.2)
    size = g.normal(0.945, 0.025)  # the textbook's brain is a large one
    return Patient(
        seed=seed, scale=tuple(float(np.clip(size * g.normal(1, 0.02), 0.87, 1.0)) for _ in range(3)),
        warp_mm=float(g.uniform(1, 2.2)), ventricles=float(g.uniform(-0.8, 2.0)), atrophy=float(g.beta(1.3, 1.8)),
        cortex_mm=float(g.uniform(2.5, 3.1)), core_ml=whole * share, oedema_ml=whole * (1 - share),
        necrosis=0.0 if solid or whole * share < 2.5 else float(g.uniform(0.2, 0.65)), enhances=enhances,
        side=int(g.choice([-1, 1])), push=float(g.uniform(0.45, 0.9)))


def grow_brain(patient: Patient) -> Brain:
    """The brain of `patient`, pushed aside where his tumour will be; the tumour is not in it yet."""
    place = _box_coordinates()                                          # 3 x (i, j, k) mm, 2 mm apart
    usual = _head_coordinates(patient, place)                           # 3 x (i, j, k) mm
    hull = _hull(usual)                                                 # (i, j, k) mm
    centre, radius = _tumour_place(patient, place, usual, hull)
    coarse = _make_room(place, usual, hull, centre, radius, patient.push)
    x, y, z = (refine(c) for c in coarse)                               # 3 x (I, J, K) mm, 1 mm apart
    depth, pial, white = fold(patient, coarse)                          # (I, J, K) mm
    hind = refine(np.minimum(structures.cerebellum(*coarse), structures.stem(*coarse)))
    layers = _tissues(patient, (x, y, z), coarse, pial, white)
    cavity = refine(ndimage.gaussian_filter(_closed(hull, 10), 1.0)) - np.float32(0.6 + 1.6 * patient.atrophy)
    dura = _dura((x, y, z), coarse, depth, pial, hind, cavity)
    layers = [layer("csf", inside(cavity)), *layers, layer("dura", dura), *_vessels(patient, (x, y, z), pial, depth, cavity)]
    white_share, fluid = _share(layers, {"white", "stem"}), _share(layers, {"csf"})
    tissue_mm = np.minimum(refine(_closed(hull, 5)), np.minimum(-depth, hind))
    return Brain(layers, cavity, tissue_mm, white_share, fluid, dura > 0.3, centre, radius)


def _box_coordinates():
    axes = [np.arange(a, b + 1, 2, dtype=np.float32) for a, b in zip(_FIRST, _LAST, strict=True)]
    return [np.ascontiguousarray(c) for c in np.meshgrid(*axes, indexing="ij")]


def _head_coordinates(patient: Patient, place):
    """Usual head coordinates of each node: where in a usual head the patient's voxel comes from."""
    g = patient.generator("head")
    return [p / np.float32(s) + np.float32(patient.warp_mm) * smooth_noise(g, p.shape, 11)
            for p, s in zip(place, patient.scale, strict=True)]


def _hull(coarse):
    """Signed distance (i, j, k) mm to the whole brain, cerebellum and stem included."""
    parts = (structures.cerebrum, structures.cerebellum, structures.stem)
    return signed_distance(np.minimum.reduce([part(*coarse) for part in parts]) < 0, 2)


def _closed(hull, reach):
    """The hull with clefts narrower than twice `reach` mm filled."""
    rim = 8
    padded = np.pad(hull, rim, mode="reflect", reflect_type="odd")  # the brain nearly touches its box
    closed = np.float32(reach) - signed_distance(padded > reach, 2)[rim:-rim, rim:-rim, rim:-rim]
    return np.minimum(hull, closed)


def _tumour_place(patient: Patient, place, usual, hull):
    """(centre mm, radius mm): in the white matter of the chosen side, off the ventricles and the floor."""
    radius = (patient.core_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
    x, _, z = usual
    supra = (structures.cerebrum(*usual) < 0) & (hull < -max(9.0, 0.75 * radius)) & (hull > -max(26.0, radius + 12))
    fitting = supra & (x * patient.side > max(14.0, 0.8 * radius)) & (z > -22) & (structures.diencephalon(*usual) > 6)
    nodes = np.argwhere(fitting)
    chosen = tuple(nodes[patient.generator("place").integers(len(nodes))])
    return np.array([p[chosen] for p in place]), radius


def _make_room(place, usual, hull, centre, radius, push):
    """Head coordinates after the mass effect: tissue gives way from `centre`, less with distance, never out of the skull."""
    away = [p - np.float32(c) for p, c in zip(place, centre, strict=True)]
    squared = sum(a * a for a in away)
    reach = 1.5 * radius + 9
    pull = np.float32(push * 0.62) * np.exp(-squared / np.float32(reach * reach)) * step(-hull, -1, 10)
    return [u - pull * a for u, a in zip(usual, away, strict=True)]


def _tissues(patient: Patient, fine, coarse, pial, white):
    """Brain tissues over CSF, in the order in which they are painted."""
    x, y, z = coarse
    aside = np.abs(x)
    layers = [layer("grey", inside(-pial)), layer("white", inside(-white)),
              refined_layer("white", np.minimum(structures.diencephalon(x, y, z) + 2, structures.callosum(x, y, z)))]
    layers += [refined_layer(name, distance, 2.0) for name, distance in structures.deep_grey(aside, y, z)]
    layers += _hindbrain(patient, fine, coarse)
    widen = np.float32(patient.ventricles)
    lateral = structures.lateral_ventricle(aside - 0.5 * widen, y, z) - 0.5 * widen
    lateral = lateral + 0.4 * smooth_noise(patient.generator("ventricles"), lateral.shape, 4)
    middle = structures.midline_ventricles(x, y, z) - 0.25 * widen
    plexus = np.maximum(lateral + 2.0, structures.polyline((aside, y, z), [(20, -32, 17, 1.5), (25, -41, 8, 3.5)]))
    return [*layers, refined_layer("rim", lateral - 2.2, 3.0), refined_layer("csf", lateral), refined_layer("csf", middle),
            refined_layer("plexus", plexus)]


def _hindbrain(patient: Patient, fine, coarse):
    """Cerebellum with its folia, which fan out from the fourth ventricle, and the stem."""
    x, y, z = fine
    g = patient.generator("hindbrain")
    surface = refine(structures.cerebellum(*coarse))
    fan = np.arctan2(z + 34, -(y + 40)) + 0.08 * smooth_noise(g, x.shape, 9)
    far = np.hypot(z + 34, y + 40)
    fissures = np.hypot(np.abs(np.sin(fan * 10)) * far / 10, np.maximum(-surface - 14, 0))
    folia = np.hypot(np.abs(np.sin(fan * 27)) * far / 27, np.maximum(-surface - 3.5, 0))
    trees = np.minimum(-surface - 1, fissures)
    depth = np.minimum(-surface, np.minimum(fissures - 0.1, folia + 0.3))
    return [layer("cerebellum", inside(-depth)), layer("white", inside(1.9 - trees, 1.6)),
            refined_layer("stem", structures.stem(*coarse))]


def _dura(fine, coarse, depth, pial, hind, cavity):
    """Share (I, J, K) of falx and tentorium: thin sheets between the hemispheres, and between them and the cerebellum."""
    x, y, z = fine
    above = refine(np.minimum(structures.diencephalon(*coarse), structures.callosum(*coarse)))
    falx = inside(np.abs(x) - 0.5) * inside(pial) * inside(9 - above, 4.0) * (z > -12)
    tent = inside(np.abs(hind + depth) - 1.2) * inside(np.abs(hind) - 3) * (y < -28) * (z > -32)
    return np.maximum(falx, tent) * inside(cavity)


def _vessels(patient: Patient, fine, pial, depth, cavity):
    """The large sinuses under the skull and a few vessels in the sulci."""
    x, y, z = fine
    g = patient.generator("vessels")
    under = cavity + 2.2
    sagittal = np.maximum(np.hypot(x, under) - 3.4, -5 - z)
    transverse = np.maximum(np.hypot(under, z + 16 + 0.1 * np.abs(x)) - 3.2, y + 50)
    small = 5 * np.hypot(smooth_noise(g, x.shape, 5), smooth_noise(g, x.shape, 5)) - 0.7
    small = np.maximum(small, np.maximum(pial - 0.5, -depth - 1))
    return [layer("vessel", inside(np.minimum(np.minimum(sagittal, transverse), small)) * inside(cavity))]


def _share(layers, tissues):
    """Share (I, J, K) of the voxels that shows one of `tissues` when all layers are painted."""
    shown = np.zeros(BOX.shape, np.float32)
    for coat in layers:
        below = shown[coat.part]
        below += coat.share * (np.float32(coat.tissue in tissues) - below)
    return shown
