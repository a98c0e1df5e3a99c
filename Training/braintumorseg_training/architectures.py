"""The networks by the name that a configuration gives them. Each has its sizes from `channels` and exports to ONNX without Resize or control flow.

    resunet         networks.ResidualUNet, the shipped networks' own
    unet            the same with plain blocks (Ronneberger 2015; Çiçek 2016)
    attention_unet  unet with attention gates on its skips (Oktay 2018)
    segresnet       MONAI's SegResNet (Myronenko 2018, without the autoencoder), at full resolution

All but segresnet step between voxels and features of twice their size at once, so they need about an eighth of its memory and time.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from monai.networks.blocks.dynunet_block import UnetBasicBlock
from monai.networks.nets import SegResNet
from torch import nn

from .networks import ResidualUNet, block

__all__ = ["ARCHITECTURES", "AttentionUNet", "DeeplySupervisedSegResNet", "PlainUNet"]


class PlainUNet(ResidualUNet):
    """(B, C, I, J, K) -> logits (B, R, I, J, K), as ResidualUNet, with two convolutions a level and no shortcuts past them."""

    def __init__(self, channels: tuple[int, ...], inputs: int, outputs: int):
        super().__init__(channels, inputs, outputs)
        self.down = nn.ModuleList(block(UnetBasicBlock, a, b, 2) for a, b in pairwise(channels))
        self.merge = nn.ModuleList(block(UnetBasicBlock, 2 * width, width, 1) for width in channels[:-1])


class AttentionUNet(PlainUNet):
    """PlainUNet whose skips, all but the first, pass through attention gates.

    Oktay 2018 gates with the features of the coarser level and brings the weights up by linear interpolation; here the coarser features are
    brought up first, by the transposed convolution that the decoder has anyway, so that no interpolation is needed.
    """

    def __init__(self, channels: tuple[int, ...], inputs: int, outputs: int):
        super().__init__(channels, inputs, outputs)
        self.gates = nn.ModuleList(_Gate(width) for width in channels[1:-1])

    def skip(self, level: int, features: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        return self.gates[level - 1](features, below) if level else features


class _Gate(nn.Module):
    """Additive attention: each voxel's features, times a weight 0..1 that they and the features from `below` agree upon."""

    def __init__(self, width: int):
        super().__init__()
        self.own = nn.Conv3d(width, width // 2, 1, bias=False)
        self.below = nn.Conv3d(width, width // 2, 1)
        self.weight = nn.Conv3d(width // 2, 1, 1)

    def forward(self, features: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        return features * torch.sigmoid(self.weight(torch.relu(self.own(features) + self.below(below))))


class DeeplySupervisedSegResNet(SegResNet):
    """(B, C, I, J, K) -> logits (B, R, I, J, K); in training also the logits at a quarter of the resolution, where the decoder passes it."""

    voxels_per_feature = 1

    def __init__(self, channels: tuple[int, ...], inputs: int, outputs: int):
        levels = len(channels)
        super().__init__(init_filters=channels[0], in_channels=inputs, out_channels=outputs, upsample_mode="deconv",
                         blocks_down=(1, *(2,) * (levels - 2), 4), blocks_up=(1,) * (levels - 1))
        self.side_at = levels - 4  # the decoder's first output is at 1 / 2 ** (levels - 2)
        if self.side_at >= 0:
            self.side_head = nn.Conv3d(channels[2], outputs, 1)

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        """The way down."""
        return self.convInit, self.down_layers

    def decode(self, x: torch.Tensor, down_x: list[torch.Tensor]) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        side = None
        for number, (up, merge) in enumerate(zip(self.up_samples, self.up_layers, strict=True)):
            x = merge(up(x) + down_x[number + 1])
            if self.training and number == self.side_at:
                side = self.side_head(x)
        logits = self.conv_final(x)
        return (logits, side) if side is not None else logits


ARCHITECTURES = {"resunet": ResidualUNet, "unet": PlainUNet, "attention_unet": AttentionUNet, "segresnet": DeeplySupervisedSegResNet}
