"""Every place in an ONNX file from which a runtime would open another file, as the package onnx writes it."""

import numpy as np
import pytest
from onnx import AttributeProto, ModelProto, SparseTensorProto, TensorProto, helper, numpy_helper

from braintumorseg.model_zoo import list_models
from braintumorseg.onnx_inside import why_not_whole


def outside(name="w"):
    """A tensor whose numbers are said to lie in another file."""
    tensor = TensorProto(name=name, dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weight.raw"), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def node_with(**attribute):
    return helper.make_node("If", ["x"], ["y"], **attribute)


def graph_of(nodes=(), initializers=()):
    inside = numpy_helper.from_array(np.arange(64, dtype=np.float32), "inside")
    return helper.make_graph(list(nodes), "g", [], [], [inside, *initializers])


def model_of(*nodes, initializers=(), functions=()):
    return helper.make_model(graph_of(nodes, initializers), functions=functions)


def sparse():
    return SparseTensorProto(values=outside(), dims=[4])


def model_with_sparse():
    model = model_of()
    model.graph.sparse_initializer.append(sparse())
    return model


def model_with_training():
    model = model_of()
    model.training_info.add().algorithm.CopyFrom(graph_of(initializers=[outside()]))
    return model


def function():
    return helper.make_function("domain", "f", [], ["y"], [node_with(value=outside())], [helper.make_opsetid("", 18)])


def located_elsewhere():
    """With the mark alone: a runtime must not be left to make of it what it likes."""
    tensor = outside()
    del tensor.external_data[:]
    return tensor


def attribute(**parts):
    node = helper.make_node("Constant", [], ["y"])
    node.attribute.append(AttributeProto(name="a", **parts))
    return node


OUTSIDE = {
    "an initializer": lambda: model_of(initializers=[outside()]),
    "a mark alone": lambda: model_of(initializers=[located_elsewhere()]),
    "a constant": lambda: model_of(node_with(value=outside())),
    "a list of constants": lambda: model_of(attribute(type=AttributeProto.TENSORS, tensors=[outside()])),
    "a branch": lambda: model_of(node_with(then_branch=graph_of([node_with(body=graph_of(initializers=[outside()]))]))),
    "a list of branches": lambda: model_of(attribute(type=AttributeProto.GRAPHS, graphs=[graph_of(initializers=[outside()])])),
    "a sparse initializer": model_with_sparse,
    "a sparse constant": lambda: model_of(attribute(type=AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse())),
    "a function": lambda: model_of(functions=[function()]),
    "training": model_with_training,
}


@pytest.mark.parametrize("make", OUTSIDE.values(), ids=OUTSIDE)
def test_numbers_in_another_file_are_seen_wherever_they_are_named(tmp_path, make):
    (tmp_path / "net.onnx").write_bytes(make().SerializeToString())
    assert "keeps numbers in other files" in why_not_whole(tmp_path / "net.onnx")


def test_a_second_graph_which_a_reader_adds_to_the_first_is_looked_into(tmp_path):
    (tmp_path / "net.onnx").write_bytes(model_of().SerializeToString() + model_of(initializers=[outside()]).SerializeToString())
    assert ModelProto.FromString((tmp_path / "net.onnx").read_bytes()).graph.initializer[-1].external_data
    assert "keeps numbers in other files" in why_not_whole(tmp_path / "net.onnx")


def test_networks_that_are_whole_are_whole(toy_model):
    assert {model.name: why_not_whole(model.weights) for model in [*list_models(), toy_model]} == {"brain": "", "glioma": "", "toy": ""}


@pytest.mark.parametrize("content", [b"", b"no network", b"<net name='x'/>", b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 40, b"\x08", b"\x08\x08"])
def test_what_is_no_onnx_file_is_none(tmp_path, content):
    """An empty one has no graph; some readers would try other formats, which name other files in their own ways."""
    (tmp_path / "net.onnx").write_bytes(content)
    assert "is no ONNX file" in why_not_whole(tmp_path / "net.onnx")


def test_cut_anywhere_it_is_no_onnx_file_or_still_seen(tmp_path):
    whole = model_of(node_with(value=outside())).SerializeToString()
    for length in range(len(whole)):
        (tmp_path / "net.onnx").write_bytes(whole[:length])
        assert why_not_whole(tmp_path / "net.onnx")
