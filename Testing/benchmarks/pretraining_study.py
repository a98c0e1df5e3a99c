"""What pretraining brings: the same split, cases, seeds and steps with and without it, for a few numbers of labelled patients.

Each seed draws one order of the split's training cases, and N cases are its first N, so that larger sets hold the smaller ones and both arms learn
from the same patients. Pretraining sees the images of all training cases, never their labels, and none of the validation cases. Every network is
exported and run by the engine on the validation cases, as a user would run it. The arm `longer` is without pretraining and takes as many steps more
as pretraining took: what the same time brings without it.

Networks are small and read at 2 mm, so that a cell is a minute and a half of work for two cores; the result is the differences between arms, not
their level.
Each finished cell is a file in the work folder: the same command again goes on after the last one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ARMS = ("fresh", "pretrained", "longer")
REGIONS = ("WT", "TC", "ET")
ENOUGH_ET_ML = 1.0   # as in `validate`: ET is averaged over cases with at least this much of it
# Read at 2 mm a patch of 96 voxels holds a whole brain.
BASE = {"channels": [16, 24, 32, 48], "spacing_mm": [2.0, 2.0, 2.0], "patch": [96, 96, 96], "learning_rate": 2e-3, "warm_up": 30, "ema": 0.98}
PRETRAINING = {"cube": 8, "held_out_share": 0.1}


def main() -> None:
    args = options()
    base = json.loads(args.base.read_text()) if args.base else dict(BASE)
    split = json.loads(args.split.read_text())
    if max(args.sizes) > len(split["train"]):
        sys.exit(f"The split has {len(split['train'])} training cases, and {max(args.sizes)} are asked for. Give smaller --sizes.")
    pack(args, split, base)
    plan = [(size, seed, arm) for seed in range(args.seeds) for size in args.sizes for arm in args.arms]
    done = []
    for number, (size, seed, arm) in enumerate(plan, 1):
        cell, fresh = make_cell(args, split, base, size, seed, arm)
        done.append(cell)
        if fresh or number == len(plan):
            left = np.mean([one["seconds"] for one in done]) * (len(plan) - number) / 60
            print(f"{number}/{len(plan)} N {size}, seed {seed}, {arm}: {cell['seconds']:.0f} s, "
                  + ", ".join(f"{region} {mean_dice(cell['dice'], region):.3f}" for region in REGIONS) + f"; about {left:.0f} min left", flush=True)
            write_report(done, base, args.out)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", type=Path, help="folder of cases, as for `braintumorseg-train prepare`")
    parser.add_argument("--split", type=Path, required=True, help="JSON with train (learned from) and validation (scored)")
    parser.add_argument("--labels", choices=("brats2021", "brats2023"), help="label convention of every case")
    parser.add_argument("--table", type=Path, help="CSV with columns case, labels: the convention case by case")
    parser.add_argument("--unlabelled", type=Path, nargs="*", default=[], metavar="STUDY", help="more studies to pretrain on, a folder each")
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 10, 19], metavar="N", help="numbers of labelled patients (default: 5 10 19)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS[:2]), help="default: fresh pretrained")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pretrain-steps", type=int, default=600)
    parser.add_argument("--freeze", type=int, default=0, help="first steps of `pretrained` with the encoder held still")
    parser.add_argument("--base", type=Path, help=f"JSON with fields that all runs share (default: {json.dumps(BASE)})")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, required=True, help="folder for packed cases, runs and finished cells")
    parser.add_argument("--out", type=Path, required=True, help="folder for pretraining_study.json and .md")
    return parser.parse_args(arguments)


def choose_cases(names: list[str], size: int, seed: int) -> list[str]:
    """The first `size` of one order a seed: larger sets hold the smaller ones."""
    order = np.random.default_rng(seed).permutation(len(names))
    return sorted(names[at] for at in order[:size])


def pack(args, split: dict, base: dict) -> None:
    """The split's training cases at the base's spacing, and the further studies beside them; what is packed already stays."""
    from braintumorseg_training.config import Config, config_from
    from braintumorseg_training.data import pack_case
    from braintumorseg_training.export import draft_card
    from braintumorseg_training.unlabelled import pack_unlabelled

    config = config_from(Config, base)
    card = draft_card(spacing_mm=config.spacing_mm)
    for name, case in labelled(args, split["train"]).items():
        if not (args.work / "packed" / f"{name}.npz").is_file():
            pack_case(name, "study", *case.read(), card, args.work / "packed")
    studies = [study for study in args.unlabelled if not (args.work / "unlabelled" / f"{study.resolve().name}.npz").is_file()]
    if studies:
        pack_unlabelled(studies, args.work / "unlabelled", card, print)


def labelled(args, names: list[str]) -> dict:
    """Name -> case to be read, found in the folder as `braintumorseg-train prepare` finds it."""
    from braintumorseg_training.case_folder import CaseFolder
    from braintumorseg_training.case_table import read_table

    return CaseFolder(args.cases, args.labels or "", read_table(args.table) if args.table else {}).find(names)


def make_cell(args, split: dict, base: dict, size: int, seed: int, arm: str) -> tuple[dict, bool]:
    """One trained and scored network; (cell, whether it was made just now)."""
    steps = args.steps + (args.pretrain_steps if arm == "longer" else 0)
    config = {**base, "steps": steps, "seed": seed + 1, "save_every": 100, **({"freeze_encoder": args.freeze} if arm == "pretrained" else {})}
    what = {"size": size, "seed": seed, "arm": arm, "config": config, "train": choose_cases(split["train"], size, seed),
            "validation": list(split["validation"]),
            "pretraining": pretraining_of(args, base, seed) if arm == "pretrained" else None}
    name = f"N{size:02d}-seed{seed}-{arm}"
    path = args.work / f"{name}.json"
    if path.is_file():
        cell = json.loads(path.read_text())
        if {key: cell[key] for key in what} != what:
            sys.exit(f"{path.name} was made with other settings. Give another --work, or remove that file.")
        return cell, False
    options = ["--init", str(pretrain(args, split, base, seed))] if arm == "pretrained" else []
    began = time.monotonic()
    folder = args.work / name
    files(folder, {"fields.json": config, "split.json": {"train": what["train"], "validation": [], "reason": "pretraining_study"}})
    shared = ["--data", str(args.work / "packed"), "--split", str(folder / "split.json")]
    verb(folder, "fit", *shared, "--out", str(folder / "run"), "--config", str(folder / "fields.json"), "--device", args.device, *options)
    verb(folder, "export", str(folder / "run"), *shared, "--out", str(folder / "network"), "--name", "cell")
    trained = time.monotonic() - began
    cell = {**what, "dice": score(args, folder / "network" / "cell.onnx", split["validation"]), "training_seconds": round(trained, 1),
            "seconds": round(time.monotonic() - began, 1)}
    write_whole(path, cell)
    shutil.rmtree(folder)
    return cell, True


def pretraining_of(args, base: dict, seed: int) -> dict:
    """The fields of a seed's pretraining run."""
    return {**base, **PRETRAINING, "steps": args.pretrain_steps, "seed": seed + 1, "save_every": 100, "validate_every": max(100, args.pretrain_steps),
            "further_studies": sorted(study.resolve().name for study in args.unlabelled)}


