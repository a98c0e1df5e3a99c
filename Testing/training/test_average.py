import json
from shutil import copytree

import pytest
import torch

from braintumorseg.errors import MissingFile, ModelError, OutputError
from braintumorseg_training import checkpoints
from braintumorseg_training.average import average
from braintumorseg_training.cli import main
from braintumorseg_training.config import Config
from braintumorseg_training.data import Split
from braintumorseg_training.export import export
from braintumorseg_training.lineage import Lineage, learned_by_name
from braintumorseg_training.networks import build
from braintumorseg_training.run_split import split_of_run
from braintumorseg_training.train import fit, load_checkpoint

TINY = {"channels": (8, 8), "patch": (16, 16, 16), "steps": 2, "warm_up": 1, "ema": 0.5, "bf16": False, "transplant": 0.0}


def quiet(line):
    pass


@pytest.fixture(scope="module")
def runs(packed, tmp_path_factory):
    """Two runs: of seed 1 on case0, watching case1; of seed 2 on both."""
    folders = []
    for seed, split in ((1, Split(("case0",), ("case1",))), (2, Split(("case0", "case1"), ()))):
        folders.append(tmp_path_factory.mktemp("runs") / f"seed{seed}")
        fit(Config(**TINY, seed=seed), packed, split, folders[-1], device="cpu", say=quiet)
    return folders


def weights(run):
    return load_checkpoint(run / "checkpoint.pt")["average"]


def test_the_mean_is_exported_and_its_card_says_of_what(runs, packed, tmp_path):
    one = runs[0]
    average([one, one], tmp_path / "same", quiet)
    assert all(torch.equal(value, weights(one)[name]) for name, value in weights(tmp_path / "same").items())
    mean = average(runs[::-1], tmp_path / "mean", quiet)
    assert torch.allclose(mean["stem.weight"], (weights(runs[0])["stem.weight"] + weights(runs[1])["stem.weight"]) / 2)
    export(tmp_path / "mean", packed, split_of_run(tmp_path / "mean"), tmp_path / "net", "tiny", "2", say=quiet)
    training = json.loads((tmp_path / "net" / "tiny.json").read_text())["training"]
    assert training["average_of"] == ["seed2 (2 steps)", "seed1 (2 steps)"]
    assert training["trained_on"] == ["case0", "case1"]


def test_cases_that_any_part_was_trained_on_are_held_out_no_more(runs, tmp_path):
    said = []
    average(runs, tmp_path / "mean", said.append)
    assert split_of_run(tmp_path / "mean").train == ("case0", "case1")
    assert split_of_run(tmp_path / "mean").validation == ()
    assert "WARNING: 1 held-out cases" in said[0]


def test_what_the_parts_beginnings_had_learned_from_is_held_out_no_more_either(runs, packed, tmp_path):
    child = tmp_path / "child"
    fit(Config(**TINY, seed=3), packed, Split(("case0",), ("case2",), inherited=Lineage((learned_by_name("case1"),))), child, device="cpu", say=quiet)
    network = export(child, packed, split_of_run(child), tmp_path / "net", "tiny", "1", say=quiet)
    for number, part in enumerate((child, network)):
        average([runs[0], part], tmp_path / f"mean{number}", quiet)
        split = split_of_run(tmp_path / f"mean{number}")
        assert (split.train, split.inherited.names, split.validation) == (("case0",), ("case1",), ())


def test_an_exported_network_is_a_part_too_and_its_missing_head_is_the_others(runs, packed, tmp_path):
    network = export(runs[0], packed, Split(("case0",), ("case1",)), tmp_path / "net", "tiny", "1.2", say=quiet)
    average([runs[0], network], tmp_path / "mean", quiet)
    for name, value in weights(tmp_path / "mean").items():
        assert torch.allclose(value, weights(runs[0])[name], atol=1e-3), name
    assert load_checkpoint(tmp_path / "mean" / "checkpoint.pt")["average_of"][1].startswith("tiny 1.2 (")
    assert split_of_run(tmp_path / "mean").validation == ("case1",)


def test_what_cannot_be_averaged_is_refused_in_a_line(runs, packed, tmp_path):
    other = tmp_path / "other"
    fit(Config(**{**TINY, "channels": (8, 16)}), packed, Split(("case0",), ()), other, device="cpu", say=quiet)
    with pytest.raises(ModelError, match=r"other is of another channels \(\[8, 16\], not \[8, 8\]\) than seed1"):
        average([runs[0], other], tmp_path / "mean", quiet)
    with pytest.raises(ModelError, match="two networks or more"):
        average(runs[:1], tmp_path / "mean", quiet)
    (other / "split.json").unlink()
    with pytest.raises(MissingFile, match=r"no split.json"):
        average([other, other], tmp_path / "mean", quiet)
    assert not (tmp_path / "mean").exists()
    with pytest.raises(OutputError, match="there already"):
        average(runs, other, quiet)


def test_a_network_and_its_folded_twin_are_not_averaged_though_most_weights_have_one_name(runs, tmp_path):
    def twin(name, **more):
        copytree(runs[0], tmp_path / name)
        saved = load_checkpoint(runs[0] / "checkpoint.pt")
        torch.save({**saved, "average": build(Config(**TINY, norm="none")).state_dict(), "config": {**saved["config"], **more}},
                   tmp_path / name / "checkpoint.pt")
        return tmp_path / name

    with pytest.raises(ModelError, match=r"folded is of another norm \(none, not instance\) than seed1"):
        average([runs[0], twin("folded", norm="none")], tmp_path / "mean", quiet)
    with pytest.raises(ModelError, match=r"silent does not hold the first network's weights: \d+ tensors .*, first\.norm1\.weight first\. Average"):
        average([runs[0], twin("silent")], tmp_path / "mean", quiet)      # where only the weights tell
    with pytest.raises(ModelError, match=r"coarse is of another norm .*, spacing_mm \(\[2"):
        average([runs[0], twin("coarse", norm="none", spacing_mm=[2.0, 2.0, 2.0])], tmp_path / "mean", quiet)
    assert not (tmp_path / "mean").exists()


def test_an_average_that_the_disk_refuses_leaves_nothing_and_the_same_command_makes_it(runs, tmp_path, monkeypatch):
    def full(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    out = tmp_path / "deep" / "mean"
    with monkeypatch.context() as patch, pytest.raises(OutputError, match=r"checkpoint\.pt could not be written \(No space left.* again"):
        patch.setattr(checkpoints.torch, "save", full)
        average(runs, out, quiet)
    assert list((tmp_path / "deep").iterdir()) == []
    average(runs, out, quiet)
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint.pt", "split.json"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["mean"]
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="mean could not be written"):
        average(runs, tmp_path / "file" / "mean", quiet)


def test_no_run_goes_on_from_an_average(runs, packed, tmp_path):
    out = tmp_path / "mean"
    assert main(["average", *map(str, runs), "--out", str(out)]) == 0
    with pytest.raises(ModelError, match="holds an average"):
        fit(Config(**TINY, seed=1), packed, Split(("case0", "case1"), ()), out, device="cpu", say=quiet)
