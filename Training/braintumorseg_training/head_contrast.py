"""How bright each tissue of a synthetic head is: as one of the usual sequences shows it, or at random (SynthSeg, Billot 2023)."""

from __future__ import annotations

import numpy as np

from .head_maps import TISSUES

__all__ = ["SEQUENCES", "draw_brightness", "usual_brightness"]

SEQUENCES = ("t1", "t1ce", "t2", "flair")
# Tissue -> brightness in T1, T1ce, T2, FLAIR, white matter in T1 being 0.7; from textbooks' pictures, and varied widely below.
_USUAL = {
    "air": (0.01, 0.01, 0.01, 0.01), "white": (0.70, 0.70, 0.30, 0.40), "cerebellar_white": (0.68, 0.68, 0.32, 0.42),
    "stem": (0.64, 0.64, 0.34, 0.42), "cortex": (0.50, 0.53, 0.42, 0.52), "cerebellar_cortex": (0.50, 0.53, 0.42, 0.50),
    "deep_grey": (0.55, 0.57, 0.37, 0.47), "thalamus": (0.59, 0.60, 0.37, 0.47), "ventricle": (0.16, 0.16, 0.95, 0.09),
    "csf": (0.18, 0.20, 0.92, 0.12), "artery": (0.30, 0.95, 0.08, 0.15), "vein": (0.30, 0.95, 0.15, 0.25), "dura": (0.30, 0.55, 0.18, 0.28),
    "bone": (0.06, 0.06, 0.05, 0.06), "marrow": (0.65, 0.70, 0.40, 0.45), "skin": (0.60, 0.62, 0.35, 0.45),
    "outer_soft": (0.95, 0.95, 0.60, 0.75), "middle_soft": (0.80, 0.85, 0.50, 0.65), "deep_soft": (0.38, 0.48, 0.18, 0.28),
    "strands": (0.80, 0.85, 0.50, 0.65), "orbit_fat": (0.95, 0.95, 0.60, 0.70), "eye": (0.18, 0.18, 0.95, 0.12),
    "eye_muscle": (0.40, 0.75, 0.22, 0.35), "mucosa": (0.42, 0.85, 0.80, 0.80), "cord": (0.62, 0.62, 0.34, 0.42),
    "optic_nerve": (0.62, 0.62, 0.34, 0.42), "oedema": (0.47, 0.47, 0.70, 0.85), "tumour": (0.45, 0.70, 0.62, 0.70),
    "rim": (0.52, 1.00, 0.50, 0.62), "necrosis": (0.28, 0.26, 0.85, 0.50), "cavity": (0.16, 0.16, 0.95, 0.12),
}
_FAT = ("outer_soft", "middle_soft", "strands", "orbit_fat", "marrow")
# Tissues that a contrast may fail to tell apart.
_ALIKE = (("white", "cerebellar_white", "stem", "cord", "optic_nerve"), ("cortex", "cerebellar_cortex"), ("deep_grey", "thalamus"),
          ("ventricle", "csf", "eye", "cavity"), ("artery", "vein"), ("outer_soft", "middle_soft", "strands", "orbit_fat"),
          ("deep_soft", "eye_muscle"))
USUAL_SHARE = 0.65
_TABLE = np.array([_USUAL[tissue] for tissue in TISSUES], np.float32)
_PLACE = {tissue: place for place, tissue in enumerate(TISSUES)}


def draw_brightness(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) of each of TISSUES, float32 (T,), 0 dark to about 1."""
    mean = usual_brightness(int(rng.integers(len(SEQUENCES))), rng) if rng.random() < USUAL_SHARE else _random(rng)
    spread = rng.uniform(0.01, 0.07, len(TISSUES)) * rng.uniform(0.3, 1.5)
    spread[_PLACE["air"]] = 0.0
    for tissue in ("deep_soft", "mucosa", "strands", "tumour", "marrow"):
        spread[_PLACE[tissue]] *= 2.5
    return np.clip(mean, 0, 1.3).astype(np.float32), spread.astype(np.float32)


def usual_brightness(sequence: int, rng: np.random.Generator) -> np.ndarray:
    """(T,) The contrast of one of SEQUENCES, each tissue a little off, and its fat suppressed in one of four."""
    mean = _TABLE[:, sequence].copy()
    if rng.random() < 0.15:  # between two sequences, as proton density is between T1 and T2
        share = rng.uniform(0.2, 0.8)
        mean = share * mean + (1 - share) * _TABLE[:, int(rng.integers(len(SEQUENCES)))]
    mean *= np.exp(rng.normal(0, 0.13, len(TISSUES)))
    mean[1:] += rng.normal(0, 0.025, len(TISSUES) - 1)
    if rng.random() < 0.25:
        mean[[_PLACE[tissue] for tissue in _FAT]] *= rng.uniform(0.1, 0.6)
    for tissue in ("marrow", "dura", "vein", "artery", "mucosa"):  # what differs most from patient to patient and scanner to scanner
        if rng.random() < 0.35:
            mean[_PLACE[tissue]] = rng.uniform(0.05, 1.0)
    return mean


def _random(rng: np.random.Generator) -> np.ndarray:
    """Any brightness for any tissue; those that are alike often share it, and bone and air are mostly dark."""
    mean = rng.uniform(0.05, 1.0, len(TISSUES))
    for alike in _ALIKE:
        if rng.random() < 0.75:
            places = [_PLACE[tissue] for tissue in alike]
            mean[places] = mean[places[0]] * np.exp(rng.normal(0, 0.06, len(places)))
    if rng.random() < 0.7:
        mean[_PLACE["bone"]] = rng.uniform(0.0, 0.15)
    mean[_PLACE["air"]] = rng.uniform(0.0, 0.02) if rng.random() < 0.9 else rng.uniform(0.0, 0.3)
    return mean
