"""Images of whole heads made on the fly from label maps, in the manner of SynthSeg (Billot 2023, Med Image Anal 86:102789).

Any contrast, tumour, slice thickness, coil, field of view and background, so that the network that learns from them finds the brain in any of
them. The images are made on the network's own grid; every one is a function of (seed, number) alone.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

from braintumorseg.model_card import Normalisation
from braintumorseg.normalise import normalise

from .config import BrainConfig
from .head_contrast import draw_brightness
from .head_lesions import with_lesion
from .head_maps import Head

__all__ = ["NORMALISATION", "SyntheticHeads", "make_image"]

NORMALISATION = Normalisation("volume_percentiles", (1.0, 99.5))
_FINE_MM = 2.0  # spacing of the painted layers


class SyntheticHeads(Dataset):
    """Image number n of a run is a function of (seed, n) alone, so a run that is taken up again sees what it would have seen."""

    def __init__(self, heads: list[Head], config: BrainConfig, first: int, count: int):
        self.heads, self.config, self.first, self.count = heads, config, first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng((self.config.seed, self.first + index))
        return make_image(self.heads[rng.integers(len(self.heads))], self.config, rng)


def make_image(head: Head, config: BrainConfig, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (1, *patch) float32 as the network reads it, and the brain's share of each voxel (1, *patch) float32, 0..1."""
    if rng.random() < config.empty_share:
        image = _no_head(config.patch, rng)
        return _seen(image, torch.zeros_like(image), rng)
    tissues = with_lesion(head, rng) if rng.random() < config.lesion_share else head.tissues
    layers = _paint(tissues, head.halved, rng)                       # (4, i, j, k) at 2 mm: mean, spread, brain, head
    mean, spread, brain, shown = _place(layers, config, rng)         # each (*patch)
    image = (mean + spread * _randn(mean.shape, rng)).clamp_min(0)
    image = image * _coil(image.shape, rng)
    if rng.random() < config.thick_share:
        image, brain = _thick(image, brain, config, rng)
    elif rng.random() < 0.3:
        image = _blur(image, rng.uniform(0.3, 0.7))
    image = _noise(image, rng)
    image, brain = _background(image, brain, shown, config, rng)
    return _seen(image, brain, rng)


def _no_head(shape, rng: np.random.Generator) -> torch.Tensor:
    """What a scanner, or a person, may give that holds no brain: noise alone, clouds, or a bottle of water."""
    kind = rng.integers(4)
    noise = _randn(shape, rng)
    if kind == 0:
        return (1 + rng.uniform(0.05, 0.6) * noise).clamp_min(0)
    if kind == 1:
        return torch.hypot(noise, _randn(shape, rng))
    if kind == 2:
        return _blur(noise, rng.uniform(1, 5))
    axes = [torch.arange(n, dtype=torch.float32) for n in shape]
    place = [float(rng.uniform(0.3, 0.7) * n) for n in shape]
    radii = [float(rng.uniform(0.12, 0.45) * n) for n in shape]
    i, j, k = (((axis - middle) / radius) ** 2 for axis, middle, radius in zip(axes, place, radii, strict=True))
    ball = i[:, None, None] + j[None, :, None] + k[None, None, :] < 1
    return torch.hypot(ball + rng.uniform(0, 0.1) * noise, rng.uniform(0, 0.1) * _randn(shape, rng))


