"""How fast a network could be: its floating-point operations over the machine's fastest matrix product, measured in the same run."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np


def count_flop(onnx_file: Path, shape: tuple[int, ...]) -> float:
    """Operations (a multiplication and its addition are two) of the convolutions for an input (1, C, I, J, K) of this shape."""
    import onnx

    model = onnx.load(onnx_file)
    for dimension, length in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dimension.dim_value = length
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    known = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in known}
    shapes |= {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    flop = 0.0
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            weights = shapes[node.input[1]]                                      # (out, in / groups, kernel) or (in, out / groups, kernel)
            at = shapes[node.output[0]] if node.op_type == "Conv" else shapes[node.input[0]]
            if not at or min(at) < 1:
                raise SystemExit(f"the shape at {node.name} is not known: {at}")
            flop += 2.0 * np.prod(at[2:], dtype=float) * np.prod(weights, dtype=float)
    return flop


def peak_flops(seconds: float = 4.0, side: int = 4096) -> float:
    """Operations a second of the fastest float32 matrix product that torch makes here."""
    import torch

    a, b = torch.rand(side, side), torch.rand(side, side)
    best, began = np.inf, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2.0 * side**3 / best
