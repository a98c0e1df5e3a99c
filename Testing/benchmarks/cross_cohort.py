"""The fall to other hospitals: train on one cohort, test on the other, both ways, for each variant of the recipe and each seed.

Of a split's training cases (its validation cases are never read), each seed holds out another quarter of the own cohort, spread over tumour sizes,
trains on the rest and scores the exported network, run by the engine's `predict` and `decide` on packed cases, on the held-out quarter and on the
whole other cohort. The fall of a seed compares the two networks on the same patients: held out of their own cohort, and foreign to the other's.

Variants are a JSON object: name -> fields of the training configuration that differ, and `fit`, a list of further options of
`braintumorseg-train fit`, such as {"baseline": {}, "no intensity": {"intensity": 0}, "from weights": {"fit": ["--init", "weights.pt"]}}. With
{"pretrain": {"steps": 600}} a cell first pretrains on the images of its own training cases, with these fields of the pretraining configuration.
Each finished cell is a file in the work folder: the same command again goes on after the last one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

FOLDS = 4                      # a quarter of the own cohort is held out
REGIONS = ("WT", "TC", "ET")
ENOUGH_ET_ML = 1.0             # as in `validate`: ET is averaged over cases with at least this much of it
# A network small enough for two cores: about a tenth of the default's work.
BASE = {"channels": [16, 24, 48, 64], "patch": [96, 96, 96], "steps": 600, "warm_up": 50, "ema": 0.99}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packed", type=Path, help="folder that `braintumorseg-train prepare` wrote")
    parser.add_argument("--split", type=Path, required=True, help="JSON with train (used) and validation (never read)")
    parser.add_argument("--variants", type=Path, required=True, help="JSON: name -> fields that differ")
    parser.add_argument("--base", type=Path, help=f"JSON with fields that all variants share (default: {json.dumps(BASE)})")
    parser.add_argument("--steps", type=int, help="over the base's")
    parser.add_argument("--seeds", type=int, default=3, help="seed n also holds out quarter n")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and finished cells")
    parser.add_argument("--keep", type=Path, help="folder that keeps each cell's network")
    parser.add_argument("--out", type=Path, required=True, help="folder for cross_cohort.json, .md and .png")
    args = parser.parse_args()
    base = json.loads(args.base.read_text()) if args.base else dict(BASE)
    if args.steps:
        base["steps"] = args.steps
    variants = json.loads(args.variants.read_text())
    cohorts = read_cohorts(args.packed, json.loads(args.split.read_text())["train"])
    plan = [(seed, variant, trained_on) for seed in range(args.seeds) for variant in variants for trained_on in cohorts]
    done = []
    for number, (seed, variant, trained_on) in enumerate(plan, 1):
        cell, fresh = make_cell(args, cohorts, {**base, **variants[variant]}, variant, trained_on, seed)
        done.append(cell)
        left = np.mean([one["seconds"] for one in done]) * (len(plan) - number) / 60
        if fresh or number == len(plan):
            held_out, other = (mean_dice(cell[key], "WT") for key in ("held_out", "other"))
            print(f"{number}/{len(plan)} {cell_name(variant, trained_on, seed)}: {cell['seconds'] / 60:.1f} min, WT held out {held_out:.3f}, "
                  f"other cohort {other:.3f}; about {left:.0f} min left", flush=True)
            write_report(done, base, args.out)


def read_cohorts(packed: Path, names: list[str]) -> dict[str, list[str]]:
    """Cohort -> its cases, smallest tumour first; just two cohorts."""
    from braintumorseg_training.data import load_cases

    sizes: dict[str, dict[str, int]] = {}
    for case in load_cases(packed, names):
        sizes.setdefault(case.cohort, {})[case.name] = int(np.count_nonzero(case.labels))
    if len(sizes) != 2:
        sys.exit(f"The split's training cases are of {len(sizes)} cohorts ({', '.join(sorted(sizes))}), and two are compared here.")
    return {cohort: sorted(cases, key=cases.get) for cohort, cases in sorted(sizes.items())}


def hold_out(cases: list[str], seed: int) -> list[str]:
    """Every fourth case by tumour size, beginning at the seed's place: four seeds hold out each case once."""
    return cases[seed % FOLDS::FOLDS]


def cell_name(variant: str, trained_on: str, seed: int) -> str:
    return "".join(c if c.isalnum() else "_" for c in variant) + f"-from_{trained_on}-seed{seed}"


