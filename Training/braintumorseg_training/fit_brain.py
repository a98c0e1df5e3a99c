"""The brain network's task: synthetic heads in, the brain out. The loop is `train.fit_task`, as for the tumour network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from braintumorseg.metrics import dice

from .config import BrainConfig
from .data import Split
from .head_maps import read_heads
from .losses import OverlapLoss
from .networks import build
from .precision import precision_of
from .synthetic_heads import SyntheticHeads
from .train import Task, fit_task

__all__ = ["HELD_OUT_SEED", "fit_brain"]

HELD_OUT_SEED = 1_000_000  # images of the heads that are held out: the same ones at every look
_LOOKS = 12


def fit_brain(config: BrainConfig, maps: Path, split: Split, out: Path, *, device: str = "auto", workers: int | None = None,
              say: Callable[[str], None] = print) -> Path:
    """Train the brain network until `config.steps` and return the checkpoint's path.

    Args:
        maps: folder of label maps NAME.nii.gz (SynthSeg's).
        split: names to train on and to watch; those to watch are never trained on.
        out, workers: as in `fit_task`.
    """
    say(f"reading {len(split.train) + len(split.validation)} label maps")
    heads, held_out = read_heads(maps, split.train), read_heads(maps, split.validation)
    task = Task(build=lambda: build(config, inputs=1, outputs=1), stream=lambda first, count: SyntheticHeads(heads, config, first, count),
                loss=OverlapLoss(config.deep_supervision),
                watch=_watcher(SyntheticHeads(held_out, config, HELD_OUT_SEED, _LOOKS), config) if held_out else None,
                scores=("mean", "worst"), about=f"{len(heads)} heads", split=split)
    return fit_task(config, task, out, device=device, workers=workers, say=say)


def _watcher(images: SyntheticHeads, config: BrainConfig):
    """Mean and worst Dice over some images of held-out heads, threshold 0.5. For watching; the card's numbers come from ONNX."""
    @torch.inference_mode()
    def watch(network: torch.nn.Module, where: torch.device) -> dict[str, float]:
        scores = []
        for number in range(len(images)):
            image, brain = images[number]
            with precision_of(config, where):
                logits = network(image[None].to(where)).float().cpu().numpy()[0, 0]
            scores.append(dice(brain[0].numpy() > 0.5, logits > 0))
        return {"mean": float(np.mean(scores)), "worst": float(np.min(scores))}

    return watch
