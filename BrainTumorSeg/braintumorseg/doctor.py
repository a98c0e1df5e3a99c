"""What this machine has, which provider a real session on it used, and what is missing with the command that brings it."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from .errors import BrainTumorSegError
from .model_zoo import load_model
from .runtime import import_onnxruntime, open_session

__all__ = ["examine", "format_findings"]

_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


def examine() -> dict:
    """Findings as a JSON-ready dict; takes a few seconds, for the default network really runs once on a small volume of noise."""
    import psutil

    memory = psutil.virtual_memory()
    found = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "memory_gb": round(memory.total / 1e9, 1),
        "memory_free_gb": round(memory.available / 1e9, 1),
        "packages": {name: v for name in ("braintumorseg", *_RUNTIMES, "numpy", "SimpleITK") if (v := _version(name))},
        "providers": [], "session": None, "problems": [],
    }
    runtimes = [name for name in _RUNTIMES if name in found["packages"]]
    if len(runtimes) == 2:
        found["problems"].append({"what": "onnxruntime and onnxruntime-gpu are both installed and overwrite each other.",
                                  "fix": "pip uninstall onnxruntime onnxruntime-gpu, then install one of them."})
    try:
        found["session"] = _try_session()
        found["providers"] = import_onnxruntime().get_available_providers()
    except BrainTumorSegError as error:
        found["problems"].append({"what": error.what, "fix": error.fix})
    if found["session"] and found["session"]["note"]:
        found["problems"].append({"what": found["session"]["note"] + ".", "fix": "Update the NVIDIA driver, or use the CPU."})
    return found


def format_findings(found: dict) -> str:
    """The findings for a person."""
    session = found["session"]
    lines = [f"System     {found['system']}", f"Cores      {found['cores']}",
             f"Memory     {found['memory_gb']} GB, {found['memory_free_gb']} GB free",
             "Packages   " + ", ".join(f"{name} {number}" for name, number in found["packages"].items()),
             f"Providers  {', '.join(found['providers']) or 'none'}",
             f"Session    {session['model']} really ran on {session['provider']}: {session['seconds']:.2f} s for {session['voxels']} voxels"
             if session else "Session    none could be run"]
    for problem in found["problems"]:
        lines += [f"Problem    {problem['what']}", f"           {problem['fix']}"]
    return "\n".join([*lines, "" if found["problems"] else "All is well."]).strip()


def _try_session() -> dict:
    model = load_model()
    session = open_session(model.weights)
    side = 2 * model.card.size_multiple
    noise = np.random.default_rng(0).normal(size=(len(model.card.roles), side, side, side)).astype(np.float32)
    session.run(noise)  # the first pass also allocates
    began = time.perf_counter()
    session.run(noise)
    return {"model": model.card.name, "provider": session.provider, "note": session.note, "seconds": round(time.perf_counter() - began, 3),
            "voxels": f"{side} x {side} x {side}"}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
