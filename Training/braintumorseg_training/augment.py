"""What a network sees in training: patches turned, scaled, flipped, and degraded as other scanners and protocols would.

Everything works on torch CPU tensors of one patch and draws its chance from one numpy Generator, so that a patch is a function of its seed.
Channels are z-scored within the brain and exactly 0 outside; each step keeps it so.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from .brain_view import Brain
from .config import Config

__all__ = ["augment", "cut", "rotation"]


def cut(brain: Brain, centre: np.ndarray, config: Config, rng: np.random.Generator):
    """Patch (C, *patch) float32 and labels (*patch) uint8 around `centre` (voxel), with a random rotation, scaling and flip.

    Two in five patches are taken as they are (flips only): interpolation blurs, and clinical images are not all blurred.
    """
    size = np.array(config.patch)
    if config.spatial > 0 and rng.random() < 0.6:
        image, target = _cut_turned(brain, centre, size, config.spatial, rng)
    else:
        image, target = brain.box(np.round(centre).astype(int) - size // 2, size)
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
        for sequence in image:
            changed = _one_sequence(sequence, strength, rng)
            if changed is not sequence:
                sequence.copy_(changed)
        image *= brain
    return _drop_sequences(image, config.all_sequences_share, rng)


def _cut_turned(brain, centre, size, strength, rng):
    """Turned about one axis, by up to 25 degrees, and scaled along all three.

    A turn in a plane moves whole lines of voxels alike, which costs a fifth of a free one.
    """
    axis = int(rng.integers(3))
    plane = [a for a in range(3) if a != axis]
    turn = np.eye(3)
    angle = np.radians(rng.uniform(-25, 25) * strength)
    turn[np.ix_(plane, plane)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    scale = np.exp(rng.uniform(-0.28, 0.28) * strength + rng.uniform(-0.08, 0.08, 3) * strength)  # above 1: the lesion gets smaller
    matrix = turn * scale  # patch offset -> volume offset, in voxels
    # Only the box that the turned patch can reach is handed on.
    reach = np.abs(matrix) @ (size / 2) + 2
    low = np.floor(centre - reach).astype(int)
    image, target = brain.box(low, np.ceil(2 * reach).astype(int) + 1)
    at = np.array(centre) - low

    image, target = image.movedim(axis + 1, 1), target.movedim(axis, 0)                   # (C, A, P, Q) and (A, P, Q)
    box, out = np.array(image.shape[2:]), size[plane]
    # grid_sample counts -1..1 over the last axis first.
    theta = np.zeros((2, 3))
    unit = 2.0 / np.maximum(box - 1, 1)
    theta[:, :2] = (unit[:, None] * matrix[np.ix_(plane, plane)] * ((out - 1) / 2)[None, :])[::-1, ::-1]
    theta[:, 2] = (unit * at[plane] - 1)[::-1]
    grid = F.affine_grid(torch.from_numpy(theta).float()[None], [1, 1, *out.tolist()], align_corners=True)
    lines = at[axis] + scale[axis] * (np.arange(size[axis]) - (size[axis] - 1) / 2)      # where the patch's planes lie in the box
    target = target[torch.from_numpy(np.round(lines).astype(int))]
    image = F.grid_sample(image.reshape(1, -1, *box.tolist()), grid, mode="bilinear", align_corners=True).view(*image.shape[:2], *out.tolist())
    target = F.grid_sample(target[None].float(), grid, mode="nearest", align_corners=True)[0].to(torch.uint8)
    image = _along(image, 0, _linear(lines, image.shape[1]))
    return image.movedim(1, axis + 1).contiguous(), target.movedim(0, axis).contiguous()


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
    return _coarsen(image, axis, factor)


def _coarsen(x: torch.Tensor, axis: int, factor: float) -> torch.Tensor:
    """(..., I, J, K) in slices `factor` voxels thick along `axis`, interpolated back."""
    count = x.shape[axis - 3]
    slices = max(1, round(count / factor))
    thin = F.interpolate(torch.eye(count)[None], size=slices, mode="area")
    return _along(x, axis, F.interpolate(thin, size=count, mode="linear")[0])


def _blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    for axis in range(3):
        steps = torch.arange(x.shape[axis - 3], dtype=torch.float32)
        apart = steps[:, None] - steps[None]
        taps = torch.exp(-0.5 * (apart / sigma) ** 2) * (apart.abs() <= 3)
        x = _along(x, axis, taps / taps.sum(0).max())
    return x


def _along(x: torch.Tensor, axis: int, response: torch.Tensor) -> torch.Tensor:
    """A linear filter along one of the last three axes of x, as one matrix product: response[i] is what an impulse at voxel i turns into."""
    if axis == 2:
        return x @ response
    if axis == 1:
        return response.T @ x
    *lead, count, j, k = x.shape
    return (response.T @ x.reshape(*lead, count, j * k)).view(*lead, -1, j, k)


def _linear(where: np.ndarray, count: int) -> torch.Tensor:
    """The filter (count, len(where)) that reads a line of `count` voxels between them, at `where`."""
    lower = np.clip(np.floor(where).astype(int), 0, count - 2)
    share = np.clip(where - lower, 0, 1)
    response = np.zeros((count, len(where)), np.float32)
    columns = np.arange(len(where))
    response[lower, columns] = 1 - share
    response[lower + 1, columns] = share
    return torch.from_numpy(response)


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
    field = torch.from_numpy(coarse)[0, 0]
    for axis in range(3):
        field = _along(field, axis, _linear(np.linspace(0, knots - 1, x.shape[axis - 3]), knots))
    return torch.addcmul(x, x + 3.5, field)


def _drop_sequences(image: torch.Tensor, keep_all: float, rng: np.random.Generator) -> torch.Tensor:
    if rng.random() < keep_all:
        return image
    # The number that goes is drawn evenly from 1, 2 and 3, so that single sequences are seen as often as pairs.
    gone = rng.permutation(len(image))[: int(rng.integers(1, len(image)))]
    image[torch.from_numpy(gone)] = 0
    return image