def make_cell(args, cohorts: dict[str, list[str]], fields: dict, variant: str, trained_on: str, seed: int) -> tuple[dict, bool]:
    """One trained and scored network; (cell, whether it was made just now)."""
    name = cell_name(variant, trained_on, seed)
    (other,) = set(cohorts) - {trained_on}
    held_out = hold_out(cohorts[trained_on], seed)
    options = [str(option) for option in fields.get("fit", [])]
    config = {**{key: value for key, value in fields.items() if key not in ("fit", "pretrain")}, "seed": seed + 1}
    first = {"pretraining": {**fields["pretrain"], "seed": seed + 1}} if "pretrain" in fields else {}
    what = {"variant": variant, "trained_on": trained_on, "seed": seed, "config": config, "fit_options": options, **first,
            "split": {"train": [case for case in cohorts[trained_on] if case not in held_out], "held_out": held_out, "other": cohorts[other]}}
    path = args.work / f"{name}.json"
    if path.is_file():
        cell = json.loads(path.read_text())
        if {key: cell.get(key) for key in what} != what:
            sys.exit(f"{path.name} was made with other settings. Give another --work, another name of the variant, or remove that file.")
        return cell, False
    began = time.monotonic()
    weights = train(args, args.work / name, config, options, what["split"]["train"], first.get("pretraining"))
    cell = {**what, **score(weights, args.packed, held_out, cohorts[other]), "seconds": round(time.monotonic() - began, 1)}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(cell, indent=1) + "\n")
    partial.replace(path)
    if args.keep:
        shutil.copytree(args.work / name / "network", args.keep / name, dirs_exist_ok=True)
    shutil.rmtree(args.work / name)
    return cell, True


def train(args, run: Path, config: dict, options: list[str], names: list[str], pretraining: dict | None) -> Path:
    """The exported network of one run; each verb in a process of its own, as users run it. A run that was stopped goes on."""
    from braintumorseg_training.packing import packed_names

    run.mkdir(parents=True, exist_ok=True)
    (run / "fields.json").write_text(json.dumps(config))
    (run / "split.json").write_text(json.dumps({"train": names, "validation": [], "reason": "leave one cohort out"}))
    shared = ["--data", str(args.packed), "--split", str(run / "split.json")]
    before = []
    if pretraining is not None:   # it learns from all that its split does not hold back
        (run / "first.json").write_text(json.dumps(pretraining))
        (run / "first_split.json").write_text(json.dumps({"train": names, "validation": sorted({*packed_names(args.packed)} - {*names}),
                                                          "reason": "nothing but the cell's own training cases"}))
        before = [["pretrain", "--data", str(args.packed), "--split", str(run / "first_split.json"), "--out", str(run / "first"),
                   "--config", str(run / "first.json"), "--device", args.device]]
        options = ["--init", str(run / "first" / "checkpoint.pt"), *options]
    for verb in (*before, ["fit", *shared, "--out", str(run / "run"), "--config", str(run / "fields.json"), "--device", args.device, *options],
                 ["export", str(run / "run"), *shared, "--out", str(run / "network"), "--name", "cell"]):
        with (run / f"{verb[0]}.log").open("a") as log:
            ended = subprocess.run([sys.executable, "-m", "braintumorseg_training.cli", *verb], stdout=log, stderr=subprocess.STDOUT)
        if ended.returncode:
            sys.exit(f"{run.name}: {verb[0]} ended with {ended.returncode}: {(run / f'{verb[0]}.log').read_text().strip().splitlines()[-1]}")
    return run / "network" / "cell.onnx"


