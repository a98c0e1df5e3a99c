"""The brain network as ONNX with its card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from braintumorseg.model_card import ANY, FINDS, Label, ModelCard, PostProcessing

from .config import BrainConfig, config_from
from .data import Split
from .export import bytes_per_voxel, write_checked
from .head_maps import read_heads
from .networks import build
from .run_split import refuse_untrained_split
from .synthetic_heads import NORMALISATION, make_image
from .train import CHECKPOINT, load_checkpoint

__all__ = ["BRAIN_LABELS", "draft_brain_card", "export_brain"]

# Below a half: brain that is left out is lost to the network that reads it next, and a millimetre more of fluid is not.
_THRESHOLD = 0.3
BRAIN_LABELS = (Label(1, "Brain", ("12738006", "SCT", "Brain"), (250, 250, 225)),)


def draft_brain_card(**known) -> ModelCard:
    """The card of a network that finds the brain, with `known` on top."""
    return ModelCard(**{
        "name": "brain", "version": "0", "task": "The brain in a whole head, MR of any sequence", "sha256": "0" * 64, "finds": "brain",
        "roles": (ANY,), "may_be_missing": (), "spacing_mm": BrainConfig.spacing_mm, "size_multiple": BrainConfig().size_multiple,
        "bytes_per_voxel": bytes_per_voxel(BrainConfig()), "brain_only": False, "regions": FINDS["brain"], "labels": BRAIN_LABELS,
        "normalisation": NORMALISATION, "post_processing": PostProcessing(thresholds={"brain": _THRESHOLD}), **known})


def export_brain(run: Path, maps: Path, split: Split, out: Path, name: str, version: str, say: Callable[[str], None], remark: str = "") -> Path:
    """Write out/NAME.onnx and NAME.json from the averaged weights of a run of `fit_brain`; returns the .onnx path.

    `split` trains on the run's own heads, which the card counts; the check is an image of the first of them. Raises ModelError as `export` does.
    """
    saved = load_checkpoint(run / CHECKPOINT)
    refuse_untrained_split(run, split)
    config = config_from(BrainConfig, saved["config"])
    (head,) = read_heads(maps, split.train[:1])
    image, _ = make_image(head, config, np.random.default_rng(0))
    card = draft_brain_card(
        name=name, version=version, spacing_mm=config.spacing_mm, size_multiple=config.size_multiple, bytes_per_voxel=bytes_per_voxel(config),
        licence="MIT (weights); attribution of the training data below",
        intended_use="Finding the brain on adults' head MR, with or without a tumour, for another network. Research; not a medical device.",
        limits=("Trained on images made up from label maps of adults' heads; no real image was seen.",
                "Works at 2 mm: the outline is good to about a millimetre, and thin bridges to dura and sinuses may remain.",
                "Infants' heads, CT, and brains that bulge through an opened skull were never seen."),
        training_data=({"name": "SynthSeg's label maps of heads", "cases": len(split.train), "licence": "Apache-2.0",
                        "citation": "Billot et al. 2023, Med Image Anal 86:102789, doi 10.1016/j.media.2023.102789"},),
        training={"steps": saved["step"], "recipe": saved["config"], "remark": remark})
    return write_checked(build(config, inputs=1, outputs=1), saved["average"], image.numpy(), card, out, say)
