"""The network: a 3-D residual U-Net that reads and answers at 1 mm and thinks at 2 mm (at 2 and 4 mm where it finds the brain).

U-Net (Ronneberger 2015; Çiçek 2016) with residual blocks (He 2016) and instance normalisation (as in nnU-Net, Isensee 2021). Its first
layer turns 4 x 4 x 4 voxels into features at half the resolution and its last one turns each feature vector into 2 x 2 x 2 voxels, so that thin
enhancing rims are neither averaged away at the input nor rounded off at the output, while nearly all the work is that of a 2 mm network.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetResBlock
from torch import nn

from braintumorseg.errors import ModelError
from braintumorseg.labels import REGIONS
from braintumorseg.study import ROLES

from .config import RunConfig

__all__ = ["ResidualUNet", "block", "build", "encoder_of", "normed_convolutions", "without_norms"]

ACTIVATION = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})


class ResidualUNet(nn.Module):
    """(B, C, I, J, K) -> logits (B, R, I, J, K); in training also the logits at a quarter of the resolution.

    Args:
        channels: features at 1/2, 1/4, ... of the input's resolution.
        inputs: C, sequences.
        outputs: R, regions.
    """

    voxels_per_feature = 8   # of the input, for one feature vector of the first level
    crops = False            # takes sides that are any even number: what a step up brings beyond the skip's size is cut off

    def __init__(self, channels: tuple[int, ...], inputs: int, outputs: int):
        super().__init__()
        self.stem = _Stem(inputs, channels[0], kernel_size=4, stride=2, padding=1)
        self.first = block(UnetBasicBlock, channels[0], channels[0], 1)
        self.down = nn.ModuleList(block(UnetResBlock, a, b, 2) for a, b in pairwise(channels))
        self.up = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, 2, bias=False) for a, b in pairwise(channels))
        # At full width and half resolution one residual block costs more than all the rest: a plain one there.
        self.merge = nn.ModuleList(block(UnetResBlock if level else UnetBasicBlock, 2 * width, width, 1)
                                   for level, width in enumerate(channels[:-1]))
        self.head = _Head(channels[0], outputs, 2, 2)
        self.side_head = nn.Conv3d(channels[1], outputs, 1)

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        """The way down: what a frozen start holds still."""
        return self.stem, self.first, self.down

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        skips = [self.first(self.stem(x))]
        for down in self.down:
            skips.append(down(skips[-1]))
        x, side = skips[-1], None
        for level in reversed(range(len(self.up))):
            x = self.up[level](x)
            if self.crops:
                _, _, i, j, k = skips[level].shape
                x = x[:, :, :i, :j, :k]
            x = self.merge[level](torch.cat([x, self.skip(level, skips[level], x)], dim=1))
            if level == 1 and self.training:
                side = self.side_head(x)
        logits = self.head(x)
        return (logits, side) if side is not None else logits

    def skip(self, level: int, features: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        """What of the encoder's features (B, F, I, J, K) at `level` reaches the decoder, whose own of that size are `below`."""
        return features


class _Stem(nn.Conv3d):
    """The 4 x 4 x 4 convolution of stride 2; in training as the same sum over 2 x 2 x 2 blocks, whose gradients CPUs find five times faster."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        x = F.pad(x.to(torch.get_autocast_dtype(x.device.type)) if torch.is_autocast_enabled(x.device.type) else x, (1,) * 6)
        b, c, i, j, k = x.shape
        x = x.view(b, c, i // 2, 2, j // 2, 2, k // 2, 2).permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, 8 * c, i // 2, j // 2, k // 2)
        o = self.out_channels
        weight = self.weight.view(o, c, 2, 2, 2, 2, 2, 2).permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(o, 8 * c, 2, 2, 2)
        return F.conv3d(x, weight, self.bias)


class _Head(nn.ConvTranspose3d):
    """The 2 x 2 x 2 transposed convolution of stride 2; in training as one matrix a feature vector, for the same reason."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        o = self.out_channels
        y = F.conv3d(x, self.weight.reshape(-1, 8 * o).t()[:, :, None, None, None], self.bias.repeat_interleave(8))
        b, _, i, j, k = y.shape
        return y.view(b, o, 2, 2, 2, i, j, k).permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, o, 2 * i, 2 * j, 2 * k)


def build(config: RunConfig, inputs: int = len(ROLES), outputs: int = len(REGIONS)) -> nn.Module:
    """The network that a configuration names, with fresh weights; by default from four sequences to the tumour's regions."""
    from .architectures import ARCHITECTURES  # not above: it builds upon this file

    network = ARCHITECTURES[config.network](config.channels, inputs, outputs)
    return without_norms(network) if config.norm == "none" else network


def encoder_of(network: nn.Module) -> tuple[nn.Module, ...]:
    """The modules that a network names as its encoder. Raises ModelError for one that names none."""
    if not hasattr(network, "encoder_modules"):
        raise ModelError(f"The network {type(network).__name__} does not say which part is its encoder, so it cannot be frozen.",
                         "Set freeze_encoder to 0.")
    return network.encoder_modules()


def block(kind: type, inputs: int, outputs: int, stride: int) -> nn.Module:
    """One of MONAI's 3 x 3 x 3 blocks with this package's norm and activation."""
    # One group a channel is instance normalisation; torch's group norm is the faster of the two on CPUs.
    return kind(3, inputs, outputs, kernel_size=3, stride=stride, norm_name=("group", {"num_groups": outputs}), act_name=ACTIVATION)


def normed_convolutions(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Conv3d, nn.Module]]:
    """(block, n, its convolution conv`n`, its norm norm`n`, which follows it at once) for each of the blocks that `block` makes."""
    for module in network.modules():
        if isinstance(module, UnetBasicBlock | UnetResBlock):
            for number in ("1", "2", "3"):
                if hasattr(module, f"norm{number}"):
                    yield module, number, getattr(module, f"conv{number}").conv, getattr(module, f"norm{number}")


def without_norms(network: nn.Module) -> nn.Module:
    """The network, changed in place: each norm behind a convolution is gone, and the convolution has a bias (of zero) instead.

    It then takes sides that are any even number as well, for no norm is there to count what sides that are multiples of more add around a brain.
    """
    for module, number, convolution, _ in list(normed_convolutions(network)):
        convolution.bias = nn.Parameter(convolution.weight.new_zeros(convolution.out_channels))
        setattr(module, f"norm{number}", nn.Identity())
    network.crops = True
    return network
