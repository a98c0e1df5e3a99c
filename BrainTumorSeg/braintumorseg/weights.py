"""Which file of a network a provider gets, and in which precision it is run: the first variant of the card that fits."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

from .model_card import Variant
from .onnx_inside import why_not_whole

__all__ = ["choose_weights", "sha256_of", "variant_problem"]


def choose_weights(weights: Path, variants: Sequence[Variant], provider: str, features: Collection[str]) -> tuple[Path, str, str]:
    """(file, precision, remark): the file to open and what to compute in. Without a variant that fits: the network's own, in float32.

    A variant whose file is missing or not the one that the card describes is left out, and the remark says so.
    """
    remark = ""
    for variant in variants:
        if variant.provider != provider or not set(variant.needs) <= set(features):
            continue
        problem = variant_problem(weights, variant)
        if not problem:
            return weights.with_name(variant.file), variant.precision, remark
        remark = remark or f"{problem}; run in float32 instead (get the network again from its maker, or install BrainTumorSeg again)"
    return weights, "float32", remark


def variant_problem(weights: Path, variant: Variant) -> str:
    """What is wrong with a variant's file; '' when it is there and the one that the card describes."""
    path = weights.with_name(variant.file)
    if path == weights:
        return ""   # checked with its card
    if not path.is_file():
        return f"the {variant.precision} variant {variant.file} is missing"
    if sha256_of(path) != variant.sha256:
        return f"the {variant.precision} variant {variant.file} is not the file that the card describes"
    if problem := why_not_whole(path):
        return f"the {variant.precision} variant {variant.file} {problem}"
    return ""


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
