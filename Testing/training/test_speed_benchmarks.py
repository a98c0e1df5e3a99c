"""The parts of Testing/benchmarks/run.py that count and measure, on sizes that can be checked by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import measured, network_floor, shared_weights, speed_report

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def beside_them(monkeypatch):
    """The scripts import each other by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_operations_are_counted_from_the_shapes_in_the_graph(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv3d(2, 5, 3, padding=1), torch.nn.Conv3d(5, 6, 2, stride=2), torch.nn.ConvTranspose3d(6, 3, 2, 2))
    axes = {"x": {2: "i", 3: "j", 4: "k"}}
    torch.onnx.export(network, (torch.zeros(1, 2, 8, 8, 8),), str(tmp_path / "toy.onnx"), dynamo=False, input_names=["x"], dynamic_axes=axes)
    by_hand = 8 * 6 * 4 * (2 * 5 * 27) + 4 * 3 * 2 * (5 * 6 * 8) + 4 * 3 * 2 * (6 * 3 * 8)
    assert network_floor.count_flop(tmp_path / "toy.onnx", (1, 2, 8, 6, 4)) == 2 * by_hand


def test_the_shipped_weights_make_torch_and_the_engine_say_the_same():
    from braintumorseg.model_zoo import load_model
    from braintumorseg.runtime import open_session

    channels = np.random.default_rng(0).normal(size=(4, 64, 64, 64)).astype(np.float32)
    with torch.inference_mode():
        wanted = torch.sigmoid(shared_weights.shipped()(torch.from_numpy(channels)[None]))[0].numpy()
    assert np.abs(open_session(load_model().weights, "cpu").run(channels) - wanted).max() < 1e-3


def test_a_childs_peak_is_its_own_and_not_that_of_a_large_parent(tmp_path):
    ballast = np.ones(50_000_000)  # 0.4 GB that the child must not be charged with
    (tmp_path / "child.py").write_text("import json; print('words'); print(json.dumps({'sum': 3}))")
    found = measured.run_child([tmp_path / "child.py"])
    assert found["printed"] == {"sum": 3}
    assert 0.005 < found["peak_gb"] < ballast.nbytes / 2e9


def test_a_command_that_fails_is_told_with_its_own_last_words(tmp_path):
    (tmp_path / "child.py").write_text("import sys; print('a line'); print('The disk is full.', file=sys.stderr); raise SystemExit(3)")
    with pytest.raises(SystemExit, match=r"child\.py \.\.\. failed: The disk is full\."):
        measured.run_child([tmp_path / "child.py"])
    (tmp_path / "child.py").write_text("raise SystemExit(3)")
    with pytest.raises(SystemExit, match="ended with 3"):
        measured.run_child([tmp_path / "child.py"])


def test_children_that_work_side_by_side_count_together(tmp_path):
    (tmp_path / "child.py").write_text(
        "import subprocess, sys, time\n"
        "if len(sys.argv) > 1:\n    held = bytearray(b'1') * 210_000_000; time.sleep(2); raise SystemExit\n"
        "both = [subprocess.Popen([sys.executable, __file__, 'child']) for _ in range(2)]\n"
        "[one.wait() for one in both]\nprint('{}')\n")
    assert measured.run_child([tmp_path / "child.py"])["peak_gb"] > 0.4


def test_no_runtime_is_bound_to_fewer_threads_than_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    monkeypatch.setenv("A_THING_OF_THE_USER", "kept")
    (tmp_path / "child.py").write_text("import json, os; print(json.dumps(dict(os.environ)))")
    found = measured.run_child([tmp_path / "child.py"])["printed"]
    assert not {"OMP_NUM_THREADS", "MKL_NUM_THREADS"} & found.keys()
    assert found["nnUNet_def_n_proc"] == str(os.cpu_count())
    assert found["A_THING_OF_THE_USER"] == "kept"


def test_cores_that_a_command_used_are_counted(tmp_path):
    (tmp_path / "child.py").write_text("import time; time.sleep(1); print('{}')")
    assert measured.run_child([tmp_path / "child.py"])["cores_used"] < 0.5


def test_the_fastest_run_is_that_by_what_is_compared(tmp_path):
    (tmp_path / "child.py").write_text(
        "import json, pathlib, sys\nfile = pathlib.Path(sys.argv[1])\nnumber = int(file.read_text()) if file.exists() else 3\n"
        "file.write_text(str(number - 1))\nprint(json.dumps({'seconds': number}))")
    found = measured.run_child([tmp_path / "child.py", tmp_path / "number"], 3, lambda run: run["printed"]["seconds"])
    assert (found["printed"]["seconds"], found["runs"]) == (1, 3)


def test_a_warm_up_does_not_count():
    calls = []
    found, seconds = measured.fastest(lambda: calls.append(0) or len(calls), 3)
    assert (found, len(calls)) == (4, 4)
    assert 0 <= seconds < 1


