from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from braintumorseg.errors import InputError, ModelError, OutputError, ResourceError
from braintumorseg_training import run as running
from braintumorseg_training import train as training
from braintumorseg_training.data import Split, pack_case
from braintumorseg_training.export import draft_card
from braintumorseg_training.run_log import read_log
from braintumorseg_training.train import Task, fit, fit_task, load_checkpoint
from toys import make_toy_study

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


def test_another_network_cannot_take_up_a_run_and_a_damaged_checkpoint_is_said(packed, tiny, tmp_path):
    said = []
    fit(replace(tiny, steps=4), packed, SPLIT, tmp_path, device="cpu", say=quiet)     # saves after 2 and 4, and once more after the validation
    with pytest.raises(ModelError, match="another channels"):
        fit(replace(tiny, channels=(8, 16)), packed, SPLIT, tmp_path, device="cpu", say=quiet)
    (tmp_path / "checkpoint.pt").write_bytes(b"broken")
    fit(replace(tiny, steps=5), packed, SPLIT, tmp_path, device="cpu", say=said.append)
    assert "damaged" in said[0]
    assert "step 2" in said[0]                                # the validation's saving has not taken the place of the one before
    assert [load_checkpoint(tmp_path / name)["step"] for name in ("checkpoint.pt", "checkpoint.previous.pt")] == [5, 4]
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(ModelError, match="damaged"):
        fit(tiny, packed, SPLIT, tmp_path, device="cpu", say=quiet)


class Numbers(Dataset):
    """Input number n is eight numbers that n seeds; the target is their sum."""

    def __init__(self, first, count):
        self.first, self.count = first, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        x = torch.randn(8, generator=torch.Generator().manual_seed(self.first + index))
        return x, x.sum()[None]


def line(dropout=0.0, scores=None):
    """A line to be fitted; validations give the scores one after the other."""
    return Task(build=lambda: torch.nn.Sequential(torch.nn.Dropout(dropout), torch.nn.Linear(8, 1)), stream=Numbers,
                loss=torch.nn.functional.mse_loss, watch=(lambda network, where: {"a": scores.pop(0)}) if scores else None, scores=("a",),
                about="numbers")


def test_the_rate_that_is_logged_is_that_of_the_step(tiny, tmp_path, monkeypatch):
    used, setting = [], training.set_rate

    def spy(optimiser, rate):
        used.append(f"{rate:.2e}")
        setting(optimiser, rate)

    monkeypatch.setattr(training, "set_rate", spy)
    fit_task(replace(tiny, log_every=1, decay_share=1.0), line(), tmp_path, device="cpu", say=quiet)
    assert [row["rate"] for row in read_log(tmp_path)] == used
    assert len(set(used)) > 3


@pytest.mark.parametrize("device, together, workers", [("cpu", 1, 12), ("cuda", 1, 16), ("cuda", 4, 5), ("cpu", 4, 3), ("cuda", 24, 1)])
def test_as_many_workers_as_the_cores_that_were_granted_leave(monkeypatch, device, together, workers):
    monkeypatch.setattr(training, "granted_cores", lambda: 24)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(together))
    assert training.usual_workers(torch.device(device)) == workers


@pytest.mark.parametrize("asked", [0, 1, 3])
def test_a_run_has_as_many_workers_as_asked_for_and_gives_the_same(tiny, tmp_path, monkeypatch, asked):
    loaders = []

    class Spy(DataLoader):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            loaders.append(self.num_workers)

    monkeypatch.setattr(training, "DataLoader", Spy)
    config = replace(tiny, log_every=1)
    fit_task(config, line(dropout=0.5), tmp_path / "asked", device="cpu", workers=asked, say=quiet)
    fit_task(config, line(dropout=0.5), tmp_path / "usual", device="cpu", say=quiet)
    assert loaders == [asked, training.usual_workers(torch.device("cpu"))]
    assert logged(tmp_path / "asked") == logged(tmp_path / "usual")


def test_memory_that_runs_out_in_a_step_is_an_error_of_ours(tiny, tmp_path):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 11 GiB")

    with pytest.raises(ResourceError, match=r"GPU's memory \(CUDA out of memory\. Tried to allocate 2\.00 GiB\)\..*smaller patch or batch"):
        fit_task(tiny, replace(line(), loss=full), tmp_path, device="cpu", say=quiet)


def logged(folder):
    return [row["loss"] for row in read_log(folder) if row["loss"]]


def test_what_dropout_draws_is_the_same_after_a_run_is_taken_up(tiny, tmp_path):
    config = replace(tiny, log_every=1, decay_share=0.0)
    fit_task(replace(config, steps=3), line(dropout=0.5), tmp_path / "parts", device="cpu", say=quiet)
    torch.rand(7)   # whatever another process had drawn
    for name in ("parts", "whole"):
        fit_task(config, line(dropout=0.5), tmp_path / name, device="cpu", say=quiet)
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")
    fit_task(config, line(), tmp_path / "without", device="cpu", say=quiet)
    assert logged(tmp_path / "without") != logged(tmp_path / "whole")


def test_two_batches_of_one_accumulated_make_the_step_of_one_batch_of_two(tiny, tmp_path):
    config = replace(tiny, log_every=1)
    fit_task(replace(config, batch=2), line(), tmp_path / "whole", device="cpu", say=quiet)
    fit_task(replace(config, accumulate=2), line(), tmp_path / "parts", device="cpu", say=quiet)
    assert [float(loss) for loss in logged(tmp_path / "parts")] == pytest.approx([float(loss) for loss in logged(tmp_path / "whole")], abs=2e-5)


