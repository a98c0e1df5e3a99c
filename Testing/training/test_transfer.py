from dataclasses import replace
from shutil import copy

import numpy as np
import pytest
import torch

from braintumorseg.errors import InputError, MissingFile, ModelError
from braintumorseg.model_card import read_card, write_card
from braintumorseg.model_zoo import load_model, sha256_of
from braintumorseg_training.card_markdown import card_markdown
from braintumorseg_training.cli import OWN_SPLIT, main
from braintumorseg_training.config import Config, read_config
from braintumorseg_training.data import Split, read_split
from braintumorseg_training.export import export
from braintumorseg_training.lineage import Lineage
from braintumorseg_training.networks import build, encoder_of
from braintumorseg_training.run_split import split_of_run
from braintumorseg_training.train import fit, load_checkpoint
from braintumorseg_training.transfer import begin_from, inherit, learned_from, match_weights, read_weights, take_weights

SPLIT = Split(("case0", "case1"), ())


def quiet(line):
    pass


@pytest.fixture(scope="module")
def trained(packed, tmp_path_factory):
    """A run of a few steps: its folder, its configuration."""
    config = Config(channels=(8, 8, 8), patch=(16, 16, 16), steps=3, warm_up=1, ema=0.5, bf16=False, transplant=0.0)
    out = tmp_path_factory.mktemp("trained")
    fit(config, packed, SPLIT, out, device="cpu", say=quiet)
    return out, config


def fresh(config, seed=99):
    torch.manual_seed(seed)
    return build(config)


def test_a_checkpoint_gives_its_averaged_weights_to_the_last_number(trained):
    out, config = trained
    network = fresh(config)
    match = take_weights(network, read_weights(out / "checkpoint.pt"), "checkpoint.pt", quiet)
    assert match.share == 1.0
    saved = load_checkpoint(out / "checkpoint.pt")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, saved["average"][name]), name
    assert not torch.equal(saved["average"]["stem.weight"], saved["network"]["stem.weight"])


def test_an_exported_network_gives_all_that_its_graph_holds_also_what_was_stored_once(trained, packed, tmp_path):
    # norm2 and norm3 of a residual block are added up, so their biases learn the same numbers, and the exporter stores one of the two.
    out, config = trained
    path = export(out, packed, SPLIT, tmp_path, "tiny", "1", say=quiet)
    network = fresh(config)
    match = take_weights(network, read_weights(path), path.name, quiet)
    assert set(match.missing) == {"side_head.weight", "side_head.bias"}
    assert match.unused == ()
    saved = load_checkpoint(out / "checkpoint.pt")["average"]
    assert saved["down.0.norm3.bias"].abs().max() > 0
    for name, tensor in network.state_dict().items():
        if not name.startswith("side_head"):
            assert torch.allclose(tensor, saved[name], rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3},
                                  lambda state: {"network_weights": {f"module.{key}": value for key, value in state.items()}},
                                  lambda state: {f"_orig_mod.network.{key}": value.double() for key, value in state.items()}])
def test_any_state_dict_is_read_nested_or_with_wrappers_before_its_names(trained, tmp_path, wrap):
    _, config = trained
    other = fresh(config, 5)
    torch.save(wrap(other.state_dict()), tmp_path / "other.pth")
    network = fresh(config)
    match = take_weights(network, read_weights(tmp_path / "other.pth"), "other.pth", quiet)
    assert (match.share, match.unused) == (1.0, ())
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


def test_what_was_loaded_and_what_not_is_said(trained):
    _, config = trained
    found = fresh(config, 5).state_dict()
    found["head.weight"] = torch.zeros(8, 4, 2, 2, 2)
    found["decoder.extra"] = torch.zeros(3)
    del found["stem.bias"]
    network, lines = fresh(config), []
    before = network.head.weight.clone()
    take_weights(network, found, "other.pt", lines.append)
    said = "\n".join(lines)
    assert "head.weight (file 8x4x2x2x2, network 8x3x2x2x2)" in said
    assert "not there   stem.bias" in said
    assert "not used    decoder.extra" in said
    assert torch.equal(network.head.weight, before)


def test_a_file_that_fits_too_little_is_refused_and_changes_nothing(trained):
    _, config = trained
    network = fresh(config)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = {name: tensor for name, tensor in fresh(config, 5).state_dict().items() if "norm" in name}
    with pytest.raises(ModelError, match="a start needs 25 %"):
        take_weights(network, found, "other.pt", quiet)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert match_weights(network, {"else": torch.zeros(2)}).fits == {}