def test_ours_runs_on_the_cpu_where_the_peers_do(beside_them, monkeypatch, tmp_path):
    import growth
    import run

    import braintumorseg.pipeline
    import braintumorseg.runtime

    asked = []

    def command(arguments, *_):
        asked.append(arguments[arguments.index("--device") + 1])
        return {"seconds": 1.0, "printed": {"seconds": {"read": 0.5}, "provider": "toy", "precision": "float32", "passes": 1}}

    def stop(*given, device=None, **_):
        asked.append(device or given[1])
        raise InterruptedError

    monkeypatch.setattr(run, "run_child", command)
    run._segment(tmp_path, tmp_path / "out")
    monkeypatch.setattr(braintumorseg.runtime, "open_session", stop)
    monkeypatch.setattr(braintumorseg.pipeline, "segment", stop)
    monkeypatch.setattr("braintumorseg.read.read_study", lambda paths: None)
    for measure in (lambda: growth.network_one(64), lambda: growth.segment_one(64), lambda: growth.studies(1, tmp_path)):
        with pytest.raises(InterruptedError):
            measure()
    assert asked == ["cpu"] * 4


def test_each_comparison_measures_our_network_anew(beside_them, monkeypatch, toy_model):
    import run

    times = iter((5.0, 3.0))
    monkeypatch.setattr("braintumorseg.model_zoo.load_model", lambda: toy_model)
    monkeypatch.setattr(run, "fastest", lambda one, repeats: (one(), next(times)))
    work = SimpleNamespace(channels=np.zeros((4, 16, 16, 16), np.float32))
    assert [run._our_network(work)[1]["our_network_seconds"] for _ in range(2)] == [5.0, 3.0]


def test_monais_passes_are_those_of_its_windows(beside_them, monkeypatch, tmp_path, capsys):
    import peer_monai

    np.save(tmp_path / "channels.npy", np.ones((4, 192, 128, 128), np.float32))
    monkeypatch.setattr(peer_monai, "shipped", lambda: torch.nn.Conv3d(4, 3, 1))
    monkeypatch.setattr(sys, "argv", ["peer_monai.py", str(tmp_path / "channels.npy"), str(tmp_path / "out.npy"), "--runs", "2"])
    peer_monai.main()
    found = json.loads(capsys.readouterr().out)
    assert (found["passes"], found["runs"], found["precision"]) == (2, 2, "float32")
    assert np.load(tmp_path / "out.npy").shape == (3, 192, 128, 128)


def test_a_case_that_cannot_be_segmented_ends_the_benchmark_with_the_reason(tmp_path):
    (tmp_path / "empty").mkdir()
    done = subprocess.run([sys.executable, BENCHMARKS / "segment_case.py", tmp_path / "empty", "--out", tmp_path / "found.json"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 1
    assert "holds no image" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cases_share_of_the_limits_says_what_others_took(beside_them, monkeypatch, tmp_path):
    import segment_case

    report = {"provider": "toy", "precision": "float32", "passes": 1, "seconds": {"read": 0.123}}
    monkeypatch.setattr(segment_case, "run_child", lambda command: {"seconds": 3.0, "peak_gb": 1.0, "printed": report})
    row = segment_case.measure(tmp_path, 30, 4)
    assert (row["share_of_seconds"], row["share_of_gb"]) == (0.1, 0.25)
    assert 0 <= row["others_share"] <= 1


def test_a_cohorts_files_are_read_before_anything_is_measured(beside_them, tmp_path):
    import cohort

    (tmp_path / "a" / "series").mkdir(parents=True)
    (tmp_path / "a" / "series" / "1.dcm").write_bytes(b"12345")
    (tmp_path / "a" / "t1.nii").write_bytes(b"123")
    assert cohort.read_through([tmp_path / "a"]) == 8


@pytest.mark.parametrize("folder", ["results", "results/avx2"])
def test_the_tables_name_what_both_computed_in_how_often_and_with_which_network(folder):
    result = json.loads((BENCHMARKS / folder / "speed.json").read_text(encoding="utf-8"))
    text = (BENCHMARKS / folder / "speed.md").read_text(encoding="utf-8")
    for name, one in result.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        assert f"{one['model']['name']} {one['model']['version']} (sha256 {one['model']['sha256'][:8]})" in row
        assert f"BrainTumorSeg {one['machine']['braintumorseg']}" in row
    ours, monai = result["nnunet"]["ours"], result["monai"]
    assert f"| {ours['seconds']} | {ours['runs']} | {ours['provider']} in {ours['precision']} |" in text
    assert f"| ours | {monai['our_network_seconds']} | {monai['our_runs']} | {monai['our_provider']} | 1 |" in text
    assert f"x) | {monai['runs']} | torch in float32 | 8 |" in text
    assert "start-up, checks, report page" in text


@pytest.mark.parametrize("folder", ["results", "results/avx2"])
def test_the_table_and_the_picture_hold_what_was_measured_and_nothing_else(tmp_path, folder):
    kept = Path(__file__).parents[1] / "benchmarks" / folder / "speed.json"
    result = json.loads(kept.read_text(encoding="utf-8"))
    speed_report.write_table({"floor": result["floor"]}, tmp_path / "speed.md")
    text = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert str(result["floor"]["gflop"]) in text
    assert "nnU-Net v2's" not in text
    speed_report.write_table(result, tmp_path / "speed.md")
    assert (tmp_path / "speed.md").read_text(encoding="utf-8") == kept.with_suffix(".md").read_text(encoding="utf-8")
    speed_report.draw(result, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 10_000
