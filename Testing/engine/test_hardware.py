import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import braintumorseg
from braintumorseg.hardware import FEATURES, Machine, cpu_features, driver_cuda_version, has_tensorrt, nvidia_gpus, this_machine


@pytest.mark.parametrize(("flags", "found"), [
    ("fpu sse2 avx2", {"avx2"}),
    ("avx2 avx_vnni", {"avx2", "vnni"}),
    ("avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8", set(FEATURES)),
    ("", set()),
])
def test_linux_tells_what_the_processor_can_do(tmp_path, flags, found):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nmodel name : some\nflags           : {flags}\n")
    assert cpu_features(tmp_path / "cpuinfo") == found


def test_elsewhere_numpy_does(tmp_path):
    assert cpu_features(tmp_path / "none", {"AVX2": True, "AVX512F": True, "AVX512VNNI": False}) == {"avx2", "avx512"}


def test_a_mac_with_an_arm_processor_has_none_of_them(tmp_path):
    assert cpu_features(tmp_path / "none", {"NEON": True}) == set()


class Driver:
    def __init__(self, number, code=0):
        def answer(pointer):
            ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int))[0] = number
            return code

        self.cuDriverGetVersion = answer


def no_library(name):
    raise OSError(name)


@pytest.mark.parametrize(("load", "version"), [
    (lambda name: Driver(13000), (13, 0)), (lambda name: Driver(12040), (12, 4)), (lambda name: Driver(0), None),
    (lambda name: Driver(12040, code=35), None), (no_library, None), (lambda name: object(), None)])
def test_the_driver_is_asked_for_its_version(load, version):
    assert driver_cuda_version(load) == version


def test_tensorrt_is_there_when_the_loader_finds_it():
    asked = []
    assert has_tensorrt(asked.append)
    assert asked in (["libnvinfer.so.10"], ["nvinfer_10.dll"])
    assert not has_tensorrt(no_library)


def test_cards_are_listed_as_nvidia_smi_tells_them():
    said = SimpleNamespace(returncode=0, stdout="NVIDIA H200, 143771, 580.82.07\nTesla T4, 15360, 580.82.07\nodd line\n")
    assert nvidia_gpus(lambda *_, **__: said) == [{"name": "NVIDIA H200", "memory_gb": 140.4, "driver": "580.82.07"},
                                                  {"name": "Tesla T4", "memory_gb": 15.0, "driver": "580.82.07"}]


def failing(error):
    def run(*_, **__):
        raise error

    return run


@pytest.mark.parametrize("run", [failing(FileNotFoundError()), failing(subprocess.TimeoutExpired("nvidia-smi", 10)),
                                 lambda *_, **__: SimpleNamespace(returncode=9, stdout="Failed to initialize NVML")])
def test_without_a_working_nvidia_smi_there_are_none(run):
    assert nvidia_gpus(run) == []


def test_this_machine_is_looked_at_without_error():
    machine = this_machine()
    assert machine.system
    assert machine.features <= set(FEATURES)
    assert Machine("Windows", "AMD64").x86
    assert not Machine("Darwin", "arm64").x86


def test_the_driver_can_be_asked_with_the_standard_library_alone():
    """Slicer's panel does so before anything of the engine's is installed."""
    code = "import sys; from braintumorseg.hardware import driver_cuda_version; driver_cuda_version(); print({'numpy', 'psutil'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(Path(braintumorseg.__file__).parents[1])})
    assert done.stdout.strip() == "set()"
