"""Patches a second: the loader alone, the network's forward and backward alone, and both together as `fit` runs them.

The limit: `fit` loses at most 10 % of the network's own rate to the loader. Everything runs through the package's own training loop; for the network
alone the stream is one patch again and again. Also how long one patch takes in one thread, and how long its box takes to be read from
the disk, warm (in the system's page cache) and cold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path

LIMIT = 0.10
FIRST = 6  # steps that are not timed: the network is compiled, the loader fills its queue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that braintumorseg-train prepare wrote")
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--config", type=Path, help="JSON with fields of the configuration (default: the shipped recipe)")
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed (20)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", choices=("read", "loader", "network", "both"), action="append", help="measure only these; others stay as in --out")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; a table line goes to the .md beside it")
    args = parser.parse_args()
    import torch

    from braintumorseg_training.config import Config, read_config
    from braintumorseg_training.data import load_cases, load_made_up, read_split

    config = read_config(args.config) if args.config else Config()
    split = read_split(args.split)
    cases = [*load_cases(args.data, split.train), *load_made_up(args.data, split)]
    result = json.loads(args.out.read_text(encoding="utf-8")) if args.only and args.out.exists() else {}
    result |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "torch": torch.__version__, "patch": list(config.patch),
               "batch": config.batch, "channels": list(config.channels), "cases": len(cases), "steps": args.steps}
    for name, measure in (("read", lambda: time_reading(cases, config)), ("loader", lambda: time_loader(cases, config, args.steps, args.device)),
                          ("network", lambda: time_fit(cases, config, args.steps, args.device, alone=True)),
                          ("both", lambda: time_fit(cases, config, args.steps, args.device, alone=False))):
        if not args.only or name in args.only:
            before = cpu_seconds()
            result[name] = measure()
            result[name]["others_cores"] = round(others(before, cpu_seconds()), 2)
            print(name, json.dumps(result[name]), flush=True)
    if {"network", "both"} <= result.keys():
        result["loader_costs"] = round(1 - result["both"]["patches_per_s"] / result["network"]["patches_per_s"], 3)
        result["limit"] = LIMIT
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if {"read", "loader", "loader_costs"} <= result.keys():
        args.out.with_suffix(".md").write_text(table(result), encoding="utf-8")


def time_reading(cases, config, count: int = 40) -> dict:
    """Median ms to copy a patch's box (C, *patch) and its labels from the packed files, from the page cache and from the disk."""
    import numpy as np

    rng = np.random.default_rng(0)
    took = {"warm_ms": [], "cold_ms": []}
    for number in range(count):
        case = cases[number % len(cases)]
        low = [int(rng.integers(0, max(1, side - n + 1))) for side, n in zip(case.labels.shape, config.patch, strict=True)]
        box = tuple(slice(a, a + n) for a, n in zip(low, config.patch, strict=True))
        for kind in ("cold_ms", "warm_ms"):  # the cold read warms it for the other
            if kind == "cold_ms" and not forget_pages(case):
                continue
            began = time.perf_counter()
            np.array(case.channels[(slice(None), *box)])
            np.array(case.labels[box])
            took[kind].append(time.perf_counter() - began)
    return {kind: round(float(np.median(seconds)) * 1000, 1) for kind, seconds in took.items() if seconds}


def cpu_seconds() -> tuple[float, float, float]:
    """(clock, s of processor time that the whole machine spent so far, of which this process and its ended children)."""
    import psutil

    spent, own = psutil.cpu_times(), os.times()
    return time.perf_counter(), spent.user + spent.system + getattr(spent, "nice", 0.0), sum(own[:4])  # user and system, own and children's


