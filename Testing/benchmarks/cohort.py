"""`braintumorseg cohort` against as many single runs of `segment`: seconds and peak memory, and what other processes took meanwhile.

Single runs are counted twice: as their processes take (start-up and imports with it), and by their reports' seconds alone (the compute).
All files are read once beforehand, so that neither pays for the disk.
Two cores give a hint, not a law: the gain is what one study leaves idle of the cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from measured import OtherWork, machine, run_child


def read_through(cases: list[Path]) -> int:
    """Bring the cases' files into the system's cache; bytes read."""
    return sum(len(file.read_bytes()) for case in cases for file in sorted(case.rglob("*")) if file.is_file())


def single_runs(cases: list[Path], out: Path) -> dict:
    """Every case in a process of its own, one after another."""
    with OtherWork() as others:
        runs = [run_child(["-m", "braintumorseg.cli", "segment", case, "--out", out / case.name, "--json"]) for case in cases]
    compute = [sum(run["printed"]["seconds"].values()) for run in runs]
    steps = {step: round(sum(run["printed"]["seconds"][step] for run in runs) / len(runs), 2) for step in runs[0]["printed"]["seconds"]}
    return {"seconds": round(sum(run["seconds"] for run in runs), 2), "compute_seconds": round(sum(compute), 2),
            "peak_gb": max(run["peak_gb"] for run in runs), "mean_steps": steps, "provider": runs[0]["printed"]["provider"],
            "others_share": others.share}


def one_cohort(cases: list[Path], folder: Path, at_once: int) -> dict:
    """All of them with one command."""
    (folder / "in").mkdir()
    for case in cases:
        (folder / "in" / case.name).symlink_to(case.resolve(), target_is_directory=True)
    with OtherWork() as others:
        run = run_child(["-m", "braintumorseg.cli", "cohort", folder / "in", "--out", folder / "out", "--at-once", at_once, "--json"])
    if run["printed"]["done"] != len(cases):
        raise SystemExit(f"only {run['printed']['done']} of {len(cases)} studies were done")
    return {"at_once": at_once, "seconds": run["seconds"], "peak_gb": run["peak_gb"], "others_share": others.share}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path, nargs="+", help="folders of one study each")
    parser.add_argument("--at-once", type=int, nargs="+", default=[2, 1], metavar="N", help="studies in work at the same time (2, then 1)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    args = parser.parse_args()
    from braintumorseg.model_zoo import load_model

    read_through(args.cases)
    with tempfile.TemporaryDirectory() as folder:
        run_child(["-m", "braintumorseg.cli", "segment", args.cases[0], "--out", Path(folder) / "first", "--json"])   # the programs' files, too
        single = single_runs(args.cases, Path(folder) / "single")
        cohorts = []
        for at_once in args.at_once:
            place = Path(folder) / f"cohort{at_once}"
            place.mkdir()
            cohorts.append(one_cohort(args.cases, place, at_once))
    for one in cohorts:
        one["times_faster_than_single_runs"] = round(single["seconds"] / one["seconds"], 2)
        one["times_faster_than_their_compute"] = round(single["compute_seconds"] / one["seconds"], 2)
    card = load_model().card
    result = {"machine": machine(), "model": f"{card.name} {card.version}", "cases": len(args.cases), "single_runs": single, "cohort": cohorts}
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
