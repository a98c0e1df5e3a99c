"""What larger volumes and more studies cost on the CPU; each measurement in a process of its own (its peak memory is taken by the caller).

    python growth.py segment SIDE      a made-up brain of the same size in SIDE³ voxels of 256 / SIDE mm, four sequences, to results on the disk
    python growth.py network SIDE      the network alone on SIDE³ voxels of 1 mm
    python growth.py studies N CASE    N times from files to results in one process
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FIELD_MM = 256.0


def made_up(side: int):
    """Four sequences (side, side, side) uint16 of an egg-shaped brain with a bright ball in it, on empty ground."""
    from braintumorseg.study import ROLES, Study
    from braintumorseg.volume import Volume

    coarse = 64
    if side % coarse:
        raise SystemExit(f"SIDE is a multiple of {coarse}")
    index = np.stack(np.meshgrid(*[np.arange(coarse) - coarse / 2 + 0.5] * 3, indexing="ij"), -1) * FIELD_MM / coarse
    brain = ((index / [68, 84, 66]) ** 2).sum(-1) < 1
    lesion = ((index - [30, 20, 15]) ** 2).sum(-1) < 20**2
    affine = np.diag([FIELD_MM / side] * 3 + [1.0])
    affine[:3, 3] = -FIELD_MM / 2
    rng, volumes = np.random.default_rng(0), {}
    for role, bright in zip(ROLES, (0.8, 1.5, 1.6, 1.8), strict=True):
        image = np.where(brain, 400 * rng.normal(1, 0.1, brain.shape).clip(0.5) * np.where(lesion, bright, 1), 0).astype(np.uint16)
        for axis in range(3):
            image = np.repeat(image, side // coarse, axis=axis)
        volumes[role] = Volume(image, affine)
    return Study(volumes)


def segment_one(side: int) -> dict:
    from braintumorseg.model_zoo import load_model
    from braintumorseg.pipeline import segment
    from braintumorseg.progress import Progress
    from braintumorseg.results import write_results

    study, model, progress = made_up(side), load_model(), Progress()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with progress.step("read"):
            pass
        result = segment(study, model, device="cpu", progress=progress)
        write_results(study, result, model.card, Path(folder) / "result", progress=progress)
        seconds = time.perf_counter() - began
    return {"seconds": round(seconds, 2), "passes": result.provenance.passes, "steps": {name: round(s, 2) for name, s in progress.seconds.items()}}


def network_one(side: int) -> dict:
    from braintumorseg.model_zoo import load_model
    from braintumorseg.runtime import open_session
    from braintumorseg.tiling import predict

    model = load_model()
    session = open_session(model.weights, "cpu", variants=model.card.variants)
    channels = np.random.default_rng(0).normal(size=(len(model.card.roles), side, side, side)).astype(np.float32)
    predict(np.ascontiguousarray(channels[:, :64, :64, :64]), session, model.card.size_multiple, model.card.bytes_per_voxel)
    began = time.perf_counter()
    _, passes = predict(channels, session, model.card.size_multiple, model.card.bytes_per_voxel)
    return {"seconds": round(time.perf_counter() - began, 2), "passes": passes, "provider": session.provider, "precision": session.precision}


def studies(count: int, case: Path) -> dict:
    import psutil

    from braintumorseg.model_zoo import load_model
    from braintumorseg.pipeline import segment
    from braintumorseg.read import read_study
    from braintumorseg.results import write_results

    held, seconds = [], []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            study, model = read_study([case]), load_model()
            write_results(study, segment(study, model, device="cpu"), model.card, Path(folder) / "result")
            seconds.append(round(time.perf_counter() - began, 2))
        held.append(round(psutil.Process().memory_info().rss / 1e9, 3))
    return {"seconds": seconds, "held_gb_after_each": held}


if __name__ == "__main__":
    what, size, *more = sys.argv[1:]
    measured = {"segment": segment_one, "network": network_one}[what](int(size)) if what != "studies" else studies(int(size), Path(more[0]))
    print(json.dumps(measured))
