"""Patients' data in temporary folders: for this user's eyes, and gone whatever happens to the run."""

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from braintumorseg.io import owner
from braintumorseg.io.private_temp import private_folder, remove_leftovers

KILLABLE = """
import sys, time
from pathlib import Path
from braintumorseg.io.private_temp import private_folder
with private_folder("test", Path(sys.argv[1])) as folder:
    (folder / "patient.dcm").write_bytes(b"Doe^Jane")
    print(folder.name, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def child(tmp_path):
    """A run that holds a private folder with a patient's file in it, in a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", KILLABLE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    process.folder = tmp_path / process.stdout.readline().strip()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_only_this_user_can_look_inside(tmp_path):
    with private_folder("test", tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.parent == tmp_path


@pytest.mark.parametrize("stop", [None, RuntimeError, KeyboardInterrupt, SystemExit])
def test_it_is_gone_in_every_outcome(tmp_path, stop):
    try:
        with private_folder("test", tmp_path) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "patient.dcm").write_bytes(b"Doe^Jane")
            if stop:
                raise stop
    except (RuntimeError, KeyboardInterrupt, SystemExit):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed_by_the_next(child, tmp_path):
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert (child.folder / "patient.dcm").exists()
    with private_folder("test", tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_a_live_run_keeps_its_folder(child, tmp_path):
    with private_folder("test", tmp_path):
        assert (child.folder / "patient.dcm").exists()


def test_a_process_that_only_has_the_same_number_does_not_protect_the_folder(child, tmp_path):
    impostor = tmp_path / child.folder.name.replace(owner._began(child.pid), "1")
    impostor.mkdir()
    assert remove_leftovers(tmp_path) == 1
    assert not impostor.exists()
    assert child.folder.exists()


def test_a_folder_of_another_machine_stays_until_it_is_a_day_old(tmp_path, monkeypatch):
    folder = tmp_path / "braintumorseg-test-01234567-1-1-abcd"
    folder.mkdir()
    assert remove_leftovers(tmp_path) == 0
    later = time.time() + 25 * 3600
    monkeypatch.setattr(owner.time, "time", lambda: later)
    assert remove_leftovers(tmp_path) == 1


def test_links_are_neither_followed_nor_mistaken_for_folders(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine")
    dead = f"{owner._host()}-{os.getpid()}-1"
    (tmp_path / f"braintumorseg-test-{dead}-link").symlink_to(kept)
    (tmp_path / f"braintumorseg-test-{dead}-dead").mkdir()
    (tmp_path / f"braintumorseg-test-{dead}-dead" / "link").symlink_to(kept)
    assert remove_leftovers(tmp_path) == 1
    assert (kept / "mine.txt").read_text() == "mine"


def test_folders_of_other_names_are_left_alone(tmp_path):
    (tmp_path / f"something-{owner._host()}-{os.getpid()}-1-dead").mkdir()
    (tmp_path / "braintumorseg-test").mkdir()
    assert remove_leftovers(tmp_path) == 0


def test_a_container_with_the_same_name_counts_as_another_machine(tmp_path, monkeypatch):
    """Its processes have numbers of their own: one that is not found here may live there."""
    (tmp_path / f"braintumorseg-test-{owner._host()}-{os.getpid()}-1-dead").mkdir()
    monkeypatch.setattr(owner.os, "readlink", lambda path: "pid:[4026599999]")
    assert remove_leftovers(tmp_path) == 0


def test_a_folder_that_another_run_removes_meanwhile_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "braintumorseg-test-01234567-1-1-abcd").mkdir()

    def gone(folder):
        raise FileNotFoundError

    monkeypatch.setattr(owner, "_last_change", gone)
    assert remove_leftovers(tmp_path) == 0
