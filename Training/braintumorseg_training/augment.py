"""Intensities of a patch as other scanners and protocols would give them.

Everything works on torch CPU tensors of one patch and draws its chance from one numpy Generator, so that a patch is a function of its seed.
Channels are z-scored within the brain and exactly 0 outside; each step keeps it so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .config import Config
from .cut import AXES, Note, untold
from .line_filters import along, blur, coarsen, linear

__all__ = ["augment", "drawn_sequences"]


def drawn_sequences(there: Sequence[int], keep_all: float, rng: np.random.Generator) -> list[int]:
    """Which of a case's sequences a patch keeps, in their order: all in that share of the patches, else any number of them but all and none."""
    if rng.random() < keep_all or len(there) < 2:
        return list(there)
    # The number that goes is drawn evenly, so that single sequences are seen as often as pairs.
    return sorted(rng.permutation(there)[int(rng.integers(1, len(there))):].tolist())


def augment(image: torch.Tensor, roles: Sequence[str], config: Config, rng: np.random.Generator, note: Note = untold) -> torch.Tensor:
    """Intensities of (C, I, J, K), the sequences of these C roles, as another scanner might give them."""
    strength, thick = config.intensity, config.low_resolution
    if strength > 0 or thick > 0:
        brain = image.sign().abs_()   # 1 within and 0 outside: floats, for with booleans both ends take CPUs three times as long
        image = _coarsen_all(image, thick, rng, note)
        if strength > 0 and rng.random() < 0.3 * config.uneven:
            note("uneven coil")
            image = _biased(image, strength, rng)  # one coil, one field for all sequences
        for role, sequence in zip(roles, image, strict=True):
            changed = _one_sequence(sequence, config, rng, note, role)
            if changed is not sequence:
                sequence.copy_(changed)
        image *= brain
    return image


def _one_sequence(x: torch.Tensor, config: Config, rng: np.random.Generator, note: Note, role: str) -> torch.Tensor:
    strength = config.intensity
    if strength > 0 and rng.random() < 0.15:
        note("blurred", role)
        x = blur(x, rng.uniform(0.4, 0.4 + 0.7 * strength))
    if rng.random() < 0.15 * config.low_resolution:
        axis, factor = int(rng.integers(3)), rng.uniform(2, 5)
        note(f"slices of {factor:.1f} voxels {AXES[axis]}", role)
        x = coarsen(x, axis, factor)
    if strength == 0:
        return x
    if rng.random() < 0.4:
        note("gamma", role)
        x = _gamma(x, float(np.exp(rng.uniform(-0.5, 0.5) * strength)), inverted=rng.random() < 0.35)
    if rng.random() < 0.25 * config.uneven:
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
    note(f"slices of {factor:.1f} voxels {AXES[axis]}")
    return coarsen(image, axis, factor)


def _gamma(x: torch.Tensor, gamma: float, inverted: bool) -> torch.Tensor:
    if inverted:
        return _gamma(-x, gamma, inverted=False).neg_()
    low, high = x.min(), x.max()
    if high - low < 1e-3:
        return x
    mean, spread = _moments(x)
    y = (x - low).div_(high - low).log_().mul_(gamma).exp_()   # a power, in half the time of pow
    # The statistics stay (nnU-Net's retain_stats): normalisation would have undone a change of them.
    new_mean, new_spread = _moments(y)
    return y.sub_(new_mean).mul_(spread / (new_spread + 1e-6)).add_(mean)


def _moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation, in a fifth of the time of torch's own."""
    mean = x.mean()
    return mean, (torch.linalg.vector_norm(x).square() / x.numel() - mean.square()).clamp_min(0).sqrt()


def _biased(x: torch.Tensor, strength: float, rng: np.random.Generator) -> torch.Tensor:
    """(..., I, J, K) under a coil's uneven sensitivity: a smooth field that multiplies intensities by 1 + b.

    z-scores are intensities less their mean, over a deviation of about 0.28 means, so b adds 3.5 b to them as well.
    """
    knots = int(rng.integers(2, 5))
    coarse = rng.normal(0, rng.uniform(0.05, 0.25) * strength, (1, 1, knots, knots, knots)).astype(np.float32)
    field = torch.from_numpy(coarse)[0, 0]
    for axis in range(3):
        field = along(field, axis, linear(np.linspace(0, knots - 1, x.shape[axis - 3]), knots))
    return torch.addcmul(x, x + 3.5, field)