def test_files_that_are_no_weights_are_said(tmp_path):
    with pytest.raises(MissingFile, match=r"no weights gone\.pt"):
        read_weights(tmp_path / "gone.pt")
    for name in ("broken.pt", "broken.onnx"):
        (tmp_path / name).write_bytes(b"broken")
        with pytest.raises(ModelError, match="cannot be read as"):
            read_weights(tmp_path / name)
    torch.save(Config, tmp_path / "code.pt")
    with pytest.raises(ModelError, match="can run code"):
        read_weights(tmp_path / "code.pt")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(ModelError, match="no weights by name"):
        read_weights(tmp_path / "empty.pt")
    torch.save({"stem.weight": torch.tensor([np.nan])}, tmp_path / "nan.pt")
    with pytest.raises(ModelError, match=r"not finite, in stem\.weight"):
        read_weights(tmp_path / "nan.pt")


def test_a_run_notes_what_it_started_from_and_keeps_it_when_taken_up(trained, packed, tmp_path):
    weights, config = trained[0] / "checkpoint.pt", replace(trained[1], steps=1)
    named, start = begin_from(config, weights, tmp_path, quiet)
    fit(named, packed, SPLIT, tmp_path, device="cpu", say=quiet, start=start)
    note = f"checkpoint.pt sha256 {sha256_of(weights)}"
    assert load_checkpoint(tmp_path / "checkpoint.pt")["config"]["init"] == read_config(tmp_path / "config.json").init == note
    kept, start = begin_from(config, None, tmp_path, quiet)
    assert (kept.init, start) == (note, None)
    with pytest.raises(ModelError, match="another init"):
        fit(replace(kept, init="other.pt sha256 0"), packed, SPLIT, tmp_path, device="cpu", say=quiet)


def test_a_configuration_that_promises_a_start_without_weights_is_refused(trained, tmp_path):
    config = trained[1]
    with pytest.raises(ModelError, match=r"starts from old\.pt"):
        begin_from(replace(config, init="old.pt sha256 0"), None, tmp_path, quiet)
    with pytest.raises(ModelError, match="freezes the encoder"):
        begin_from(replace(config, freeze_encoder=5), None, tmp_path, quiet)


def test_the_encoder_keeps_still_while_frozen_and_learns_after(trained, packed, tmp_path):
    out, config = trained
    start = begin_from(config, out / "checkpoint.pt", tmp_path, quiet)[1]
    given = load_checkpoint(out / "checkpoint.pt")["average"]
    network = build(config)
    names = {f"{name}.{inner}" for name, child in network.named_children() if any(child is part for part in encoder_of(network))
             for inner in child.state_dict()}
    assert {name.split(".")[0] for name in names} == {"stem", "first", "down"}

    def run(frozen, folder):
        fit(replace(config, freeze_encoder=frozen, decay_share=0.0), packed, SPLIT, tmp_path / folder, device="cpu", say=quiet, start=start)
        return load_checkpoint(tmp_path / folder / "checkpoint.pt")["network"]

    held, freed = run(3, "held"), run(2, "freed")
    assert all(torch.equal(held[name], given[name]) for name in names)
    assert not any(torch.equal(held[name], given[name]) for name in held if name.endswith("weight") and name not in names)
    assert not any(torch.equal(freed[name], given[name]) for name in names if name.endswith("conv.weight"))


@pytest.mark.parametrize("network, channels", [("resunet", (8, 8)), ("unet", (8, 8)), ("attention_unet", (8, 8, 8)), ("segresnet", (8, 16, 32))])
def test_every_architecture_names_its_encoder(network, channels):
    built = build(Config(network=network, channels=channels, patch=(16, 16, 16)))
    held = {id(weight) for module in encoder_of(built) for weight in module.parameters()}
    own = [weight for weight in built.parameters() if id(weight) in held]
    assert own[0] is next(built.parameters())
    assert 0.2 < sum(w.numel() for w in own) / sum(w.numel() for w in built.parameters()) < 0.95


def test_a_network_that_names_no_encoder_cannot_be_frozen():
    with pytest.raises(ModelError, match="Linear does not say"):
        encoder_of(torch.nn.Linear(1, 1))