def pretrain(args, split: dict, base: dict, seed: int) -> Path:
    """The checkpoint of a seed's pretraining on all training cases and the further studies; once a seed, whatever N."""
    folder, fields = args.work / f"pretraining-seed{seed}", pretraining_of(args, base, seed)
    told = folder / "pretraining.json"
    if told.is_file() and json.loads(told.read_text()) != fields:
        sys.exit(f"{folder.name} was made with other settings. Give another --work, or remove that folder.")
    files(folder, {"fields.json": {key: value for key, value in fields.items() if key != "further_studies"}, "split.json": split,
                   "pretraining.json": fields})
    data = [args.work / "packed", *([args.work / "unlabelled"] if args.unlabelled else [])]
    verb(folder, "pretrain", *(part for one in data for part in ("--data", str(one))), "--split", str(folder / "split.json"),
         "--config", str(folder / "fields.json"), "--out", str(folder / "run"), "--device", args.device)
    return folder / "run" / "checkpoint.pt"


def verb(folder: Path, name: str, *options: str) -> None:
    """One verb of braintumorseg-train in a process of its own, as users run it. A run that was stopped goes on."""
    with (folder / f"{name}.log").open("a") as log:
        ended = subprocess.run([sys.executable, "-m", "braintumorseg_training.cli", name, *options], stdout=log, stderr=subprocess.STDOUT)
    if ended.returncode:
        sys.exit(f"{folder.name}: {name} ended with {ended.returncode}: {(folder / f'{name}.log').read_text().strip().splitlines()[-1]}")


