from dataclasses import replace

import numpy as np
import pytest
import torch

from braintumorseg.errors import MissingFile, ModelError
from braintumorseg.model_zoo import sha256_of
from braintumorseg_training.config import Config, read_config
from braintumorseg_training.data import Split
from braintumorseg_training.export import export
from braintumorseg_training.networks import build, encoder_of
from braintumorseg_training.train import fit, load_checkpoint
from braintumorseg_training.transfer import begin_from, match_weights, read_weights, take_weights

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
