from dataclasses import replace

import pytest
import torch

from braintumorseg.errors import ModelError, OutputError
from braintumorseg_training import train
from braintumorseg_training.data import Split
from braintumorseg_training.schedule import learning_rate
from braintumorseg_training.train import fit, load_checkpoint

SPLIT = Split(("case0", "case1", "case2"), ("case3",))


def quiet(line):
    pass


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(packed, tiny, tmp_path):
    whole = fit(tiny, packed, SPLIT, tmp_path / "whole", device="cpu", say=quiet)
    constant = replace(tiny, decay_share=0.0)
    fit(replace(constant, steps=4), packed, SPLIT, tmp_path / "parts", device="cpu", say=quiet)
    fit(constant, packed, SPLIT, tmp_path / "parts", device="cpu", say=quiet)
    other = fit(constant, packed, SPLIT, tmp_path / "straight", device="cpu", say=quiet)
    parts, straight = load_checkpoint(tmp_path / "parts" / "checkpoint.pt"), load_checkpoint(other)
    assert parts["step"] == straight["step"] == 6
    for key in straight["network"]:
        assert torch.allclose(parts["network"][key], straight["network"][key], atol=1e-6), key
        assert torch.allclose(parts["average"][key], straight["average"][key], atol=1e-6), key
    assert whole.is_file()


def test_training_lowers_the_loss(packed, tiny, tmp_path):
    said = []
    fit(replace(tiny, steps=75, intensity=0.0, transplant=0.0, all_sequences_share=1.0, learning_rate=5e-3), packed, SPLIT, tmp_path,
        device="cpu", say=said.append)
    losses = [float(line.split("loss ")[1].split()[0]) for line in said if "loss" in line]
    assert losses[-1] < losses[0] * 0.8
    assert any("left" in line for line in said)
    assert any("validation Dice" in line for line in said)


def test_the_rate_grows_holds_and_falls_to_nothing(tiny):
    config = replace(tiny, steps=100, warm_up=10, decay_share=0.2, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[50] == 1.0
    assert rates[90] == pytest.approx(0.5)
    assert rates[100] == 0.0


def test_a_full_disk_keeps_the_checkpoint_before(packed, tiny, tmp_path, monkeypatch):
    fit(replace(tiny, steps=2), packed, SPLIT, tmp_path, device="cpu", say=quiet)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train.torch, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        fit(tiny, packed, SPLIT, tmp_path, device="cpu", say=quiet)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 2
    assert not list(tmp_path.glob(".*"))


def test_another_network_cannot_take_up_a_run_and_a_damaged_checkpoint_is_said(packed, tiny, tmp_path):
    fit(replace(tiny, steps=2), packed, SPLIT, tmp_path, device="cpu", say=quiet)
    with pytest.raises(ModelError, match="another channels"):
        fit(replace(tiny, channels=(8, 16)), packed, SPLIT, tmp_path, device="cpu", say=quiet)
    (tmp_path / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(ModelError, match="damaged"):
        fit(tiny, packed, SPLIT, tmp_path, device="cpu", say=quiet)


def test_a_gpu_that_is_not_there_is_said():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ModelError, match="--device cuda"):
        train.pick_device("cuda")
