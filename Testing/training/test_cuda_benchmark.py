"""Testing/benchmarks/cuda.py where there is no GPU: its parts on the CPU's provider, its table, and what it makes of what fails."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def beside_them(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def work(tmp_path):
    return SimpleNamespace(rehearsal=True, cases=[tmp_path / "case"])


def network_row(seconds, **more):
    return {"seconds": seconds, "runs": 20, "voxels": [160, 192, 160], "precision": "float32", "gpu_gb": 1.5, "gpu_idle_gb": 0.5, **more}


def test_labels_agree_by_share_of_the_voxels_that_either_calls_tumour():
    import cuda

    one, other = np.zeros((2, 10, 10), np.uint8), np.zeros((2, 10, 10), np.uint8)
    assert cuda.agreement(one, other) == 1.0
    one[0, 0], other[0, 0] = 2, 2
    other[0, 0, 0], other[1, 0, 0] = 3, 1
    assert cuda.agreement(one, other) == pytest.approx(9 / 11)


def test_each_part_is_on_the_disk_when_the_next_begins_and_what_fails_says_why(work, tmp_path):
    import cuda

    out, seen = tmp_path / "new" / "cuda.json", []

    def works(_):
        return network_row(0.1)

    def fails(_):
        seen.append(json.loads(out.read_text())["parts"]["network"]["seconds"])
        raise ValueError("cuDNN is of\nanother version")

    def absent(_):
        cuda._require("no_such_package_at_all")

    result = cuda.measure({"network": works, "torch float32": fails, "MONAI": absent, "network, arena kept": works}, work, out)
    assert seen == [0.1]
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert result["parts"]["torch float32"] == {"failed": "ValueError: cuDNN is of another version"}
    assert "pip install no_such_package_at_all" in result["parts"]["MONAI"]["failed"]
    table = out.with_suffix(".md").read_text()
    assert "A rehearsal on the CPU" in table
    assert "- torch float32: ValueError: cuDNN is of another version" in table
    assert "ours: memory kept between passes | 0.100" in table


@pytest.mark.parametrize("seconds, kept", [(0.149, "yes"), (0.151, "**no**")])
def test_the_table_holds_the_network_against_its_limit_and_peers_against_ours(seconds, kept):
    from cuda_report import as_markdown

    parts = {"network": network_row(seconds), "torch float16": network_row(2 * seconds, precision="float16 (autocast)")}
    machine = dict.fromkeys(("processor", "cores", "braintumorseg", "onnxruntime-gpu", "onnxruntime", "torch", "monai", "nnunetv2"), "some")
    text = as_markdown({"rehearsal": False, "machine": machine, "gpus": [{"name": "H200", "memory_gb": 139, "driver": "580"}], "cases": 1,
                        "model": {"name": "toy", "version": "1", "sha256": "0" * 64},
                        "parts": {name: {"others_share": 0.0, **one} for name, one in parts.items()}})
    assert "rehearsal" not in text.lower()
    assert f"| the network alone, 160 x 192 x 160 voxels | {seconds * 1000:.0f} ms | at most 150 ms | {kept} |" in text
    assert "| 20 | float16 (autocast) | 1.50 | 0.50 | 2.00 x |" in text


def test_without_a_gpu_one_line_says_so_and_how_to_rehearse(tmp_path):
    import cuda

    if cuda.why_no_gpu() is None:
        pytest.skip("this machine has a GPU")
    command = [sys.executable, BENCHMARKS / "cuda.py", tmp_path, "--out", tmp_path / "cuda.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "There is no GPU" in done.stderr
    assert "--device cpu" in done.stderr
    assert not (tmp_path / "cuda.json").exists()


def test_a_rehearsal_does_not_replace_what_a_gpu_measured(tmp_path, monkeypatch, capsys):
    import cuda

    (tmp_path / "cuda.json").write_text('{"rehearsal": false}')
    monkeypatch.setattr(sys, "argv", ["cuda.py", "--device", "cpu", "--out", str(tmp_path / "cuda.json")])
    with pytest.raises(SystemExit):
        cuda.main()
    assert "was measured on a GPU" in capsys.readouterr().err


def test_ours_and_torch_say_the_same_of_the_same_channels(tmp_path):
    import cuda_child

    channels = np.random.default_rng(0).normal(size=(4, 64, 32, 32)).astype(np.float32)
    np.save(tmp_path / "channels.npy", channels)
    ours = cuda_child.network("onnxruntime", 1, str(tmp_path / "channels.npy"), str(tmp_path / "ours.npy"))
    cuda_child.network("onnxruntime", 1, str(tmp_path / "channels.npy"), str(tmp_path / "kept.npy"), "keep")
    exact = cuda_child.torch_network("cpu", 1, str(tmp_path / "channels.npy"), str(tmp_path / "exact.npy"), "float32")
    found = {name: np.load(tmp_path / f"{name}.npy") for name in ("ours", "kept", "exact")}
    assert ours["provider"] == "CPUExecutionProvider"
    assert (ours["precision"], exact["precision"]) == ("float32", "float32, TF32 off")
    assert np.array_equal(found["kept"], found["ours"])
    assert np.abs(found["exact"] - found["ours"]).max() < 1e-3


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_is_what_torch_computes_in_where_it_is_named(tmp_path, precision):
    import cuda_child
    import torch

    computed = []
    network = torch.nn.Conv3d(4, 3, 1)
    network.register_forward_hook(lambda *given: computed.append(given[2].dtype))
    np.save(tmp_path / "channels.npy", np.ones((4, 8, 8, 8), np.float32))
    found = cuda_child.torch_network("cpu", 1, str(tmp_path / "channels.npy"), str(tmp_path / "out.npy"), precision, network)
    assert set(computed) == {getattr(torch, precision)}
    assert found["precision"] == f"{precision} (autocast)"
    assert np.load(tmp_path / "out.npy").dtype == np.float32


def test_memory_is_given_back_after_a_pass_unless_it_is_asked_to_be_kept():
    import cuda_child

    from braintumorseg.model_zoo import load_model
    from braintumorseg.providers import candidates

    (one,) = candidates("auto", "onnxruntime")
    backend, wanted = one.open(load_model().weights, "float32", 1), []
    binding = SimpleNamespace(bind_cpu_input=lambda *_: None, bind_output=lambda *_: None, copy_outputs_to_cpu=lambda: [np.zeros((1, 3))])
    backend.session = SimpleNamespace(
        io_binding=lambda: binding, get_inputs=lambda: [SimpleNamespace(name="x")], get_outputs=lambda: [SimpleNamespace(name="y")],
        run_with_iobinding=lambda _, options: wanted.append(_shrinkage(options)))
    backend.run(np.zeros((4, 8, 8, 8), np.float32))
    cuda_child.keep_arena(backend)
    backend.run(np.zeros((4, 8, 8, 8), np.float32))
    assert wanted == ["cpu:0", None]


def _shrinkage(options):
    try:
        return options.get_run_config_entry("memory.enable_memory_arena_shrinkage")
    except RuntimeError:   # there is no such entry
        return None


def test_a_study_is_timed_cold_once_and_warm_as_often_as_asked(tmp_path):
    import cuda_child
    from shared_case import write_tiny

    case = write_tiny(tmp_path / "tiny", side=40)
    found = cuda_child.studies("onnxruntime", 1, str(case))
    assert (found["provider"], found["precision"], found["runs"], len(found["seconds_by_case"])) == ("CPUExecutionProvider", "float32", 1, 1)
    assert found["seconds"] > 0 < found["first_seconds"]


def smi(processes, used):
    def run(command, **_):
        return SimpleNamespace(stdout=processes if "--query-compute-apps=pid,used_memory" in command else used)

    return run


def test_nvidia_smi_tells_each_process_and_the_card():
    from gpu_memory import smi_reading

    assert smi_reading("0", smi("12, 100\n13, 50\n12, 1\n", "400\n")) == ({12: 101 * MIB, 13: 50 * MIB}, 400 * MIB)
    assert smi_reading("0", smi("12, [N/A]\n", "400\n")) == ({}, 400 * MIB)


def test_memory_is_that_of_our_processes_and_of_the_card_where_those_are_not_told():
    import time

    from gpu_memory import GpuMemory

    def peak_of(readings):
        given = iter(readings)
        last = readings[-1]
        with GpuMemory(lambda: next(given, last), every=0.001, under=lambda: [7, 8]) as memory:
            while len(memory.samples) < len(readings):
                time.sleep(0.001)
        return memory

    told = peak_of([({}, 900), ({7: 100, 8: 30, 99: 5000}, 6000), ({7: 20}, 920)])
    assert (told.peak, told.of) == (130, "its processes")
    assert told.at(told.samples[-1][0], told.samples[-1][0]) == 20
    assert told.at(0, 1) is None
    untold = peak_of([({}, 900), ({99: 5000}, 1250), ({99: 5000}, 880)])
    assert (untold.peak, untold.of) == (350, "the whole card, less what it held before")


@pytest.mark.parametrize("good", [0, 1, 3])
def test_a_driver_that_stops_telling_is_not_asked_again_and_breaks_nothing(good):
    import time

    from gpu_memory import GpuMemory

    asked = []

    def read():
        asked.append(0)
        if len(asked) > good:
            raise RuntimeError("NVML: GPU is lost")
        return {7: 10}, 10

    with GpuMemory(read, every=0.001, under=lambda: [7]) as memory:
        time.sleep(0.1)
    assert len(asked) == good + 1
    assert len(memory.samples) == max(0, good - 1)   # the first is the one that the card held before
    assert memory.failed == "RuntimeError: NVML: GPU is lost"


def test_what_cannot_be_read_of_memory_costs_no_measurement(tmp_path, monkeypatch):
    import cuda

    (tmp_path / "child.py").write_text("import json; print(json.dumps({'seconds': 1}))")
    work = cuda.Work(tmp_path, [tmp_path], "cuda")
    monkeypatch.setenv("PATH", str(tmp_path))   # no nvidia-smi there
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found = work.child([tmp_path / "child.py"])
    assert found["seconds"] == 1
    assert "nvidia-smi" in found["gpu_memory_unknown"]


def test_a_childs_memory_is_read_while_it_works_and_when_it_rests(tmp_path):
    import cuda

    (tmp_path / "child.py").write_text("import json, time\nlarge = bytearray(300_000_000)\ntime.sleep(1)\ndel large\nbegan = time.time() + 0.3\n"
                                       "time.sleep(1)\nprint(json.dumps({'idle': [began, time.time()]}))")
    found = cuda.Work(tmp_path, [tmp_path], "cpu").child([tmp_path / "child.py"])
    assert found["gpu_gb"] > 0.3
    assert found["gpu_idle_gb"] < 0.15
    assert os.getpid() not in cuda.host_reading()[0]
