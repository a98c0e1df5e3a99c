"""Wall-clock time and peak memory of `braintumorseg segment`, files to files, as shares of their limits."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

from measured import OtherWork, run_child


def measure(case: Path, limit_seconds: float, limit_gb: float) -> dict:
    """One case in a fresh process: seconds, peak GB, their shares of the limits, what other processes had, and the engine's own times per step."""
    with tempfile.TemporaryDirectory() as folder, OtherWork() as others:
        run = run_child(["-m", "braintumorseg.cli", "segment", case, "--out", Path(folder) / "result", "--json"])
    report = run["printed"]
    return {"case": case.name, "seconds": run["seconds"], "share_of_seconds": round(run["seconds"] / limit_seconds, 3), "peak_gb": run["peak_gb"],
            "share_of_gb": round(run["peak_gb"] / limit_gb, 3), "others_share": others.share, "provider": report["provider"],
            "precision": report["precision"], "passes": report["passes"],
            "steps": {step: round(value, 2) for step, value in report["seconds"].items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path, nargs="+", help="folders of one study each, files or raw DICOM")
    parser.add_argument("--seconds", type=float, default=30.0, help="limit of the wall-clock time (30)")
    parser.add_argument("--gb", type=float, default=4.0, help="limit of the peak memory (4)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    from braintumorseg.model_zoo import load_model

    card = load_model().card
    rows = [measure(case, args.seconds, args.gb) for case in args.cases]
    result = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end", "model": card.name,
              "version": card.version, "sha256": card.sha256, "limits": {"seconds": args.seconds, "gb": args.gb}, "cases": rows}
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        print(f"{row['case']:<24} {row['seconds']:6.1f} s ({row['share_of_seconds']:.0%} of {args.seconds:g} s)   "
              f"{row['peak_gb']:.2f} GB ({row['share_of_gb']:.0%} of {args.gb:g} GB)   {row['provider']} {row['precision']}   "
              f"others {row['others_share']:.0%}   "
              + " ".join(f"{step} {value}" for step, value in row["steps"].items()))


if __name__ == "__main__":
    main()
