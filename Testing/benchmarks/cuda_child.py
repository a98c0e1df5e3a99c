"""What cuda.py measures in a process of its own, each printing one line of JSON: ours warm, our network alone, and the same network in torch.

    python cuda_child.py studies PROVIDER RUNS CASE ...             files to files, again and again in one process
    python cuda_child.py network PROVIDER RUNS CHANNELS OUT [keep]  passes; `keep`: feature maps stay allocated between them
    python cuda_child.py torch DEVICE RUNS CHANNELS OUT PRECISION   float32 (TF32 off), float16 or bfloat16 (autocast)

Seconds are the fastest of RUNS after one that does not count, from the host's memory and back. At the end each waits for a moment, so that the caller
can see what it holds while it does nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measured import fastest

IDLE_S = 1.5   # nvidia-smi takes a good part of a second


def studies(provider: str, runs: int, *cases: str) -> dict:
    from braintumorseg.model_zoo import load_model
    from braintumorseg.pipeline import segment
    from braintumorseg.read import read_study
    from braintumorseg.results import write_results

    model, seconds, found = load_model(), {}, None
    for _ in range(1 + runs):
        for number, case in enumerate(cases, 1):
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                study = read_study([Path(case)])
                found = segment(study, model, provider=provider)
                write_results(study, found, model.card, Path(folder) / "result")
                seconds.setdefault(number, []).append(round(time.perf_counter() - began, 3))
    cold = seconds[1].pop(0)
    warm = [min(each if number == 1 else each[1:]) for number, each in seconds.items()]
    return {"first_seconds": cold, "seconds": max(warm), "seconds_by_case": warm, "runs": runs, "passes": found.provenance.passes,
            "provider": found.provenance.provider, "precision": found.provenance.precision,
            "last_steps": {step: round(value, 3) for step, value in found.provenance.seconds.items()}}


def network(provider: str, runs: int, channels: str, out: str, keep: str = "") -> dict:
    from braintumorseg.hardware import this_machine
    from braintumorseg.model_zoo import load_model
    from braintumorseg.providers import candidates

    (one,) = candidates("auto", provider)
    if (lack := one.lacking(this_machine())) is not None:
        raise SystemExit(f"{lack.what}. {lack.fix}.")
    began = time.perf_counter()
    backend = one.open(load_model().weights, "float32", 0)
    opened = time.perf_counter() - began
    if keep:
        keep_arena(backend)
    image = np.load(channels)
    began = time.perf_counter()
    backend.run(image)
    first = time.perf_counter() - began
    found, seconds = fastest(lambda: backend.run(image), runs)
    np.save(out, found)
    return {"seconds": round(seconds, 4), "runs": runs, "open_seconds": round(opened, 3), "first_pass_seconds": round(first, 3),
            "voxels": list(image.shape[1:]), "provider": backend.provider, "precision": backend.precision}


def keep_arena(backend) -> None:
    """Let ONNX Runtime keep what a pass took, where the engine has it given back: the options of each pass without that one."""
    from braintumorseg.runtime import import_onnxruntime

    bound, options = backend._bound, import_onnxruntime().RunOptions
    backend._bound = lambda batch, _: bound(batch, options())


def torch_network(device: str, runs: int, channels: str, out: str, precision: str, network=None) -> dict:
    """`network`: a torch module, the shipped one when None."""
    import torch
    from shared_weights import exact_float32, shipped

    exact_float32()
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(f"this torch ({torch.__version__}) finds no CUDA device. Install the one with CUDA that pytorch.org names.")
    model, image = (network or shipped()).to(device), torch.from_numpy(np.load(channels))[None]
    inside, dtype = image.to(device), getattr(torch, precision)

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def run(given: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype != torch.float32):
            return torch.sigmoid(model(given).float())

    def on_device() -> torch.Tensor:
        found = run(inside)
        wait()
        return found

    _, compute = fastest(on_device, runs)
    found, seconds = fastest(lambda: run(image.to(device)).cpu(), runs)
    np.save(out, found[0].numpy())
    return {"seconds": round(seconds, 4), "on_device_seconds": round(compute, 4), "runs": runs, "voxels": list(image.shape[2:]),
            "torch": torch.__version__, "precision": "float32, TF32 off" if dtype == torch.float32 else f"{precision} (autocast)"}


def main() -> None:
    what, where, runs, *more = sys.argv[1:]
    found = {"studies": studies, "network": network, "torch": torch_network}[what](where, int(runs), *more)
    began = time.time()
    time.sleep(IDLE_S)
    print(json.dumps({**found, "idle": [began, time.time()]}))


if __name__ == "__main__":
    main()
