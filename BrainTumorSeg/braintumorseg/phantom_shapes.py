"""The pencils the phantom is drawn with: signed distances in mm (negative inside), smooth noise, soft edges.

Fields are float32 arrays (I, J, K). Smooth fields are computed on a 2 mm grid and refined to 1 mm, which is exact enough for
distances and eight times cheaper. Distance formulas follow Quilez, "3D SDF primitives" (2008), reduced to what is needed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

__all__ = ["Layer", "banded_noise", "ellipsoid", "inside", "layer", "polyline", "refine", "refined_layer", "sample_periodic",
           "signed_distance", "smooth_noise", "step"]


@dataclass(frozen=True, eq=False)
class Layer:
    """One tissue: its share of each voxel, 0..1 float32, in the `part` of the image that holds any of it."""

    tissue: str
    part: tuple[slice, slice, slice]
    share: np.ndarray


def layer(tissue: str, share: np.ndarray, offset=(0, 0, 0)) -> Layer:
    """The layer of `share` (I, J, K), cut to the voxels that hold any; `offset` is where its first voxel lies in the image."""
    spans = []
    for axis in range(3):
        used = np.flatnonzero(share.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(used[0], used[-1] + 1) if len(used) else slice(0, 0))
    part = tuple(slice(s.start + int(o), s.stop + int(o)) for s, o in zip(spans, offset, strict=True))
    return Layer(tissue, part, np.ascontiguousarray(share[tuple(spans)], np.float32))


def refined_layer(tissue: str, distance: np.ndarray, softness_mm: float = 1.0) -> Layer:
    """The layer inside a surface given by its distance (i, j, k) on the 2 mm grid; only its surroundings are refined."""
    near, spans = distance < softness_mm, []
    for axis in range(3):
        used = np.flatnonzero(near.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(max(used[0] - 2, 0), min(used[-1] + 3, near.shape[axis])) if len(used) else slice(0, 2))
    share = inside(refine(distance[tuple(spans)]), softness_mm)
    return layer(tissue, share, [2 * s.start for s in spans])


def ellipsoid(x, y, z, centre, radii):
    """Signed distance (mm, first order: exact at the surface) to an ellipsoid; x, y, z broadcast to (I, J, K)."""
    u, v, w = ((c - m) / np.float32(r) for c, m, r in zip((x, y, z), map(np.float32, centre), radii, strict=True))
    scaled = np.sqrt(u * u + v * v + w * w)
    slope = np.sqrt((u / np.float32(radii[0])) ** 2 + (v / np.float32(radii[1])) ** 2 + (w / np.float32(radii[2])) ** 2)
    tiny = np.float32(1e-6)  # at the very centre both are 0, and the distance is the smallest radius
    return (scaled - 1) * (scaled + tiny) / (slope + tiny / np.float32(min(radii)))


def polyline(coordinates, points):
    """Signed distance to a tube along `points`: rows of one number per coordinate and a radius mm."""
    points = np.asarray(points, np.float32)
    nearest = None
    for start, end in pairwise(points):
        along = end[:-1] - start[:-1]
        share = sum((c - s) * a for c, s, a in zip(coordinates, start[:-1], along, strict=True)) / np.float32(along @ along)
        share = np.clip(share, 0, 1)
        squared = sum((c - s - share * a) ** 2 for c, s, a in zip(coordinates, start[:-1], along, strict=True))
        distance = np.sqrt(squared) - (start[-1] + share * (end[-1] - start[-1]))
        nearest = distance if nearest is None else np.minimum(nearest, distance)
    return nearest


def inside(distance, softness_mm: float = 1.0):
    """Share of a voxel within a surface, 0..1: a linear edge as wide as a 1 mm voxel, the partial volume of a flat border."""
    return np.clip(0.5 - distance / np.float32(softness_mm), 0, 1).astype(np.float32)


def step(value, low: float, high: float):
    """0 below `low`, 1 above `high`, smooth (3t² - 2t³) between; `low` > `high` turns it round."""
    share = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return share * share * (3 - 2 * share)


def signed_distance(mask: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Euclidean distance in mm to the border of a bool mask (I, J, K), negative inside, zero half a voxel from the border voxels.

    A mask without a border lies 1000 mm away from it.
    """
    if mask.all() or not mask.any():
        return np.full(mask.shape, -1000 if mask.all() else 1000, np.float32)
    outside = ndimage.distance_transform_edt(~mask) - 0.5
    within = ndimage.distance_transform_edt(mask) - 0.5
    return (np.where(mask, -within, outside) * spacing_mm).astype(np.float32)


