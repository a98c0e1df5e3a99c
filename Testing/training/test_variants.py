import os
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from braintumorseg.errors import InputError, MissingFile, ResourceError
from braintumorseg.hardware import Machine
from braintumorseg.model_card import read_card
from braintumorseg.runtime import open_session
from braintumorseg_training import variants as module
from braintumorseg_training.case_folder import CaseFolder
from braintumorseg_training.case_table import CaseRow
from braintumorseg_training.data import Split
from braintumorseg_training.export import draft_card
from braintumorseg_training.prepare import prepare_folder
from braintumorseg_training.reduced_precision import as_bfloat16
from braintumorseg_training.variants import Trial, change, make_variants, tumour_trial
from braintumorseg_training.without_amx import LIMIT, WithoutAmx
from toy_datasets import toy_case, write_nnunet

PLAIN = Machine("Linux", "x86_64", packages={"onnxruntime": "1.32.0"})
AMX = Machine("Linux", "x86_64", frozenset({"amx_bf16", "vnni"}), packages={"onnxruntime": "1.32.0", "openvino": "2026.4.1"})
VNNI = replace(AMX, features=frozenset({"vnni"}))
INPUT = np.random.default_rng(0).normal(size=(4, 16, 16, 16)).astype(np.float32)


@pytest.fixture
def weights(toy_model, tmp_path):
    shutil.copy(toy_model.weights, tmp_path / "toy.onnx")
    shutil.copy(toy_model.weights.with_suffix(".json"), tmp_path / "toy.json")
    return tmp_path / "toy.onnx"


@pytest.fixture(autouse=True)
def any_processor(monkeypatch):
    """Sessions that run whatever they are asked for, so that every variant can be judged on every processor."""
    def open_it(weights, device, *, provider, variants):
        return SimpleNamespace(provider="fake", precision=variants[0].precision if variants else "float32", note="",
                               run=lambda channels, cancel=None: np.zeros((3, *channels.shape[1:]), np.float32))

    monkeypatch.setattr(module, "open_session", open_it)


def quantised(monkeypatch):
    """quantise copies the network; returns the lists of layers that it left in float."""
    kept = []
    monkeypatch.setattr(module, "quantise", lambda weights, samples, layers, out: (kept.append(layers), shutil.copy(weights, out)))
    return kept


def trial(*scores):
    """Its one case gets these Dice one after the other: first the float32 network, then each variant."""
    left = list(scores)
    return Trial(lambda: [INPUT], {"case": INPUT}, lambda name, probabilities: {"WT": left.pop(0)})


def test_a_variant_that_loses_little_is_named_by_the_card_with_what_it_lost(weights):
    said = []
    card = make_variants(weights, trial(0.900, 0.898), ["bfloat16"], said.append, AMX)
    (variant,) = card.variants
    assert (variant.file, variant.precision, variant.provider, variant.needs) == ("toy.onnx", "bfloat16", "openvino", ("amx_bf16",))
    assert variant.parity["change_in_points"] == {"WT": {"mean": -0.2, "worst": -0.2}}
    assert variant.parity["cases"] == ["case"]
    assert read_card(weights.with_suffix(".json")).variants == card.variants
    assert said[-1] == "toy.json names bfloat16."


def test_int8_that_loses_too_much_is_tried_again_with_less_of_it(weights, monkeypatch):
    kept = quantised(monkeypatch)
    card = make_variants(weights, trial(0.900, 0.896, 0.899), ["int8"], lambda text: None, VNNI)
    assert [variant.file for variant in card.variants] == ["toy.int8.onnx"]
    assert (weights.parent / "toy.int8.onnx").is_file()
    assert len(kept) == 2


def test_int8_is_judged_without_amx_and_the_card_says_so(weights, monkeypatch):
    class Other(WithoutAmx):
        def predict(self, channels, weights, card, variants):
            asked.append(variants[0].precision)
            return np.zeros((3, *channels.shape[1:]), np.float32), "int8"

    asked = []
    quantised(monkeypatch)
    monkeypatch.setattr(module, "WithoutAmx", Other)
    one, other = make_variants(weights, trial(0.900, 0.900, 0.899), ["bfloat16", "int8"], lambda text: None, AMX).variants
    assert asked == ["int8"]
    assert (one.parity["processor"], other.parity["processor"]) == (["amx_bf16", "vnni"], ["vnni"])


def test_the_process_without_amx_is_told_so_before_it_loads_anything_and_computes_the_same_in_float32(toy_model):
    pytest.importorskip("openvino")
    with WithoutAmx() as other:
        assert other._pool.submit(os.getenv, LIMIT[0]).result() == LIMIT[1]
        found, precision = other.predict(INPUT, toy_model.weights, toy_model.card, ())
    assert precision == "float32"
    assert os.getenv(LIMIT[0]) is None
    assert found == pytest.approx(open_session(toy_model.weights, "cpu").run(INPUT), abs=1e-5)


