"""How bright the phantom's tissues are in each sequence, and what a scanner adds: bias field, texture, noise, thick slices.

Brightness is relative to normal white matter = 100, as seen in clinical 1.5 and 3 T head protocols (spin-echo T1 and T2, T2-FLAIR
that nulls fluid, T1 after gadolinium); each patient's scanner departs from the table a little.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from .phantom_shapes import smooth_noise

__all__ = ["BRIGHTNESS", "paint", "protocol", "scan", "thick"]

#                t1  t1ce   t2  flair
BRIGHTNESS = {
    "air":        (3, 3, 3, 3),
    "csf":        (32, 32, 290, 22),
    "grey":       (80, 82, 142, 128),
    "white":      (100, 100, 100, 100),
    "rim":        (97, 97, 112, 118),      # the ventricles' lining
    "thalamus":   (88, 89, 118, 112),
    "striatum":   (83, 85, 124, 118),
    "pallidum":   (92, 92, 88, 96),
    "cerebellum": (82, 85, 138, 118),
    "stem":       (94, 95, 110, 104),
    "plexus":     (70, 160, 190, 95),
    "dura":       (62, 118, 60, 75),
    "vessel":     (45, 190, 40, 40),
    "oedema":     (84, 84, 205, 182),
    "core":       (66, 68, 235, 165),      # necrosis, and core that does not enhance
    "cyst":       (48, 50, 275, 70),       # pools of fluid in it
    "enhancing":  (84, 172, 190, 172),
    "skin":       (85, 110, 70, 75),
    "fat":        (215, 220, 190, 165),
    "muscle":     (68, 75, 50, 55),
    "bone":       (14, 14, 10, 10),
    "marrow":     (110, 115, 70, 65),
    "vitreous":   (34, 34, 285, 28),
    "lens":       (90, 92, 55, 70),
    "mucosa":     (75, 150, 190, 140),
}
_COLUMN = {"t1": 0, "t1ce": 1, "t2": 2, "flair": 3}
_BODY = {"csf", "air", "vitreous", "bone"}  # dark or bright whatever the protocol
_TUMOUR = {"oedema", "core", "cyst", "enhancing"}  # differ from patient to patient, not only from scanner to scanner


def protocol(generator: np.random.Generator, role: str) -> dict[str, float]:
    """Brightness of each tissue for one patient's scan of `role`: the table, with contrast and single tissues a little off."""
    contrast = float(generator.uniform(0.75, 1.2))
    values = {}
    for tissue, row in BRIGHTNESS.items():
        value = float(row[_COLUMN[role]])
        if tissue not in _BODY:
            value = 100 + (value - 100) * contrast if value > 50 else value
            value *= float(np.exp(generator.normal(0, 0.07 if tissue in _TUMOUR else 0.03)))
        values[tissue] = value
    values["csf"] *= float(generator.uniform(0.85, 1.15))
    return values


def paint(layers, brightness: Mapping[str, float], image: np.ndarray) -> np.ndarray:
    """`layers` one over the other on `image` (I, J, K) float32, which is changed and returned."""
    for coat in layers:
        ground = image[coat.part]
        ground += coat.share * (np.float32(brightness[coat.tissue]) - ground)
    return image


def scan(image, generator: np.random.Generator, spacing_mm, noise: float, bias: float) -> np.ndarray:
    """`image` (I, J, K) as a coil sees it: times a smooth bias field, with Rician noise; both given by their deviations."""
    field = smooth_noise(generator, image.shape, 45 / np.asarray(spacing_mm))
    real = image * np.exp(np.float32(bias) * np.clip(field, -2.5, 2.5))
    real += np.float32(noise) * generator.standard_normal(image.shape, dtype=np.float32)
    other = np.float32(noise) * generator.standard_normal(image.shape, dtype=np.float32)
    return np.hypot(real, other, out=real)


def thick(image, slice_mm: float) -> np.ndarray:
    """`image` (I, J, K) of 1 mm as if it had been joined from axial slices `slice_mm` thick: averaged and blurred along K."""
    averaged = ndimage.uniform_filter1d(image, max(1, round(slice_mm)), axis=2)
    return ndimage.gaussian_filter1d(averaged, slice_mm / 5, axis=2)
