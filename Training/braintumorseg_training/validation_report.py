"""report.md: everything that a validation found, tables and pictures together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from braintumorseg.evaluation_report import DEFINITIONS, METRICS, summarise
from braintumorseg.labels import REGIONS

from .card_metrics import card_metrics, subset_results
from .markdown import markdown_table, shown

if TYPE_CHECKING:
    from .validate import Validation

__all__ = ["write_report"]


def write_report(found: Validation, worst: Mapping[str, str], out: Path) -> None:
    """Write out/report.md; `worst`: region -> the case in worst_REGION.png."""
    results, card = found.evaluation.results, found.card
    parts = [f"# {card.name} {card.version} on {len(results)} {found.part} cases"]
    if found.trained_on:
        parts.append(f"> **The network was trained on {len(found.trained_on)} of these cases** ({', '.join(found.trained_on)}): "
                     "the numbers show how well they were learned, not how well others are found.")
    parts += [f"{found.definition}. Exported network run by the engine, provider {found.provider}, sha256 `{card.sha256}`. "
              "Numbers by case: validation.csv and validation.json.",
              "## In short", markdown_table(("", *(metric.title for metric in METRICS)), _summaries(found)),
              "Mean, median and worst over the cases; HD95 leaves out cases in which one of the two is empty.",
              "![Dice by region](validation.png)", "![All scores by region](metrics.png)",
              "## By case"]
    for region in REGIONS:
        rows = [[result.case, found.cohorts[result.case], f"{result.scores[region].truth_ml:.1f}", f"{result.scores[region].found_ml:.1f}",
                 *(_cell(metric.read(result.scores[region]), metric.decimals) for metric in METRICS), _lesions(result.scores[region].lesions)]
                for result in sorted(results, key=lambda result: result.scores[region].dice)]
        parts += [f"### {region}", markdown_table(("Case, worst first", "Cohort", "true ml", "found ml", *(metric.title for metric in METRICS),
                                                   "lesions: matched / true, false"), rows)]
    if refused := found.evaluation.refused:
        parts += ["### Not scored", "\n".join(f"- {case}: {why}" for case, why in refused)]
    parts.append("## The worst cases")
    parts += [f"![The worst {region}: {case}](worst_{region}.png)" for region, case in worst.items()]
    parts.append(f"The full report of {worst['WT']}, as a user would get it: [worst_case/report.html](worst_case/report.html)")
    metrics = card_metrics(found)
    if cohorts := metrics.get("dice_by_cohort"):
        rows = [[cohort, name, row["n"], *(shown(row[key]) for key in ("mean", "median", "worst"))]
                for cohort, regions in cohorts.items() for name, row in regions.items()]
        parts += ["## By cohort (Dice)", markdown_table(("Cohort", "", "N", "mean", "median", "worst"), rows)]
    if subsets := metrics.get("dice_by_sequences"):
        counts = ", ".join(f"{region} over {len(subset_results(found, region))}" for region in REGIONS)
        parts += [f"## By sequences (mean Dice; {counts} cases)", "![Dice by sequences](subsets.png)",
                  markdown_table(("Sequences", *REGIONS), [[name, *(shown(row.get(region)) for region in REGIONS)] for name, row in subsets.items()])]
    parts += ["## Definitions", "\n".join(f"- {' '.join(text.split())}" for text in DEFINITIONS.values())]
    (out / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _summaries(found: Validation) -> list[list[str]]:
    rows = []
    for region in REGIONS:
        summaries = [summarise(found.evaluation.results, region, metric) for metric in METRICS]
        for name in ("mean", "median", "worst"):
            rows.append([f"{region} {name}", *(shown(getattr(one, name), metric.decimals) for one, metric in zip(summaries, METRICS, strict=True))])
    return rows


def _cell(value: float, decimals: int) -> str:
    return shown(value if abs(value) < float("inf") else None, decimals)


def _lesions(lesions) -> str:
    return f"{lesions.matched} / {lesions.truth}, {lesions.false_found}"
