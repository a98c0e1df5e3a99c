"""What lies around the phantom's brain: skull, scalp, face, orbits, sinuses and neck, on a 1 mm box of the whole head."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .phantom_anatomy import BOX, Brain, Patient
from .phantom_shapes import Layer, banded_noise, ellipsoid, polyline, refined_layer, signed_distance, smooth_noise, step
from .volume import Grid

__all__ = ["HEAD", "grow_head", "within_head"]

_FIRST, _LAST = (-92, -130, -116), (92, 110, 104)  # corners of the head's box, mm

HEAD = Grid(tuple(b - a + 1 for a, b in zip(_FIRST, _LAST, strict=True)),
            np.array([[1, 0, 0, _FIRST[0]], [0, 1, 0, _FIRST[1]], [0, 0, 1, _FIRST[2]], [0, 0, 0, 1]]))


def within_head(shape=BOX.shape) -> tuple[slice, slice, slice]:
    """Where the brain's BOX lies in the HEAD's box."""
    first = np.rint(BOX.affine[:3, 3] - HEAD.affine[:3, 3]).astype(int)
    return tuple(slice(a, a + n) for a, n in zip(first, shape, strict=True))


def grow_head(patient: Patient, brain: Brain) -> list[Layer]:
    """Layers on HEAD, to be painted over air and under the brain's."""
    g = patient.generator("around")
    axes = [np.arange(a, b + 1, 2, dtype=np.float32) for a, b in zip(_FIRST, _LAST, strict=True)]
    place = np.meshgrid(*axes, indexing="ij", sparse=True)
    x, y, z = (p / np.float32(s) for p, s in zip(place, patient.scale, strict=True))
    aside = np.abs(x)
    cavity = _cavity(brain, x.size, y.size, z.size)                     # (i, j, k) mm
    bone_mm = 6.2 + 0.9 * smooth_noise(g, cavity.shape, 9)
    scalp_mm = float(g.uniform(4.5, 8)) + 0.5 * smooth_noise(g, cavity.shape, 12)
    skull = cavity - bone_mm
    face = ellipsoid(x, y, z, (0, 36, -62), (61, 52, 66)) + 0.5 * smooth_noise(g, cavity.shape, 8)
    nose = polyline((x, y, z), [(0, 82, -38, 6), (0, 96, -62, 10)])
    neck = polyline((0.95 * x, 0.9 * y, z), [(0, -24, -60, 52), (0, -30, -150, 55)])
    ears = ellipsoid(aside, y, z, (79, -22, -38), (9, 15, 27))
    outer = _blend(_blend(_blend(_blend(cavity - bone_mm - scalp_mm, face, 8), neck, 8), nose, 6), ears, 2)
    fat_mm = 2 + np.minimum(scalp_mm, 5) + 2 * step(z, -20, -60)
    masseter = np.minimum(ellipsoid(aside, y, z, (66, 14, -18), (7, 30, 34)), ellipsoid(aside, y, z, (52, 22, -80), (10, 16, 26)))
    strands = np.repeat(banded_noise(g, 128, 11)[:x.size, :y.size, :z.size // 4 + 1], 4, axis=2)
    strands = ndimage.gaussian_filter1d(strands, 3, axis=2)
    septa = np.abs(3 * strands[:, :, :z.size]) - 0.15  # fat between muscles, which run up and down
    layers = [("skin", outer), ("fat", outer + 2.2), ("muscle", np.maximum(outer + fat_mm, np.minimum(z + 22, masseter))),
              ("fat", np.maximum(np.maximum(septa, outer + fat_mm), z + 22)),
              ("bone", skull), ("marrow", np.maximum(skull + 2, 1.8 - cavity) + 0.1 + 0.6 * smooth_noise(g, cavity.shape, 2))]
    layers += [(name, np.maximum(shape, outer + 3)) for name, shape in _face(aside, x, y, z, g, cavity)]
    return [refined_layer(tissue, distance, 1.3) for tissue, distance in layers]


def _cavity(brain: Brain, *shape):
    """Signed distance (i, j, k) mm to the inner table of the skull on the head's 2 mm grid, kept beyond the brain's box."""
    first = [part.start // 2 for part in within_head()]
    within = np.zeros(shape, bool)
    small = brain.cavity_mm[::2, ::2, ::2]
    spans = tuple(slice(a, a + n) for a, n in zip(first, small.shape, strict=True))
    within[spans] = small < 0
    return ndimage.gaussian_filter(signed_distance(within, 2), 1.0)


def _face(aside, x, y, z, g, cavity):
    """(tissue, signed distance) of orbits, sinuses, airways, jaw and spine, front to back."""
    eye, cells = (31.0, 51.0, -36.0), 3 * smooth_noise(g, cavity.shape, 1.5)
    orbit = ellipsoid(aside - 0.25 * (y - 46), y, z, (30, 41, -36), (17, 27, 16))
    sinuses = [((0, 46, -36), (11, 20, 12)), ((0, 20, -36), (12, 11, 9)), ((27, 50, -66), (13, 15, 15))]
    jaw = polyline((aside, y, z), [(12, 78, -108, 6), (38, 50, -106, 6), (48, 12, -92, 6), (50, 4, -56, 5)])
    palate = ellipsoid(x, y, z, (0, 56, -82), (25, 26, 5))
    shapes = [("bone", ellipsoid(x, y, z, (0, 30, -38), (44, 32, 17))), ("marrow", ellipsoid(x, y, z, (0, 2, -40), (9, 9, 14))),
              ("bone", palate), ("bone", jaw), ("marrow", jaw + 2.5)]
    for centre, radii in sinuses:
        cave = ellipsoid(aside, y, z, centre, radii)
        shapes += [("mucosa", cave), ("air", cave + 1.6)]
    septum = 1.2 - aside
    shapes += [("mucosa", ellipsoid(x, y, z, (0, 56, -62), (12, 28, 13))),
               ("air", np.maximum(ellipsoid(x, y, z, (0, 56, -62), (9, 28, 11)) + cells, septum)),
               ("skin", ellipsoid(x, y, z, (0, 56, -62), (1.5, 28, 14))),
               ("air", polyline((0.7 * x, y, z), [(0, 22, -62, 7), (0, 8, -78, 7), (0, 2, -130, 7)])),
               ("air", ellipsoid(aside, y, z, (52, -30, -46), (9, 14, 13)) + cells),
               ("fat", orbit),
               ("muscle", np.maximum(np.abs(orbit + 6) - 1.2, np.maximum(y - 47, 22 - y))),
               ("stem", polyline((aside, y, z), [(31, 40, -36, 2), (14, 14, -28, 2.2)])),
               ("bone", ellipsoid(x, y, z, (0, -44, -82), (24, 19, 40))),
               ("marrow", ellipsoid(x, y, z, (0, -28, -96), (9, 7, 28))),
               ("csf", polyline((x, y, z), [(0, -41, -56, 11), (0, -45, -150, 9)])),
               ("stem", polyline((x, y, z), [(0, -41, -56, 6.5), (0, -45, -150, 5.5)])),
               ("muscle", ellipsoid(aside, y, z, eye, (13.2, 13.2, 13.2))),
               ("vitreous", ellipsoid(aside, y, z, eye, (12, 12, 12))),
               ("lens", ellipsoid(aside, y, z, (eye[0], eye[1] + 9.5, eye[2]), (4.8, 2.2, 4.8)))]
    return shapes


def _blend(first, second, width_mm: float):
    """Union of two signed distances with a fillet `width_mm` wide."""
    share = np.clip(width_mm - np.abs(first - second), 0, None) / np.float32(width_mm)
    return np.minimum(first, second) - share * share * np.float32(width_mm / 4)
