"""The numbers of the brain network's card: on images of the heads that were held out, and on real heads with another tool's mask."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from braintumorseg.brain import BrainFinder, find_brain
from braintumorseg.errors import MissingFile
from braintumorseg.io.readers import read_volume
from braintumorseg.metrics import dice
from braintumorseg.model_card import write_card
from braintumorseg.model_zoo import load_model
from braintumorseg.preprocess import mask_onto
from braintumorseg.register import align
from braintumorseg.runtime import open_session
from braintumorseg.study import ROLES, Study

from .config import BrainConfig
from .data import Split
from .fit_brain import HELD_OUT_SEED
from .head_maps import read_heads
from .synthetic_heads import SyntheticHeads

__all__ = ["validate_brain"]

DEFINITION = "Dice of the brain over whole volumes; both empty counts 1, one empty 0"
_IMAGES = 60


def validate_brain(weights: Path, maps: Path, split: Split, heads: list[Path], out: Path, *, write: bool, say: Callable[[str], None]) -> dict:
    """Run an exported brain network through the engine; returns the card's `metrics`, written to out/validation.json.

    Args:
        maps, split: as for `fit_brain`; images of the validation heads are made up from numbers that training never reaches.
        heads: folders of real heads: sequences as ROLE.nii.gz and a mask brainmask_ROLE*.nii.gz on the grid of that sequence, which is
            carried to the others by registration.
        write: also into the card.
    """
    model = load_model(weights)
    finder = BrainFinder(model.card, open_session(weights, "cpu"))
    real = {}
    for folder in heads:   # first: what lacks there is told at once
        real[f"real head {folder.name}"] = _real(finder, folder)
        say(f"{folder.name}  " + "  ".join(f"{role} {value:.4f}" for role, value in real[f"real head {folder.name}"].items()))
    made_up = _made_up(finder, SyntheticHeads(read_heads(maps, split.validation), BrainConfig(empty_share=0.0), HELD_OUT_SEED, _IMAGES))
    rows = {name: _row(scores) for name, scores in {"made-up images": made_up, **real}.items()}
    metrics = {"definition": DEFINITION, "split": f"{_IMAGES} images of {len(split.validation)} heads held out before training"
               + (f"; {len(heads)} real, whose truth is another tool's mask" if heads else ""), "dice": rows}
    out.mkdir(parents=True, exist_ok=True)
    (out / "validation.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    if write:
        write_card(replace(model.card, metrics=metrics), weights.with_suffix(".json"))
    for name, row in rows.items():
        say(f"{name}: mean {row['mean']:.4f}, median {row['median']:.4f}, worst {row['worst']:.4f} (N = {row['n']})")
    return metrics


def _made_up(finder: BrainFinder, images: SyntheticHeads) -> dict[str, float]:
    threshold = finder.card.post_processing.thresholds["brain"]
    scores = {}
    for number in range(len(images)):
        image, brain = images[number]
        scores[f"image {number}"] = dice(brain[0].numpy() > 0.5, finder.session.run(image.numpy())[0] > threshold)
    return scores


def _real(finder: BrainFinder, folder: Path) -> dict[str, float]:
    """Role -> Dice with the mask, on that sequence's own grid."""
    masks = sorted(folder.glob("brainmask_*.nii.gz"))
    role = masks[0].name.split("_")[1].split(".")[0] if masks else ""
    if role not in ROLES:
        raise MissingFile(f"{folder.name} holds no brainmask_ROLE.nii.gz.", f"ROLE is the sequence on whose grid it lies: {', '.join(ROLES)}.")
    study = Study({name: read_volume(folder / f"{name}.nii.gz") for name in ROLES if (folder / f"{name}.nii.gz").is_file()})
    if study.reference_role != role:
        raise MissingFile(f"The mask of {folder.name} lies on {role} and the reference is {study.reference_role}.", "Give the reference's mask.")
    mask, alignments, scores = read_volume(masks[0]), align(study), {}
    for name, image in study.volumes.items():
        moved = alignments[name].moved if name in alignments else None
        truth = mask_onto(mask, image.grid, None if moved is None else np.linalg.inv(moved))
        scores[name] = dice(truth, find_brain(image, finder).voxels > 0)
    return scores


def _row(scores: dict[str, float]) -> dict:
    values, worst = list(scores.values()), min(scores, key=scores.get)
    row = {"n": len(values), "mean": float(np.mean(values)), "median": float(np.median(values)), "worst": scores[worst], "worst_case": worst}
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