def _paint(tissues: np.ndarray, halved: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Label maps are painted at 1 mm and averaged to 2 mm, so that thin layers are mixed as a scanner mixes them."""
    mean, spread = draw_brightness(rng)
    painted = F.avg_pool3d(torch.from_numpy(mean[tissues])[None], 2)
    return torch.cat([painted, torch.from_numpy(spread[tissues[::2, ::2, ::2]])[None], torch.from_numpy(halved)])


def _place(layers: torch.Tensor, config: BrainConfig, rng: np.random.Generator) -> torch.Tensor:
    """The layers turned, scaled, bent and shifted onto the patch; nothing outside the label map."""
    size = np.array(config.patch)
    turn = _rotation(np.radians(rng.normal(0, 10, 3).clip(-30, 30)))
    scale = np.exp(rng.normal(0, 0.09)) * np.exp(rng.normal(0, 0.05, 3))
    matrix = turn @ np.diag(scale) * (np.array(config.spacing_mm) / _FINE_MM)[None]     # patch voxels -> layer voxels
    if rng.random() < 0.5:
        matrix = np.diag([-1, 1, 1]) @ matrix
    where = np.array(layers.shape[1:])
    centre = _centre(layers[2], rng) + rng.normal(0, 8, 3)
    # grid_sample counts -1..1 over the last axis first.
    theta = np.zeros((3, 4))
    theta[:, :3] = ((2 / (where - 1))[:, None] * matrix * ((size - 1) / 2)[None])[::-1, ::-1]
    theta[:, 3] = (2 * centre / (where - 1) - 1)[::-1]
    grid = F.affine_grid(torch.from_numpy(theta).float()[None], [1, 1, *size.tolist()], align_corners=True)
    knots = int(rng.integers(4, 10))
    bend = torch.from_numpy(rng.normal(0, rng.uniform(0, 2.2), (1, 3, knots, knots, knots)).astype(np.float32))   # layer voxels
    bend = F.interpolate(bend, size=size.tolist(), mode="trilinear", align_corners=True)[0].movedim(0, -1)
    grid = grid + bend[None] * torch.from_numpy((2 / (where - 1))[::-1].copy()).float()
    return F.grid_sample(layers[None], grid, mode="bilinear", padding_mode="zeros", align_corners=True)[0]


def _centre(brain: torch.Tensor, rng: np.random.Generator) -> np.ndarray:
    """Mostly the middle of the brain, sometimes lower, as where the neck is in view (layer voxels)."""
    spans = [torch.nonzero(brain.amax([a for a in range(3) if a != axis]) > 0.5).flatten() for axis in range(3)]
    middle = np.array([float(span[0] + span[-1]) / 2 for span in spans])
    if rng.random() < 0.5:
        middle[2] -= rng.uniform(0, 35) / _FINE_MM
    return middle


def _randn(shape, rng: np.random.Generator) -> torch.Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(int(rng.integers(2**31))))


def _coil(shape, rng: np.random.Generator) -> torch.Tensor:
    """A coil's uneven sensitivity, smooth and around 1."""
    knots = int(rng.integers(2, 5))
    coarse = torch.from_numpy(rng.normal(0, rng.uniform(0, 0.35), (1, 1, knots, knots, knots)).astype(np.float32))
    return torch.exp(F.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0])


def _thick(image: torch.Tensor, brain: torch.Tensor, config: BrainConfig, rng: np.random.Generator):
    """Slices of 2.5 to 8 mm with up to a third of that as a gap, along the patient's axis in three of five, interpolated back."""
    axis = 2 if rng.random() < 0.6 else int(rng.integers(2))
    step = rng.uniform(2.5, 8.0) / config.spacing_mm[axis]           # voxels from slice to slice
    profile = step * rng.uniform(0.67, 1.0)
    both = torch.stack([image, brain])
    both = _blur(both, float(np.sqrt(max(0.05, (profile**2 - 1) / 12))), axes=(axis,))
    count = image.shape[axis]
    places = torch.arange(rng.uniform(0, step), count - 1, step)
    nearest = torch.arange(count, dtype=torch.float32)
    high = torch.searchsorted(places, nearest).clamp(1, len(places) - 1)
    share = ((nearest - places[high - 1]) / (places[high] - places[high - 1])).clamp(0, 1)
    slices = _at(both, places, axis + 1)
    view = [1, 1, 1, 1]
    view[axis + 1] = count
    share = share.view(view)
    out = slices.index_select(axis + 1, high - 1) * (1 - share) + slices.index_select(axis + 1, high) * share
    # The image has lost what was between its slices; where the brain ends there is not lost, only as uncertain as one voxel.
    return out[0], brain if step < 1.5 else out[1]


