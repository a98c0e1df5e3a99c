"""Speed and memory against peers, against the machine's floor, and as volumes and studies grow; one command, see README.md.

    python Testing/benchmarks/run.py [--case FOLDER] [--only NAME ...] [--out FOLDER]

Writes speed.json (measurements that are not run again stay as they were), speed.md and speed.png. Everything runs on the CPU, ours and the peers;
cuda.py is for GPUs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from measured import HERE, OtherWork, fastest, free_threads, machine, model_of, run_child
from shared_case import write_shared
from speed_report import MOST_OTHERS, draw, write_table

SAME_STEPS = ("read", "align", "brain", "prepare", "predict", "decide", "write")   # `predict` opens the network, too
REPEATS = 3  # of ours and of a peer's alike; the fastest counts, for the others were disturbed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path, help="folder with t1, t1ce, t2, flair of a brain on one 1 mm grid (default: a phantom's)")
    parser.add_argument("--truth", type=Path, help="the case's label map (BraTS 2023), to hold ours and nnU-Net's result against")
    parser.add_argument("--only", nargs="+", choices=tuple(BENCHMARKS), metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--sides", nargs="+", type=int, default=[128, 192, 256, 384, 512], help="voxels a side of the growing volumes")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    for name, given in (("--case", args.case), ("--truth", args.truth)):
        if given and not given.exists():   # minutes before it is read
            parser.error(f"{name} {given} is not there")
    for name in os.environ.keys() - free_threads().keys():
        del os.environ[name]   # before torch and the runtimes are loaded, which read it then
    from braintumorseg.model_zoo import load_model

    kept = args.out / "speed.json"
    result = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    with tempfile.TemporaryDirectory() as temporary:
        work = Work(Path(temporary), args.case, args.sides, args.truth)
        for name in args.only or BENCHMARKS:
            print(f"{name} ...", flush=True)
            with OtherWork() as others:
                found = BENCHMARKS[name](work)
            result[name] = {"machine": machine(), "model": model_of(load_model().card), "case": work.case_name, "others_share": others.share,
                            **found}
            if others.share > MOST_OTHERS:
                print(f"{name} was disturbed: other processes had {others.share:.0%} of the cores. Run it again on a quiet machine.", flush=True)
            args.out.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            write_table(result, args.out / "speed.md")
            draw(result, args.out / "speed.png")
    print((args.out / "speed.md").read_text(encoding="utf-8"))


class Work:
    """What the benchmarks share, made when it is first asked for: the phantom, the case as every tool gets it, our result."""

    def __init__(self, folder: Path, case: Path | None, sides: list[int], truth: Path | None):
        self.folder, self.sides, self._given, self._truth, self._made = folder, sides, case, truth, {}

    @property
    def case_name(self) -> str:
        return self._given.name if self._given else "phantom 0"

    def once(self, name: str, make: Callable):
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @property
    def phantom(self) -> Path:
        def make() -> Path:
            run_child(["-m", "braintumorseg.cli", "phantom", "--out", self.folder / "phantom", "--json"])
            return self.folder / "phantom"

        return self.once("phantom", make)

    @property
    def case(self) -> Path:
        """The given case, or the phantom's brain-only files."""
        return self._given or self.phantom / "brain_only"

    @property
    def truth(self) -> Path | None:
        """Its label map, where there is one."""
        return self._truth if self._given else self.phantom / "brain_only" / "truth.nii.gz"

    @property
    def shared_case(self) -> Path:
        """A folder in which both tools find the same images."""
        return self.once("shared", lambda: write_shared(self.case, self.folder / "shared"))

    @property
    def channels(self) -> np.ndarray:
        """What the network reads of the case, (C, I, J, K) float32."""
        from braintumorseg.model_zoo import load_model
        from braintumorseg.preprocess import prepare
        from braintumorseg.read import read_study

        return self.once("channels", lambda: prepare(read_study([self.shared_case / "named"]), load_model().card).channels)

    def ours(self) -> dict:
        return self.once("ours", lambda: _segment(self.shared_case / "named", self.folder / "ours"))

    def same_steps(self) -> dict:
        """What nnU-Net's predictor does, of ours: files that are taken for aligned and brain-only, to a label file; no start-up, picture, report."""
        def of(run: dict) -> float:
            return sum(run["printed"]["seconds"].get(step, 0.0) for step in SAME_STEPS)

        found = self.once("told", lambda: _segment(self.shared_case / "named", self.folder / "told", "--registered", "--stripped", by=of))
        return {**found, "seconds": round(sum(found["steps"].get(step, 0.0) for step in SAME_STEPS), 3)}


