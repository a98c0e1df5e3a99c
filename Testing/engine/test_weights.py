import pytest
from onnx import helper

from braintumorseg.model_card import Variant
from braintumorseg.weights import choose_weights, sha256_of, variant_problem


def onnx_bytes(producer):
    return helper.make_model(helper.make_graph([], "empty", [], []), producer_name=producer).SerializeToString()


@pytest.fixture
def network(tmp_path):
    (tmp_path / "net.onnx").write_bytes(onnx_bytes("the network"))
    (tmp_path / "net.int8.onnx").write_bytes(onnx_bytes("the small one"))
    return tmp_path / "net.onnx"


@pytest.fixture
def variants(network):
    return (Variant("net.onnx", sha256_of(network), "bfloat16", "openvino", ("amx_bf16",)),
            Variant("net.int8.onnx", sha256_of(network.with_name("net.int8.onnx")), "int8", "openvino", ("vnni",)))


@pytest.mark.parametrize(("provider", "features", "file", "precision"), [
    ("openvino", {"amx_bf16", "vnni"}, "net.onnx", "bfloat16"), ("openvino", {"vnni"}, "net.int8.onnx", "int8"),
    ("openvino", {"avx2"}, "net.onnx", "float32"), ("onnxruntime", {"amx_bf16", "vnni"}, "net.onnx", "float32")])
def test_the_first_variant_that_fits_is_taken(network, variants, provider, features, file, precision):
    assert choose_weights(network, variants, provider, features) == (network.with_name(file), precision, "")


@pytest.mark.parametrize(("spoil", "words"), [(lambda path: path.unlink(), "net.int8.onnx is missing"),
                                              (lambda path: path.write_bytes(b"another"), "is not the file that the card describes")])
def test_a_variant_that_is_gone_or_exchanged_costs_speed_and_is_told(network, variants, spoil, words):
    spoil(network.with_name("net.int8.onnx"))
    path, precision, remark = choose_weights(network, variants, "openvino", {"vnni"})
    assert (path, precision) == (network, "float32")
    assert words in remark
    assert "install BrainTumorSeg again" in remark
    assert words in variant_problem(network, variants[1])
