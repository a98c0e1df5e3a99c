"""A cohort that is killed or cancelled, as a process of its own: nothing half-written, and it goes on from there."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from cohort_toys import command, lines_of, make_studies, run

NAMES = ["Doe^Jane", "P 02", "Zöe", "p3"]


@pytest.fixture
def studies(tmp_path, toy_study):
    return make_studies(tmp_path / "in", toy_study, NAMES)


def hidden(out):
    return sorted(path.name for path in out.iterdir() if path.name.startswith(".") and path.name != ".cohort.lock")


KILLS = 3


def test_a_kill_at_any_moment_loses_at_most_the_studies_in_work(toy_model, toy_study, tmp_path, capsys):
    names = [f"case{number:02d}" for number in range(30)]
    studies, out = make_studies(tmp_path / "in", toy_study, names), tmp_path / "out"
    chance = random.Random(7)
    for kill in range(1, KILLS + 1):
        process = child(command(studies, out, toy_model, "--at-once", 2))
        before = len(done_of(out))
        wait_until(lambda before=before: len(done_of(out)) > before, process)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(done_of(out)) < len(names), "it was too quick to be killed"
        assert len(lines_of_torn(out)) - len(done_of(out)) <= len(done_of(out)) + 2 * kill   # begun: those done, and two for each kill
    whole = {name: (out / name / "report.json").stat().st_mtime_ns for name in done_of(out)}
    assert run(capsys, *command(studies, out, toy_model))[0] == 0
    assert sorted(line["id"] for line in lines_of(out, "done")) == names     # each once
    assert {name: (out / name / "report.json").stat().st_mtime_ns for name in whole} == whole
    assert hidden(out) == []
    assert len(lines_of(out, "begun")) <= len(names) + 2 * KILLS


def done_of(out):
    return [line["id"] for line in lines_of_torn(out) if line["state"] == "done"]


def lines_of_torn(out):
    path = out / "manifest.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().split(b"\n")[1:-1]] if path.exists() else []
    return [line for line in lines if "state" in line]


def child(arguments, **more):
    def heed():   # what a shell starts in the background ignores Ctrl-C, and so would all that it starts
        signal.signal(signal.SIGINT, signal.default_int_handler)

    return subprocess.Popen([sys.executable, "-m", "braintumorseg.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            preexec_fn=heed, **more)


def wait_until(true, process):
    until = time.monotonic() + 60
    while not true():
        assert process.poll() is None and time.monotonic() < until, "the run ended or hung before it could be stopped"
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["interrupt", "stdin"])
def test_a_cancelled_run_exits_130_and_goes_on_later(studies, toy_model, tmp_path, capsys, how):
    out = tmp_path / "out"
    process = child(command(studies, out, toy_model, "--at-once", 1, "--progress", "json"), stdin=subprocess.PIPE)
    wait_until(lambda: done_of(out), process)
    if how == "interrupt":
        process.send_signal(signal.SIGINT)
    else:
        process.stdin.close()
    lines = [json.loads(line) for line in process.stdout.read().splitlines()]
    assert process.wait(60) == 130
    assert lines[-1]["error"]["kind"] == "Cancelled"
    assert "of 4 studies are done and kept" in lines[-1]["error"]["what"]
    assert {path.name for path in out.iterdir() if path.is_dir()} == set(done_of(out))
    assert hidden(out) == []
    assert run(capsys, *command(studies, out, toy_model))[0] == 0
    assert sorted(done_of(out)) == sorted(NAMES)


def test_progress_lines_count_studies_and_the_result_says_what_failed(studies, toy_model, tmp_path):
    (studies / "p3" / "case_t1.nii.gz").write_bytes(b"no image")
    process = child(command(studies, tmp_path / "out", toy_model, "--progress", "json"), stdin=subprocess.PIPE)
    lines = [json.loads(line) for line in process.stdout.read().splitlines()]
    assert process.wait(60) == 1
    *updates, last = lines
    assert all(set(update) == {"step", "done", "eta_s", "studies", "finished", "failed"} for update in updates)
    assert {**updates[-1], "eta_s": 0} == {"step": "cohort", "done": 1.0, "eta_s": 0, "studies": 4, "finished": 4, "failed": 1}
    assert [failure["number"] for failure in last["result"]["failures"]] == [4]
    assert last["error"]["kind"] == "StudiesFailed"
