from dataclasses import replace

import pytest
import torch

from braintumorseg.errors import ModelError
from braintumorseg_training import checkpoints
from braintumorseg_training.checkpoints import (
    BEST,
    CHECKPOINT,
    PREVIOUS,
    Progress,
    find_checkpoint,
    has_checkpoint,
    load_checkpoint,
    load_weights,
    refuse_another,
    save_best,
    save_checkpoint,
)
from braintumorseg_training.networks import build
from braintumorseg_training.schedule import build_optimiser


@pytest.fixture
def saved(tiny, tmp_path):
    """A run's folder with a checkpoint of step 4, that of step 2 as the previous one, and best weights."""
    network = build(tiny)
    for step in (2, 4):
        save_checkpoint(tmp_path, tiny, 1, Progress(step), network, network, build_optimiser(tiny, network))
    save_best(tmp_path, tiny, 2, {"WT": 0.5}, network)
    return tmp_path


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def turn_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1   # torch.load takes this for a weight
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, turn_a_byte, lambda path: path.write_bytes(b"")])
def test_a_damaged_checkpoint_is_said_and_the_previous_one_takes_its_place(saved, damage):
    damage(saved / CHECKPOINT)
    said = []
    assert find_checkpoint(saved, said.append)["step"] == 2
    assert len(said) == 1
    assert "checkpoint.pt is damaged" in said[0]
    assert "step 2" in said[0]
    assert load_checkpoint(saved / CHECKPOINT)["step"] == 2    # so that the next saving keeps a whole one
    assert not (saved / PREVIOUS).exists()


def test_when_both_are_damaged_nothing_is_touched_and_the_best_weights_are_there(saved):
    truncate(saved / CHECKPOINT)
    truncate(saved / PREVIOUS)
    with pytest.raises(ModelError, match="damaged"):
        find_checkpoint(saved, print)
    assert (saved / CHECKPOINT).exists()
    assert load_checkpoint(saved / BEST)["scores"] == {"WT": 0.5}


def test_a_run_killed_between_the_two_renames_goes_on_from_the_previous_checkpoint(saved):
    (saved / CHECKPOINT).rename(saved / f".partial-01234567-{CHECKPOINT}")   # as it lies there then
    said = []
    assert has_checkpoint(saved)
    assert find_checkpoint(saved, said.append)["step"] == 2
    assert "cut off" in said[0]
    assert not list(saved.glob(".*"))


def test_a_failed_saving_leaves_both_checkpoints(saved, tiny, monkeypatch):
    def half(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.torch, "save", half)
    network = build(tiny)
    with pytest.raises(checkpoints.OutputError, match=r"checkpoint\.pt could not be written \(No space left on device\).*Make room"):
        save_checkpoint(saved, tiny, 1, Progress(6), network, network, build_optimiser(tiny, network))
    with pytest.raises(checkpoints.OutputError, match=r"best\.pt"):
        save_best(saved, tiny, 6, {}, network)
    monkeypatch.undo()
    assert [load_checkpoint(saved / name)["step"] for name in (CHECKPOINT, PREVIOUS, BEST)] == [4, 2, 2]
    assert not list(saved.glob(".*"))


def test_weights_of_another_architecture_are_one_line(tiny):
    with pytest.raises(ModelError, match=r"of another architecture: \d+ of \d+ do not fit, down\.0\.conv1\.conv\.weight first") as error:
        load_weights(build(replace(tiny, channels=(8, 16))), build(tiny).state_dict(), "the run")
    assert "\n" not in str(error.value)
    network, other = build(tiny), build(tiny)
    load_weights(network, other.state_dict(), "the run")
    assert torch.equal(network.stem.weight, other.stem.weight)


def test_changed_fields_are_named_with_both_values_and_those_that_may_change_are_not(tiny):
    saved = {"config": checkpoints.plain_fields(tiny), "processes": 1}
    refuse_another(saved=saved, out=checkpoints.Path("run"), config=replace(tiny, steps=50, learning_rate=0.1, patience=3), processes=1)
    with pytest.raises(ModelError, match=r"another seed \(7, now 8\), network \(resunet, now unet\)|another network \(resunet, now unet\), seed"):
        refuse_another(saved=saved, out=checkpoints.Path("run"), config=replace(tiny, seed=8, network="unet"), processes=1)
    refuse_another(saved={**saved, "processes": 2}, out=checkpoints.Path("run"), config=replace(tiny, batch=2), processes=1)
    with pytest.raises(ModelError, match="1 patches at once and this would be 2"):
        refuse_another(saved=saved, out=checkpoints.Path("run"), config=tiny, processes=2)
