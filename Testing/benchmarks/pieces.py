"""What it costs to see a brain in pieces: Dice of the same network over the whole brain in one pass, and over pieces of a given side.

    python pieces.py PACKED [--model glioma] [--split SPLIT.json] [--sides 128 96] --out DIR

The pieces are those that the engine falls back to where memory is short (a quarter of overlap, Gaussian weights), forced by telling it of less
memory than there is. Cases: the split's validation, packed by `braintumorseg-train prepare`, so on the network's own grid.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
from cross_cohort import REGIONS, dice_of, mean_dice
from measured import machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path, help="folder that `braintumorseg-train prepare` wrote")
    parser.add_argument("--model", default="glioma", help="name of a network, or an .onnx file (glioma)")
    parser.add_argument("--split", type=Path, help="JSON with validation (default: the 24 cases' own)")
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 96], help="of the pieces, in voxels")
    parser.add_argument("--out", type=Path, required=True, help="folder for pieces.json and .md")
    args = parser.parse_args()
    from braintumorseg.model_zoo import load_model
    from braintumorseg.runtime import open_session
    from braintumorseg_training.cli import OWN_SPLIT
    from braintumorseg_training.data import load_cases, read_split

    model = load_model(args.model)
    session = open_session(model.weights, "cpu")
    names, rows = read_split(args.split or OWN_SPLIT).validation, []
    for side in (0, *args.sides):
        dice, passes, seconds = {}, [], []
        for case in load_cases(args.packed, names):
            began = time.perf_counter()
            found, count = seen(np.array(case.channels, np.float32), session, model.card, side)
            seconds.append(time.perf_counter() - began)
            passes.append(count)
            dice[case.name] = dice_of(found, case, model.card)
        rows.append({"side": side, "passes": passes, "seconds_a_case": round(float(np.mean(seconds)), 2), "dice": dice})
        print(shown(rows[-1]), flush=True)
    result = {"network": {"name": model.card.name, "version": model.card.version, "sha256": model.card.sha256}, "machine": machine(),
              "provider": session.provider, "precision": session.precision, "cases": list(names), "rows": rows}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "pieces.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (args.out / "pieces.md").write_text(as_markdown(result), encoding="utf-8")


def seen(channels: np.ndarray, session, card, side: int) -> tuple[np.ndarray, int]:
    """Probabilities and passes over pieces of at most side³ voxels; 0 is the whole."""
    from braintumorseg.tiling import predict

    return predict(channels, session, card.size_multiple, card.bytes_per_voxel, free_bytes=memory_for(side, card) if side else float("inf"))


@contextmanager
def in_pieces_of(side: int, card) -> Iterator[None]:
    """While it is entered, the engine believes that memory is just enough for pieces of side³ voxels."""
    from braintumorseg import tiling

    with patch.object(tiling, "memory", SimpleNamespace(free_bytes=lambda: memory_for(side, card))):
        yield


def memory_for(side: int, card) -> float:
    from braintumorseg.tiling import _SHARE_OF_MEMORY

    return (side**3 * card.bytes_per_voxel + 1) / _SHARE_OF_MEMORY


def shown(row: dict) -> str:
    what = f"pieces of {row['side']}³" if row["side"] else "whole brain"
    passes = " to ".join(dict.fromkeys((str(min(row["passes"])), str(max(row["passes"])))))
    return f"| {what} | {passes} | " + " | ".join(
        f"{mean_dice(row['dice'], region):.3f} ({min(one[region] for one in row['dice'].values()):.2f})" for region in REGIONS) + " |"


def as_markdown(result: dict) -> str:
    network = result["network"]
    return "\n".join(["# Whole brains or pieces", "", f"{network['name']} {network['version']}, {len(result['cases'])} validation cases, mean Dice "
                      f"and the worst case; ET over cases with 1 ml or more. {result['provider']}, {result['precision']}.", "",
                      "| seen | passes | " + " | ".join(REGIONS) + " |", "|---" * (2 + len(REGIONS)) + "|", *map(shown, result["rows"])]) + "\n"


if __name__ == "__main__":
    main()