def others(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    """How many cores other processes kept busy meanwhile: a measurement with more than a little of it says nothing."""
    clock, everything, own = (b - a for a, b in zip(before, after, strict=True))
    return max(0.0, (everything - own) / clock)


def forget_pages(case) -> bool:
    """Ask the system to drop a case's files from its page cache; False where it cannot be asked."""
    import mmap

    if not hasattr(os, "posix_fadvise"):
        return False
    for array in (case.channels, case.labels):
        name = getattr(array, "filename", None)
        if name is None:  # labels of an older version's case are in memory anyway
            continue
        array._mmap.madvise(mmap.MADV_DONTNEED)  # pages in use by a mapping are not dropped
        handle = os.open(name, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    return True


def time_loader(cases, config, steps: int, device: str) -> dict:
    """One thread of one process: mean and 90th percentile of s a patch; and patches/s of the DataLoader that `fit` uses, nothing else running."""
    import numpy as np
    import torch
    from torch.utils.data import DataLoader

    from braintumorseg_training.data import Patches
    from braintumorseg_training.train import pick_device, usual_workers

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    patches, seconds = Patches(cases, config, 0, 40), []
    for number in range(40):
        began = time.perf_counter()
        patches[number]
        seconds.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    workers = usual_workers(pick_device(device))
    warm = 8 * workers  # what is made before anybody waits for it
    loader = DataLoader(Patches(cases, config, 0, (warm + 2 * steps) * config.batch), batch_size=config.batch, num_workers=workers,
                        prefetch_factor=4, worker_init_fn=one_thread)
    for number, _ in enumerate(loader):
        if number == warm:
            began = time.perf_counter()
    rate = (2 * steps - 1) * config.batch / (time.perf_counter() - began)
    return {"patches_per_s": round(rate, 3), "workers": workers, "one_thread_s": round(float(np.mean(seconds)), 3),
            "one_thread_s_90th": round(float(np.percentile(seconds, 90)), 3)}


def one_thread(_: int) -> None:
    import torch

    torch.set_num_threads(1)


def time_fit(cases, config, steps: int, device: str, alone: bool) -> dict:
    """patches/s of `fit_task`, optimiser included, after its first steps; `alone`: with one patch again and again instead of the loader's work."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from braintumorseg_training.data import Patches
    from braintumorseg_training.losses import RegionLoss
    from braintumorseg_training.networks import build
    from braintumorseg_training.train import Task, fit_task

    class OnePatch(Patches):
        def __getitem__(self, index):
            if not hasattr(self, "made"):
                self.made = super().__getitem__(0)
            return self.made

    kind = OnePatch if alone else Patches
    config = replace(config, steps=FIRST + steps, save_every=10**9, validate_every=10**9, warm_up=1)
    task = Task(build=lambda: build(config), stream=lambda first, count: kind(cases, config, first, count),
                loss=RegionLoss(config.deep_supervision), watch=None, scores=(), about="throughput")
    marks = []
    hook = register_optimizer_step_post_hook(lambda *_: marks.append(time.perf_counter()))
    with tempfile.TemporaryDirectory() as out:
        fit_task(config, task, Path(out), device=device, say=lambda line: None)
    hook.remove()
    seconds = (marks[-1] - marks[FIRST - 1]) / (len(marks) - FIRST)
    return {"patches_per_s": round(config.batch / seconds, 4), "s_per_step": round(seconds, 3)}


def table(result: dict) -> str:
    read = "; ".join(f"{kind.split('_')[0]} {result['read'][kind]} ms" for kind in ("warm_ms", "cold_ms") if kind in result["read"])
    others_cores = max(result[name]["others_cores"] for name in ("loader", "network", "both"))
    verdict = "within" if result["loader_costs"] <= result["limit"] else "OVER"
    return ("| machine | loader alone, patches/s | network alone | both (`fit`) | loader costs | reading a box | others' cores |\n"
            "|---|---|---|---|---|---|---|\n"
            f"| {result['machine']} | {result['loader']['patches_per_s']} ({result['loader']['workers']} worker) "
            f"| {result['network']['patches_per_s']} | {result['both']['patches_per_s']} "
            f"| {result['loader_costs']:.1%} ({verdict} the limit of {result['limit']:.0%}) | {read} | {others_cores} |\n")


if __name__ == "__main__":
    main()
