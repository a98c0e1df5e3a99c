"""What a network sees in training: patches turned, scaled, flipped, and degraded as other scanners and protocols would.

Everything works on torch CPU tensors of one patch and draws its chance from one numpy Generator, so that a patch is a function of its seed.
Channels are z-scored within the brain and exactly 0 outside; each step keeps it so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from braintumorseg.study import ROLES

from .brain_view import Brain
from .config import Config

__all__ = ["Note", "augment", "cut", "rotation", "untold"]

Note = Callable[..., None]   # is told what was done to a patch: (what,), or (what, role) where it was done to one sequence alone

_AXES = ("left-right", "front-back", "up-down")                # of the patch as it is now
_PLANES = ("in sagittal planes", "in coronal planes", "in axial planes")
_KNOT_VOXELS = 32   # between the knots of an elastic field
_MOST_BENT = 2.0    # spreads of a knot


def untold(what: str, role: str = "") -> None:
    """The Note of who does not want to know."""


def cut(brain: Brain, centre: np.ndarray, config: Config, rng: np.random.Generator, note: Note = untold):
    """Patch (C, *patch) float32 and labels (*patch) uint8 around `centre` (voxel), with a random rotation, scaling and flip.

    Two in five patches are taken as they are (flips only): interpolation blurs, and clinical images are not all blurred.
    """
    size = np.array(config.patch)
    if config.spatial > 0 and rng.random() < 0.6:
        image, target = _cut_turned(brain, centre, size, config.spatial, config.elastic, rng, note)
    else:
        image, target = brain.box(np.round(centre).astype(int) - size // 2, size)
    axes = [axis for axis, share in enumerate((0.5, 0.2, 0.2)) if config.spatial > 0 and rng.random() < share]
    if axes:
        note(f"flipped {', '.join(_AXES[axis] for axis in axes)}")
        image, target = image.flip([axis + 1 for axis in axes]), target.flip(axes)
    return image, target


def augment(image: torch.Tensor, config: Config, rng: np.random.Generator, note: Note = untold) -> torch.Tensor:
    """Intensities of (C, I, J, K) as another scanner might give them, then some sequences taken away."""
    strength, thick = config.intensity, config.low_resolution
    if strength > 0 or thick > 0:
        brain = image.sign().abs_()   # 1 within and 0 outside: floats, for with booleans both ends take CPUs three times as long
        image = _coarsen_all(image, thick, rng, note)
        if strength > 0 and rng.random() < 0.3:
            note("uneven coil")
            image = _biased(image, strength, rng)  # one coil, one field for all sequences
        for role, sequence in zip(ROLES, image, strict=True):
            changed = _one_sequence(sequence, strength, thick, rng, note, role)
            if changed is not sequence:
                sequence.copy_(changed)
        image *= brain
    return _drop_sequences(image, config.all_sequences_share, rng, note)


def _cut_turned(brain, centre, size, strength, elastic, rng, note=untold):
    """Turned about one axis, by up to 25 degrees, and scaled along all three; bent as well, where `elastic` (voxels) is above 0.

    A turn in a plane moves whole lines of voxels alike, which costs a fifth of a free one. Bending does the same: the plane is bent, and the
    axis stretched here and compressed there.
    """
    axis = int(rng.integers(3))
    plane = [a for a in range(3) if a != axis]
    turn = np.eye(3)
    angle = np.radians(rng.uniform(-25, 25) * strength)
    turn[np.ix_(plane, plane)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    scale = np.exp(rng.uniform(-0.28, 0.28) * strength + rng.uniform(-0.08, 0.08, 3) * strength)  # above 1: the lesion gets smaller
    note(f"turned {np.degrees(angle):.0f}° {_PLANES[axis]}")
    note(f"{1 / float(scale.prod()) ** (1 / 3):.2f} times as large{', bent' * (elastic > 0)}")
    matrix = turn * scale  # patch offset -> volume offset, in voxels
    # Only the box that the turned patch can reach is handed on.
    reach = np.abs(matrix) @ (size / 2) + 2 + (_MOST_BENT * elastic if elastic else 0)
    low = np.floor(centre - reach).astype(int)
    image, target = brain.box(low, np.ceil(2 * reach).astype(int) + 1)
    at = np.array(centre) - low

    image, target = _axis_first(image, axis), target.movedim(axis, 0)                    # (C, A, P, Q) and (A, P, Q)
    box, out = np.array(image.shape[2:]), size[plane]
    # grid_sample counts -1..1 over the last axis first.
    theta = np.zeros((2, 3))
    unit = 2.0 / np.maximum(box - 1, 1)
    theta[:, :2] = (unit[:, None] * matrix[np.ix_(plane, plane)] * ((out - 1) / 2)[None, :])[::-1, ::-1]
    theta[:, 2] = (unit * at[plane] - 1)[::-1]
    grid = F.affine_grid(torch.from_numpy(theta).float()[None], [1, 1, *out.tolist()], align_corners=True)
    if elastic:
        bent = _smooth_field((2, *out.tolist()), elastic, rng).movedim(0, -1)                # (P, Q, 2), voxels of the last axis first
        grid = grid + bent * torch.from_numpy(unit[::-1].copy()).float()
    lines = at[axis] + scale[axis] * (np.arange(size[axis]) - (size[axis] - 1) / 2)      # where the patch's planes lie in the box
    if elastic:
        lines = lines + _smooth_field((1, int(size[axis])), elastic, rng)[0].numpy()
    target = target[torch.from_numpy(np.round(lines).astype(int))]
    image = F.grid_sample(image.reshape(1, -1, *box.tolist()), grid, mode="bilinear", align_corners=True).view(*image.shape[:2], *out.tolist())
    target = F.grid_sample(target[None].float(), grid, mode="nearest", align_corners=True)[0].to(torch.uint8)
    image = _along(image, 0, _linear(lines, image.shape[1]))
    return image.movedim(1, axis + 1).contiguous(), target.movedim(0, axis).contiguous()


def _axis_first(image: torch.Tensor, axis: int) -> torch.Tensor:
    """(C, I, J, K) with that axis of the three as the first of them."""
    if axis != 2:
        return image.movedim(axis + 1, 1)
    # Turning matrices over one by one takes torch less than half the time of moving the last axis.
    channels, i, j, k = image.shape
    turned = image.new_empty(channels, k, i, j)
    for there, here in zip(turned, image, strict=True):
        there.view(k, i * j).copy_(here.view(i * j, k).t())
    return turned


def _smooth_field(shape: tuple[int, ...], spread: float, rng: np.random.Generator) -> torch.Tensor:
    """(N, *sides): N smooth random displacements along a line or over a plane, in voxels, of about that spread, none beyond _MOST_BENT of it."""
    knots = rng.normal(0, spread, (1, shape[0], *(max(4, round(side / _KNOT_VOXELS) + 1) for side in shape[1:]))).astype(np.float32)
    knots = torch.from_numpy(knots.clip(-_MOST_BENT * spread, _MOST_BENT * spread))
    if len(shape) == 2:  # there is no cubic interpolation of a line alone
        return F.interpolate(knots[:, :, None].expand(-1, -1, 4, -1), size=(4, shape[1]), mode="bicubic",
                             align_corners=True)[0, :, 0].clamp(-_MOST_BENT * spread, _MOST_BENT * spread)
    return F.interpolate(knots, size=shape[1:], mode="bicubic", align_corners=True)[0].clamp(-_MOST_BENT * spread, _MOST_BENT * spread)


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


def _one_sequence(x: torch.Tensor, strength: float, thick: float, rng: np.random.Generator, note: Note, role: str) -> torch.Tensor:
    if strength > 0 and rng.random() < 0.15:
        note("blurred", role)
        x = _blur(x, rng.uniform(0.4, 0.4 + 0.7 * strength))
    if rng.random() < 0.15 * thick:
        axis, factor = int(rng.integers(3)), rng.uniform(2, 5)
        note(f"slices of {factor:.1f} voxels {_AXES[axis]}", role)
        x = _coarsen(x, axis, factor)
    if strength == 0:
        return x
    if rng.random() < 0.4:
        note("gamma", role)
        x = _gamma(x, float(np.exp(rng.uniform(-0.5, 0.5) * strength)), inverted=rng.random() < 0.35)
    if rng.random() < 0.25:
        note("uneven coil", role)
        x = _biased(x, strength, rng)
    if rng.random() < 0.5:
        note("contrast and brightness", role)
        x = x.mul(float(np.exp(rng.uniform(-0.3, 0.3) * strength))).add_(float(rng.uniform(-0.3, 0.3) * strength))
    if rng.random() < 0.25:
        note("noise", role)
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**31))))
        x = noise.mul_(float(rng.uniform(0, 0.3 * strength))).add_(x)
    return x


def _coarsen_all(image: torch.Tensor, thick: float, rng: np.random.Generator, note: Note) -> torch.Tensor:
    """All sequences as thick slices along one axis, as a 2-D clinical protocol makes them."""
    if rng.random() >= 0.15 * thick:
        return image
    axis, factor = int(rng.integers(3)), rng.uniform(2, 6)
    note(f"slices of {factor:.1f} voxels {_AXES[axis]}")
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
        return _gamma(-x, gamma, inverted=False).neg_()
    low, high = x.min(), x.max()
    if high - low < 1e-3:
        return x
    mean, std = x.mean(), x.std()
    y = (x - low).div_(high - low).pow_(gamma)
    # The statistics stay (nnU-Net's retain_stats): normalisation would have undone a change of them.
    centre, spread = y.mean(), y.std()
    return y.sub_(centre).div_(spread + 1e-6).mul_(std).add_(mean)


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


def _drop_sequences(image: torch.Tensor, keep_all: float, rng: np.random.Generator, note: Note) -> torch.Tensor:
    if rng.random() < keep_all:
        return image
    # The number that goes is drawn evenly from 1, 2 and 3, so that single sequences are seen as often as pairs.
    gone = rng.permutation(len(image))[: int(rng.integers(1, len(image)))]
    image[torch.from_numpy(gone)] = 0
    for index in gone:
        note("taken away", ROLES[index])
    return image
