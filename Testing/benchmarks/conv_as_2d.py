"""ONNX Runtime's CPU provider: 3 x 3 x 3 convolutions as they are exported, and the same sums as 2-D convolutions with the depth as batch.

    python conv_as_2d.py [--threads N] --out DIR

Two ways: three depth-shifted copies side by side as the channels of one 2-D convolution, or one with three times the outputs, shifted and added.
The layers are those of the default network over a brain of 160 x 192 x 160 voxels.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from measured import OtherWork, machine

LAYERS = ((32, (80, 96, 80)), (48, (40, 48, 40)), (96, (20, 24, 20)), (128, (10, 12, 10)))   # channels, voxels at 1/2, 1/4, ... of the resolution


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0, help="of the provider (all cores)")
    parser.add_argument("--out", type=Path, required=True, help="folder for conv_as_2d.json and .md")
    args = parser.parse_args()
    rng, rows = np.random.default_rng(0), []
    with OtherWork() as others:
        for channels, shape in LAYERS:
            x = rng.standard_normal((1, channels, *shape)).astype(np.float32)
            weight = (rng.standard_normal((channels, channels, 3, 3, 3)) / np.sqrt(27 * channels)).astype(np.float32)
            as_it_is, wanted = run(plain(weight, x.shape), x, args.threads)
            slices = np.ascontiguousarray(x[0].transpose(1, 0, 2, 3))   # (D, C, H, W): kept so from layer to layer, so it does not count
            row = {"channels": channels, "voxels": list(shape), "conv3d_ms": as_it_is}
            for name, make in (("side_by_side", side_by_side), ("added", added)):
                row[f"{name}_ms"], found = run(make(weight, slices.shape), slices, args.threads)
                if np.abs(found.transpose(1, 0, 2, 3) - wanted[0]).max() > 1e-4:
                    raise SystemExit(f"{name}: other numbers come out")
            rows.append(row)
            print(row, flush=True)
    result = {"machine": machine(), "others": others.share, "rows": rows}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "conv_as_2d.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (args.out / "conv_as_2d.md").write_text(as_markdown(result), encoding="utf-8")


def run(model, x: np.ndarray, threads: int, times: int = 5) -> tuple[float, np.ndarray]:
    """(ms of the fastest run, output)."""
    from braintumorseg.backend_onnxruntime import import_onnxruntime

    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (found,), took = session.run(None, {"x": x}), []
    for _ in range(times):
        began = time.perf_counter()
        session.run(None, {"x": x})
        took.append(time.perf_counter() - began)
    return round(1000 * min(took), 2), found


def plain(weight: np.ndarray, shape):
    from onnx import helper

    return model([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 6, kernel_shape=[3] * 3)], {"w": weight}, shape)


def side_by_side(weight: np.ndarray, shape):
    from onnx import helper

    nodes = [helper.make_node("Pad", ["x", "pads"], ["padded"]), *shifts("padded"),
             helper.make_node("Concat", ["part0", "part1", "part2"], ["all"], axis=1),
             helper.make_node("Conv", ["all", "w"], ["y"], pads=[1] * 4, kernel_shape=[3] * 2)]
    return model(nodes, {"w": np.concatenate([weight[:, :, k] for k in range(3)], 1), **places(shape[0])}, shape)


def added(weight: np.ndarray, shape):
    from onnx import helper

    nodes = [helper.make_node("Pad", ["x", "pads"], ["padded"]),
             helper.make_node("Conv", ["padded", "w"], ["all"], pads=[1] * 4, kernel_shape=[3] * 2),
             helper.make_node("Split", ["all"], ["third0", "third1", "third2"], axis=1, num_outputs=3), *shifts("third0", "third1", "third2"),
             helper.make_node("Sum", ["part0", "part1", "part2"], ["y"])]
    return model(nodes, {"w": np.concatenate([weight[:, :, k] for k in range(3)], 0), **places(shape[0])}, shape)


def shifts(*inputs: str) -> list:
    from onnx import helper

    return [helper.make_node("Slice", [inputs[k % len(inputs)], f"from{k}", f"to{k}", "axis"], [f"part{k}"]) for k in range(3)]


def places(depth: int) -> dict[str, np.ndarray]:
    return {"pads": np.array([1, 0, 0, 0, 1, 0, 0, 0]), "axis": np.array([0]), **{f"from{k}": np.array([k]) for k in range(3)},
            **{f"to{k}": np.array([k + depth]) for k in range(3)}}


def model(nodes: list, constants: dict[str, np.ndarray], shape):
    from onnx import TensorProto, helper, numpy_helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name in "xy")
    graph = helper.make_graph(nodes, "layer", [x], [y], [numpy_helper.from_array(value, name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def as_markdown(result: dict) -> str:
    here = result["machine"]
    lines = ["# 3 x 3 x 3 convolutions as 2-D ones, ONNX Runtime's CPU provider", "",
             f"{here['processor']}, {here['cores']} cores, ONNX Runtime {here['onnxruntime']}; other processes had {result['others']:.0%} of the "
             "cores. Ms, the fastest of five; the ratio is to the 3-D convolution (above 1: faster).", "",
             "| channels | voxels | 3-D | side by side | | shifted and added | |", "|---" * 7 + "|"]
    for row in result["rows"]:
        whole, one, other = (row[f"{name}_ms"] for name in ("conv3d", "side_by_side", "added"))
        lines.append(f"| {row['channels']} | {' x '.join(map(str, row['voxels']))} | {whole} | {one} | {whole / one:.2f} "
                     f"| {other} | {whole / other:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
