"""What a network sees in training: patches turned, scaled, flipped, and degraded as other scanners and protocols would.

Everything works on torch CPU tensors of one patch and draws its chance from one numpy Generator, so that a patch is a function of its seed.
Channels are z-scored within the brain and exactly 0 outside; each step keeps it so.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from .config import Config

__all__ = ["augment", "cut", "rotation"]


def cut(channels: torch.Tensor, labels: torch.Tensor, centre: np.ndarray, config: Config, rng: np.random.Generator):
    """Patch (C, *patch) float32 and labels (*patch) uint8 around `centre` (voxel), with a random rotation, scaling and flip.

    Two in five patches are taken as they are (flips only): interpolation blurs, and clinical images are not all blurred.
    """
    size = np.array(config.patch)
    if config.spatial > 0 and rng.random() < 0.6:
        image, target = _cut_turned(channels, labels, centre, size, config.spatial, rng)
    else:
        image, target = _cut_straight(channels, labels, np.round(centre).astype(int) - size // 2, size)
    axes = [axis for axis, share in enumerate((0.5, 0.2, 0.2)) if config.spatial > 0 and rng.random() < share]
    if axes:
        image, target = image.flip([axis + 1 for axis in axes]), target.flip(axes)
    return image, target


def augment(image: torch.Tensor, config: Config, rng: np.random.Generator) -> torch.Tensor:
    """Intensities of (C, I, J, K) as another scanner might give them, then some sequences taken away."""
    strength = config.intensity
    if strength > 0:
        brain = image != 0
        image = _coarsen_all(image, strength, rng)
        if rng.random() < 0.3:
            image = _biased(image, strength, rng)  # one coil, one field for all sequences
        for index in range(len(image)):
            image[index] = _one_sequence(image[index], strength, rng)
        image = image * brain
    return _drop_sequences(image, config.all_sequences_share, rng)


def _cut_straight(channels, labels, low, size):
    shape = np.array(labels.shape)
    first, last = np.maximum(low, 0), np.minimum(low + size, shape)
    pads = [int(n) for pair in zip(first - low, low + size - last, strict=True) for n in pair]
    inside = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    pads = pads[4:] + pads[2:4] + pads[:2]  # F.pad counts from the last axis
    return F.pad(channels[(slice(None), *inside)].float(), pads), F.pad(labels[inside], pads)


def _cut_turned(channels, labels, centre, size, strength, rng):
    turn = rotation(np.radians(rng.uniform(-20, 20, 3) * strength))
    scale = np.exp(rng.uniform(-0.28, 0.28) * strength + rng.uniform(-0.08, 0.08, 3) * strength)  # above 1: the lesion gets smaller
    matrix = turn * scale  # patch offset -> volume offset, in voxels
    # Only the box that the turned patch can reach is handed on.
    reach = np.abs(matrix) @ (size / 2) + 2
    low = np.floor(centre - reach).astype(int)
    box = np.ceil(2 * reach).astype(int) + 1
    image, target = _cut_straight(channels, labels, low, box)
    at = np.array(centre) - low
    # grid_sample counts -1..1 over the last axis first.
    theta = np.zeros((3, 4))
    unit = 2.0 / np.maximum(box - 1, 1)
    theta[:, :3] = (unit[:, None] * matrix * ((size - 1) / 2)[None, :])[::-1, ::-1]
    theta[:, 3] = (unit * at - 1)[::-1]
    grid = F.affine_grid(torch.from_numpy(theta).float()[None], [1, 1, *size.tolist()], align_corners=True)
    out = F.grid_sample(image[None], grid, mode="bilinear", align_corners=True)[0]
    near = F.grid_sample(target[None, None].float(), grid, mode="nearest", align_corners=True)[0, 0].to(torch.uint8)
    return out, near


def rotation(angles: np.ndarray) -> np.ndarray:
    """3x3: turns by `angles` (rad) about the first, second and third axis."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [n for n in range(3) if n != axis]
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ step
    return matrix


def _one_sequence(x: torch.Tensor, strength: float, rng: np.random.Generator) -> torch.Tensor:
    if rng.random() < 0.15:
        x = _blur(x, rng.uniform(0.4, 0.4 + 0.7 * strength))
    if rng.random() < 0.15:
        x = _coarsen(x, int(rng.integers(3)), rng.uniform(2, 5))
    if rng.random() < 0.4:
        x = _gamma(x, float(np.exp(rng.uniform(-0.5, 0.5) * strength)), inverted=rng.random() < 0.35)
    if rng.random() < 0.25:
        x = _biased(x, strength, rng)
    if rng.random() < 0.5:
        x = x * float(np.exp(rng.uniform(-0.3, 0.3) * strength)) + float(rng.uniform(-0.3, 0.3) * strength)
    if rng.random() < 0.25:
        x = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**31)))) * float(rng.uniform(0, 0.3 * strength))
    return x


def _coarsen_all(image: torch.Tensor, strength: float, rng: np.random.Generator) -> torch.Tensor:
    """All sequences as thick slices along one axis, as a 2-D clinical protocol makes them."""
    if rng.random() >= 0.15 * strength:
        return image
    axis, factor = int(rng.integers(3)), rng.uniform(2, 6)
    return torch.stack([_coarsen(x, axis, factor) for x in image])


def _coarsen(x: torch.Tensor, axis: int, factor: float) -> torch.Tensor:
    shape = list(x.shape)
    shape[axis] = max(1, round(shape[axis] / factor))
    thick = F.interpolate(x[None, None], size=shape, mode="area")
    return F.interpolate(thick, size=x.shape, mode="trilinear")[0, 0]


def _blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    radius = 2
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = 2 * radius + 1
        x = F.conv3d(x[None, None], taps.reshape(1, 1, *shape), padding=[radius if a == axis else 0 for a in range(3)])[0, 0]
    return x


def _gamma(x: torch.Tensor, gamma: float, inverted: bool) -> torch.Tensor:
    if inverted:
        return -_gamma(-x, gamma, inverted=False)
    low, high = x.min(), x.max()
    if high - low < 1e-3:
        return x
    mean, std = x.mean(), x.std()
    y = ((x - low) / (high - low)).pow(gamma)
    # The statistics stay (nnU-Net's retain_stats): normalisation would have undone a change of them.
    return (y - y.mean()) / (y.std() + 1e-6) * std + mean


def _biased(x: torch.Tensor, strength: float, rng: np.random.Generator) -> torch.Tensor:
    """(..., I, J, K) under a coil's uneven sensitivity: a smooth field that multiplies intensities by 1 + b.

    z-scores are intensities less their mean, over a deviation of about 0.28 means, so b adds 3.5 b to them as well.
    """
    knots = int(rng.integers(2, 5))
    coarse = rng.normal(0, rng.uniform(0.05, 0.25) * strength, (1, 1, knots, knots, knots)).astype(np.float32)
    field = F.interpolate(torch.from_numpy(coarse), size=x.shape[-3:], mode="trilinear", align_corners=True)[0, 0]
    return x * (1 + field) + 3.5 * field


def _drop_sequences(image: torch.Tensor, keep_all: float, rng: np.random.Generator) -> torch.Tensor:
    if rng.random() < keep_all:
        return image
    # The number that goes is drawn evenly from 1, 2 and 3, so that single sequences are seen as often as pairs.
    gone = rng.permutation(len(image))[: int(rng.integers(1, len(image)))]
    image[torch.from_numpy(gone)] = 0
    return image
