"""What this machine has, which provider a real session used and how fast, and what is missing with the command that brings it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence

import numpy as np

from .cores import granted_cores
from .errors import BrainTumorSegError
from .hardware import FEATURES, Machine, installed_version, nvidia_gpus, this_machine
from .memory import free_bytes, granted_bytes
from .model_zoo import Model, Unreadable, list_models, load_model, unreadable_models
from .providers import PROVIDERS, Lack, Provider
from .runtime import Session, open_session
from .weights import variant_problem

__all__ = ["examine", "format_findings"]

_PACKAGES = ("braintumorseg", "numpy", "SimpleITK")
_STUDY = (160, 192, 160)   # voxels of 1 mm that a brain with its margins takes
_SIDE = 96                 # voxels of the volume that is tried
_SECONDS = 5.0             # for trying it
_REPAIR = "See the rest of this list, or install BrainTumorSeg's packages again"


def examine(machine: Machine | None = None, gpus: Callable[[], list[dict]] = nvidia_gpus,
            open_it: Callable[..., Session] = open_session, models: Callable[[], Sequence[Model]] = list_models,
            unreadable: Callable[[], Sequence[Unreadable]] = unreadable_models,
            load: Callable[[Provider], object] = lambda provider: provider.load()) -> dict:
    """Findings as a JSON-ready dict; takes a few seconds, for the default network really runs on a volume of noise.

    `machine`, `gpus`, `open_it`, `models`, `unreadable` and `load` are what it asks; a test gives others.
    """
    import psutil

    machine = machine or this_machine()
    lacks = {provider.name: provider.lacking(machine) or _unloadable(provider, load) for provider in PROVIDERS}
    found = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "cores_granted": granted_cores(),
        "cpu_features": [name for name in FEATURES if name in machine.features],
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "memory_granted_gb": round(granted_bytes() / 1e9, 1),
        "memory_free_gb": round(free_bytes() / 1e9, 1),
        "gpus": gpus(),
        "driver_cuda": None if machine.driver_cuda is None else ".".join(map(str, machine.driver_cuda)),
        "packages": {name: v for name in _PACKAGES if (v := installed_version(name))} | dict(machine.packages),
        "providers": [],
        "session": None,
        "problems": [],
    }
    problems = {lack.what: lack.fix for lack in lacks.values() if lack is not None and lack.notable}
    told = set(problems)   # what is said below is left out where it holds one of these
    for model in models():
        for variant in model.card.variants:
            if problem := variant_problem(model.weights, variant):
                told.add(problem)
                problems[f"of {model.card.name}, {problem}"] = ("Install BrainTumorSeg again" if model.embedded
                                                                else "Get the network again from its maker")
    problems |= {one.why.what.rstrip("."): one.fix for one in unreadable()}
    try:
        session, found["session"] = _try_session(open_it, machine)
        lacks |= {name: lack for name, lack in session.broken.items() if lacks[name] is None}   # what can be loaded may still not start
        later = {lack.what: lack.fix or _REPAIR for lack in session.broken.values()}
        later |= {reason: _REPAIR for reason in session.reasons if not any(what in reason for what in later)}
    except BrainTumorSegError as error:
        later = {error.what.rstrip("."): error.fix.rstrip(".")}
    problems |= {what: fix for what, fix in later.items() if not any(one in what for one in told)}
    found["providers"] = [{"name": name, "here": lack is None, "why_not": lack.what if lack else "", "fix": lack.fix or _REPAIR if lack else ""}
                          for name, lack in lacks.items()]
    found["problems"] = [{"what": f"{what[0].upper()}{what[1:]}.", "fix": f"{fix}."} for what, fix in problems.items()]
    return found


def format_findings(found: dict) -> str:
    """The findings for a person."""
    session = found["session"]
    cards = "; ".join(f"{gpu['name']} with {gpu['memory_gb']} GB, driver {gpu['driver']}" for gpu in found["gpus"]) or "no NVIDIA GPU found"
    # Less than the machine has, where a container or batch job leaves less.
    cores = f"{found['cores']} cores" + (f", {found['cores_granted']} granted" if found["cores_granted"] < found["cores"] else "")
    memory = f"{found['memory_gb']} GB" + (f", {found['memory_granted_gb']} GB granted" if found["memory_granted_gb"] < found["memory_gb"] else "")
    lines = [f"System     {found['system']}",
             f"Processor  {cores}; {', '.join(found['cpu_features']) or 'no vector instructions that matter'}",
             f"GPU        {cards}" + (f"; the driver runs CUDA {found['driver_cuda']}" if found["driver_cuda"] else ""),
             f"Memory     {memory}, {found['memory_free_gb']} GB free",
             "Packages   " + ", ".join(f"{name} {number}" for name, number in found["packages"].items())]
    for number, provider in enumerate(found["providers"]):
        text = "can run here" if provider["here"] else f"no: {provider['why_not']}. {provider['fix']}."
        lines.append(f"{'Providers' if not number else '':<10} {provider['name']:<12} {text}")
    lines.append(f"Session    {session['model']} really ran on {session['provider']} in {session['precision']} ({session['weights']}): "
                 f"{session['seconds']:.2f} s for {session['voxels']} voxels" if session else "Session    none could be run")
    if session:
        lines.append(f"Speed      about {session['study_seconds']:.1f} s for the network of a usual study (a brain at 1 mm)")
    for problem in found["problems"]:
        lines += [f"Problem    {problem['what']}", f"           {problem['fix']}"]
    return "\n".join([*lines, "" if found["problems"] else "All is well."]).strip()


def _unloadable(provider: Provider, load: Callable[[Provider], object]) -> Lack | None:
    """Why the runtime of a provider cannot be imported: that its package is installed does not say that it can be."""
    try:
        load(provider)
    except BrainTumorSegError as error:
        return Lack(error.what.rstrip("."), error.fix.rstrip("."), notable=True)
    return None


def _try_session(open_it: Callable[..., Session], machine: Machine) -> tuple[Session, dict]:
    model = load_model()
    session = open_it(model.weights, variants=model.card.variants, machine=machine)
    noise = np.random.default_rng(0).normal(size=(len(model.card.roles), *[_SIDE] * 3)).astype(np.float32)
    began, times = time.perf_counter(), []
    session.run(noise)  # the first pass also prepares
    while not times or (time.perf_counter() - began + times[-1] < _SECONDS and len(times) < 10):
        start = time.perf_counter()
        session.run(noise)
        times.append(time.perf_counter() - start)
    return session, {"model": model.card.name, "provider": session.provider, "precision": session.precision, "weights": session.weights.name,
                     "note": session.note, "seconds": round(min(times), 3), "voxels": " x ".join([str(_SIDE)] * 3),
                     "study_seconds": round(min(times) * float(np.prod(_STUDY)) / _SIDE**3, 2)}
