"""Ours on an NVIDIA GPU: is it like the CPU's, how fast, how much of its memory; and peers on the same GPU. Run once on a machine that has one.

    python Testing/benchmarks/cuda.py CASE [CASE ...] [--out Testing/benchmarks/results/cuda.json]
    python Testing/benchmarks/cuda.py --device cpu --out rehearsal.json     # every part on the CPU with a tiny case: do they work?

CASE: a folder with t1, t1ce, t2, flair of a brain on one 1 mm grid; the network alone and the peers get the first. Each part stands in the JSON,
and in a table beside it, as soon as it is measured; a part that fails says why, and the others go on.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from cuda_report import as_markdown
from gpu_memory import GpuMemory, Reading, host_reading, reader
from measured import HERE, OtherWork, free_threads, machine, model_of, run_child
from shared_case import write_shared, write_tiny

CHILD = HERE / "cuda_child.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="*", metavar="CASE")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu rehearses; its numbers say nothing")
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}; the others are not kept")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "cuda.json")
    args = parser.parse_args()
    if args.device == "cuda":
        if (why := why_no_gpu()) is not None:
            parser.exit(1, f"There is no GPU to measure: {why} --device cpu rehearses every part without one.\n")
        if not args.cases:
            parser.error("name a CASE")
    elif args.out.is_file() and not json.loads(args.out.read_text(encoding="utf-8"))["rehearsal"]:
        parser.error(f"{args.out.name} was measured on a GPU; a rehearsal does not replace it. Give another --out.")
    for case in args.cases:
        if not case.is_dir():
            parser.error(f"CASE {case} is not there")
    for name in os.environ.keys() - free_threads().keys():
        del os.environ[name]
    with tempfile.TemporaryDirectory() as temporary:
        work = Work(Path(temporary), args.cases or [write_tiny(Path(temporary) / "tiny")], args.device)
        result = measure({name: PARTS[name] for name in args.only or PARTS}, work, args.out)
    print(args.out.with_suffix(".md").read_text(encoding="utf-8"))
    sys.exit(any("failed" in one for one in result["parts"].values()))


def why_no_gpu() -> str | None:
    from braintumorseg.hardware import this_machine
    from braintumorseg.providers import candidates

    lack = candidates("auto", "cuda")[0].lacking(this_machine())
    return lack and f"{lack.what}. {lack.fix}."


class Work:
    """What the parts share: the cases, where the network runs, and how often."""

    def __init__(self, folder: Path, cases: list[Path], device: str):
        self.folder, self.cases, self.device = folder, cases, device
        self.rehearsal = device != "cuda"
        self.provider = "onnxruntime" if self.rehearsal else "cuda"
        self.studies, self.passes = (1, 1) if self.rehearsal else (3, 20)

    @cached_property
    def shared_case(self) -> Path:
        return write_shared(self.cases[0], self.folder / "shared")

    @cached_property
    def channels(self) -> Path:
        """What the network reads of the first case, (C, I, J, K) float32, as a file."""
        from braintumorseg.model_zoo import load_model
        from braintumorseg.preprocess import prepare
        from braintumorseg.read import read_study

        np.save(self.folder / "channels.npy", prepare(read_study([self.shared_case / "named"]), load_model().card).channels)
        return self.folder / "channels.npy"

    @cached_property
    def memory(self) -> Callable[[], Reading] | str:
        """What reads the GPU's memory (in a rehearsal the machine's), or why nothing does."""
        if self.rehearsal:
            return host_reading
        try:
            return reader()
        except (OSError, subprocess.SubprocessError) as error:
            return f"neither NVML nor nvidia-smi tells ({error})"

    def child(self, arguments: list, **options) -> dict:
        """What a command printed and, of the GPU's memory, the most that its processes held, and what they still held in the end, idle."""
        if isinstance(self.memory, str):
            return {**run_child(arguments, **options)["printed"], "gpu_memory_unknown": self.memory}
        with GpuMemory(self.memory) as memory:
            found = run_child(arguments, **options)["printed"]
        idle = memory.at(*found.pop("idle")) if "idle" in found else None
        if not memory.samples:
            return {**found, "gpu_memory_unknown": memory.failed or "it ended before it was looked at"}
        return {**found, "gpu_gb": round(memory.peak / 1e9, 3), "gpu_idle_gb": None if idle is None else round(idle / 1e9, 3), "gpu_gb_of": memory.of}


