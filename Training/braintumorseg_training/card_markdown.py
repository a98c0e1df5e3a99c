"""NAME.md: the model card as a page for people, made from the JSON card alone (after Mitchell 2019, Model Cards for Model Reporting)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from braintumorseg.evaluation_report import METRICS
from braintumorseg.model_card import ModelCard

from .markdown import markdown_table, shown

__all__ = ["card_markdown", "write_card_markdown"]

_DECIMALS = {metric.title: metric.decimals for metric in METRICS}
_SPREAD = ("mean", "median", "worst")


def write_card_markdown(card: ModelCard, path: Path) -> None:
    path.write_text(card_markdown(card), encoding="utf-8")


def card_markdown(card: ModelCard) -> str:
    """Markdown text: what it is, use, limits, training data, recipe, numbers, parity."""
    missing = ", ".join(card.may_be_missing) or "none"
    parts = [
        f"# {card.name} {card.version}", card.task + ".",
        markdown_table(("", ""), [
            ("Reads", f"{', '.join(card.roles)}; may be missing: {missing}"),
            ("Working grid", f"{' x '.join(f'{mm:g}' for mm in card.spacing_mm)} mm, sides multiples of {card.size_multiple} voxels"),
            ("Input", f"{'the brain alone' if card.brain_only else 'whole heads'}; {card.normalisation.kind}, clipped to the percentiles "
                      f"{' and '.join(f'{p:g}' for p in card.normalisation.clip_percentiles)}"),
            ("Answers", f"probabilities of {', '.join(card.regions)}; labels "
                        + ", ".join(f"{label.value} {label.name} ({label.code[1]} {label.code[0]})" for label in card.labels)),
            ("Post-processing", _post_processing(card)),
            ("Licence", card.licence or "not stated"), ("ONNX Runtime", f"{card.minimum_onnxruntime} or newer"),
            ("SHA-256", f"`{card.sha256}`")]),
        "## Intended use", card.intended_use or "Not stated.",
        "## Limits", _bullets(card.limits) or "Not stated.",
        "## Training data", _training_data(card.training_data),
        "## Training", *_training(card.training),
        "## Numbers", *_numbers(card.metrics)]
    return "\n\n".join(parts) + "\n"


def _post_processing(card: ModelCard) -> str:
    numbers = card.post_processing
    return ("thresholds " + ", ".join(f"{region} {value:g}" for region, value in numbers.thresholds.items())
            + f"; islands below {numbers.smallest_lesion_ml:g} ml are dropped"
            + (f"; enhancing tumour below {numbers.smallest_et_ml:g} ml in all is taken for core" if card.finds == "tumour" else ""))


def _training_data(data: Sequence[Mapping]) -> str:
    return markdown_table(("Name", "Cases", "Licence", "Citation"), [[one.get(key, "") for key in ("name", "cases", "licence", "citation")]
                                                                     for one in data]) if data else "Not stated."


def _training(training: Mapping) -> list[str]:
    if not training:
        return ["Not stated."]
    parts = []
    if training.get("steps"):
        parts.append(f"{training['steps']} steps." + (f" {training['remark']}" if training.get("remark") else ""))
    recipe = training.get("recipe") or {}
    if init := recipe.get("init"):
        parts.append(f"Started from {_weights(init)}.")
    if parts_of := training.get("average_of"):
        parts.append(f"Its weights are the mean of those of {len(parts_of)} networks: {', '.join(parts_of)}.")
    for key, words in (("trained_on", "Trained on"), ("held_out", "Held out")):
        if names := training.get(key):
            parts.append(f"{words} ({len(names)}): {', '.join(names)}.")
    if inherited := training.get("inherited"):
        parts.append(f"Trained on only by the weights that it started from ({len(inherited)}): {', '.join(inherited)}.")
    if not (training.get("lineage") or {}).get("complete", True):
        parts.append("What else the weights that it started from had learned from is not known.")
    if parity := training.get("parity"):
        parts.append(f"Parity: ONNX Runtime and torch differ by at most {parity['largest_difference']:.1e} in probability on {parity['on']}.")
    if calibration := training.get("calibration"):
        parts.append(f"Calibration: {calibration}")
    if recipe:
        rows = [(f"`{key}`", f"`{json.dumps(value)}`") for key, value in recipe.items()]
        parts.append("<details><summary>Recipe</summary>\n\n" + markdown_table(("Field", "Value"), rows) + "\n\n</details>")
    known = {"steps", "remark", "trained_on", "inherited", "lineage", "held_out", "parity", "calibration", "recipe", "average_of"}
    return parts + [f"{key.replace('_', ' ').capitalize()}: {_plain(value)}" for key, value in training.items() if key not in known]


def _weights(init: str) -> str:
    """`init` of a recipe, NAME sha256 HASH, for a person."""
    name, _, digest = init.partition(" sha256 ")
    return f"the weights {name}" + (f" (SHA-256 `{digest}`)" if digest else "")


def _numbers(metrics: Mapping) -> list[str]:
    if not metrics:
        return ["Not measured."]
    parts = [f"{metrics.get('definition', '')}.", f"On {metrics.get('split', 'cases that are not stated')}."]
    heads = ("Dice", *_SPREAD, "worst case", "N")
    if rows := metrics.get("dice"):
        parts.append(markdown_table(heads, [_spread(name, row) for name, row in rows.items()]))
    for cohort, rows in metrics.get("dice_by_cohort", {}).items():
        parts += [f"### {cohort}", markdown_table(heads, [_spread(name, row) for name, row in rows.items()])]
    if others := metrics.get("other_scores"):
        rows = [_spread(f"{region} {title}", row, _DECIMALS.get(title, 3)) for region, scores in others.items() for title, row in scores.items()]
        parts += ["### Other scores", markdown_table(("", *heads[1:]), rows), metrics.get("definitions", "")]
    if subsets := metrics.get("dice_by_sequences"):
        regions = list(dict.fromkeys(region for row in subsets.values() for region in row))
        rows = [[name, *(shown(row.get(region)) for region in regions)] for name, row in subsets.items()]
        parts += ["### By sequences (mean Dice; ET over cases with at least 1 ml)", markdown_table(("Sequences", *regions), rows)]
    if sure := metrics.get("sureness", {}).get("WT"):
        parts.append(f"How sure it was of the whole tumour, as the Dice that its probabilities promise: {shown(sure['mean'])} on average, seldom "
                     f"below {shown(sure['low'])} (N = {sure['n']}). A result of which it is clearly less sure is flagged.")
    known = {"definition", "split", "dice", "dice_by_cohort", "other_scores", "definitions", "dice_by_sequences", "sureness"}
    for key, value in metrics.items():
        if key not in known:
            parts.append(f"### {key.replace('_', ' ').capitalize()}\n\n{_plain(value)}")
    return [part for part in parts if part]


def _spread(name: str, row: Mapping, decimals: int = 3) -> list[str]:
    return [name, *(shown(row.get(key), decimals) for key in _SPREAD), row.get("worst_case") or "-", row.get("n", "-")]


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else f"`{json.dumps(value)}`"