def smooth_noise(generator: np.random.Generator, shape, sigma) -> np.ndarray:
    """Gaussian noise (I, J, K), mean about 0, deviation about 1, blurred by `sigma` voxels (one number, or one an axis).

    It is drawn on as few nodes as its smoothness needs and joined linearly.
    """
    sigma = np.broadcast_to(np.asarray(sigma, float), 3)
    factor = np.maximum(1.0, sigma / 2)
    small = tuple(int(np.ceil(n / f)) + 1 for n, f in zip(shape, factor, strict=True))
    room = tuple(max(n, 8) for n in small)  # wrapped noise on fewer nodes would have no middle
    noise = ndimage.gaussian_filter(generator.standard_normal(room, dtype=np.float32), sigma / factor, mode="wrap")
    noise = noise[tuple(slice(n) for n in small)] / np.float32(noise.std() + 1e-9)
    for axis, n in enumerate(shape):
        if factor[axis] == 1:
            noise = np.take(noise, np.arange(n), axis)
            continue
        place = np.linspace(0, noise.shape[axis] - 1.001, n, dtype=np.float32)
        low = place.astype(int)
        share = (place - low.astype(np.float32)).reshape([-1 if a == axis else 1 for a in range(3)])
        noise = np.take(noise, low, axis) * (1 - share) + np.take(noise, low + 1, axis) * share
    return noise


def banded_noise(generator: np.random.Generator, size: int, wavelength: float, width: float = 0.22) -> np.ndarray:
    """Periodic noise (size, size, size), deviation 1, of one `wavelength` in voxels: its zero level winds like sulci do."""
    frequency = np.fft.fftfreq(size).astype(np.float32)
    radius = np.sqrt(frequency[:, None, None] ** 2 + frequency[None, :, None] ** 2 + frequency[None, None, : size // 2 + 1] ** 2)
    band = np.exp(-0.5 * ((radius * wavelength - 1) / width) ** 2)
    noise = np.fft.irfftn(np.fft.rfftn(generator.standard_normal((size,) * 3)) * band, s=(size,) * 3)
    return (noise / noise.std()).astype(np.float32)


def sample_periodic(noise: np.ndarray, x, y, z) -> np.ndarray:
    """`noise` at voxel coordinates x, y, z (I, J, K), repeated in all directions, cubic."""
    return ndimage.map_coordinates(noise, [x, y, z], order=3, mode="grid-wrap", output=np.float32)


def refine(coarse: np.ndarray) -> np.ndarray:
    """A field (i, j, k) at half the spacing: (2i-1, 2j-1, 2k-1), old nodes kept, midpoints by the 4-point cubic rule."""
    for axis in range(3):
        field = np.moveaxis(coarse, axis, 0)
        padded = np.concatenate([2 * field[:1] - field[1:2], field, 2 * field[-1:] - field[-2:-1]])
        fine = np.empty((2 * field.shape[0] - 1, *field.shape[1:]), np.float32)
        fine[::2] = field
        fine[1::2] = np.float32(9 / 16) * (field[:-1] + field[1:]) - np.float32(1 / 16) * (padded[:-3] + padded[3:])
        coarse = np.moveaxis(fine, 0, axis)
    return np.ascontiguousarray(coarse)
