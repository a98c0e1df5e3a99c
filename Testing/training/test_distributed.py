"""Several processes as one run: on the CPU, with gloo."""

import csv
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from braintumorseg.errors import ModelError, ResourceError
from braintumorseg_training.checkpoints import load_checkpoint
from braintumorseg_training.config import write_config
from braintumorseg_training.distributed import Ranks, pick_device
from braintumorseg_training.run import Run
from braintumorseg_training.task import Task
from children import Child


@pytest.fixture
def arguments(packed, tiny, tmp_path):
    """arguments(run name, FIELD=VALUE...) of `fit`."""
    write_config(replace(tiny, steps=6, log_every=1, save_every=3, validate_every=6), tmp_path / "config.json")
    (tmp_path / "split.json").write_text(json.dumps({"train": ["case0", "case1", "case2"], "validation": ["case3"]}))

    def make(name, *settings):
        return ["fit", "--data", packed, "--split", tmp_path / "split.json", "--config", tmp_path / "config.json", "--out", tmp_path / name,
                "--device", "cpu", *(word for setting in settings for word in ("--set", setting))]

    return make


def start_two(one, other, folder: Path) -> list[Child]:
    """Two processes as torchrun starts them, with a command each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [Child(command, folder / f"said{rank}", environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank, command in enumerate((one, other))]


def losses(run: Path) -> list[float]:
    with (run / "log.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]


def test_two_processes_under_torchrun_take_the_steps_of_one_with_twice_the_batch(arguments, tmp_path):
    alone = Child(arguments("alone", "batch=4"), tmp_path / "said")
    assert alone.wait() == 0
    two = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "braintumorseg_training.cli",
                          *map(str, arguments("two", "batch=2"))], capture_output=True, text=True, timeout=240, check=False,
                         env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)})
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("step 6/6") == 1                  # one process speaks
    assert "2 processes" in two.stdout
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "alone"), abs=2e-4)
    one, other = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("alone", "two"))
    for key in one["network"]:
        assert torch.allclose(one["network"][key], other["network"][key], atol=2e-3), key


def test_one_process_takes_up_the_run_of_two_and_another_batch_is_refused(arguments, tmp_path):
    for child in start_two(*[arguments("run", "batch=1", "steps=3", "decay_share=0")] * 2, tmp_path):
        assert child.wait() == 0, child.err.read_text()
    refused = Child(arguments("run", "batch=1", "decay_share=0"), tmp_path / "refused")
    assert refused.wait() == 1
    assert "2 patches at once and this would be 1" in refused.err.read_text()
    assert Child(arguments("run", "batch=2", "decay_share=0"), tmp_path / "said").wait() == 0
    assert Child(arguments("alone", "batch=2", "decay_share=0"), tmp_path / "said").wait() == 0
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "alone"), abs=2e-4)


def test_an_error_of_one_process_ends_all_with_one_line(arguments, tmp_path):
    children = start_two(arguments("run"), arguments("run", "learning_rat=1"), tmp_path)
    assert [child.wait() for child in children] == [1, 1]
    said = "".join(child.err.read_text() for child in children)
    assert said.count("\n") == 1
    assert "learning_rat" in said


def test_an_error_of_all_processes_is_said_once(arguments, tmp_path):
    children = start_two(*[arguments("run", "batch=0")] * 2, tmp_path)
    assert [child.wait() for child in children] == [1, 1]
    said = "".join(child.err.read_text() for child in children)
    assert said.count("\n") == 1
    assert "batch" in said


# The store's keeper ends while another process still uses it; what that one prints is all that the test is about.
ORPHAN = """
import multiprocessing, sys
import braintumorseg_training.distributed as distributed
from torch.distributed import TCPStore

def keep(pipe):
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    pipe.send(store.port)
    pipe.recv()

here, there = multiprocessing.Pipe()
keeper = multiprocessing.get_context("fork").Process(target=keep, args=(there,))
keeper.start()
store = TCPStore("127.0.0.1", here.recv(), is_master=False)
keeper.kill()
keeper.join()
sys.exit(distributed._is_first_to_fail(store))
"""


def test_a_process_that_fails_after_the_keeper_of_the_store_has_ended_says_nothing():
    orphan = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=120, check=False,
                            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert (orphan.returncode, orphan.stdout, orphan.stderr) == (0, "", "")


def test_a_process_that_was_killed_ends_the_others_with_one_line(arguments, tmp_path):
    children = start_two(*[arguments("run", "steps=2000", "validate_every=2000")] * 2, tmp_path)
    log = tmp_path / "run" / "log.csv"
    while all(child.process.is_alive() for child in children) and not (log.exists() and log.read_text().count("\n") > 3):
        children[0].process.join(0.05)
    children[1].process.kill()
    assert children[0].wait() == 1
    said = children[0].err.read_text()
    assert said.count("\n") == 1
    assert "Another process of this run has ended" in said


def test_memory_that_runs_out_while_outputs_are_gathered_is_not_blamed_on_another_process(monkeypatch):
    def raising(error):
        def gather(*_):
            raise error

        monkeypatch.setattr(torch.distributed, "all_gather", gather)
        with pytest.raises((RuntimeError, ResourceError)) as caught:
            Ranks(torch.device("cpu"), 0, 2).gather(torch.zeros(1))
        return caught.value

    full, killed = torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    assert raising(full) is full
    assert raising(killed) is killed      # torch raises it wherever the training process is at that moment
    assert "Another process of this run has ended (Connection closed)" in str(raising(RuntimeError("Connection closed")))


def test_what_a_run_starts_from_is_made_in_the_first_process_alone(tiny, tmp_path):
    class Second(Ranks):
        copy_first = lambda self, network: None      # noqa: E731
        any = lambda self, flag: flag                # noqa: E731

    task = Task(build=lambda: torch.nn.Linear(1, 1), stream=None, loss=None, watch=None, scores=(), about="")
    began = []
    for rank in (1, 0):
        Run(tiny, task, tmp_path, Second(torch.device("cpu"), rank, 2), began.append, lambda network, rank=rank: began.append(rank))
        assert began[:1] == [0] * (rank == 0)


def test_a_gpu_that_is_not_there_is_said():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ModelError, match="--device cuda"):
        pick_device("cuda")