def test_a_run_ends_when_validations_get_no_better_and_the_best_weights_are_kept_apart(tiny, tmp_path):
    config = replace(tiny, steps=50, validate_every=2, patience=2)
    said = []
    fit_task(config, line(scores=[0.3, 0.5, 0.4, 0.5, 0.9]), tmp_path, device="cpu", say=said.append)
    assert "ended at step 8: 2 validations without a better mean Dice than 0.5000" in said[-1]
    best = load_checkpoint(tmp_path / "best.pt")
    assert (best["step"], best["scores"]) == (4, {"a": 0.5})
    assert set(best) == {"config", "step", "scores", "average"}
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 8
    fit_task(config, line(scores=[0.9]), tmp_path, device="cpu", say=said.append)       # and it stays ended
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 8
    with pytest.raises(ModelError, match="patience needs validation cases"):
        fit_task(config, line(), tmp_path / "none", device="cpu", say=quiet)


def test_a_run_killed_while_it_validated_does_that_first(tiny, tmp_path):
    def killed(network, where):
        raise KeyboardInterrupt

    config = replace(tiny, steps=4, validate_every=2)
    with pytest.raises(KeyboardInterrupt):
        fit_task(config, replace(line(), watch=killed), tmp_path, device="cpu", say=quiet)
    fit_task(config, line(scores=[0.1, 0.2]), tmp_path, device="cpu", say=quiet)
    assert [(row["step"], row["dice_a"]) for row in read_log(tmp_path) if row["dice_a"]] == [("2", "0.1"), ("4", "0.2")]


def test_curves_are_drawn_and_without_matplotlib_that_is_said_once(tiny, tmp_path, monkeypatch, drawn):
    fit_task(tiny, line(scores=[0.5]), tmp_path / "with", device="cpu", say=quiet)
    assert (tmp_path / "with" / "curves.png").stat().st_size > 10_000
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    said = []
    fit_task(replace(tiny, validate_every=2), line(scores=[0.5, 0.5, 0.5]), tmp_path / "without", device="cpu", say=said.append)
    assert sum("matplotlib is not installed" in one for one in said) == 1
    assert not (tmp_path / "without" / "curves.png").exists()


def test_a_picture_that_cannot_be_drawn_does_not_end_a_run_and_is_said_once(tiny, tmp_path, drawn):
    said = []
    (tmp_path / "curves.png").mkdir()         # as good as one that a viewer holds open on Windows
    fit_task(replace(tiny, validate_every=2), line(scores=[0.5, 0.5, 0.5]), tmp_path, device="cpu", workers=0, say=said.append)
    assert [text.split(";")[0] for text in said if "drawn" in text] == ["curves.png is not drawn: curves.png could not be written (Is a directory)"]
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 6


def test_a_log_that_another_program_holds_open_does_not_end_a_run(tiny, tmp_path):
    said = []
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(OutputError, match=r"log\.csv could not be written \(Is a directory\)\. Put that right and run the same command again\."):
        fit_task(tiny, line(), tmp_path, device="cpu", workers=0, say=said.append)        # told before the work, and no checkpoint is promised
    (tmp_path / "log.csv").rmdir()
    task = line(scores=[0.5, 0.5, 0.5])
    fit_task(replace(tiny, validate_every=2), replace(task, watch=lambda *given: hold(tmp_path / "log.csv") or task.watch(*given)), tmp_path,
             device="cpu", workers=0, say=said.append)
    assert [text for text in said if "log.csv" in text] == [
        "log.csv cannot be written (Is a directory), as where another program holds it open. The run goes on, and what belongs there is written when "
        "it can be.", "log.csv could not be written to the end: 3 rows are lost."]
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 6


def hold(path):
    """From now on nothing can be written there."""
    if path.is_file():
        path.unlink()
        path.mkdir()


def test_a_folder_that_cannot_be_made_is_one_line(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match=r"run could not be written") as error:
        fit_task(tiny, line(), tmp_path / "file" / "run", device="cpu", say=quiet)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("split, words", [
    (Split(("001", "003"), ("002",)), "training and in validation: 001 and 002"),
    (Split(("001", "BraTS2021_00007"), ("003",), test=("002", "BraTS-GLI-00007-001")),
     "training and in test: 001 and 002, BraTS2021_00007 and BraTS-GLI-00007-001")])
def test_a_patient_is_not_trained_on_and_watched(tiny, tmp_path, split, words):
    study = make_toy_study((24, 24, 24))
    truth = study.reference.with_voxels(np.ones((24, 24, 24), np.uint8))
    for name, patient in (("001", "P1"), ("002", "P1"), ("003", "P3"), ("BraTS2021_00007", "")):        # the other time point is not packed
        pack_case(name, "other", study, truth, draft_card(size_multiple=4), tmp_path / "packed", patient=patient)
    with pytest.raises(InputError, match=rf"one patient in {words}\. Keep each patient on one side"):
        fit(tiny, tmp_path / "packed", split, tmp_path / "run", device="cpu", say=quiet)
    assert not (tmp_path / "run").exists()


def test_cases_packed_at_another_spacing_are_not_trained_on(packed, tiny, tmp_path):
    with pytest.raises(InputError, match=r"case0, case1, case2 and 1 more of .*packed at 1 x 1 x 1 mm, and spacing_mm is 2 x 2 x 2 mm"):
        fit(replace(tiny, spacing_mm=(2.0, 2.0, 2.0)), packed, SPLIT, tmp_path / "run", device="cpu", say=quiet)
    assert not (tmp_path / "run").exists()
