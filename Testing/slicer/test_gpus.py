"""Which GPUs there are, and how one of several is chosen."""

from fakes import FakeProcess

from BrainTumorSegLib.gpus import device_options, find_gpus


def ask(output: bytes, code=0):
    found = []
    find_gpus(found.append, make_process=FakeProcess, which=lambda name: f"/usr/bin/{name}")
    for byte in output.splitlines(keepends=True):
        FakeProcess.last.say(byte)
    FakeProcess.last.end(code, "")
    return found


def test_names_come_in_the_drivers_order():
    assert ask(b"NVIDIA A2\nNVIDIA H100 80GB HBM3\n") == [["NVIDIA A2", "NVIDIA H100 80GB HBM3"]]


def test_without_a_driver_nothing_is_asked_and_a_failure_is_no_gpu():
    FakeProcess.last = None
    find_gpus(lambda names: 1 / 0, make_process=FakeProcess, which=lambda name: None)
    assert FakeProcess.last is None
    assert ask(b"NVIDIA-SMI has failed\n", code=9) == []
    assert ask(b"") == []


def test_one_gpu_of_several_is_the_only_one_that_the_engine_sees():
    assert device_options("auto") == ("auto", {})
    assert device_options("cuda") == ("cuda", {})
    assert device_options("cuda:1") == ("cuda", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"})