def score(args, weights: Path, names: list[str]) -> dict[str, dict]:
    """Case -> Dice by region on its native grid, and the true ET in ml."""
    from braintumorseg.labels import region_mask
    from braintumorseg.metrics import dice
    from braintumorseg.model_zoo import load_model
    from braintumorseg.pipeline import segment

    model = load_model(weights)
    rows = {}
    for name, case in labelled(args, names).items():
        study, truth = case.read()
        found = segment(study, model, registered=True).labels.voxels
        rows[name] = {region: round(dice(region_mask(truth.voxels, region), region_mask(found, region)), 4) for region in REGIONS}
        rows[name]["et_ml"] = round(float(np.count_nonzero(region_mask(truth.voxels, "ET"))) * truth.voxel_ml, 2)
    return rows


def mean_dice(rows: dict[str, dict], region: str) -> float:
    """Mean over the cases; ET over those with enough of it; nan where there is none."""
    values = [row[region] for row in rows.values() if region != "ET" or row["et_ml"] >= ENOUGH_ET_ML]
    return float(np.mean(values)) if values else float("nan")


def summarise(cells: list[dict]) -> list[dict]:
    """A row a size and arm: mean and standard deviation over seeds by region, and of the difference to `fresh` seed by seed."""
    found = {(cell["size"], cell["arm"], cell["seed"]): cell for cell in cells}
    rows = []
    for size, arm in sorted({(cell["size"], cell["arm"]) for cell in cells}, key=lambda one: (one[0], ARMS.index(one[1]))):
        seeds = sorted(seed for n, a, seed in found if (n, a) == (size, arm))
        row = {"size": size, "arm": arm, "seeds": seeds}
        for region in REGIONS:
            values = [mean_dice(found[size, arm, seed]["dice"], region) for seed in seeds]
            gains = [value - mean_dice(found[size, "fresh", seed]["dice"], region)
                     for value, seed in zip(values, seeds, strict=True) if arm != "fresh" and (size, "fresh", seed) in found]
            row[region] = {**spread(values), "gain": spread(gains) if gains else None}
        rows.append(row)
    return rows


def spread(values: list[float]) -> dict:
    return {"mean": round(float(np.mean(values)), 4), "sd": round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None,
            "values": [round(value, 4) for value in values]}


def write_report(cells: list[dict], base: dict, out: Path) -> None:
    rows = summarise(cells)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "pretraining_study.json", {"base": base, "rows": rows, "cells": cells})
    partial = out / ".pretraining_study.md.partial"
    partial.write_text(as_markdown(rows, cells, base))
    partial.replace(out / "pretraining_study.md")


def as_markdown(rows: list[dict], cells: list[dict], base: dict) -> str:
    """Dice in points of 100: mean ± standard deviation over seeds, and in brackets what is gained over `fresh`, seed by seed."""
    steps = {arm: next((cell["config"]["steps"] for cell in cells if cell["arm"] == arm), None) for arm in ARMS}
    before = next((cell["pretraining"] for cell in cells if cell["pretraining"]), None)
    arms = ", ".join(f"{arm} {number} steps" for arm, number in steps.items() if number)
    lines = ["# What pretraining brings", "", f"Networks of {base['channels']} features at {base['spacing_mm'][0]:g} mm; {arms}"
             + (f" after {before['steps']} of pretraining on the training cases' images" if before else "")
             + (f" and {len(before['further_studies'])} further studies" if before and before["further_studies"] else "")
             + f". Scored: the exported network, run by the engine on {len(cells[0]['validation'])} validation cases; "
             f"ET over those with {ENOUGH_ET_ML:g} ml or more.", "",
             "Dice x 100, mean ± standard deviation over seeds; in brackets the gain over fresh on the same patients, seed by seed.", "",
             "| N | arm | seeds | " + " | ".join(REGIONS) + " |", "|---" * (3 + len(REGIONS)) + "|"]
    for row in rows:
        lines.append(f"| {row['size']} | {row['arm']} | {len(row['seeds'])} | " + " | ".join(_told(row[region]) for region in REGIONS) + " |")
    return "\n".join(lines) + "\n"


def _told(cell: dict) -> str:
    def one(found: dict, sign: str = "") -> str:
        return f"{100 * found['mean']:{sign}.1f}" + (f" ± {100 * found['sd']:.1f}" if found["sd"] is not None else "")

    return one(cell) + (f" ({one(cell['gain'], '+')})" if cell["gain"] else "")


def files(folder: Path, contents: dict[str, dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_whole(folder / name, content)


def write_whole(path: Path, content: dict) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


if __name__ == "__main__":
    main()
