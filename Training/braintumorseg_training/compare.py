"""Several validations side by side: the same cases, paired case by case, and several seeds of one recipe as one."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braintumorseg.errors import InputError, MissingFile
from braintumorseg.labels import REGIONS

from .card_metrics import ENOUGH_ET_ML
from .compare_report import draw_pairs, format_markdown
from .outputs import output_into

__all__ = ["Difference", "Group", "compare", "difference", "read_groups", "summary"]

RESAMPLES = 9999


@dataclass(frozen=True, eq=False)
class Group:
    """One recipe: as many validations as it has seeds.

    cases: names, in one order for all groups. et_ml: (N,) true enhancing tumour. dice: region -> (seeds, N).
    by_sequences: 't1ce + flair' -> region -> (seeds, N); {} unless every seed has it. trained_on: the cases that any seed learned from, or whose
    patients it did: nothing there is accuracy.
    """

    name: str
    cases: tuple[str, ...]
    et_ml: np.ndarray
    dice: dict[str, np.ndarray]
    by_sequences: dict[str, dict[str, np.ndarray]]
    trained_on: tuple[str, ...] = ()

    def chosen(self, region: str) -> np.ndarray:
        """(N,) bool: the cases that count for the region; ET only where there is enough of it."""
        return self.et_ml >= ENOUGH_ET_ML if region == "ET" else np.ones(len(self.cases), bool)


@dataclass(frozen=True)
class Difference:
    """Paired over `n` cases, in Dice: mean, its 95 % interval (percentile bootstrap over cases), Wilcoxon's signed-rank p."""

    n: int
    mean: float
    low: float
    high: float
    p: float