def _segment(case: Path, out: Path, *options: str, by: Callable[[dict], float] = lambda run: run["seconds"]) -> dict:
    """The command, in a process of its own, files to files."""
    found = run_child(["-m", "braintumorseg.cli", "segment", case, "--out", out, "--force", "--json", "--device", "cpu", *options], REPEATS, by)
    report = found.pop("printed")
    steps = {step: round(seconds, 3) for step, seconds in report["seconds"].items()}
    return {**found, "provider": report["provider"], "precision": report["precision"], "passes": report["passes"], "steps": steps,
            "other_seconds": round(found["seconds"] - sum(steps.values()), 2)}


def nnunet(work: Work) -> dict:
    if importlib.util.find_spec("nnunetv2") is None:
        raise SystemExit("nnunetv2 is absent: pip install nnunetv2 into this Python, or leave it out with --only.")
    ours, same, rows = work.ours(), work.same_steps(), {}
    for name, option in (("default", []), ("no mirroring", ["--no-mirroring"])):
        found = run_child([HERE / "peer_nnunet.py", work.shared_case, work.folder / name, *option], REPEATS, lambda run: run["printed"]["seconds"])
        rows[name] = {**found.pop("printed"), "process_seconds": found.pop("seconds"), **found}
        rows[name]["ours_times_faster"] = round(rows[name]["seconds"] / ours["seconds"], 1)
        rows[name]["same_steps_times_faster"] = round(rows[name]["seconds"] / same["seconds"], 1)
    files = {name: work.folder / name / "case.nii.gz" for name in rows} | {"ours": work.folder / "ours" / "segmentation.nii.gz",
                                                                           "ours in pieces": _in_pieces(work)}
    dice = {f"{one} / {other}": _dice(files[one], files[other]) for one, other in
            (("default", "no mirroring"), ("ours", "default"), ("ours", "no mirroring"), ("ours in pieces", "no mirroring"))}
    share = {region: round(dice["ours / default"][region] / value, 4) for region, value in dice["default / no mirroring"].items()}
    if work.truth is not None:
        dice |= {f"{name} / truth": _dice(file, work.truth) for name, file in files.items()}
    return {"ours": ours, "same_steps": same, **rows, "dice": dice, "share_of_its_own_agreement": share}


def _in_pieces(work: Work) -> Path:
    """What the engine finds in float32 when it has to see the brain in pieces of nnU-Net's size."""
    from peer_nnunet import PATCH
    from pieces import in_pieces_of

    from braintumorseg import load_model, segment
    from braintumorseg.io.nifti import write_nifti
    from braintumorseg.read import read_study

    model = load_model()
    with in_pieces_of(max(PATCH), model.card):
        found = segment(read_study([work.shared_case / "named"]), replace(model, card=replace(model.card, variants=())), registered=True,
                        device="cpu")
    write_nifti(found.labels, work.folder / "pieces.nii.gz")
    return work.folder / "pieces.nii.gz"


def _dice(one: Path, other: Path) -> dict[str, float]:
    """Dice of two label maps, whichever way their axes run."""
    from braintumorseg.io.nifti import read_nifti
    from braintumorseg.labels import REGIONS, region_mask
    from braintumorseg.metrics import dice

    a, b = read_nifti(one).canonical(), read_nifti(other).canonical()
    if not a.grid.same_as(b.grid):
        raise SystemExit(f"{one.name} and {other.name} lie on different grids")
    return {region: round(dice(region_mask(a.voxels, region), region_mask(b.voxels, region)), 4) for region in REGIONS}


