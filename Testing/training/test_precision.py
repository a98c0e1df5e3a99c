from dataclasses import replace

import pytest
import torch

from braintumorseg_training import precision, train
from braintumorseg_training.data import Split
from braintumorseg_training.precision import in_bfloat16, precision_of
from braintumorseg_training.train import fit, load_checkpoint

CPU = torch.device("cpu")
SPLIT = Split(("case0", "case1", "case2"), ("case3",))


def on_a_processor_with(monkeypatch, *features):
    monkeypatch.setattr(precision, "cpu_features", lambda: frozenset(features))


@pytest.mark.parametrize(("features", "wanted"), [(("avx2",), False), (("avx512", "vnni"), False), (("avx512_bf16",), True), (("amx_bf16",), True)])
def test_a_run_computes_in_bfloat16_only_where_the_processor_has_it(tiny, monkeypatch, features, wanted):
    on_a_processor_with(monkeypatch, *features)
    assert in_bfloat16(replace(tiny, bf16=True), CPU) is wanted
    assert not in_bfloat16(tiny, CPU)
    with precision_of(replace(tiny, bf16=True), CPU):
        assert torch.is_autocast_enabled("cpu") is wanted


@pytest.mark.parametrize(("major", "wanted"), [(7, False), (8, True)])
def test_so_it_does_on_a_gpu(tiny, monkeypatch, major, wanted):
    def is_supported(including_emulation=True):
        return including_emulation or major >= 8   # older GPUs imitate it

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    on_a_processor_with(monkeypatch)
    assert in_bfloat16(replace(tiny, bf16=True), torch.device("cuda")) is wanted


def test_without_bfloat16_a_run_goes_in_float32_and_says_so(packed, tiny, tmp_path, monkeypatch):
    on_a_processor_with(monkeypatch, "avx2")
    weights, said = {}, []
    for bf16 in (True, False):
        path = fit(replace(tiny, bf16=bf16), packed, SPLIT, tmp_path / str(bf16), device="cpu", say=said.append)
        weights[bf16] = load_checkpoint(path)
    first = [line for line in said if "weights, on" in line]
    assert "on cpu in float32 (it has no bfloat16), step 0" in first[0]
    assert "on cpu in float32, step 0" in first[1]
    assert weights[True]["config"]["bf16"] is True     # another machine may go on in bfloat16
    for name, tensor in weights[False]["network"].items():
        assert torch.allclose(weights[True]["network"][name], tensor, atol=5e-3), name   # patches are handed over in bfloat16


def test_torch_compile_follows_a_step_without_complaint(packed, tiny, tmp_path, monkeypatch, recwarn):
    """Asking the processor what it has, in the middle of a step, made it print a page of warnings."""
    graphs = []

    def compile_eagerly(forward, **options):
        return real(forward, backend=lambda module, inputs: graphs.append(module) or module.forward, **options)

    real = torch.compile
    torch._dynamo.reset()
    monkeypatch.setattr(train.torch, "compile", compile_eagerly)
    path = fit(replace(tiny, bf16=True, compile=True, steps=1), packed, SPLIT, tmp_path, device="cpu", say=lambda line: None)
    assert load_checkpoint(path)["step"] == 1
    assert graphs
    assert not [str(warning.message) for warning in recwarn if "Dynamo" in str(warning.message)]