@pytest.mark.parametrize("kind", ["checkpoint", "older run", "moved away", "exported"])
def test_weights_that_learned_from_a_validation_or_test_patient_are_refused(trained, packed, tmp_path, kind):
    weights = copy(trained[0] / "checkpoint.pt", tmp_path / "checkpoint.pt")
    if kind == "older run":
        copy(trained[0] / "split.json", tmp_path)
        torch.save({key: value for key, value in load_checkpoint(weights).items() if key != "learned_from"}, weights)
    if kind == "moved away":
        weights = weights.rename(tmp_path / "mine.pt")
    if kind == "exported":
        weights = export(trained[0], packed, SPLIT, tmp_path, "tiny", "1", say=quiet)
    assert learned_from(weights).names == ("case0", "case1")
    for split, part in ((Split(("case0", "case2"), ("case1",)), "validation"), (Split(("case2",), ("case3",), test=("case1",)), "test")):
        with pytest.raises(InputError, match=f"The weights to start from learned from case1: of patients in the split's {part}") as refused:
            fit(trained[1], packed, inherit(split, weights, packed, quiet), tmp_path / "run", device="cpu", say=quiet)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_grandchildren_know_from_what_all_before_them_learned_and_their_cards_count_it(trained, packed, tmp_path):
    weights, said = trained[0] / "checkpoint.pt", []
    for name, split in (("child", Split(("case2",), ())), ("grandchild", Split(("case3",), ()))):
        split = inherit(split, weights, packed, said.append)
        config, start = begin_from(replace(trained[1], steps=1), weights, tmp_path / name, quiet)
        weights = fit(config, packed, split, tmp_path / name, device="cpu", say=quiet, start=start)
    assert split_of_run(tmp_path / "grandchild").inherited.names == ("case2", "case0", "case1")
    assert said == ["checkpoint.pt had learned from 2 cases that the split does not train on; the card will count them as trained on",
                    "checkpoint.pt had learned from 3 cases that the split does not train on; the card will count them as trained on"]
    fit(replace(config, steps=2), packed, Split(("case3",), ()), tmp_path / "grandchild", device="cpu", say=quiet)     # taken up: still known
    with pytest.raises(InputError, match="learned from case2: of patients in the split's test"):
        export(tmp_path / "grandchild", packed, Split(("case3",), (), test=("case2",)), tmp_path / "made", "tiny", "1", say=quiet)
    card = read_card(export(tmp_path / "grandchild", packed, Split(("case3",), ()), tmp_path / "made", "tiny", "1", say=quiet).with_suffix(".json"))
    assert card.training["trained_on"] == ["case3", "case2", "case0", "case1"]
    assert "Trained on only by the weights that it started from (3): case2, case0, case1." in card_markdown(card)
    assert learned_from(tmp_path / "made" / "tiny.onnx").names == tuple(card.training["trained_on"])


def test_what_weights_of_unknown_origin_learned_from_is_said_to_be_unknown(trained, packed, tmp_path):
    torch.save(load_checkpoint(trained[0] / "checkpoint.pt")["average"], tmp_path / "other.pth")
    copy(trained[0] / "split.json", tmp_path)                   # a split that merely lies beside it
    exported = export(trained[0], packed, SPLIT, tmp_path, "tiny", "1", say=quiet)
    write_card(replace(read_card(exported.with_suffix(".json")), training={"steps": 3}), exported.with_suffix(".json"))    # an older card
    copy(exported, tmp_path / "alone.onnx")
    for name in ("other.pth", "tiny.onnx", "alone.onnx"):
        said = []
        assert inherit(SPLIT, tmp_path / name, packed, said.append) == replace(SPLIT, inherited=Lineage(complete=False))
        assert said[0].startswith(f"WARNING: what {name} had learned from is not known.")
    assert inherit(replace(SPLIT, inherited=Lineage()), None, packed, pytest.fail) == SPLIT       # another run's split, and fresh weights


def test_the_shipped_network_goes_on_learning_with_its_own_split(tmp_path):
    split, said = read_split(OWN_SPLIT), []
    inherited = inherit(split, load_model().weights, tmp_path, said.append).inherited
    assert (inherited.names, inherited.complete, said) == ((), True, [])
    assert [row["cases"] for row in inherited.rows] == [16, 34]      # its made-up cases, whose names its card does not hold


def test_the_verb_refuses_a_start_that_saw_the_validation_patients(trained, packed, tmp_path, capsys):
    (tmp_path / "split.json").write_text('{"train": ["case0"], "validation": ["case1"]}')
    arguments = ["fit", "--data", str(packed), "--split", str(tmp_path / "split.json"), "--init", str(trained[0] / "checkpoint.pt"),
                 "--out", str(tmp_path / "run"), "--device", "cpu", "--set", "channels=[8,8,8]", "--set", "patch=[16,16,16]", "--set", "bf16=false"]
    assert main(arguments) == 1
    assert "learned from case1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
