"""Do the report's warnings tell results that are wrong? Counts of those that judge an outline, over runs that are right and runs that are not.

    python doubts.py PACKED [--healthy FOLDER] [--phantoms 2] --out DIR

Runs of the embedded network: every packed case as it is, the validation cases with sequences missing, changed (as robustness.py changes them) and
with the mistakes below; made-up patients' raw images through the whole engine, with sequences missing; people without a tumour. The limits in `signs`
were chosen on runs like these, so the table flatters them; it shows whether a change of the network or of the engine makes them wrong.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import chain, combinations
from pathlib import Path

import numpy as np
from measured import machine
from robustness import AS_IT_IS, CHANGES, Images, uneven

BAD, GOOD = 0.6, 0.75
CODES = ("on_both_sides", "dark_in_flair", "unsure", "weak_sequences", "empty_result")
WITH_FLAIR = [(*others, "flair") for size in range(3, -1, -1) for others in combinations(("t1", "t1ce", "t2"), size)]
WITHOUT_FLAIR = [("t1", "t1ce", "t2"), ("t1", "t2"), ("t1",)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path, help="folder that `braintumorseg-train prepare` wrote")
    parser.add_argument("--split", type=Path, help="JSON with train and validation (default: the 24 cases' own)")
    parser.add_argument("--healthy", type=Path, help="folder with a folder of images for each person without a tumour")
    parser.add_argument("--phantoms", type=int, default=2, help="made-up patients (2)")
    parser.add_argument("--out", type=Path, required=True, help="folder for doubts.json and .md")
    args = parser.parse_args()
    from braintumorseg.model_zoo import load_model
    from braintumorseg_training.cli import OWN_SPLIT
    from braintumorseg_training.data import read_split

    model, rows = load_model(), []
    split = read_split(args.split or OWN_SPLIT)
    args.out.mkdir(parents=True, exist_ok=True)
    for row in chain(_packed(model, args.packed, split), _phantoms(model, args.phantoms), _healthy(model, args.healthy) if args.healthy else ()):
        rows.append(row)
        print(f"{row['case']}, {row['change']}, {row['sequences']}: Dice {row['dice']:.2f} {' '.join(row['warnings'])}", flush=True)
    result = {"network": {"name": model.card.name, "version": model.card.version, "sha256": model.card.sha256}, "machine": machine(), "rows": rows}
    (args.out / "doubts.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (args.out / "doubts.md").write_text(as_markdown(result), encoding="utf-8")


def exchanged(one: str, other: str) -> Callable:
    """Two sequences' files taken for each other."""
    def change(images: Images, card) -> Images:
        channels, places = images.channels.copy(), [card.roles.index(one), card.roles.index(other)]
        channels[places] = channels[places[::-1]]
        return Images(channels, images.labels, images.name)
    return change


def twice(right: str, wrong: str) -> Callable:
    """One file given for two sequences."""
    def change(images: Images, card) -> Images:
        channels = images.channels.copy()
        channels[card.roles.index(wrong)] = channels[card.roles.index(right)]
        return Images(channels, images.labels, images.name)
    return change


MISTAKES = {"T1 and FLAIR exchanged": exchanged("t1", "flair"), "T2 and FLAIR exchanged": exchanged("t2", "flair"),
            "T1ce and FLAIR exchanged": exchanged("t1ce", "flair"), "T1 given as FLAIR too": twice("t1", "flair"),
            "coils uneven by 70 %": uneven(0.7)}


def _packed(model, packed: Path, split) -> Iterator[dict]:
    from braintumorseg.runtime import open_session
    from braintumorseg.sequence_flags import LEAST_DICE
    from braintumorseg_training.data import load_cases

    card, session = model.card, open_session(model.weights, "cpu", variants=model.card.variants)
    for part, names in (("validation", split.validation), ("training", split.train)):
        for case in load_cases(packed, names):
            original = Images(np.array(case.channels, np.float32), np.array(case.labels), case.name)
            runs = [(AS_IT_IS, card.roles)]
            if part == "validation":
                runs += [(AS_IT_IS, subset) for subset in (*WITH_FLAIR[1:], *WITHOUT_FLAIR)]
                runs += [(change, card.roles) for change in (*CHANGES, *MISTAKES)]
            for change, subset in runs:
                images = original if change == AS_IT_IS else {**CHANGES, **MISTAKES}[change](original, card)
                images = images.padded(card.size_multiple)
                images.channels[[role not in subset for role in card.roles]] = 0
                row = _judged(images, session, card)
                if card.metrics["dice_by_sequences"][" + ".join(subset)]["WT"] < LEAST_DICE:
                    row["warnings"].append("weak_sequences")
                yield {"part": part, "case": case.name, "change": change, "sequences": " + ".join(subset), **row}


