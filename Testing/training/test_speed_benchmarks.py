"""The parts of Testing/benchmarks/run.py that count and measure, on sizes that can be checked by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import measured, network_floor, shared_weights, speed_report


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
    (tmp_path / "child.py").write_text("raise SystemExit(3)")
    with pytest.raises(SystemExit, match="failed"):
        measured.run_child([tmp_path / "child.py"])


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
