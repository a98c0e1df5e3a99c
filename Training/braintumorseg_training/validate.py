"""The numbers of a card: the exported network run by the engine on the validation cases, as a user would run it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from braintumorseg.evaluate import CaseResult, Evaluation, evaluate_pair
from braintumorseg.evaluation_report import METRICS, format_table, summarise, to_json, write_box_plots, write_csv
from braintumorseg.labels import REGIONS
from braintumorseg.metrics import dice
from braintumorseg.model_card import write_card
from braintumorseg.model_zoo import Model, load_model
from braintumorseg.pipeline import segment
from braintumorseg.results import write_results
from braintumorseg.study import ROLES, Study
from braintumorseg.volume import Volume

from .data import Split, read_case

__all__ = ["ENOUGH_ET_ML", "subset_names", "validate"]

ENOUGH_ET_ML = 1.0  # cases with less enhancing tumour than this say little about its Dice
DEFINITION = "Dice over whole cases on their native grid; both empty counts 1, one empty 0"


def validate(weights: Path, cases: Path, split: Split, conventions: dict[str, str], default: str | None, out: Path, *, subsets: bool,
             write: bool, say: Callable[[str], None]) -> Evaluation:
    """Run the network on the split's validation cases; `out` gets tables, box plots, and a full report of the worst case.

    With `subsets` also on each of the 15 subsets of sequences (Dice only). With `write` the numbers go into the card.
    """
    model = load_model(weights)
    out.mkdir(parents=True, exist_ok=True)
    loaded = {name: read_case(cases / name, conventions.get(name, default)) for name in split.validation}
    results, found_by = [], {}
    for name, (study, truth) in loaded.items():
        found_by[name] = segment(study, model, registered=True)
        results.append(evaluate_pair(truth, found_by[name].labels, name))
        say(f"{name}  " + "  ".join(f"{region} {results[-1].scores[region].dice:.3f}" for region in REGIONS))
    evaluation = Evaluation(tuple(results))
    say(format_table(evaluation))
    (out / "validation.json").write_text(json.dumps(to_json(evaluation), indent=2) + "\n", encoding="utf-8")
    write_csv(evaluation, out / "validation.csv")
    write_box_plots(evaluation, out / "validation.png")
    worst = min(results, key=lambda result: result.scores["WT"].dice).case
    write_results(loaded[worst][0], found_by[worst], model.card, out / f"worst_{worst}", force=True)

    metrics = {"definition": DEFINITION, "split": f"{len(split.validation)} validation cases, fixed before training: {', '.join(split.validation)}",
               "dice": _dice_rows(results)}
    if subsets:
        metrics["dice_by_sequences"] = _subsets(model, loaded, say)
        (out / "subsets.json").write_text(json.dumps(metrics["dice_by_sequences"], indent=2) + "\n", encoding="utf-8")
    if write:
        write_card(replace(model.card, metrics=metrics), weights.with_suffix(".json"))
    return evaluation


def subset_names() -> list[tuple[str, ...]]:
    """The 15 non-empty subsets of the four sequences, largest first."""
    return [roles for count in range(len(ROLES), 0, -1) for roles in itertools.combinations(ROLES, count)]


def _dice_rows(results: list[CaseResult]) -> dict:
    rows = {region: asdict(summarise(results, region, METRICS[0])) for region in REGIONS}
    enough = [result for result in results if result.scores["ET"].truth_ml >= ENOUGH_ET_ML]
    if enough and len(enough) < len(results):
        rows[f"ET where at least {ENOUGH_ET_ML:g} ml"] = asdict(summarise(enough, "ET", METRICS[0]))
    return {name: {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()} for name, row in rows.items()}


def _subsets(model: Model, loaded: dict[str, tuple[Study, Volume]], say: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """'t1ce + flair' -> mean Dice per region over the cases (ET over those with enough of it, absent where there is none)."""
    table = {}
    for roles in subset_names():
        scores: dict[str, list[float]] = {region: [] for region in REGIONS}
        for study, truth in loaded.values():
            part = Study({role: study.volumes[role] for role in roles})
            labels = segment(part, model, registered=True).labels.voxels
            for region, values in REGIONS.items():
                wanted = np.isin(truth.voxels, values)
                if region != "ET" or wanted.sum() * truth.voxel_ml >= ENOUGH_ET_ML:
                    scores[region].append(dice(wanted, np.isin(labels, values)))
        name = " + ".join(roles)
        table[name] = {region: round(float(np.mean(values)), 4) for region, values in scores.items() if values}
        say(f"{name:<24}" + "  ".join(f"{region} {value:.3f}" for region, value in table[name].items()))
    return table
