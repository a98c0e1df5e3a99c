"""Patches cut out of brains: turned, scaled, bent and flipped on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from .brain_view import Brain
from .config import RunConfig

__all__ = ["AXES", "Note", "cut", "cut_turned", "untold"]

Note = Callable[..., None]   # is told what was done to a patch: (what,), or (what, role) where it was done to one sequence alone

AXES = ("left-right", "front-back", "up-down")                # of the patch as it is now
_PLANES = ("in sagittal planes", "in coronal planes", "in axial planes")
_KNOT_VOXELS = 32   # between the knots of an elastic field
_MOST_BENT = 2.0    # spreads of a knot


def untold(what: str, role: str = "") -> None:
    """The Note of who does not want to know."""


def cut(brain: Brain, centre: np.ndarray, config: RunConfig, rng: np.random.Generator, note: Note = untold):
    """Patch (C, *patch) float32 and labels (*patch) uint8 around `centre` (voxel), with a random rotation, scaling and flip.

    Two in five patches are taken as they are (flips only): interpolation blurs, and clinical images are not all blurred.
    """
    size = np.array(config.patch)
    if config.spatial > 0 and rng.random() < 0.6:
        image, target = cut_turned(brain, centre, size, config.spatial, config.elastic, rng, note)
    else:
        image, target = brain.box(np.round(centre).astype(int) - size // 2, size)
    axes = [axis for axis, share in enumerate((0.5, 0.2, 0.2)) if config.spatial > 0 and rng.random() < share]
    if axes:
        note(f"flipped {', '.join(AXES[axis] for axis in axes)}")
        image, target = image.flip([axis + 1 for axis in axes]), target.flip(axes)
    return image, target


def cut_turned(brain: Brain, centre: np.ndarray, size: np.ndarray, strength: float, elastic: float, rng: np.random.Generator, note: Note = untold):
    """Turned about one axis, by up to 25 degrees, and scaled along all three; bent as well, where `elastic` (voxels) is above 0.

    A turn in a plane moves whole lines of voxels alike, so that a line of the patch is the weighted mean of four lines of the brain: of what lies
    side by side in memory, which takes less than half of the time of torch's grid_sample. Bending does the same: the plane is bent, and the
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

    offsets = [np.arange(n) - (n - 1) / 2 for n in size]
    across = np.stack(np.meshgrid(*(offsets[a] for a in plane), indexing="ij"))                          # (2, P, Q)
    across = at[plane][:, None, None] + np.tensordot(matrix[np.ix_(plane, plane)], across, 1)            # in voxels of the box
    along = (at[axis] + scale[axis] * offsets[axis])[None]                                               # (1, L)
    if elastic:
        across += _smooth_field(across.shape, elastic, rng).numpy()
        along += _smooth_field(along.shape, elastic, rng).numpy()
    four, shares = _around(across, [target.shape[a] for a in plane])
    two, weights = _around(along, [target.shape[axis]])

    def in_place(planes: torch.Tensor) -> torch.Tensor:
        """(L, P Q) as a patch."""
        return planes.view(-1, *across.shape[1:]).movedim(0, axis)

    turned = image.new_empty(len(image), *map(int, size))
    for sequence, patch in zip(image, turned, strict=True):
        lines = F.embedding_bag(four, _lines(sequence, axis), per_sample_weights=shares, mode="sum")              # (P Q, A)
        patch.copy_(in_place(F.embedding_bag(two, _transposed(lines), per_sample_weights=weights, mode="sum")))
    lines = _lines(target, axis)[_nearest(four, shares)]
    return turned, in_place(_transposed(lines)[_nearest(two, weights)]).contiguous()


def _around(where: np.ndarray, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """For places (D, *) in a grid of D axes, multilinear interpolation: the numbers (N, 2**D) of the voxels around each, counted as they lie in
    memory, and their shares. What lies beyond the grid is taken from its edge."""
    numbers, shares = np.zeros((1, 1), np.int32), np.ones((1, 1))
    for at, count in zip(where.reshape(len(where), -1), shape, strict=True):
        low = np.clip(np.floor(at).astype(np.int32), 0, count - 2)
        share = np.clip(at - low, 0, 1)
        numbers = np.concatenate([numbers * count + low, numbers * count + low + 1])
        shares = np.concatenate([shares * (1 - share), shares * share])
    return torch.from_numpy(np.ascontiguousarray(numbers.T)), torch.from_numpy(np.ascontiguousarray(shares.T, np.float32))


def _nearest(numbers: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """(N,) of `_around`'s voxels the one with the largest share."""
    return numbers.gather(1, shares.argmax(1, keepdim=True))[:, 0]


def _lines(x: torch.Tensor, axis: int) -> torch.Tensor:
    """(I, J, K) -> (lines along that axis, voxels)."""
    # numpy moves an axis in a third of the time that torch takes.
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x.numpy(), axis, -1))).view(-1, x.shape[axis])


def _transposed(x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.numpy().T))


def _smooth_field(shape: tuple[int, ...], spread: float, rng: np.random.Generator) -> torch.Tensor:
    """(N, *sides): N smooth random displacements along a line or over a plane, in voxels, of about that spread, none beyond _MOST_BENT of it."""
    knots = rng.normal(0, spread, (1, shape[0], *(max(4, round(side / _KNOT_VOXELS) + 1) for side in shape[1:]))).astype(np.float32)
    knots = torch.from_numpy(knots.clip(-_MOST_BENT * spread, _MOST_BENT * spread))
    if len(shape) == 2:  # there is no cubic interpolation of a line alone
        return F.interpolate(knots[:, :, None].expand(-1, -1, 4, -1), size=(4, shape[1]), mode="bicubic",
                             align_corners=True)[0, :, 0].clamp(-_MOST_BENT * spread, _MOST_BENT * spread)
    return F.interpolate(knots, size=shape[1:], mode="bicubic", align_corners=True)[0].clamp(-_MOST_BENT * spread, _MOST_BENT * spread)