def monai(work: Work) -> dict:
    from braintumorseg.metrics import dice
    from braintumorseg.model_zoo import load_model

    card = load_model().card
    ours, own = _our_network(work)
    np.save(work.folder / "channels.npy", work.channels)
    found = run_child([HERE / "peer_monai.py", work.folder / "channels.npy", work.folder / "monai.npy", "--runs", REPEATS])
    theirs = np.load(work.folder / "monai.npy")
    agreement = {region: round(dice(a > 0.5, b > 0.5), 4) for region, a, b in zip(card.regions, ours, theirs, strict=True)}
    times = round(found["printed"]["seconds"] / own["our_network_seconds"], 1)
    return {**found["printed"], "peak_gb": found["peak_gb"], **own, "ours_times_faster": times, "dice": agreement}


def _our_network(work: Work, variants: bool = True) -> tuple[np.ndarray, dict]:
    """Probabilities of the case, and how long the engine's network step took now, on what; without `variants` in float32.

    Each comparison asks anew: a peer is held against what the same minutes gave us.
    """
    from braintumorseg.model_zoo import load_model
    from braintumorseg.runtime import open_session
    from braintumorseg.tiling import predict

    model = load_model()
    session = open_session(model.weights, "cpu", variants=model.card.variants if variants else ())
    (found, _), seconds = fastest(lambda: predict(work.channels, session, model.card.size_multiple, model.card.bytes_per_voxel), REPEATS)
    return found, {"our_network_seconds": round(seconds, 3), "our_runs": REPEATS, "our_provider": f"{session.provider} in {session.precision}"}


def plain_ort(work: Work) -> dict:
    """The same .onnx file in ONNX Runtime as it comes: CPU provider, default options."""
    from braintumorseg.model_zoo import load_model
    from braintumorseg.runtime import import_onnxruntime

    ours, own = _our_network(work)
    session = import_onnxruntime().InferenceSession(str(load_model().weights), providers=["CPUExecutionProvider"])
    (found,), seconds = fastest(lambda: session.run(None, {session.get_inputs()[0].name: work.channels[None]}), REPEATS)
    return {"seconds": round(seconds, 3), "runs": REPEATS, "precision": "float32", **own,
            "ours_times_faster": round(seconds / own["our_network_seconds"], 2), "largest_difference": round(float(np.abs(found[0] - ours).max()), 5)}


def floor(work: Work) -> dict:
    from network_floor import count_flop, peak_flops

    from braintumorseg.model_zoo import load_model

    (_, own), (_, exact) = _our_network(work), _our_network(work, variants=False)
    flop, peak = count_flop(load_model().weights, (1, *work.channels.shape)), peak_flops()
    seconds, in_float32 = own["our_network_seconds"], exact["our_network_seconds"]
    return {"voxels": list(work.channels.shape[1:]), "gflop": round(flop / 1e9, 1), "peak_gflop_per_second": round(peak / 1e9, 1),
            "floor_seconds": round(flop / peak, 3), **own, "times_the_floor": round(seconds * peak / flop, 2), "float32_seconds": in_float32,
            "float32_times_the_floor": round(in_float32 * peak / flop, 2)}


def volumes(work: Work) -> dict:
    from braintumorseg.memory import free_bytes

    rows = []
    for side in work.sides:
        free = free_bytes()
        need = 4 * side**3 * (4 + 2) + 2e9
        if need > 0.8 * free:
            rows.append({"side": side, "left_out": f"needs about {need / 1e9:.0f} GB, {free / 1e9:.0f} GB are free"})
            continue
        found = run_child([HERE / "growth.py", "segment", side])
        rows.append({"side": side, "peak_gb": found["peak_gb"], **found["printed"]})
    network = []
    for side in [side for side in (96, 128, 160, 192, 256) if side <= max(work.sides)]:
        found = run_child([HERE / "growth.py", "network", side])
        network.append({"side": side, "peak_gb": found["peak_gb"], **found["printed"]})
    return {"what": "one head of 256 mm in ever finer voxels, memory to results on the disk", "segment": rows, "network": network}


def studies(work: Work) -> dict:
    found = run_child([HERE / "growth.py", "studies", 8, work.case])
    return {**found["printed"], "peak_gb": found["peak_gb"]}


def steps(work: Work) -> dict:
    return {"registered": _segment(work.case, work.folder / "registered"), "raw": _segment(work.phantom / "dicom", work.folder / "raw")}


BENCHMARKS = {one.__name__: one for one in (steps, nnunet, monai, plain_ort, floor, volumes, studies)}

if __name__ == "__main__":
    main()
