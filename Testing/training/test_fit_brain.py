from dataclasses import replace
from functools import cache
from shutil import copytree

import numpy as np
import pytest
import torch

from braintumorseg.errors import MissingFile, ModelError
from braintumorseg.io.nifti import write_nifti
from braintumorseg.model_zoo import load_model
from braintumorseg.runtime import open_session
from braintumorseg.volume import Volume
from braintumorseg_training import fit_brain as fitting
from braintumorseg_training import head_maps
from braintumorseg_training import validate_brain as validating
from braintumorseg_training.cli import HEADS_SPLIT, main
from braintumorseg_training.config import BrainConfig, Config, write_config
from braintumorseg_training.data import Split, read_split
from braintumorseg_training.export_brain import export_brain
from braintumorseg_training.fit_brain import fit_brain
from braintumorseg_training.head_maps import read_head
from braintumorseg_training.synthetic_heads import make_image
from braintumorseg_training.train import load_checkpoint
from braintumorseg_training.validate_brain import validate_brain

SPLIT = Split(("one",), ("two",))
TINY = {"channels": (8, 8), "patch": (32, 40, 40), "warm_up": 1, "bf16": False, "seed": 7}


def quiet(line):
    pass


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Two looks and four images of the held-out head instead of 12 and 60; each head is read once, which takes as long as ten steps."""
    monkeypatch.setattr(fitting, "_LOOKS", 2)
    monkeypatch.setattr(validating, "_IMAGES", 4)
    monkeypatch.setattr(head_maps, "read_head", read_once)


read_once = cache(read_head)


def train(config, maps, out, **how):
    return fit_brain(config, maps, SPLIT, out, device="cpu", workers=0, **{"say": quiet, **how})


@pytest.fixture(scope="module")
def trained(label_maps, tmp_path_factory):
    """A short run, and the network exported from it."""
    out = tmp_path_factory.mktemp("brain")
    train(BrainConfig(**TINY, steps=2), label_maps, out / "run")
    said = []
    return export_brain(out / "run", label_maps, SPLIT, out / "network", "brain", "0.0.1", say=said.append), said


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(label_maps, tiny_brain, tmp_path):
    constant = replace(tiny_brain, patch=(16, 16, 16), decay_share=0.0)
    train(replace(constant, steps=4), label_maps, tmp_path / "parts")
    parts = load_checkpoint(train(constant, label_maps, tmp_path / "parts"))
    straight = load_checkpoint(train(constant, label_maps, tmp_path / "straight"))
    assert parts["step"] == straight["step"] == 6
    for key in straight["average"]:
        assert torch.allclose(parts["average"][key], straight["average"][key], atol=1e-6), key


def test_training_lowers_the_loss_and_watches_the_head_that_is_held_out(label_maps, tiny_brain, tmp_path):
    said = []
    train(replace(tiny_brain, patch=(24, 32, 32), steps=48, learning_rate=1e-2, log_every=12), label_maps, tmp_path, say=said.append)
    losses = [float(line.split("loss ")[1].split()[0]) for line in said if "loss" in line]
    assert losses[-1] < losses[0] * 0.8
    assert any(line.startswith("validation Dice  mean ") for line in said)
    assert (tmp_path / "log.csv").read_text().startswith("step,loss,rate,dice_mean,dice_worst")


def test_the_exported_network_has_a_card_that_the_engine_reads(trained):
    path, said = trained
    model = load_model(path)
    assert (model.card.finds, model.card.roles, model.card.regions) == ("brain", ("any",), ("brain",))
    assert model.card.size_multiple == 4
    assert model.card.training_data[0]["licence"] == "Apache-2.0"
    assert "Billot" in model.card.training_data[0]["citation"]
    assert "at most" in said[0]
    probabilities = open_session(path, "cpu").run(torch.rand(1, 16, 20, 24).numpy())
    assert probabilities.shape == (1, 16, 20, 24)
    assert 0 <= probabilities.min() <= probabilities.max() <= 1


def test_the_cards_numbers_come_from_held_out_heads_and_real_ones(trained, label_maps, tiny_brain, tmp_path):
    path, real = copytree(trained[0].parent, tmp_path / "network") / trained[0].name, tmp_path / "real"
    real.mkdir()
    image, _ = make_image(read_head(label_maps / "two.nii.gz"), tiny_brain, np.random.default_rng(1))
    write_nifti(Volume(image[0].numpy(), np.diag([2.0, 2.0, 2.0, 1.0])), real / "t2.nii.gz")
    with pytest.raises(MissingFile, match="real holds no brainmask_ROLE"):
        validate_brain(path, label_maps, SPLIT, [real], tmp_path / "table", write=True, say=quiet)
    write_nifti(Volume((image[0].numpy() > 0).astype(np.uint8), np.diag([2.0, 2.0, 2.0, 1.0])), real / "brainmask_t2_native.nii.gz")
    found = validate_brain(path, label_maps, SPLIT, [real], tmp_path / "table", write=True, say=quiet)
    assert found["dice"]["made-up images"]["n"] == 4
    assert found["dice"]["real head real"]["worst_case"] == "t2"
    assert load_model(path).card.metrics["dice"] == found["dice"]


def test_a_run_of_the_other_network_is_not_taken_up(packed, label_maps, tiny, tiny_brain, tmp_path):
    from braintumorseg_training.train import fit

    fit(replace(tiny, steps=2), packed, Split(("case0", "case1"), ()), tmp_path, device="cpu", say=quiet)
    with pytest.raises(ModelError, match="another network's"):
        fit_brain(tiny_brain, label_maps, SPLIT, tmp_path, device="cpu", say=quiet)


def test_the_shipped_split_holds_three_of_the_twenty_heads_out():
    split = read_split(HEADS_SPLIT)
    assert (len(split.train), len(split.validation)) == (17, 3)
    assert split.reason


def test_the_verbs_name_what_is_wrong(label_maps, tmp_path, capsys):
    assert main(["fit-brain", str(label_maps), "--out", str(tmp_path / "run")]) == 1
    assert "lacks the label maps training_seg_01" in capsys.readouterr().err
    write_config(Config(), tmp_path / "config.json")
    assert main(["fit-brain", str(label_maps), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "config.json")]) == 1
    assert "tumour_share" in capsys.readouterr().err
