"""`fit` in real child processes that are killed, stopped, or run out of disk."""

import json
import os
import random
import signal
import time

import psutil
import pytest
import torch

from braintumorseg_training.checkpoints import BEST, CHECKPOINT, PREVIOUS, load_checkpoint
from braintumorseg_training.config import write_config
from braintumorseg_training.run_log import read_log
from children import Child


@pytest.fixture
def fit(packed, tiny, tmp_path):
    """fit(run name, FIELD=VALUE...) -> the child. 20 steps, of which each is logged, some saved and some validated."""
    from dataclasses import replace

    write_config(replace(tiny, steps=20, log_every=1, save_every=4, validate_every=10), tmp_path / "config.json")
    (tmp_path / "split.json").write_text(json.dumps({"train": ["case0", "case1", "case2"], "validation": ["case3"]}))

    def start(name, *settings, **more):
        return Child(["fit", "--data", packed, "--split", tmp_path / "split.json", "--config", tmp_path / "config.json", "--out", tmp_path / name,
                      "--device", "cpu", *(word for setting in settings for word in ("--set", setting))], tmp_path / f"{name}.said", **more)

    return start


def assert_same_run(one, other):
    assert (one / "log.csv").read_bytes() == (other / "log.csv").read_bytes()
    for name in (CHECKPOINT, BEST):
        a, b = load_checkpoint(one / name), load_checkpoint(other / name)
        assert a["step"] == b["step"]
        for part in {"network", "average"} & set(a):
            assert all(torch.equal(a[part][key], b[part][key]) for key in b[part]), (name, part)
    a, b = (load_checkpoint(folder / CHECKPOINT)["optimiser"]["state"] for folder in (one, other))
    assert all(torch.equal(a[number][key], b[number][key]) for number in b for key in b[number])


def test_killed_at_random_moments_a_run_gives_the_same_losses_and_weights_to_the_bit(fit, tmp_path):
    assert fit("whole").wait() == 0
    chance, killed = random.Random(), 0
    for steps in (chance.randint(1, 6), chance.randint(7, 12), chance.randint(13, 17)):    # of 20
        child = fit("parts")
        while child.process.is_alive() and len(read_log(tmp_path / "parts")) < steps:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        if child.process.is_alive():
            os.kill(child.pid, signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
    assert fit("parts").wait() == 0
    assert killed
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
    assert not list((tmp_path / "parts").glob(".*"))


def test_a_killed_run_leaves_no_process_behind(fit, tmp_path):
    child = fit("killed", "steps=2000")
    until = time.monotonic() + 300    # on a machine that does much else
    while not (tmp_path / "killed" / "log.csv").is_file():
        assert time.monotonic() < until
        time.sleep(0.1)
    others = psutil.Process(child.pid).children(recursive=True)    # its data workers, and what forks them
    assert others
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    _, alive = psutil.wait_procs(others, timeout=20)
    for left in alive:
        left.kill()
    assert not alive


def test_a_data_worker_that_is_killed_ends_the_run_with_one_line(fit, tmp_path):
    child = fit("run", "steps=2000")
    until = time.monotonic() + 300    # on a machine that does much else
    while not (tmp_path / "run" / "log.csv").is_file():
        assert time.monotonic() < until
        time.sleep(0.1)
    max(psutil.Process(child.pid).children(recursive=True), key=psutil.Process.create_time).kill()    # the newest: before it came what forks it
    assert child.wait() == 1
    said = child.err.read_text()
    assert said.count("\n") == 1
    assert "A process that makes patches was killed, most likely because the memory was full. Give a smaller --workers" in said


def test_a_run_that_is_told_to_stop_finishes_its_step_and_saves(fit, tmp_path):
    for number in (signal.SIGTERM, signal.SIGINT):
        child = fit("run", "steps=500", "save_every=500", "validate_every=500", "patience=1")
        log, rows = tmp_path / "run" / "log.csv", len((tmp_path / "run" / "log.csv").read_text().splitlines()) if number == signal.SIGINT else 0
        while child.process.is_alive() and not (log.exists() and len(log.read_text().splitlines()) > rows + 3):
            time.sleep(0.01)
        os.kill(child.pid, number)
        assert child.wait() == 130
        said = child.err.read_text()
        assert said.count("\n") == 1
        step = load_checkpoint(tmp_path / "run" / CHECKPOINT)["step"]
        assert 2 < step < 500
        assert f"step {step} of 500 is saved" in said
        assert log.read_text().splitlines()[-1].startswith(f"{step},")


def test_a_full_disk_ends_with_one_line_and_loses_neither_checkpoint_nor_best_weights(fit, tmp_path):
    run = tmp_path / "run"
    assert fit("run", "steps=6").wait() == 0
    before = {name: (run / name).read_bytes() for name in (CHECKPOINT, PREVIOUS, BEST)}
    child = fit("run", "steps=12", largest_file=len(before[CHECKPOINT]) // 2)
    assert child.wait() == 1
    said = child.err.read_text()
    assert said.count("\n") == 1
    assert "checkpoint.pt could not be written (File too large)" in said
    assert "Make room on the disk" in said
    assert {name: (run / name).read_bytes() for name in before} == before
    assert not list(run.glob(".*"))
    assert fit("run", "steps=12").wait() == 0
