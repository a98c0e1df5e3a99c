"""Cross-layer equalisation (Nagel 2019, arXiv:1906.04721): channels that pass between two layers get ranges more alike, so that 8 bits suit them.

What makes a channel is multiplied by a number and what reads it divided by the same: between convolutions, transposed or not, and norms there is
only what keeps a positive factor (leaky ReLU, sums, joining). Answers stay what they are. Ranges go half the way (on a scale of logarithms) to one,
as in SmoothQuant (Xiao 2023, arXiv:2211.10438): the rest of the way would bring the unevenness into the weights, and leave no channel room for
images unlike the samples. The brain network, for one, then took noise for brain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["equalise"]

_AXES = {"Conv": (0, 1), "ConvTranspose": (1, 0)}     # of the weights: what is made, what is read
_WEAKEST = 1e-3                                       # of the widest channel's range: a dead channel would get any factor


@dataclass(eq=False)
class _Span:
    """Tensors whose channels must have one factor each. `makers` (constant, axis); `readers` (tensor, constant, axis, first channel there)."""

    tensors: list[str]
    makers: list[tuple[str, int]] = field(default_factory=list)
    readers: list[tuple[str, str, int, int]] = field(default_factory=list)
    fixed: bool = False


def equalise(model, samples: Sequence[np.ndarray]) -> None:
    """Change the constants (float32) of an ONNX model so that the channels that a convolution reads have ranges more alike over `samples`
    (C, I, J, K): what was 100 times as wide as another is 10 times as wide.

    A channel's range is the largest magnitude in a sample, averaged over samples. What cannot be scaled (images, probabilities, the input of a
    norm, factors of a gate) stays.
    """
    from onnx import numpy_helper

    _own_constants(model)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    spans = [span for span in _spans(model) if not span.fixed and span.makers and span.readers]
    widest = _ranges(model, samples, {tensor for span in spans for tensor, *_ in span.readers})
    touched = {name for span in spans for name in (*(name for name, _ in span.makers), *(name for _, name, *_ in span.readers))}
    changed = {name: numpy_helper.to_array(stored[name]).copy() for name in touched}
    for span in spans:
        width = np.max([widest[tensor] for tensor, *_ in span.readers], axis=0)            # (channels,)
        width = np.maximum(width, max(_WEAKEST * width.max(), np.finfo(np.float32).tiny))
        factor = np.sqrt(np.exp(np.log(width).mean()) / width).astype(np.float32)
        for name, axis in span.makers:
            changed[name] *= _along(factor, axis, changed[name].ndim)
        for _, name, axis, first in span.readers:
            part = np.moveaxis(changed[name], axis, 0)[first:first + len(factor)]
            part /= _along(factor, 0, part.ndim)
    for name, values in changed.items():
        stored[name].CopyFrom(numpy_helper.from_array(values, name))


def _spans(model) -> list[_Span]:
    sizes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    of: dict[str, _Span] = {}
    joined: dict[str, list[str]] = {}

    def new(name: str, makers: Iterable[tuple[str, int]] = (), fixed: bool = False) -> None:
        of[name] = _Span([name], list(makers), fixed=fixed)

    def fix(names: Iterable[str]) -> None:
        for name in names:
            for part in joined.get(name, [name]):
                if part in of:
                    of[part].fixed = True

    for value in model.graph.input:
        new(value.name, fixed=True)
    for node in model.graph.node:
        attributes = {one.name: one.i for one in node.attribute}
        inputs = [name for name in node.input if name]
        if node.op_type in _AXES and attributes.get("group", 1) == 1 and all(name in sizes for name in inputs[1:]):
            made, read = _AXES[node.op_type]
            new(node.output[0], [(inputs[1], made), *((name, 0) for name in inputs[2:])])
            first = 0
            for part in joined.get(inputs[0], [inputs[0]]):
                of[part].readers.append((part, inputs[1], read, first))
                first += _channels(of[part], sizes) if part != inputs[0] else 0
        elif node.op_type == "InstanceNormalization" and all(name in sizes for name in inputs[1:]):
            fix(inputs[:1])
            new(node.output[0], [(name, 0) for name in inputs[1:]])
        elif node.op_type == "Concat" and attributes.get("axis") == 1 and all(name in of and of[name].makers for name in inputs):
            joined[node.output[0]] = inputs
        elif node.op_type in ("Add", "LeakyRelu", "Relu") and all(name in of for name in inputs):
            _unite([of[name] for name in inputs], node.output[0], of)
        else:
            fix(inputs)
            for name in node.output:
                new(name, fixed=True)
    fix(value.name for value in model.graph.output)
    return list(dict.fromkeys(of.values()))


def _unite(spans: Sequence[_Span], output: str, of: dict[str, _Span]) -> None:
    """One span of several, which holds `output` too."""
    first, *others = dict.fromkeys(spans)
    for other in others:
        first.tensors += other.tensors
        first.makers += other.makers
        first.readers += other.readers
        first.fixed |= other.fixed
    first.tensors.append(output)
    of.update(dict.fromkeys(first.tensors, first))


def _channels(span: _Span, sizes: dict[str, list[int]]) -> int:
    name, axis = span.makers[0]
    return sizes[name][axis]


def _ranges(model, samples: Sequence[np.ndarray], tensors: Iterable[str]) -> dict[str, np.ndarray]:
    """Name of a tensor (1, C, I, J, K) -> (C,) the largest magnitude of each channel in a sample, averaged over the samples."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    names = sorted(tensors)
    if not names:
        return {}
    looking = onnx.ModelProto()
    looking.CopyFrom(model)
    del looking.graph.output[:]
    for name in names:
        looking.graph.node.append(helper.make_node("Abs", [name], [f"{name}_magnitude"]))
        looking.graph.node.append(helper.make_node("GlobalMaxPool", [f"{name}_magnitude"], [f"{name}_range"]))
        looking.graph.output.append(helper.make_tensor_value_info(f"{name}_range", TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(looking.SerializeToString(), providers=["CPUExecutionProvider"])
    answers = [session.run(None, {model.graph.input[0].name: sample[None]}) for sample in samples]
    return {name: np.mean([answer.ravel() for answer in found], axis=0) for name, found in zip(names, zip(*answers, strict=True), strict=True)}


def _own_constants(model) -> None:
    """A constant that several nodes read becomes one for each of them."""
    import onnx

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    taken = set()
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name in stored and name in taken:
                copy = onnx.TensorProto()
                copy.CopyFrom(stored[name])
                copy.name = node.input[index] = f"{name}_of_{node.output[0]}_{index}"
                model.graph.initializer.append(copy)
            taken.add(node.input[index])


def _along(values: np.ndarray, axis: int, dimensions: int) -> np.ndarray:
    return values.reshape([-1 if one == axis else 1 for one in range(dimensions)])