def measure(parts: Mapping[str, Callable[[Work], dict]], work: Work, out: Path) -> dict:
    """Part after part; JSON and table are written after each."""
    from braintumorseg.hardware import driver_cuda_version, nvidia_gpus
    from braintumorseg.model_zoo import load_model

    result = {"rehearsal": work.rehearsal, "machine": machine(), "gpus": nvidia_gpus(), "driver_cuda": driver_cuda_version(),
              "model": model_of(load_model().card), "cases": len(work.cases), "parts": {}}
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        print(f"{name} ...", flush=True)
        try:
            with OtherWork() as others:
                found = part(work)
            result["parts"][name] = {**found, "others_share": others.share}
        except (Exception, SystemExit) as error:  # whatever a peer, a driver or a missing package raises: it is told, and the rest is measured
            words = " ".join(str(error).split()) or "no reason was given"
            result["parts"][name] = {"failed": words if isinstance(error, SystemExit) else f"{type(error).__name__}: {words}"}
            print(f"  failed: {words}", flush=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        out.with_suffix(".md").write_text(as_markdown(result), encoding="utf-8")
    return result


def parity(work: Work) -> dict:
    """Each case by the command, on the GPU and by ONNX Runtime's CPU provider, both in float32."""
    from braintumorseg.io.nifti import read_nifti
    from braintumorseg.labels import REGIONS, region_mask
    from braintumorseg.metrics import dice

    rows = []
    for number, case in enumerate(work.cases):
        labels, run = {}, {}
        for name, provider in (("cpu", "onnxruntime"), ("gpu", work.provider)):
            out = work.folder / f"{name}{number}"
            run[name] = run_child(["-m", "braintumorseg.cli", "segment", case, "--out", out, "--json", "--provider", provider])
            labels[name] = read_nifti(out / "segmentation.nii.gz").voxels
        rows.append({"case": case.name, "agreement": agreement(labels["cpu"], labels["gpu"]), "tumour_voxels": int((labels["cpu"] > 0).sum()),
                     "dice": {region: round(dice(*(region_mask(one, region) for one in labels.values())), 5) for region in REGIONS},
                     **{f"{name}_in": f"{one['printed']['provider']} in {one['printed']['precision']}" for name, one in run.items()},
                     "cold_process_seconds": run["gpu"]["seconds"]})
    return {"agreement": min(row["agreement"] for row in rows), "cases": rows}


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Share 0..1 of the voxels that either calls tumour in which both say the same label; 1.0 when there are none."""
    tumour = (one > 0) | (other > 0)
    return float((one == other)[tumour].mean()) if tumour.any() else 1.0


def studies(work: Work) -> dict:
    return work.child([CHILD, "studies", work.provider, work.studies, *work.cases])


def network(work: Work, keep: str = "") -> dict:
    return work.child([CHILD, "network", work.provider, work.passes, work.channels, work.folder / f"ours{keep}.npy", *([keep] if keep else [])])


def torch_network(work: Work, precision: str) -> dict:
    out = work.folder / f"{precision}.npy"
    if work.rehearsal:
        precision = "float32"   # many CPUs take minutes for the others
    return {**work.child([CHILD, "torch", work.device, work.passes, work.channels, out, precision]), **_beside_ours(work, out)}


def nnunet(work: Work, mirroring: bool) -> dict:
    _require("nnunetv2")
    options = ["--device", work.device, "--warm-ups", int(not work.rehearsal), "--runs", work.studies]
    return {**work.child([HERE / "peer_nnunet.py", work.shared_case, work.folder / f"nnunet{mirroring}", *options,
                          *([] if mirroring else ["--no-mirroring"])]), "runs": work.studies}


def monai(work: Work) -> dict:
    _require("monai")
    out = work.folder / "monai.npy"
    found = work.child([HERE / "peer_monai.py", work.channels, out, "--device", work.device, "--runs", work.passes])
    return {**found, "precision": f"{found['precision']}, TF32 off", **_beside_ours(work, out)}


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise SystemExit(f"{package} is absent: pip install {package} into this Python.")


def _beside_ours(work: Work, out: Path) -> dict:
    """How far a peer's probabilities are from those of `network`, where that was measured."""
    if not (work.folder / "ours.npy").is_file():
        return {}
    ours, theirs = np.load(work.folder / "ours.npy"), np.load(out)
    return {"largest_difference": round(float(np.abs(ours - theirs).max()), 5), "same_side_of_a_half": float(((ours > 0.5) == (theirs > 0.5)).mean())}


PARTS: dict[str, Callable[[Work], dict]] = {
    "parity": parity, "studies": studies, "network": network, "network, arena kept": partial(network, keep="keep"),
    **{f"torch {precision}": partial(torch_network, precision=precision) for precision in ("float32", "float16", "bfloat16")},
    "MONAI": monai, "nnU-Net without mirroring": partial(nnunet, mirroring=False), "nnU-Net": partial(nnunet, mirroring=True)}

if __name__ == "__main__":
    main()
