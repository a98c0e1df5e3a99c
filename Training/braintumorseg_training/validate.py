"""The numbers of a card: the exported network run by the engine on cases that it was not trained on, as a user would run it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from braintumorseg.errors import InputError, ModelError, ResourceError
from braintumorseg.evaluate import CaseResult, Evaluation, evaluate_pair
from braintumorseg.evaluation_report import format_table, to_json, write_box_plots, write_csv
from braintumorseg.labels import REGIONS, region_mask
from braintumorseg.metrics import dice
from braintumorseg.model_card import ModelCard, read_card, write_card
from braintumorseg.model_zoo import Model, load_model
from braintumorseg.pipeline import segment
from braintumorseg.results import write_results
from braintumorseg.segmentation import Segmentation
from braintumorseg.study import ROLES, Study
from braintumorseg.volume import Volume

from .card_markdown import write_card_markdown
from .card_metrics import card_metrics, require_same_recipe, with_metrics, with_metrics_of
from .case_folder import CaseFolder, LabelledCase
from .data import Split
from .markdown import clock
from .outputs import output_into
from .seen import seen_cases
from .validation_pictures import draw_error, write_heat_map, write_metric_boxes
from .validation_report import write_report

__all__ = ["PARTS", "Validation", "cases_of_part", "subset_names", "validate"]

PARTS = ("validation", "test", "train")
DEFINITION = "Dice over whole cases on their native grid; both empty counts 1, one empty 0"


@dataclass(frozen=True)
class Validation:
    """What one network did on one part of a split.

    cohorts: case -> cohort. by_sequences: 't1ce + flair' -> case -> region -> Dice; {} where subsets were not asked for.
    trained_on: those of the cases that the network learned from, or whose patients it did (nothing of it is accuracy then).
    sureness: case -> how sure the network was of its whole tumour (see the engine's `signs`); without those where it found none.
    """

    card: ModelCard
    part: str
    evaluation: Evaluation
    cohorts: Mapping[str, str]
    by_sequences: Mapping[str, Mapping[str, Mapping[str, float]]]
    trained_on: tuple[str, ...]
    provider: str
    definition: str = DEFINITION
    sureness: Mapping[str, float] = field(default_factory=dict)

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(result.case for result in self.evaluation.results)


@dataclass(eq=False)
class _Tally:
    """What has come of the cases so far. worst: of each region the case with the lowest Dice, kept with its images for the pictures."""

    results: list[CaseResult] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    by_sequences: dict[str, dict[str, Mapping[str, float]]] = field(default_factory=dict)
    worst: dict[str, tuple[CaseResult, Study, Volume, Segmentation]] = field(default_factory=dict)
    provider: str = ""
    sureness: dict[str, float] = field(default_factory=dict)

    def take(self, result: CaseResult, by_subset: Mapping[str, Mapping[str, float]], study: Study, truth: Volume, found: Segmentation) -> None:
        self.results.append(result)
        self.provider = found.provenance.provider
        if "sureness" in found.provenance.signs:
            self.sureness[result.case] = found.provenance.signs["sureness"]
        for key, scores in by_subset.items():
            self.by_sequences.setdefault(key, {})[result.case] = scores
        for region in REGIONS:
            if region not in self.worst or result.scores[region].dice < self.worst[region][0].scores[region].dice:
                self.worst[region] = (result, study, truth, found)


def validate(weights: Path, folder: CaseFolder, split: Split, out: Path, *, subsets: bool, write: bool, say: Callable[[str], None],
             part: str = "validation", write_of: Path | None = None, device: str = "auto") -> Validation:
    """Run the network on one part of the split; `out` gets report.md with its tables and pictures, and a full report of the worst case.

    Args:
        folder: where the cases are, as `prepare` was given it.
        subsets: also each of the 15 subsets of sequences (Dice only).
        write: the numbers go into the network's card; write_of: into this other card (JSON), of a network of the same recipe that was
            trained on more cases, with a sentence that says so.

    Raises InputError or MissingFile before the first case where something lacks, ModelError where a card must not get these numbers.
    """
    model = load_model(weights)
    cases = cases_of_part(folder, split, part, say)
    trained_on = seen_cases(model.card, folder, cases, split.train, say)
    if write or write_of:
        _require_unseen(part, trained_on)
    if write_of:
        require_same_recipe(model.card, read_card(write_of))
    if trained_on:
        say(f"WARNING: {len(trained_on)} of these {len(cases)} cases, or others of their patients, were trained on: the numbers show how well they "
            "were learned, not accuracy.")
    with output_into(out):
        tally = _run(model, cases, subsets, device, say)
        found = Validation(model.card, part, Evaluation(tuple(tally.results), refused=tuple(tally.refused)),
                           {name: case.row.cohort for name, case in cases.items()}, tally.by_sequences, trained_on, tally.provider,
                           DEFINITION + _without({name: case.missing for name, case in cases.items() if case.missing}), tally.sureness)
        _write(found, tally, out)
    cards = [] if tally.refused else _write_cards(found, weights if write else None, write_of, folder)
    # Whoever reads this may be gone, so everything is written by now.
    say(format_table(found.evaluation))
    say(f"Everything with its pictures: {out / 'report.md'}")
    for path in cards:
        say(f"The numbers are in {path.name}, and for people in {path.with_suffix('.md').name}")
    if tally.refused and (write or write_of):
        raise ModelError(f"{len(tally.refused)} of {len(cases)} cases could not be scored, so the card is as it was; the tables are in {out.name}.",
                         f"Mend {', '.join(name for name, _ in tally.refused[:3])} or take them out of the split.")
    return found


def _run(model: Model, cases: Mapping[str, LabelledCase], subsets: bool, device: str, say: Callable[[str], None]) -> _Tally:
    """Segment and score every case, one in memory at a time. A case that cannot be scored costs itself alone; InputError when none can."""
    tally, began = _Tally(), time.monotonic()
    for number, (name, case) in enumerate(cases.items(), 1):
        try:
            study, truth = case.read()
            found = segment(study, model, registered=True, device=device)
            result = evaluate_pair(truth, found.labels, name)
            by_subset = _by_subset(model, study, truth, found, device) if subsets and not case.missing else {}
        except (InputError, ResourceError) as error:
            tally.refused.append((name, str(error)))
            say(f"{number}/{len(cases)} {name} not scored: {error}")
            continue
        tally.take(result, by_subset, study, truth, found)
        left = (time.monotonic() - began) / number * (len(cases) - number)
        say(f"{number}/{len(cases)} {name}  " + "  ".join(f"{region} {result.scores[region].dice:.3f}" for region in REGIONS)
            + (f"  {clock(left)} left" if number < len(cases) else ""))
    if not tally.results:
        raise InputError(f"None of the {len(cases)} cases can be scored. {tally.refused[0][0]}: {tally.refused[0][1]}")
    return tally


def subset_names() -> list[tuple[str, ...]]:
    """The 15 non-empty subsets of the four sequences, largest first."""
    return [roles for count in range(len(ROLES), 0, -1) for roles in itertools.combinations(ROLES, count)]


def cases_of_part(folder: CaseFolder, split: Split, part: str, say: Callable[[str], None] = lambda line: None) -> dict[str, LabelledCase]:
    """The cases of one part of the split; what `CaseFolder.find` says. Raises InputError when it is empty, and what that raises."""
    names = getattr(split, part)
    if not names:
        raise InputError(f"The split has no {part} cases.", f"Choose another --part ({', '.join(PARTS)}) or another --split.")
    return folder.find(names, say)


def _without(missing: Mapping[str, tuple[str, ...]]) -> str:
    """What the definition of the scores says of cases that lack sequences."""
    if not missing:
        return ""
    return "; with the sequences that there are, without " + ", ".join(f"{' and '.join(roles)} of {name}" for name, roles in missing.items())


def _require_unseen(part: str, trained_on: tuple[str, ...]) -> None:
    if part == "train" or trained_on:
        named = f" ({', '.join(trained_on[:3])}{' ...' if len(trained_on) > 3 else ''})" if trained_on else ""
        raise ModelError(f"{len(trained_on) or 'All'} of these cases{named}, or others of their patients, were trained on, so their numbers must not "
                         "go into the card.",
                         "Leave out --write-card, or measure a network that did not see them and use --write-card-of.")


def _by_subset(model: Model, study: Study, truth: Volume, full: Segmentation, device: str) -> Mapping[str, Mapping[str, float]]:
    """'t1ce + flair' -> region -> Dice of one case, for the subsets that the network may be given."""
    table = {}
    for roles in subset_names():
        lacking = set(model.card.roles) - set(roles)
        if lacking - set(model.card.may_be_missing) or not set(roles) <= set(study.volumes) or not set(roles) & set(model.card.roles):
            continue
        whole = set(roles) == set(study.volumes)
        found = full if whole else segment(Study({role: study.volumes[role] for role in roles}), model, registered=True, device=device)
        table[" + ".join(roles)] = {region: round(dice(region_mask(truth.voxels, region), found.region(region)), 4) for region in REGIONS}
    return table


def _write(found: Validation, tally: _Tally, out: Path) -> None:
    (out / "validation.json").write_text(json.dumps(_plain(found), indent=2) + "\n", encoding="utf-8")
    write_csv(found.evaluation, out / "validation.csv")
    write_box_plots(found.evaluation, out / "validation.png")
    write_metric_boxes(found.evaluation.results, out / "metrics.png")
    if found.by_sequences:
        (out / "subsets.json").write_text(json.dumps(found.by_sequences, indent=2) + "\n", encoding="utf-8")
        write_heat_map(found, out / "subsets.png")
    else:
        for stale in (out / "subsets.json", out / "subsets.png"):
            stale.unlink(missing_ok=True)
    for region, (result, study, truth, segmentation) in tally.worst.items():
        draw_error(region, result, study, truth, segmentation, out / f"worst_{region}.png")
    _, study, _, segmentation = tally.worst["WT"]
    write_results(study, segmentation, found.card, out / "worst_case", force=True)
    if not found.trained_on:
        write_card_markdown(with_metrics(found.card, card_metrics(found)), out / f"{found.card.name}.md")
    write_report(found, {region: kept[0].case for region, kept in tally.worst.items()}, out)


def _plain(found: Validation) -> dict:
    return {"network": {"name": found.card.name, "version": found.card.version, "sha256": found.card.sha256}, "part": found.part,
            "trained_on": list(found.trained_on), "provider": found.provider, "cohorts": dict(found.cohorts), **to_json(found.evaluation),
            "by_sequences": found.by_sequences}


def _write_cards(found: Validation, weights: Path | None, other: Path | None, folder: CaseFolder) -> list[Path]:
    """Put the numbers into the card of `weights` and into the `other` card (JSON), and beside each a page for people; returns the cards' paths."""
    written = []
    if weights:
        written.append(_rewrite(with_metrics(found.card, card_metrics(found)), weights.with_suffix(".json")))
    if other:
        written.append(_rewrite(with_metrics_of(read_card(other), found.card, card_metrics(found), found.cases, folder.patient_of), other))
    return written


def _rewrite(card: ModelCard, path: Path) -> Path:
    write_card(card, path)
    write_card_markdown(card, path.with_suffix(".md"))
    return path