def score(weights: Path, packed: Path, held_out: list[str], other: list[str]) -> dict:
    """Case -> Dice by region, with the card's numbers and, on the other cohort, also with thresholds chosen on the held-out cases."""
    from braintumorseg.model_zoo import load_model
    from braintumorseg.runtime import open_session
    from braintumorseg.tiling import predict
    from braintumorseg_training.calibrate import THRESHOLDS, best
    from braintumorseg_training.data import load_cases

    model = load_model(weights)
    session, card = open_session(weights, "cpu"), model.card

    def probabilities(case):
        return predict(np.array(case.channels, np.float32), session, card.size_multiple, card.bytes_per_voxel)[0]

    at = {threshold: {} for threshold in THRESHOLDS}
    with_card, calibrated = {}, {}
    for case in load_cases(packed, held_out):
        found = probabilities(case)
        with_card[case.name] = dice_of(found, case, card)
        for threshold in THRESHOLDS:
            at[threshold][case.name] = dice_of(found, case, with_thresholds(card, dict.fromkeys(REGIONS, threshold)))
    chosen = {region: best({threshold: mean for threshold, rows in at.items() if not np.isnan(mean := mean_dice(rows, region))}, 0.5)
              for region in REGIONS}
    foreign = {}
    for case in load_cases(packed, other):
        found = probabilities(case)
        foreign[case.name] = dice_of(found, case, card)
        calibrated[case.name] = dice_of(found, case, with_thresholds(card, chosen))
    return {"held_out": with_card, "other": foreign, "other_calibrated": calibrated, "thresholds": chosen, "provider": session.provider}


def dice_of(probabilities: np.ndarray, case, card) -> dict:
    """Dice by region and the true ET in ml. Packed cases lie on the network's own grid, to which these images are only turned and cropped."""
    from braintumorseg.labels import region_mask
    from braintumorseg.metrics import dice
    from braintumorseg.postprocess import decide

    voxel_ml = float(np.prod(card.spacing_mm)) / 1000
    thresholds = card.post_processing.thresholds
    labels = decide({region: mask >= thresholds[region] for region, mask in zip(card.regions, probabilities, strict=True)}, card, voxel_ml)
    return {**{region: round(dice(region_mask(case.labels, region), region_mask(labels, region)), 4) for region in REGIONS},
            "et_ml": round(float(np.count_nonzero(region_mask(case.labels, "ET"))) * voxel_ml, 2)}


def with_thresholds(card, thresholds: dict[str, float]):
    return replace(card, post_processing=replace(card.post_processing, thresholds=thresholds))


def mean_dice(rows: dict[str, dict], region: str, names: list[str] | None = None) -> float:
    """Mean over the cases (of these names); ET over those with enough of it; nan where there is none."""
    values = [row[region] for name, row in rows.items()
              if (names is None or name in names) and (region != "ET" or row["et_ml"] >= ENOUGH_ET_ML)]
    return float(np.mean(values)) if values else float("nan")


def summarise(cells: list[dict]) -> list[dict]:
    """One row a variant: mean and standard deviation over seeds (each the mean over both cohorts) of held-out, other-cohort and fall."""
    rows = []
    for variant in dict.fromkeys(cell["variant"] for cell in cells):
        by_seed: dict[int, dict[str, dict]] = {}
        for cell in cells:
            if cell["variant"] == variant:
                by_seed.setdefault(cell["seed"], {})[cell["trained_on"]] = cell
        pairs = [pair for _, pair in sorted(by_seed.items()) if len(pair) == 2]
        if pairs:
            rows.append({"variant": variant, "seeds": len(pairs), "regions": {region: _spreads(pairs, region) for region in REGIONS}})
    return rows


def _spreads(pairs: list[dict[str, dict]], region: str) -> dict:
    """name -> {mean, sd, values} over seeds, and the two directions apart."""
    names = sorted(pairs[0])
    values: dict[str, list[float]] = {"held_out": [], "same_patients_from_other": [], "fall": [], "other": [], "other_calibrated": []}
    ways: dict[str, list[float]] = {f"other_from_{name}": [] for name in names}
    for pair in pairs:
        own, foreign = [], []
        for mine, theirs in (names, names[::-1]):
            own.append(mean_dice(pair[mine]["held_out"], region))
            foreign.append(mean_dice(pair[theirs]["other"], region, list(pair[mine]["held_out"])))
            ways[f"other_from_{mine}"].append(mean_dice(pair[mine]["other"], region))
        values["held_out"].append(float(np.nanmean(own)) if not np.isnan(own).all() else float("nan"))
        values["same_patients_from_other"].append(float(np.nanmean(foreign)) if not np.isnan(foreign).all() else float("nan"))
        values["fall"].append(values["held_out"][-1] - values["same_patients_from_other"][-1])
        for key in ("other", "other_calibrated"):
            values[key].append(float(np.nanmean([mean_dice(cell[key], region) for cell in pair.values()])))
    return {key: _spread(found) for key, found in {**values, **ways}.items()}


