"""Thresholds and smallest volumes for a card, from networks run on cases that each did not learn from.

Few cases make ragged curves, so the middle of what is as good as the best is taken, and whether the choice helps is told by leaving each case
out of it: numbers chosen without the case, scored on the case. Without a gain there the card's own numbers stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from braintumorseg.errors import InputError, ModelError
from braintumorseg.labels import REGIONS, region_mask
from braintumorseg.metrics import dice
from braintumorseg.model_card import PostProcessing, read_card, write_card
from braintumorseg.model_zoo import Model, load_model
from braintumorseg.postprocess import onto_native
from braintumorseg.preprocess import prepare
from braintumorseg.runtime import open_session
from braintumorseg.tiling import predict

from .calibrate_report import write_calibration
from .card_metrics import ENOUGH_ET_ML
from .case_folder import CaseFolder, LabelledCase
from .data import Split, read_split
from .outputs import output_into
from .seen import seen_cases
from .splits import some_of

__all__ = ["THRESHOLDS", "best", "calibrate", "choose", "gain", "read_fold"]

THRESHOLDS = tuple(round(0.2 + 0.05 * n, 2) for n in range(13))
VOLUMES_ML = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
AS_GOOD = 0.002   # of mean Dice


def calibrate(folds: Sequence[tuple[Path, Split]], folder: CaseFolder, out: Path, *, fixed: Split, say: Callable[[str], None],
              part: str = "validation", cards: Sequence[Path] = (), device: str = "auto") -> PostProcessing:
    """Choose post-processing numbers on each fold's own cases; `out` gets calibration.json, .md and .png. Returns what was chosen.

    Args:
        folds: networks (.onnx) with the split each was trained with. folder: where the cases are, as `prepare` was given it.
        fixed: the split whose validation and test cases must not be used, nor others of their patients; nor those that a fold's split tests on.
        cards: also write the numbers into these (JSON); their metrics, measured with other numbers, go. Where none is given, the first
            network's numbers are where the choice begins.

    Raises ModelError for a case of a patient who is fixed, held out by the card, or was trained on (unless part is 'train').
    """
    models = [(load_model(weights), getattr(split, part)) for weights, split in folds]
    to_write = {path: read_card(path) for path in cards}
    card = next(iter(to_write.values()), models[0][0].card)
    held_out = {name for one in to_write.values() for name in one.training.get("held_out", ())}
    held_out |= {*fixed.validation, *fixed.test, *(name for _, split in folds for name in split.test)}
    _require_sound(models, held_out, part, folder.patient_of)
    cases = folder.find(name for _, names in models for name in names)
    if part != "train":
        for model, names in models:
            _require_unseen(model, folder, {name: cases[name] for name in names}, say)
    if part == "train":
        say("WARNING: these cases were trained on. Networks are surer of them than of others: take the numbers as a hint.")
    rows: dict[str, dict] = {}
    for model, names in models:
        session = open_session(model.weights, device)
        for name in names:
            study, truth = cases[name].read()
            ready = prepare(study, model.card)
            probabilities, _ = predict(ready.channels, session, model.card.size_multiple, model.card.bytes_per_voxel)

            def scored(numbers, probabilities=probabilities, ready=ready, truth=truth):
                labels = onto_native(probabilities, ready.grid, truth.grid, replace(card, post_processing=numbers))
                return {region: dice(region_mask(truth.voxels, region), region_mask(labels, region)) for region in REGIONS}

            rows[name] = _curves(scored, card.post_processing, np.count_nonzero(region_mask(truth.voxels, "ET")) * truth.voxel_ml)
            say(f"{len(rows)}/{len(cases)} {name}  "
                + "  ".join(f"{region} {value:.3f}" for region, value in rows[name]["now"].items()))
    if len(rows) < 2:
        raise InputError("One case is too few to calibrate on.", "Give more folds, or a split with more validation cases.")
    chosen, gains = _decide(rows, card.post_processing)
    with output_into(out):
        table = write_calibration(rows, card.name, gains, part, out)
    for path, one in to_write.items():
        remark = f"thresholds and smallest volumes chosen on {len(rows)} {'training' if part == 'train' else 'out-of-fold'} cases: {', '.join(rows)}"
        write_card(replace(one, post_processing=chosen, metrics={}, training={**one.training, "calibration": remark}), path)
    say(table)
    for path in to_write:
        say(f"Written into {path.name}. Its metrics were measured with other numbers and are gone: run validate --write-card again.")
    return chosen


def read_fold(text: str) -> tuple[Path, Split]:
    """(weights, split) of MODEL.onnx=SPLIT.json."""
    weights, _, split = text.partition("=")
    if not weights or not split:
        raise InputError(f"--fold {text} is not MODEL.onnx=SPLIT.json.", "Write for example --fold fold0/glioma.onnx=fold0.json.")
    return Path(weights), read_split(Path(split))


def best(means: Mapping[float, float], now: float) -> float:
    """The value now in use when it is as good as the best, else the middle of those that are; `now` too where nothing is measured."""
    top = max(means.values(), default=float("nan"))
    near = [value for value, mean in means.items() if mean >= top - AS_GOOD]
    return now if not near or now in near else near[len(near) // 2]


def choose(rows: Sequence[Mapping], key: str, now: float) -> float:
    """The best value of one curve (`key` of each row: value -> Dice) over the cases that have it."""
    curves = [row[key] for row in rows if row[key]]
    return best({value: float(np.mean([curve[value] for curve in curves])) for value in (curves[0] if curves else ())}, now)


def gain(rows: Sequence[Mapping], key: str, now: float) -> float:
    """Mean change of Dice on each case when the value is chosen on the others; 0 where there are fewer than two."""
    having = [row for row in rows if row[key]]
    if len(having) < 2:
        return 0.0
    return float(np.mean([row[key][choose([other for other in having if other is not row], key, now)] - row[key][now] for row in having]))


def _curves(scored: Callable[[PostProcessing], dict[str, float]], now: PostProcessing, et_ml: float) -> dict:
    """One case: Dice now, and along each number with the others as they are. ET's threshold counts only where there is enough of it."""
    found: dict = {"now": scored(now), **{region: {} for region in REGIONS}, "smallest_lesion_ml": {}, "smallest_et_ml": {}}
    for region in REGIONS:
        if region != "ET" or et_ml >= ENOUGH_ET_ML:
            for value in sorted({*THRESHOLDS, now.thresholds[region]}):
                found[region][value] = scored(replace(now, thresholds={**now.thresholds, region: value}))[region]
    for key, region in (("smallest_lesion_ml", "WT"), ("smallest_et_ml", "ET")):
        for value in sorted({*VOLUMES_ML, getattr(now, key)}):
            found[key][value] = scored(replace(now, **{key: value}))[region]
    return found