def _judged(images: Images, session, card) -> dict:
    from braintumorseg.postprocess import onto_native
    from braintumorseg.preprocess import Prepared
    from braintumorseg.signs import doubts, signs
    from braintumorseg.tiling import predict
    from braintumorseg.volume import Grid, Volume

    probabilities, _ = predict(images.channels, session, card.size_multiple, card.bytes_per_voxel)
    ready = Prepared(images.channels, (images.channels != 0).any(axis=0), Grid(images.labels.shape, np.diag([*card.spacing_mm, 1.0])))
    labels = onto_native(probabilities, ready.grid, ready.grid, card)
    found = signs(ready, probabilities, Volume(labels, ready.grid.affine), card)
    outline = labels != 0
    return _row(outline, images.labels > 0, np.prod(card.spacing_mm) / 1000, found,
                [code for code, _ in doubts(found, 1, card)] + ["empty_result"] * (not outline.any()))


def _row(outline: np.ndarray, truth: np.ndarray, voxel_ml: float, found: dict, codes: list[str]) -> dict:
    from braintumorseg.metrics import dice

    return {"dice": round(float(dice(truth, outline)), 4), "ml": round(float(outline.sum() * voxel_ml), 2),
            "true_ml": round(float(truth.sum() * voxel_ml), 2), "signs": {key: round(value, 4) for key, value in found.items()}, "warnings": codes}


def _engine(model, study, truth=None) -> dict:
    """The whole engine on a study; truth a Volume in the reference's world, None for no tumour."""
    from braintumorseg import segment
    from braintumorseg.preprocess import mask_onto
    from braintumorseg.quality import check

    found = segment(study, model)
    outline = found.labels.voxels != 0
    true = np.zeros_like(outline) if truth is None else mask_onto(truth, found.labels.grid)
    warnings = [flag.code for flag in check(study, found, model.card) if flag.severity == "warning"]
    return _row(outline, true, found.labels.voxel_ml, found.provenance.signs, warnings)


def _phantoms(model, number: int) -> Iterator[dict]:
    from braintumorseg.phantom import make_phantom
    from braintumorseg.study import Study
    from braintumorseg.volume import Volume

    for seed in range(number):
        phantom = make_phantom(seed)
        for subset in (*WITH_FLAIR, *WITHOUT_FLAIR):
            study = Study({role: phantom.raw.volumes[role] for role in subset})
            truth = Volume(phantom.truth_t1ce.voxels, phantom.motion[study.reference_role] @ phantom.truth_t1ce.affine)
            yield {"part": "phantom", "case": f"phantom {seed}", "change": AS_IT_IS, "sequences": " + ".join(subset), **_engine(model, study, truth)}


def _healthy(model, folder: Path) -> Iterator[dict]:
    from braintumorseg.read import read_study
    from braintumorseg.study import Study

    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        study = read_study([person])
        for subset in dict.fromkeys(tuple(role for role in roles if role in study.volumes) for roles in (*WITH_FLAIR, *WITHOUT_FLAIR)):
            if subset:
                only = Study({role: study.volumes[role] for role in subset})
                yield {"part": "no tumour", "case": person.name, "change": AS_IT_IS, "sequences": " + ".join(subset), **_engine(model, only)}


def as_markdown(result: dict) -> str:
    network, rows = result["network"], result["rows"]
    groups = {
        f"Dice below {BAD}": [row for row in rows if row["true_ml"] and row["dice"] < BAD],
        f"{BAD} to {GOOD}": [row for row in rows if row["true_ml"] and BAD <= row["dice"] < GOOD],
        f"{GOOD} and more, validation and phantoms": [row for row in rows if row["true_ml"] and row["dice"] >= GOOD and row["part"] != "training"],
        f"{GOOD} and more, training": [row for row in rows if row["true_ml"] and row["dice"] >= GOOD and row["part"] == "training"],
        "no tumour, 1 ml or more found": [row for row in rows if not row["true_ml"] and row["ml"] >= 1],
    }
    lines = ["# Which results are told as doubtful", "",
             f"{network['name']} {network['version']}; runs by the Dice of the whole tumour, and of how many each warning is told. What a run is: "
             "`Testing/benchmarks/doubts.py`; the limits were chosen on runs like these.", "",
             "| runs | N | " + " | ".join(f"`{code}`" for code in CODES) + " | any of them |", "|---" * (len(CODES) + 3) + "|"]
    for name, of in groups.items():
        counts = [sum(code in row["warnings"] for row in of) for code in CODES]
        lines.append(f"| {name} | {len(of)} | " + " | ".join(map(str, counts)) + f" | {sum(bool(set(CODES) & set(row['warnings'])) for row in of)} |")
    wrong = [row for row in rows if row["true_ml"] and row["dice"] >= GOOD and set(CODES) & set(row["warnings"])]
    missed = [row for row in rows if row["true_ml"] and row["dice"] < BAD and not set(CODES) & set(row["warnings"])]
    for title, of in ((f"Told though the Dice is {GOOD} or more", wrong), (f"Not told though the Dice is below {BAD}", missed)):
        lines += ["", f"## {title}", "", *([f"- {row['case']}, {row['change']}, {row['sequences']}: {row['dice']:.2f}, {row['ml']:.0f} ml of "
                                            f"{row['true_ml']:.0f}" for row in of] or ["None."])]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