def _spread(values: list[float]) -> dict:
    kept = [value for value in values if not np.isnan(value)]
    return {"mean": round(float(np.mean(kept)), 4) if kept else None, "sd": round(float(np.std(kept, ddof=1)), 4) if len(kept) > 1 else None,
            "values": [round(value, 4) for value in kept]}


def write_report(cells: list[dict], base: dict, out: Path) -> None:
    rows = summarise(cells)
    out.mkdir(parents=True, exist_ok=True)
    cases = sorted(len(cell["split"]["other"]) for cell in cells[:2])
    about = {"what": " ".join(__doc__.split("\n\n")[1].split()), "base": base, "cells": len(cells), "cases_by_cohort": cases,
             "definition": f"Dice over whole cases, both empty counts 1, one empty 0; ET over cases with at least {ENOUGH_ET_ML:g} ml",
             "minutes_a_cell": round(float(np.mean([cell["seconds"] for cell in cells])) / 60, 1)}
    (out / "cross_cohort.json").write_text(json.dumps({**about, "rows": rows, "cells_in_full": cells}, indent=1) + "\n", encoding="utf-8")
    (out / "cross_cohort.md").write_text(format_markdown(rows, about), encoding="utf-8")
    if rows:
        draw(rows, out / "cross_cohort.png")


def format_markdown(rows: list[dict], about: dict) -> str:
    lines = ["# Leave one cohort out", "", about["what"], "",
             f"{about['definition']}. Mean over both directions, ± standard deviation over seeds. *Calibrated*: thresholds chosen on the held-out "
             "quarter of the own cohort. The fall is in points, on the same patients; a network has seen only 3 quarters of one cohort.", "",
             f"Shared configuration: `{json.dumps(about['base'])}`; {about['cells']} cells of {about['minutes_a_cell']} min on average.", ""]
    for region in REGIONS:
        first = rows[0]["regions"][region] if rows else {}
        ways = [key for key in first if key.startswith("other_from_")]
        lines += [f"## {region}", "", "| variant | seeds | held out | same patients, other's network | fall, points | other cohort | calibrated | "
                  + " | ".join(f"from {key.removeprefix('other_from_')}" for key in ways) + " |", "|---" * (7 + len(ways)) + "|"]
        for row in rows:
            found = row["regions"][region]
            cells = [_shown(found["held_out"]), _shown(found["same_patients_from_other"]), _shown(found["fall"], 100, 1), _shown(found["other"]),
                     _shown(found["other_calibrated"]), *(_shown(found[key]) for key in ways)]
            lines.append(f"| {row['variant']} | {row['seeds']} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join([*lines, "![The fall of each variant](cross_cohort.png)", ""])


def _shown(spread: dict, factor: float = 1, decimals: int = 3) -> str:
    if spread["mean"] is None:
        return "-"
    text = f"{factor * spread['mean']:.{decimals}f}"
    return text if spread["sd"] is None else f"{text} ± {factor * spread['sd']:.{decimals}f}"


def draw(rows: list[dict], path: Path) -> None:
    """For each region and variant: held-out patients by their own cohort's network (hollow) and by the other's (full); the line is the fall."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.8 + 0.5 * len(rows)), dpi=130, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, region in zip(figure.subplots(1, 3, sharey=True), REGIONS, strict=True):
        for place, row in enumerate(rows):
            own, foreign = (row["regions"][region][key] for key in ("held_out", "same_patients_from_other"))
            if own["mean"] is None or foreign["mean"] is None:
                continue
            axes.plot([own["mean"], foreign["mean"]], [place, place], color="#b3441e", linewidth=2, zorder=1)
            for spread, face, aside in ((own, "white", -0.18), (foreign, "#1f4e79", 0.18)):
                axes.scatter(spread["values"], [place + aside] * len(spread["values"]), s=10, color="0.6", zorder=2)
                axes.scatter([spread["mean"]], [place], s=60, facecolors=face, edgecolors="#1f4e79", zorder=3)
        low, high = axes.get_xlim()
        wider = max(0.0, 0.1 - (high - low)) / 2  # a tenth at least, so that noise does not look like a difference
        axes.set(title=region, xlabel="Dice", xlim=(low - wider, high + wider), ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), [row["variant"] for row in rows])
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("The same held-out patients: network of their own cohort (hollow) and of the other one (full); grey: single seeds", fontsize=10)
    canvas.print_png(str(path))


if __name__ == "__main__":
    main()
