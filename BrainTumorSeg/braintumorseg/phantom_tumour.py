"""The phantom's tumour: an irregular core with necrosis and an enhancing rim, and oedema that creeps along white matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .labels import ED, ET, NCR
from .phantom_anatomy import BOX, Brain, Patient
from .phantom_shapes import Layer, inside, layer, smooth_noise, step

__all__ = ["Tumour", "grow_tumour"]


@dataclass(frozen=True, eq=False)
class Tumour:
    """On the brain's BOX: `labels` (I, J, K) uint8 and the `layers` that are painted over the brain's."""

    labels: np.ndarray
    layers: list[Layer]


def grow_tumour(patient: Patient, brain: Brain) -> Tumour:
    """The tumour of `patient` in the room that `brain` made for it."""
    crop = _around(brain.centre, 2.2 * brain.radius_mm + 42)
    allowed = (brain.tissue_mm[crop] < -0.5) & ~brain.barrier[crop]
    core_mm, necrosis_mm = _core(patient, brain, crop, allowed)          # (i, j, k) mm, negative inside
    arrival, limit = _oedema(patient, brain, crop, allowed, core_mm)     # (i, j, k), number
    core = (core_mm < 0) & allowed
    labels = np.zeros(core.shape, np.uint8)
    labels[(arrival < limit) & allowed & (brain.fluid[crop] < 0.5)] = ED
    labels[core] = ET if patient.enhances else NCR
    if patient.enhances:
        labels[core & (necrosis_mm < 0)] = NCR
    return Tumour(_whole(labels, crop), _paint(patient, brain, crop, labels, allowed, core_mm, necrosis_mm, arrival, limit))


def _around(centre, reach_mm):
    first = np.maximum(np.floor(centre - reach_mm - BOX.affine[:3, 3]).astype(int), 0)
    last = np.minimum(np.ceil(centre + reach_mm - BOX.affine[:3, 3]).astype(int) + 1, BOX.shape)
    return tuple(slice(a, b) for a, b in zip(first, last, strict=True))


def _core(patient: Patient, brain: Brain, crop, allowed):
    """Signed distances (about mm) to the core and to its necrosis; their levels are set so that the wanted volumes come out."""
    g = patient.generator("core")
    axes = [np.arange(s.start, s.stop, dtype=np.float32) + np.float32(o) for s, o in zip(crop, BOX.affine[:3, 3], strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    distance = None
    for lobe in range(int(g.integers(1, 4))):
        at = brain.centre + (g.normal(0, 0.5, 3) * brain.radius_mm if lobe else 0)
        stretch = np.exp(g.normal(0, 0.15, 3))
        ball = np.sqrt(sum(((c - np.float32(m)) * np.float32(s)) ** 2 for c, m, s in zip((x, y, z), at, stretch, strict=True)))
        ball = ball + np.float32(brain.radius_mm * (0.35 if lobe else 0))
        distance = ball if distance is None else -3 * np.logaddexp(-distance / 3, -ball / 3)
    size = np.float32(brain.radius_mm)
    rough = 0.16 * size * smooth_noise(g, distance.shape, 4.5) + 0.55 * smooth_noise(g, distance.shape, 1.6)
    distance = distance + rough + 5 * step(brain.fluid[crop], 0.3, 1)
    core = distance - _level(distance, allowed, patient.core_ml)
    thickness = 1 + 0.45 * smooth_noise(g, distance.shape, 5) + 0.3 * smooth_noise(g, distance.shape, 2)
    within = core / np.clip(thickness, 0.35, 2.5)
    if patient.necrosis == 0:
        return core, np.full(core.shape, 9, np.float32)
    return core, within - min(_level(within, allowed & (core < 0), patient.necrosis * patient.core_ml), np.float32(-1.3))


def _oedema(patient: Patient, brain: Brain, crop, allowed, core_mm):
    """(arrival, limit): when fluid from the core reaches each voxel (fast marching, Sethian 1996), and when enough is wet."""
    import SimpleITK as sitk

    g = patient.generator("oedema")
    white = ndimage.gaussian_filter(brain.white[crop], 0.8)
    speed = 0.13 + 0.87 * step(white, 0.25, 0.85)
    speed = speed * np.exp(0.35 * smooth_noise(g, speed.shape, 6)) * (1 - 0.9 * brain.fluid[crop])
    speed = np.where(allowed, np.maximum(speed, 0.02), 1e-4).astype(np.float32)
    wet = (core_mm < 0) & allowed
    edge = np.argwhere(wet & ~ndimage.binary_erosion(wet))
    march = sitk.FastMarchingImageFilter()
    march.SetTrialPoints([tuple(int(n) for n in point[::-1]) for point in edge])
    march.SetStoppingValue(60.0)
    image = sitk.GetImageFromArray(speed)  # axes reversed on the way in and on the way out: they stay ours
    arrival = np.minimum(sitk.GetArrayFromImage(march.Execute(image)), 1000).astype(np.float32)
    arrival[wet] = 0
    room = allowed & ~wet & (brain.fluid[crop] < 0.5)
    return arrival, min(_level(arrival, room, patient.oedema_ml), 59.0)


def _paint(patient: Patient, brain: Brain, crop, labels, allowed, core_mm, necrosis_mm, arrival, limit):
    """Soft layers: oedema fades at its edge and is fainter in grey matter; the rim keeps its partial volume."""
    g = patient.generator("paint")
    mottled = np.clip(0.95 + 0.2 * smooth_noise(g, core_mm.shape, 3), 0.5, 1.25)
    tissue = 1 - brain.fluid[crop]
    wet = step(arrival, limit * 1.08 + 1.5, limit * 0.7) * tissue * allowed * mottled
    wet *= 0.45 + 0.55 * step(brain.white[crop], 0.1, 0.8)
    core = inside(core_mm) * allowed
    pools = core * 0.6 * step(smooth_noise(g, core_mm.shape, 4), 0.0, 1.8) * step(core_mm, 0, -3)
    shares = [("oedema", np.clip(wet, 0, 1)), ("core", core), ("cyst", pools)]
    if patient.enhances:
        patchy = np.clip(0.85 + 0.3 * smooth_noise(g, core_mm.shape, 2.2), 0.3, 1)
        shares.append(("enhancing", np.clip(core * inside(-necrosis_mm, 1.6) * patchy, 0, 1)))
    return [layer(tissue, share, [s.start for s in crop]) for tissue, share in shares]


def _level(field, where, ml: float):
    """The value below which `ml` of the voxels of `where` lie (all of them where they are fewer)."""
    values = np.sort(field[where])
    return values[min(int(ml * 1000), len(values) - 1)] if len(values) else np.float32(0)


def _whole(part, crop):
    full = np.zeros(BOX.shape, part.dtype)
    full[crop] = part
    return full
