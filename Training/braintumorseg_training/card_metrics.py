"""What a validation says in a network's card, and when it may stand in the card of another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from braintumorseg.errors import ModelError
from braintumorseg.evaluate import CaseResult
from braintumorseg.evaluation_report import DEFINITIONS, METRICS, Summary, summarise
from braintumorseg.labels import REGIONS
from braintumorseg.model_card import ModelCard

from .config import Config, plain_fields

if TYPE_CHECKING:
    from .validate import Validation

__all__ = ["ENOUGH_ET_ML", "card_metrics", "mean_by_sequences", "region_results", "require_same_recipe", "subset_results", "with_metrics",
           "with_metrics_of"]

ENOUGH_ET_ML = 1.0   # cases with less enhancing tumour than this say little about its Dice
LOW_PERCENTILE = 2.5  # of how sure a network was of its tumours: what is lower is unusual
MOST_NAMES = 40      # a longer list of cases stays in the tables beside the report
# What may differ between two runs of one recipe: chance, how the same sums are done, and how often the run looks up.
# Batch and accumulate count as their product alone, with the processes: the patches of a step.
NOT_RECIPE = ("seed", "compile", "log_every", "save_every", "validate_every", "batch", "accumulate")


def card_metrics(found: Validation) -> dict:
    """The card's `metrics`: definition, split, Dice with its spread, the other scores, by cohort and by sequences where there are some; and how
    sure the network was, against which the engine holds what it is given later."""
    results = found.evaluation.results
    named = f": {', '.join(found.cases)}" if len(results) <= MOST_NAMES else ""
    metrics = {"definition": found.definition, "split": f"{len(results)} {found.part} cases, fixed before training{named}",
               "dice": _dice_rows(results)}
    cohorts = dict.fromkeys(found.cohorts[case] for case in found.cases)
    if len(cohorts) > 1:
        metrics["dice_by_cohort"] = {cohort: _dice_rows([result for result in results if found.cohorts[result.case] == cohort])
                                     for cohort in cohorts}
    if found.by_sequences:
        metrics["dice_by_sequences"] = mean_by_sequences(found)
    metrics["other_scores"] = {
        region: {metric.title: _row(summarise(results, region, metric)) for metric in METRICS[1:]} for region in REGIONS}
    if found.sureness:
        sure = list(found.sureness.values())
        metrics["sureness"] = {"WT": {"n": len(sure), "mean": round(float(np.mean(sure)), 4),
                                      "low": round(float(np.percentile(sure, LOW_PERCENTILE)), 4)}}
    metrics["definitions"] = " ".join(" ".join(text.split()) for text in DEFINITIONS.values())
    return metrics


def region_results(results: Sequence[CaseResult], region: str) -> list[CaseResult]:
    """The cases over which a region is averaged in comparisons: ET only where there is enough of it."""
    return [result for result in results if region != "ET" or result.scores["ET"].truth_ml >= ENOUGH_ET_ML]


def subset_results(found: Validation, region: str) -> list[CaseResult]:
    """The cases over which a region is averaged by sequences: of `region_results` those that have all four."""
    complete = next(iter(found.by_sequences.values()), {})
    return [result for result in region_results(found.evaluation.results, region) if result.case in complete]


def mean_by_sequences(found: Validation) -> dict[str, dict[str, float]]:
    """'t1ce + flair' -> mean Dice per region (ET over cases with enough of it, absent where there is none)."""
    table = {}
    for key, rows in found.by_sequences.items():
        named = {region: [result.case for result in subset_results(found, region)] for region in REGIONS}
        table[key] = {region: round(float(np.mean([rows[case][region] for case in cases])), 4) for region, cases in named.items() if cases}
    return table


def with_metrics(card: ModelCard, metrics: Mapping) -> ModelCard:
    """The card with these numbers; what else was measured on the same cases stays."""
    kept = card.metrics if card.metrics.get("split") == metrics["split"] else {}
    return replace(card, metrics={**kept, **metrics})


def require_same_recipe(measured: ModelCard, shipped: ModelCard) -> None:
    """ModelError unless numbers of one network may stand in the card of the other: same recipe, steps, input and way to labels."""
    for card in (measured, shipped):
        if "trained_on" not in card.training:
            raise ModelError(f"The card of {card.name} {card.version} does not say on which cases it was trained.", "Export it again.")
    # Of the weights that a run began from only that there were some: each may have begun from a run of its own, as the card then says.
    # A field that an older version did not have was as it comes by itself now.
    recipes = [{key: bool(value) if key == "init" else value
                for key, value in {**plain_fields(Config()), **card.training.get("recipe", {})}.items() if key not in NOT_RECIPE}
               for card in (measured, shipped)]
    different = [key for key in sorted(recipes[0].keys() | recipes[1].keys()) if recipes[0].get(key) != recipes[1].get(key)]
    different += ["patches a step"] * (_patches_a_step(measured) != _patches_a_step(shipped))
    different += ["number of averaged networks"] * (len(set(len(card.training.get("average_of", ())) for card in (measured, shipped))) > 1)
    different += ["steps taken"] * (measured.training.get("steps") != shipped.training.get("steps"))
    different += [name for name in ("roles", "spacing_mm", "normalisation", "post_processing") if getattr(measured, name) != getattr(shipped, name)]
    if different:
        raise ModelError(f"The two networks differ in {', '.join(dict.fromkeys(different))}, so the numbers of one do not speak for the other.",
                         "Train, export and calibrate both alike.")
    if set(measured.training["trained_on"]) - set(shipped.training["trained_on"]):
        raise ModelError("The network that was measured was trained on cases that the other was not.", "Exchange the two.")


def _patches_a_step(card: ModelCard) -> int:
    """Of all processes; where an older card does not say it, as if there was one."""
    recipe = card.training.get("recipe", {})
    return card.training.get("patches_a_step") or recipe.get("batch", 1) * recipe.get("accumulate", 1)


def with_metrics_of(shipped: ModelCard, measured: ModelCard, metrics: Mapping, cases: Sequence[str],
                    patient_of: Callable[[str], str]) -> ModelCard:
    """The shipped network's card with the numbers of the other; `metrics.split` says whose they are and what this one was trained on.

    patient_of: case -> patient; a case counts as learned from when any of its patient was.
    """
    own = shipped.training["trained_on"]
    patients = {patient_of(case) for case in own}
    seen = sum(patient_of(case) in patients for case in cases)
    also = "" if seen == sum(case in own for case in cases) else " or others of their patients"
    sentence = (f"{metrics['split']}. Measured on another network (sha256 {measured.sha256}), trained on "
                f"{len(measured.training['trained_on'])} cases, these not among them. This network was trained with the same recipe and "
                f"number of steps on {len(own)} cases, "
                + (f"{'all' if seen == len(cases) else seen} of these {len(cases)}{also} among them: it has no held-out numbers of its own."
                   if seen else "these not among them either."))
    begun = [card.training.get("recipe", {}).get("init", "") for card in (shipped, measured)]
    if begun[0] != begun[1]:
        sentence += f" It began from the weights {begun[0]}, the measured one from {begun[1]}."
    return replace(shipped, metrics={**metrics, "split": sentence})


def _dice_rows(results: Sequence[CaseResult]) -> dict[str, dict]:
    rows = {region: _row(summarise(results, region, METRICS[0])) for region in REGIONS}
    enough = region_results(results, "ET")
    if enough and len(enough) < len(results):
        rows[f"ET where at least {ENOUGH_ET_ML:g} ml"] = _row(summarise(enough, "ET", METRICS[0]))
    return rows


def _row(summary: Summary) -> dict:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(summary).items()}
