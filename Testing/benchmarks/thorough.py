"""What `--thorough` brings: Dice of one look and of the mean of several, and whether the expected Dice is the one that comes out.

    python thorough.py PACKED --model glioma [--model NET.onnx ...] [--part validation] [--split SPLIT.json] --out DIR

Each network is run on the cases of the split's part that its card does not list as trained on, packed by `braintumorseg-train prepare`. Networks of
`cross_cohort.py` know one cohort: with `--part train` they are asked of the other, and of the quarter that they did not see.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from cross_cohort import ENOUGH_ET_ML, REGIONS, dice_of
from measured import machine

DOUBTFUL = 0.8   # Dice of a whole tumour that somebody should look at; the engine's flag asks the same of the expected one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path, help="folder that `braintumorseg-train prepare` wrote")
    parser.add_argument("--model", action="append", required=True, help="name of a network, or an .onnx file; may be repeated")
    parser.add_argument("--part", choices=("validation", "train"), default="validation", help="of the split (validation)")
    parser.add_argument("--split", type=Path, help="JSON with train and validation (default: the 24 cases' own)")
    parser.add_argument("--name", default="thorough", help="of the files that are written")
    parser.add_argument("--out", type=Path, required=True, help="folder for thorough.json, .md and .png")
    args = parser.parse_args()
    from braintumorseg.model_zoo import load_model
    from braintumorseg_training.cli import OWN_SPLIT
    from braintumorseg_training.data import load_cases, read_split

    names, rows, networks = getattr(read_split(args.split or OWN_SPLIT), args.part), [], []
    for number, given in enumerate(args.model, 1):
        model = load_model(given)
        unseen = [name for name in names if name not in model.card.training["trained_on"]]
        networks.append({"network": number, "name": model.card.name, "version": model.card.version, "sha256": model.card.sha256, "cases": unseen})
        for case in load_cases(args.packed, unseen):
            rows.append({"network": number, "case": case.name, **measure(case, model)})
            print(number, case.name, rows[-1]["one"], rows[-1]["several"], rows[-1]["expected"], flush=True)
    result = {"machine": machine(), "part": args.part, "networks": networks, "rows": rows}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{args.name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (args.out / f"{args.name}.md").write_text(as_markdown(result, f"{args.name}.png"), encoding="utf-8")
    draw(rows, args.out / f"{args.name}.png")


def measure(case, model) -> dict:
    """Dice by region (and the true ET in ml) of one look and of several, seconds of both, and the expected Dice."""
    from braintumorseg.runtime import open_session
    from braintumorseg.thorough import expected_dice, look_again
    from braintumorseg.tiling import predict

    card = model.card
    session = open_session(model.weights, "cpu", variants=card.variants)
    channels = np.array(case.channels, np.float32)
    session.run(np.zeros_like(channels))   # compiled for this size
    began = time.perf_counter()
    one, _ = predict(channels, session, card.size_multiple, card.bytes_per_voxel)
    between = time.perf_counter()
    several, _, _ = look_again(channels, session, card)
    return {"one": dice_of(one, case, card), "several": dice_of(several, case, card),
            "expected": {region: round(dice, 4) for region, dice in expected_dice(several, card).items()},
            "seconds": [round(between - began, 2), round(time.perf_counter() - between, 2)]}


def pairs(rows: list[dict], region: str) -> np.ndarray:
    """(N, 3): Dice of one look, of several, and the expected one (nan where nothing was found); ET over cases with enough of it."""
    return np.array([[row["one"][region], row["several"][region], row["expected"].get(region, np.nan)]
                     for row in rows if region != "ET" or row["one"]["et_ml"] >= ENOUGH_ET_ML])


def summary(rows: list[dict], region: str) -> dict:
    """Means, the gain in points, and how the expected Dice compares with the one that came out where something was found."""
    from scipy.stats import spearmanr

    one, several, expected = pairs(rows, region).T
    there = ~np.isnan(expected)
    rank = spearmanr(expected[there], several[there]).statistic if np.count_nonzero(there) > 2 else np.nan
    return {"n": len(one), "one": float(one.mean()), "several": float(several.mean()), "gain": 100 * float((several - one).mean()),
            "found": int(np.count_nonzero(there)), "off": float(np.abs(expected - several)[there].mean()) if there.any() else np.nan,
            "rank": float(rank)}


def flags(rows: list[dict]) -> dict:
    """Whole tumours worse than DOUBTFUL: how many were flagged as unsure or as empty, and how many good ones were."""
    bad = [row for row in rows if row["several"]["WT"] < DOUBTFUL]
    good = [row for row in rows if row["several"]["WT"] >= DOUBTFUL]
    return {name: (sum(row["expected"].get("WT", 0.0) < DOUBTFUL for row in chosen), len(chosen)) for name, chosen in (("bad", bad), ("good", good))}


def as_markdown(result: dict, picture: str) -> str:
    rows, networks = result["rows"], result["networks"]
    named = ", ".join(dict.fromkeys(f"{one['name']} {one['version']}" for one in networks))
    lines = ["# One look or several", "",
             f"{len(networks)} network{'s' * (len(networks) > 1)} ({named}), {len({row['case'] for row in rows})} patients of the split's "
             f"{result['part']} cases that the network at hand was not trained on. Several: all sequences, and each withheld once. Expected Dice: "
             "from the mean's probabilities alone.", "",
             "| | N | one look | several | gain, points | found | expected Dice is off by | rank correlation with the true one |", "|---" * 8 + "|"]
    for region in REGIONS:
        s = summary(rows, region)
        lines.append(f"| {region} | {s['n']} | {s['one']:.3f} | {s['several']:.3f} | {s['gain']:+.1f} | {s['found']} | {s['off']:.3f} "
                     f"| {s['rank']:.2f} |")
    (bad, all_bad), (good, all_good) = flags(rows).values()
    lines += ["", f"Whole tumours below a Dice of {DOUBTFUL}: {bad} of {all_bad} expected below it or found nothing; of those above: "
              f"{good} of {all_good}.", ""]
    if len(networks) > 1:
        by_network = [[row for row in rows if row["network"] == one["network"]] for one in networks]
        better = [sum(summary(own, region)["gain"] > 0 for own in by_network if own) for region in REGIONS]
        counted = sum(bool(own) for own in by_network)
        lines += ["Networks with a higher mean by several looks: "
                  + ", ".join(f"{region} {count} of {counted}" for region, count in zip(REGIONS, better, strict=True)) + ".", ""]
    return "\n".join([*lines, f"![Expected and true Dice]({picture})", ""])


def draw(rows: list[dict], path: Path) -> None:
    """Expected against true Dice, one region a panel."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), dpi=130, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, region in zip(figure.subplots(1, 3, sharey=True), REGIONS, strict=True):
        _, true, expected = pairs(rows, region).T
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, zorder=1)
        axes.scatter(expected, true, s=18, color="#1f4e79", alpha=0.6, edgecolors="none", zorder=2)
        axes.set(title=region, xlabel="expected Dice", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("true Dice of several looks")
    canvas.print_png(str(path))


if __name__ == "__main__":
    main()