def _at(x: torch.Tensor, places: torch.Tensor, axis: int) -> torch.Tensor:
    low = places.floor().long()
    share = (places - low).view([-1 if a == axis else 1 for a in range(x.ndim)])
    return x.index_select(axis, low) * (1 - share) + x.index_select(axis, (low + 1).clamp_max(x.shape[axis] - 1)) * share


def _blur(x: torch.Tensor, sigma: float, axes=(0, 1, 2)) -> torch.Tensor:
    """Gaussian along the given of the last three axes, sigma in voxels."""
    radius = max(1, int(np.ceil(2.5 * sigma)))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    y = x.reshape(-1, 1, *x.shape[-3:])
    for axis in axes:
        shape = [1, 1, 1]
        shape[axis] = 2 * radius + 1
        y = F.conv3d(F.pad(y, [radius if a == axis else 0 for a in (2, 2, 1, 1, 0, 0)], mode="replicate"), taps.reshape(1, 1, *shape))
    return y.reshape(x.shape)


def _noise(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Rician, up to a twelfth of the brightest."""
    sigma = float(rng.uniform(0, 0.08) ** 2 / 0.08)
    return torch.hypot(image + sigma * _randn(image.shape, rng), sigma * _randn(image.shape, rng))


def _background(image, brain, shown, config: BrainConfig, rng: np.random.Generator):
    """What was cleared away around the head, of its face, or around the brain alone."""
    kind = rng.random()
    if kind < config.stripped_share:
        # What a tool left is the brain: a cut that is 2 mm too wide or too narrow is not ours to judge.
        left = (brain > rng.uniform(0.1, 0.9)).float()
        if rng.random() < 0.5:
            wider = F.max_pool3d(left[None, None], 3, 1, 1)[0, 0]
            left = wider if rng.random() < 0.5 else 1 - F.max_pool3d(1 - left[None, None], 3, 1, 1)[0, 0]
        return image * left, left
    if kind < config.stripped_share + config.defaced_share:
        face = _face(brain, rng)
        image = torch.where(face, 0.0, image)
    if rng.random() < 0.45:
        image = image * (F.max_pool3d((shown > 0.3).float()[None, None], 3, 1, 1)[0, 0])
    return image, brain


def _face(brain: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """(*patch) bool: what lies in front of and below a tilted plane that just misses the brain."""
    direction = torch.tensor([0.0, rng.uniform(0.5, 1.0), -rng.uniform(0.3, 1.0)])
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in brain.shape), indexing="ij")
    along = direction[1] * axes[1] + direction[2] * axes[2]
    held = along[brain > 0.5]
    return along > (held.max() + rng.uniform(1, 6) if len(held) else torch.inf)


def _seen(image: torch.Tensor, brain: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """The part within the scanner's field of view, normalised; zeros around it as the engine pads."""
    low, high = np.zeros(3, int), np.array(image.shape)
    for axis, share in enumerate((0.3, 0.3, 0.75)):
        if rng.random() < share:
            most = (0.22, 0.22, 0.35)[axis]
            low[axis] = int(image.shape[axis] * rng.uniform(0, most))
            high[axis] -= int(image.shape[axis] * rng.uniform(0, most * (0.6 if axis == 2 else 1)))
    if rng.random() < 0.06:  # a slab
        axis = int(rng.integers(3))
        width = int(image.shape[axis] * rng.uniform(0.2, 0.4))
        low[axis] = int(rng.integers(image.shape[axis] // 4, image.shape[axis] * 3 // 4 - width + 1))
        high[axis] = low[axis] + width
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    out, target = torch.zeros_like(image), torch.zeros_like(brain)
    inside = image[box].numpy()
    out[box] = torch.from_numpy(normalise(inside, np.ones(inside.shape, bool), NORMALISATION))
    target[box] = brain[box]
    if rng.random() < 0.5:
        out = out.pow(float(np.exp(rng.normal(0, 0.25))))
    return out[None], target[None]


def _rotation(angles: np.ndarray) -> np.ndarray:
    """3x3: turns by `angles` (rad) about the first, second and third axis."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [n for n in range(3) if n != axis]
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ step
    return matrix
