"""Dice and cross-entropy on nested regions."""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss

from braintumorseg.labels import REGIONS

__all__ = ["OverlapLoss", "RegionLoss", "region_targets"]


def region_targets(labels: torch.Tensor) -> torch.Tensor:
    """(B, I, J, K) labels -> (B, R, I, J, K) float 0 or 1, regions in the order of REGIONS."""
    masks = {value: labels == value for values in REGIONS.values() for value in values}
    return torch.stack([reduce(torch.logical_or, [masks[value] for value in values]) for values in REGIONS.values()], dim=1).float()


class OverlapLoss(torch.nn.Module):
    """Soft Dice over the batch plus binary cross-entropy, for each channel alike; `side_weight` of the same at a quarter of the resolution.

    Takes logits, or a pair of them, and targets (B, R, I, J, K) float, 0..1.
    """

    def __init__(self, side_weight: float):
        super().__init__()
        # Smoothing of 100 voxels: a patch without enhancement must not shout as loudly as one that is missed whole.
        self.dice = DiceLoss(sigmoid=True, batch=True, smooth_nr=100.0, smooth_dr=100.0)
        self.side_weight = side_weight

    def forward(self, output, target: torch.Tensor) -> torch.Tensor:
        logits, side = output if isinstance(output, tuple) else (output, None)
        loss = self._both(logits.float(), target)
        if side is not None and self.side_weight:
            loss = loss + self.side_weight * self._both(side.float(), F.avg_pool3d(target, 4))
        return loss

    def _both(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.dice(logits, target) + F.binary_cross_entropy_with_logits(logits, target)


class RegionLoss(OverlapLoss):
    """The same for labels (B, I, J, K): the nested regions are the channels."""

    def forward(self, output, labels: torch.Tensor) -> torch.Tensor:
        return super().forward(output, region_targets(labels))