def compare(groups: Sequence[Group], out: Path, say: Callable[[str], None]) -> dict:
    """Write compare.md, .csv, .json and .png into `out`; every group is compared with the first. Returns what is in compare.json."""
    shared = [key for key in groups[0].by_sequences if all(key in group.by_sequences for group in groups)]
    found = {
        "cases": list(groups[0].cases), "against": groups[0].name,
        "trained_on": {group.name: list(group.trained_on) for group in groups if group.trained_on},
        "groups": {group.name: {region: summary(group, region) for region in REGIONS} for group in groups},
        "differences": {group.name: {region: _plain(difference(groups[0], group, region)) for region in REGIONS} for group in groups[1:]},
        "by_sequences": {key: {group.name: {region: _mean(group.by_sequences[key][region][:, group.chosen(region)]) for region in REGIONS}
                               for group in groups} for key in shared}}
    text = format_markdown(found)
    with output_into(out):
        (out / "compare.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        _write_csv(groups, out / "compare.csv")
        draw_pairs(groups, out / "compare.png")
        (out / "compare.md").write_text(text, encoding="utf-8")
    say(text)
    return found


def read_groups(folders: Sequence[Path], named: Sequence[str]) -> list[Group]:
    """Groups of one from folders, then those written NAME=DIR,DIR. Raises InputError unless all are of the same cases and truths,
    and each group's of different networks."""
    wanted = [(folder.name if sum(other.name == folder.name for other in folders) == 1 else str(folder), [folder]) for folder in folders]
    for text in named:
        name, _, rest = text.partition("=")
        if not name or not rest:
            raise InputError(f"--group {text} is not NAME=DIR,DIR.", "Write for example --group baseline=runs/b1,runs/b2.")
        wanted.append((name, [Path(part) for part in rest.split(",") if part]))
    names = [name for name, _ in wanted]
    if len(wanted) < 2 or len(set(names)) < len(names):
        raise InputError(f"{len(set(names))} different validation{'s' * (len(set(names)) != 1)} given ({', '.join(names) or 'none'}).",
                         "Give two or more folders that validate wrote, or --group with different names.")
    read = {path: _read(path) for _, paths in wanted for path in paths}
    for name, paths in wanted:
        _require_seeds(name, paths, [read[path] for path in paths])
    first, *others = read
    for path in others:
        _require_same(first, read[first], path, read[path])
    return [_group(name, [read[path] for path in paths]) for name, paths in wanted]


def summary(group: Group, region: str) -> dict:
    """Mean over cases and its standard deviation over seeds (None for one); median and worst over cases of the mean over seeds."""
    values = group.dice[region][:, group.chosen(region)]  # (seeds, cases)
    if not values.size:
        return {"n": 0, "seeds": len(values), "mean": None, "sd_over_seeds": None, "median": None, "worst": None, "worst_case": None}
    by_seed, by_case = values.mean(axis=1), values.mean(axis=0)
    cases = np.array(group.cases)[group.chosen(region)]
    return {"n": len(by_case), "seeds": len(by_seed), "mean": round(float(by_seed.mean()), 4),
            "sd_over_seeds": round(float(by_seed.std(ddof=1)), 4) if len(by_seed) > 1 else None, "median": round(float(np.median(by_case)), 4),
            "worst": round(float(by_case.min()), 4), "worst_case": str(cases[by_case.argmin()])}


def difference(first: Group, second: Group, region: str) -> Difference | None:
    """Second less first, each case's Dice averaged over seeds before; None with fewer than two cases."""
    from scipy.stats import wilcoxon

    chosen = first.chosen(region)
    pairs = (second.dice[region].mean(axis=0) - first.dice[region].mean(axis=0))[chosen]  # (cases,)
    if len(pairs) < 2:
        return None
    means = np.random.default_rng(0).choice(pairs, (RESAMPLES, len(pairs))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    p = wilcoxon(pairs).pvalue if np.abs(pairs).max() > 1e-12 else 1.0
    return Difference(len(pairs), float(pairs.mean()), float(low), float(high), float(p))


def _read(folder: Path) -> dict:
    path = folder / "validation.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        found["results"] = {row["case"]: row["structures"] for row in found["results"]}
        found["trained_on"] = list(found.get("trained_on", ()))
    except FileNotFoundError:
        raise MissingFile(f"There is no validation.json in {folder.name}.", "Give a folder that 'braintumorseg-train validate' wrote.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder.name}/validation.json cannot be read ({type(error).__name__}).", "Run validate again.") from None
    return found


def _require_seeds(name: str, paths: Sequence[Path], runs: Sequence[dict]) -> None:
    """Raises InputError where one network, or one folder, is in a group twice: that is no spread over seeds."""
    there: dict[object, Path] = {}
    for path, run in zip(paths, runs, strict=True):
        other = there.setdefault(_network(run) or path.resolve(), path)
        if other is not path:
            raise InputError(f"{other} and {path} in --group {name} are of one network, and a group is of several seeds.", "Name each network once.")


def _network(run: dict) -> str:
    """The sha256 of the network that was validated; '' where an older version did not keep it."""
    network = run.get("network")
    return str(network.get("sha256") or "") if isinstance(network, dict) else ""


def _require_same(one: Path, first: dict, other: Path, second: dict) -> None:
    apart = sorted(first["results"].keys() ^ second["results"].keys())
    if apart:
        raise InputError(f"{other} is not of the same cases as {one}: {', '.join(apart[:5])}{' ...' if len(apart) > 5 else ''} in only one of them.",
                         "Run validate with the same --split and --part for each.")
    for case, structures in first["results"].items():
        if any(abs(structures[region]["truth_ml"] - second["results"][case][region]["truth_ml"]) > 0.01 for region in REGIONS):
            raise InputError(f"The truth of {case} is not the same in {other} as in {one}.", "Run validate on the same files with the same --labels.")


def _group(name: str, runs: Sequence[dict]) -> Group:
    cases = tuple(sorted(runs[0]["results"]))
    keys = [key for key in runs[0].get("by_sequences", {}) if all(set(cases) <= set(run.get("by_sequences", {}).get(key, ())) for run in runs)]
    return Group(
        name, cases, np.array([runs[0]["results"][case]["ET"]["truth_ml"] for case in cases]),
        {region: np.array([[run["results"][case][region]["dice"] for case in cases] for run in runs]) for region in REGIONS},
        {key: {region: np.array([[run["by_sequences"][key][case][region] for case in cases] for run in runs]) for region in REGIONS} for key in keys},
        tuple(case for case in cases if any(case in run["trained_on"] for run in runs)))


def _write_csv(groups: Sequence[Group], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["group", "seed", "case", "sequences", "region", "dice"])
        for group in groups:
            for key, dice in {"": group.dice, **group.by_sequences}.items():
                for region, values in dice.items():
                    table.writerows([group.name, seed + 1, case, key or "all", region, values[seed, at]]
                                    for seed in range(len(values)) for at, case in enumerate(group.cases))


def _plain(found: Difference | None) -> dict | None:
    return found and {key: round(value, 4) for key, value in vars(found).items()}


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 4) if values.size else None