def _decide(rows: Mapping[str, dict], now: PostProcessing) -> tuple[PostProcessing, dict[str, dict]]:
    gains, chosen = {}, {}
    for key in (*REGIONS, "smallest_lesion_ml", "smallest_et_ml"):
        was = now.thresholds[key] if key in REGIONS else getattr(now, key)
        value, helps = choose(list(rows.values()), key, was), gain(list(rows.values()), key, was)
        chosen[key] = value if helps > 0 else was
        gains[key] = {"now": was, "best": value, "gain_on_cases_left_out": round(helps, 4), "chosen": chosen[key]}
    return replace(now, thresholds={region: chosen.pop(region) for region in REGIONS}, **chosen), gains


def _require_sound(models: Sequence[tuple[Model, Sequence[str]]], held_out: set[str], part: str, patient_of: Callable[[str], str]) -> None:
    every = [name for _, names in models for name in names]
    if twice := sorted({name for name in every if every.count(name) > 1}):
        raise InputError(f"{', '.join(twice[:3])} {'are' if len(twice) > 1 else 'is'} in more than one fold.", "Give each fold once.")
    for model, names in models:
        if not names:
            raise InputError(f"The split of {model.weights.name} has no {part} cases.", "Give the split that its fold was trained with.")
        if fixed := _of_patients(names, held_out, patient_of):
            raise ModelError(f"{some_of(fixed)} must stay unseen for the final numbers, which calibration would flatter; so must other cases of a "
                             "patient who is held out.",
                             "Calibrate on folds of the training cases: braintumorseg-train split --folds K --within SPLIT.json.")


def _require_unseen(model: Model, folder: CaseFolder, cases: Mapping[str, LabelledCase], say: Callable[[str], None]) -> None:
    if seen := seen_cases(model.card, folder, cases, say=say):
        raise ModelError(f"{model.weights.name} was trained on {some_of(seen)}, or on others of the same patients, so it is surer of them than "
                         "of others.",
                         "Give each network the split that it was trained with.")


def _of_patients(names: Sequence[str], others: Iterable[str], patient_of: Callable[[str], str]) -> list[str]:
    """Those of the names whose patients are of the others, too."""
    patients = {patient_of(name) for name in others}
    return sorted(name for name in names if patient_of(name) in patients)
