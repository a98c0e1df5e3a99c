"""A network as exported -> the same network in fewer bits: with 8-bit convolutions, or rounded as bfloat16 kernels round."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from braintumorseg.errors import ResourceError

from .equalise import equalise
from .export import halve

__all__ = ["as_bfloat16", "kept_in_float", "layers_by_work", "quantise", "widened"]

_FLOAT_NODES = {"Add", "Concat", "Conv", "ConvTranspose", "InstanceNormalization", "LeakyRelu", "Mul", "Relu", "Sigmoid"}   # of the networks here


def quantise(weights: Path, samples: Sequence[np.ndarray], kept: Collection[str], out: Path) -> None:
    """Write `out`: convolutions on 8-bit integers but for those named in `kept`, their ranges taken from `samples` (C, I, J, K) float32.

    The form is ONNX's own (QuantizeLinear and DequantizeLinear around float nodes), which OpenVINO and ONNX Runtime both read. Ranges are the plain
    minima and maxima of all samples: cutting outliers off cost ten times the Dice on our networks (before joined features were parted). Channels are
    given ranges more alike first (see `equalise`). Biases are not corrected: the norm behind a convolution takes them away, and where there is none
    it was not tried what that would bring. A convolution of joined features is made into the sum of one a part (see `_parted`). Sums are left in
    float: they cost little, and 8 bits would show in them. Weights take 7 bits of the 8: the products of two bytes that processors without VNNI add
    up in 16 bits cannot overflow then.
    """
    nncf = _import_nncf()
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    exact = widened(weights)
    equalise(exact, samples)
    model = nncf.quantize(
        _parted(exact, kept), nncf.Dataset([{"channels": sample[None]} for sample in samples]), subset_size=len(samples),
        preset=nncf.QuantizationPreset.MIXED,   # leaky ReLU leaves a lopsided range: symmetric steps would waste half of the 8 bits
        target_device=nncf.TargetDevice.CPU, ignored_scope=nncf.IgnoredScope(names=sorted(kept), types=["Add"], validate=False),
        advanced_parameters=AdvancedQuantizationParameters(
            disable_bias_correction=True, overflow_fix=OverflowFix.ENABLE,
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX))
    _save(model, out)


def _parted(model, kept: Collection[str]):
    """The ONNX model with each convolution of joined features, but those `kept`, as the sum of one convolution for each part: the same answers.

    OpenVINO 2026.4 computes 8-bit convolutions behind a Concat wrongly: the whole tumour of glioma 0.2.0 lost 2.2 points of Dice with AVX2, and
    parted it lost none. Parts have ranges of their own, besides.
    """
    import onnx
    from onnx import helper, numpy_helper

    channels = {value.name: value.type.tensor_type.shape.dim[1].dim_value
                for value in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
                if len(value.type.tensor_type.shape.dim) == 5}
    joined = {node.output[0]: node for node in model.graph.node if node.op_type == "Concat"}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Conv" or node.input[0] not in joined or node.name in kept:
            nodes.append(node)
            continue
        weight, total, first = numpy_helper.to_array(stored[node.input[1]]), None, 0
        for number, part in enumerate(joined[node.input[0]].input):
            name, until = f"{node.name}_{number}", first + channels[part]
            model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weight[:, first:until]), f"{name}_weight"))
            nodes.append(helper.make_node("Conv", [part, f"{name}_weight", *(node.input[2:] if total is None else ())], [f"{name}_out"], name))
            nodes[-1].attribute.extend(node.attribute)
            if total is not None:
                nodes.append(helper.make_node("Add", [total, f"{name}_out"], [f"{name}_sum"], f"{name}_add"))
            total, first = nodes[-1].output[0], until
        nodes[-1].output[0] = node.output[0]
    used = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}
    nodes = [node for node in nodes if used.intersection(node.output)]
    used = {name for node in nodes for name in node.input}
    for kept_ones, found in ((model.graph.node, nodes), (model.graph.initializer, [t for t in model.graph.initializer if t.name in used])):
        del kept_ones[:]
        kept_ones.extend(found)
    return model


def kept_in_float(layers: Sequence[tuple[str, float]], share: float) -> set[str]:
    """The first and the last of the layers (name, work), and the cheapest others that together make up at most this share of the work.

    First and last touch images and probabilities, where 8 bits show; the cheap ones are the coarse levels, which decide most and cost least.
    """
    total = sum(work for _, work in layers)
    kept, spent = {layers[0][0], layers[-1][0]}, 0.0
    for name, work in sorted(layers[1:-1], key=lambda layer: layer[1]):
        if spent + work > share * total:
            break
        kept.add(name)
        spent += work
    return kept


def layers_by_work(weights: Path, shape: Sequence[int]) -> list[tuple[str, float]]:
    """(name, multiplications) of each convolution of an .onnx, in order, for an input (C, I, J, K) of this shape."""
    import onnx

    model = widened(weights)
    for dimension, length in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, *shape), strict=True):
        dimension.dim_value = length
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
              for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    sizes = {tensor.name: float(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            at = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
            found.append((node.name, float(np.prod(at[2:])) * sizes[node.input[1]]))
    return found


def widened(weights: Path):
    """The ONNX model with its float16 weights as float32, without the Casts that do so at run time."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(weights)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in stored:
            tensor = stored[node.input[0]]
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), node.output[0]))
        elif node.op_type == "Identity" and node.input[0] in stored:   # one constant under two names
            model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(stored[node.input[0]]).copy(), node.output[0]))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def as_bfloat16(weights: Path, out: Path) -> None:
    """Write `out`: the network with its convolutions' weights and all that passes between its nodes rounded to bfloat16, computed in float32.

    That is what kernels for AMX do: they multiply pairs of bfloat16 exactly, add up in float32, and hand on bfloat16. ONNX Runtime's CPU runs the
    imitation on any processor.
    """
    import onnx
    from onnx import TensorProto, helper

    model = widened(weights)
    large = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) > 1}
    answers = {value.name for value in model.graph.output}
    nodes, rounded = [], {}

    def round_off(name: str) -> None:
        rounded[name] = f"{name}_rounded"
        nodes.append(helper.make_node("Cast", [name], [f"{name}_bfloat16"], to=TensorProto.BFLOAT16))
        nodes.append(helper.make_node("Cast", [f"{name}_bfloat16"], [rounded[name]], to=TensorProto.FLOAT))

    for name in (*sorted(large), model.graph.input[0].name):
        round_off(name)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = rounded.get(name, name)
        nodes.append(node)
        if node.op_type in _FLOAT_NODES:
            for name in set(node.output) - answers:
                round_off(name)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, out)


def _save(model, out: Path) -> None:
    import onnx

    halve(model)
    onnx.checker.check_model(model)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        onnx.save(model, Path(temporary) / out.name)
        (Path(temporary) / out.name).replace(out)


def _import_nncf():
    os.environ["NNCF_CI"] = "1"  # its only switch against sending events to its makers; read once, when it is loaded
    sys.modules.setdefault("openvino_telemetry", None)  # and OpenVINO's, which it may load (see braintumorseg.backend_openvino)
    try:
        import nncf
    except ImportError:
        raise ResourceError("INT8 needs the package nncf.", "Run: pip install nncf") from None
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