def test_a_process_that_was_ended_from_outside_is_one_line(toy_model):
    with WithoutAmx() as other:
        os.kill(other._pool.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(ResourceError, match="has ended"):
            other.predict(INPUT, toy_model.weights, toy_model.card, ())


def test_a_variant_that_loses_too_much_in_every_way_is_not_named_and_its_file_goes(weights, monkeypatch):
    quantised(monkeypatch)
    said = []
    assert make_variants(weights, trial(0.900, *[0.896] * 4), ["int8"], said.append, VNNI).variants == ()
    assert not (weights.parent / "toy.int8.onnx").exists()
    assert sum("not used" in line for line in said) == 4
    assert said[-1] == "toy.json names no variant."


def test_int8_is_not_tried_on_a_processor_that_cannot_judge_it(weights):
    said = []
    assert make_variants(weights, trial(0.9), ["int8"], said.append, PLAIN).variants == ()
    assert said[1] == "int8: not tried, for this processor has neither vnni nor avx2"


def test_int8_that_was_judged_with_avx2_alone_is_for_all_that_have_it(weights, monkeypatch):
    quantised(monkeypatch)
    (variant,) = make_variants(weights, trial(0.9, 0.9), ["int8"], lambda text: None, replace(AMX, features=frozenset({"avx2"}))).variants
    assert (variant.needs, variant.parity["processor"]) == (("avx2",), ["avx2"])


def test_bfloat16_is_judged_by_imitation_where_the_processor_lacks_it_and_the_card_says_so(weights, monkeypatch):
    opened, fake = [], module.open_session

    def open_it(weights, device, *, provider, variants=()):
        opened.append((weights, provider))
        return fake(weights, device, provider=provider, variants=variants)

    monkeypatch.setattr(module, "open_session", open_it)
    (variant,) = make_variants(weights, trial(0.9, 0.899), ["bfloat16"], lambda text: None, VNNI).variants
    assert variant.needs == ("amx_bf16",)
    assert variant.parity["emulated"].startswith("in float32")
    assert [provider for _, provider in opened] == [None, "onnxruntime"]
    assert opened[1][0] != weights
    assert "emulated" not in make_variants(weights, trial(0.9, 0.899), ["bfloat16"], lambda text: None, AMX).variants[0].parity


def test_the_imitation_rounds_weights_input_and_what_passes_between_nodes_as_bfloat16_does(tmp_path):
    import torch
    import torch.nn.functional as F
    from onnx import helper, numpy_helper, save

    x, one, two = (torch.randn(*shape, generator=torch.Generator().manual_seed(n)) for n, shape in
                   enumerate([(1, 4, 16, 16, 16), (8, 4, 3, 3, 3), (3, 8, 1, 1, 1)]))
    tensor = lambda name, channels: helper.make_tensor_value_info(name, 1, [1, channels, "i", "j", "k"])  # noqa: E731
    graph = helper.make_graph([helper.make_node("Conv", ["channels", "one"], ["between"], pads=[1] * 6), helper.make_node("Conv", ["between", "two"],
                              ["probabilities"])], "toy", [tensor("channels", 4)], [tensor("probabilities", 3)],
                              [numpy_helper.from_array(weight.numpy(), name) for name, weight in (("one", one), ("two", two))])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "toy.onnx")
    as_bfloat16(tmp_path / "toy.onnx", tmp_path / "rounded.onnx")

    def half(tensor):
        return tensor.bfloat16().float()

    wanted = F.conv3d(half(F.conv3d(half(x), half(one), padding=1)), half(two))[0].numpy()
    found = open_session(tmp_path / "rounded.onnx", "cpu", provider="onnxruntime").run(x[0].numpy())
    assert np.abs(found - wanted).mean() < 1e-4
    exact = open_session(tmp_path / "toy.onnx", "cpu", provider="onnxruntime").run(x[0].numpy())
    assert np.abs(found - exact).mean() > 1e-3


def test_a_warning_when_the_cases_were_trained_on(weights):
    said = []
    make_variants(weights, replace(trial(0.9), trained_on=("case",)), [], said.append, PLAIN)
    assert "WARNING: 1 of them were trained on" in said[1]


def test_a_tumour_network_is_tried_on_the_folder_that_prepare_was_given(tmp_path):
    folder = write_nnunet(tmp_path / "data", {name: toy_case(seed) for seed, name in enumerate(("p1", "p2"))})
    card = draft_card(size_multiple=4)
    prepare_folder(folder, tmp_path / "packed", card, say=lambda line: None)
    made = tumour_trial(card, tmp_path / "packed", CaseFolder(folder), Split(("p1",), ("p2",)))
    assert list(made.inputs) == ["p2"]
    assert made.score("p2", np.zeros((3, *made.inputs["p2"].shape[1:]), np.float32)) == {"WT": 0, "TC": 0, "ET": 0}
    assert made.samples()[0].shape[0] == 4
    assert made.trained_on == ()
    again = CaseFolder(folder, table={"p1": CaseRow(patient="P"), "p2": CaseRow(patient="P")})      # another case of a patient who was trained on
    assert tumour_trial(card, tmp_path / "packed", again, Split(("p1",), ("p2",))).trained_on == ("p2",)
    with pytest.raises(MissingFile, match="lacks p3 of the split"):
        tumour_trial(card, tmp_path / "packed", CaseFolder(folder), Split(("p1",), ("p3",)))
    with pytest.raises(InputError, match="no validation cases"):
        tumour_trial(card, tmp_path / "packed", CaseFolder(folder), Split(("p1",), ()))


def test_the_change_is_that_of_the_mean_and_of_the_worst_case():
    exact, other = {"a": {"WT": 0.9}, "b": {"WT": 0.8}}, {"a": {"WT": 0.91}, "b": {"WT": 0.77}}
    assert change(exact, other) == {"WT": {"mean": -1.0, "worst": -3.0}}
