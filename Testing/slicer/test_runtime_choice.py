import tomllib
from pathlib import Path

import pytest

from BrainTumorSegLib.runtime_choice import RUNTIMES, choose_runtime, read_requirements, this_runtime

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("system", "machine", "cuda", "name"), [
    ("Linux", "x86_64", None, "cpu"),
    ("Linux", "x86_64", (11, 8), "cpu"),       # a driver too old for any wheel that we may install
    ("Linux", "x86_64", (12, 0), "cuda12"),
    ("Linux", "x86_64", (12, 9), "cuda12"),
    ("Linux", "x86_64", (13, 0), "cuda13"),
    ("Linux", "x86_64", (14, 1), "cuda13"),    # drivers run what older CUDA was built for
    ("Linux", "aarch64", (13, 0), "cpu"),      # no GPU wheels there
    ("Windows", "AMD64", None, "cpu"),
    ("Windows", "AMD64", (12, 4), "cuda12"),
    ("Windows", "AMD64", (13, 0), "cuda13"),
    ("Windows", "ARM64", None, "cpu"),
    ("Darwin", "x86_64", None, "cpu-macos"),   # Slicer on every Mac, under Rosetta too
    ("Darwin", "arm64", None, "cpu"),
])
def test_the_runtime_follows_system_processor_and_driver(system, machine, cuda, name):
    assert choose_runtime(system, machine, cuda) is RUNTIMES[name]


def test_exactly_one_onnxruntime_each():
    for runtime in RUNTIMES.values():
        assert len([one for one in runtime.requirements if one.startswith("onnxruntime")]) == 1
    assert all("onnxruntime-gpu[cuda,cudnn]" in RUNTIMES[name].requirements[0] for name in ("cuda12", "cuda13"))


def test_the_list_for_slicer_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert list(read_requirements(ROOT / "BrainTumorSeg" / "Resources" / "requirements.txt")) == project["dependencies"]
    assert list(RUNTIMES["cpu"].requirements) == project["optional-dependencies"]["cpu"]


def test_the_packages_for_a_gpu_bring_nvidias_libraries_and_a_fast_way_without_it():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras["gpu"] == ["onnxruntime-gpu[cuda,cudnn]>=1.23", *[one for one in extras["cpu"] if one.startswith("openvino")]]
    assert len(extras["gpu"]) == 2


@pytest.mark.parametrize(("cuda", "name"), [((12, 4), "cuda12"), (None, "cpu")])
def test_this_computers_driver_is_asked_as_the_engine_asks_it(monkeypatch, cuda, name):
    monkeypatch.setattr("braintumorseg.hardware.driver_cuda_version", lambda: cuda)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert this_runtime() is RUNTIMES[name]
