"""The output folder appears complete or not at all, and nobody's files are ever lost."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from braintumorseg.errors import OutputError
from braintumorseg.io import atomic
from braintumorseg.io.atomic import MARKER, check_output, output_folder


def fill(folder, text="new"):
    (folder / MARKER).write_text(text)
    (folder / "sub").mkdir()
    (folder / "sub" / "a.txt").write_text(text)


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def earlier(tmp_path):
    """A folder of ours from an earlier run."""
    folder = tmp_path / "out"
    folder.mkdir()
    fill(folder, "old")
    return folder


def test_the_folder_appears_only_at_the_end(tmp_path):
    with output_folder(tmp_path / "out") as folder:
        fill(folder)
        assert folder.parent == tmp_path
        assert folder.name.startswith(".out.partial-")
        assert not (tmp_path / "out").exists()
    assert listing(tmp_path) == ["out", f"out/{MARKER}", "out/sub", "out/sub/a.txt"]


def test_it_has_the_permissions_of_any_new_folder(tmp_path):
    (tmp_path / "plain").mkdir()
    with output_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_until_it_is_whole_only_this_user_can_look_inside(tmp_path):
    with output_folder(tmp_path / "new" / "out") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (tmp_path / "plain").mkdir()
        assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_disk_that_knows_no_permissions_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", refuse)
    with output_folder(tmp_path / "out") as folder:
        fill(folder)
    assert (tmp_path / "out" / MARKER).exists()


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_the_work_is_stopped(tmp_path, stop):
    with pytest.raises(stop), output_folder(tmp_path / "new" / "er" / "out") as folder:
        fill(folder)
        raise stop
    assert listing(tmp_path) == []


def test_new_parents_stay_only_when_the_work_ends_well(tmp_path):
    with output_folder(tmp_path / "new" / "er" / "out"):
        pass
    assert listing(tmp_path) == ["new", "new/er", "new/er/out"]


def test_unusual_names_simply_work(tmp_path):
    with output_folder(tmp_path / "Ünï cödé 脳") as folder:
        fill(folder)
    assert (tmp_path / "Ünï cödé 脳" / MARKER).is_file()


def test_a_folder_that_exists_is_refused_before_any_work(earlier):
    with pytest.raises(OutputError, match=r"out exists already.*--force"), output_folder(earlier):
        pytest.fail("the work began")
    assert (earlier / MARKER).read_text() == "old"


def test_a_file_of_that_name_is_refused_even_with_force(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file"), output_folder(tmp_path / "out", force=True):
        pytest.fail("the work began")
    assert (tmp_path / "out").read_text() == "mine"


def test_force_replaces_a_folder_of_ours(tmp_path, earlier):
    (earlier / "left over.txt").write_text("old")
    with output_folder(earlier, force=True) as folder:
        fill(folder)
        assert (earlier / MARKER).read_text() == "old"
    assert listing(tmp_path) == ["out", f"out/{MARKER}", "out/sub", "out/sub/a.txt"]
    assert (earlier / "sub" / "a.txt").read_text() == "new"


def test_force_fills_an_empty_folder(tmp_path):
    (tmp_path / "out").mkdir()
    with output_folder(tmp_path / "out", force=True) as folder:
        fill(folder)
    assert (tmp_path / "out" / MARKER).read_text() == "new"


def test_force_never_deletes_a_folder_that_is_not_ours(tmp_path):
    (tmp_path / "Documents").mkdir()
    (tmp_path / "Documents" / "thesis.odt").write_text("mine")
    with pytest.raises(OutputError, match="left alone"), output_folder(tmp_path / "Documents", force=True):
        pytest.fail("the work began")
    assert (tmp_path / "Documents" / "thesis.odt").read_text() == "mine"


def test_the_earlier_result_stays_when_the_work_fails(tmp_path, earlier):
    with pytest.raises(RuntimeError), output_folder(earlier, force=True) as folder:
        fill(folder)
        raise RuntimeError
    assert listing(tmp_path) == ["out", f"out/{MARKER}", "out/sub", "out/sub/a.txt"]
    assert (earlier / MARKER).read_text() == "old"


def test_the_earlier_result_comes_back_when_the_rename_fails(tmp_path, earlier, monkeypatch):
    def fails_for_the_new(source, target):
        if ".partial-" in source.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(source))
        source.rename(target)

    monkeypatch.setattr(atomic, "put", fails_for_the_new)
    with pytest.raises(OutputError, match="disk is full"), output_folder(earlier, force=True) as folder:
        fill(folder)
    assert listing(tmp_path) == ["out", f"out/{MARKER}", "out/sub", "out/sub/a.txt"]
    assert (earlier / MARKER).read_text() == "old"


def test_a_folder_that_appears_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(OutputError, match="exists already"), output_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
    assert listing(tmp_path) == ["out"]


def test_a_link_to_a_folder_of_ours_keeps_pointing_there(tmp_path, earlier):
    (tmp_path / "link").symlink_to(earlier)
    with output_folder(tmp_path / "link", force=True) as folder:
        fill(folder)
    assert (tmp_path / "link").is_symlink()
    assert (earlier / MARKER).read_text() == "new"


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota"),
                                               (errno.EACCES, "may not write"), (errno.EROFS, "read-only")])
def test_a_disk_that_refuses_is_told_in_plain_words(tmp_path, number, words):
    with pytest.raises(OutputError, match=f"out cannot be written: .*{words}"), output_folder(tmp_path / "out") as folder:
        raise OSError(number, os.strerror(number), str(folder / "a"))
    assert listing(tmp_path) == []


def test_an_input_that_may_not_be_read_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(PermissionError), output_folder(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "model.onnx"))


def test_a_parent_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="a part of its path is a file"), output_folder(tmp_path / "file" / "out"):
        pytest.fail("the work began")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_really_full_device_is_told_as_a_full_disk(tmp_path):
    with pytest.raises(OutputError, match="disk is full"), output_folder(tmp_path / "out"), open("/dev/full", "wb") as full:
        full.write(bytes(100_000))
    assert listing(tmp_path) == []


def test_a_really_full_disk_leaves_nothing(tmp_path):
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root and mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let root mount a small disk")
    try:
        with pytest.raises(OutputError, match="disk is full"), output_folder(disk / "out") as folder:
            (folder / "a").write_bytes(bytes(1_000_000))
        assert listing(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


KILLED = """
import os, signal, sys
from pathlib import Path
from braintumorseg.io import atomic
def die():
    os.kill(os.getpid(), signal.SIGKILL)
moment, out = sys.argv[1:]
if moment == "between the renames":
    put = atomic.put
    atomic.put = lambda source, target: die() if ".partial-" in source.name else put(source, target)
if moment == "before the old one is deleted":
    atomic.remove_folder = lambda folder: die()
with atomic.output_folder(out, force=True) as folder:
    (folder / "report.json").write_text("of the killed run")
    if moment == "at work":
        die()
"""


def kill(moment, out):
    done = subprocess.run([sys.executable, "-c", KILLED, moment, str(out)], check=False)
    assert done.returncode == -signal.SIGKILL


needs_sigkill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")


@needs_sigkill
def test_what_a_killed_run_left_goes_with_the_next_run_to_the_same_place(tmp_path):
    kill("at work", tmp_path / "out")
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == [".out.partial"]
    with output_folder(tmp_path / "out") as folder:
        fill(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@needs_sigkill
def test_a_run_killed_at_work_leaves_the_earlier_result(earlier):
    kill("at work", earlier)
    assert (earlier / MARKER).read_text() == "old"


@needs_sigkill
def test_an_earlier_result_that_was_moved_aside_comes_back(tmp_path, earlier):
    kill("between the renames", earlier)
    assert not earlier.exists()
    with pytest.raises(OutputError, match="exists already"):
        check_output(earlier)
    assert (earlier / MARKER).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@needs_sigkill
def test_a_run_killed_after_its_end_leaves_the_new_result(tmp_path, earlier):
    kill("before the old one is deleted", earlier)
    with pytest.raises(OutputError, match="exists already"):
        check_output(earlier)
    assert (earlier / MARKER).read_text() == "of the killed run"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_live_run_to_the_same_place_is_not_disturbed(tmp_path):
    with output_folder(tmp_path / "out") as first:
        fill(first)
        check_output(tmp_path / "out")
        assert (first / MARKER).exists()
    assert (tmp_path / "out" / MARKER).exists()


@needs_sigkill
def test_half_written_results_of_killed_runs_to_other_places_go_too(tmp_path):
    kill("at work", tmp_path / "other\nplace")
    check_output(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@needs_sigkill
def test_an_earlier_result_that_stands_aside_for_another_place_stays_there(tmp_path, earlier):
    kill("between the renames", earlier)
    with output_folder(tmp_path / "another"):
        pass
    assert [path.name.split("-")[0] for path in sorted(tmp_path.iterdir())] == [".out.old", "another"]


def test_a_live_run_to_another_place_is_not_disturbed(tmp_path):
    with output_folder(tmp_path / "other") as other, output_folder(tmp_path / "out"):
        fill(other)
    assert (tmp_path / "other" / MARKER).exists()


def test_a_name_that_the_disk_does_not_take_is_refused_before_the_work(tmp_path):
    with pytest.raises(OutputError, match="its name is too long"):
        check_output(tmp_path / ("x" * 300))


def test_a_link_in_a_circle_is_one_line(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "loop" / "x", tmp_path / "loop"):
        with pytest.raises(OutputError, match=r"in a circle|is a file|exists already"), output_folder(path):
            pass


def test_a_folder_that_a_viewer_holds_open_is_refused_before_the_work_on_windows(tmp_path, monkeypatch):
    def refuse(source, target):
        error = PermissionError(13, "Access is denied", str(source))
        error.winerror = 5
        raise error

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARKER).write_text("old")
    monkeypatch.setattr(atomic, "_RENAMES_WHAT_IS_OPEN", False)
    monkeypatch.setattr(atomic, "put", refuse)
    with pytest.raises(OutputError, match=r"another program has it open.*Close"):
        check_output(tmp_path / "out", force=True)
    assert (tmp_path / "out" / MARKER).read_text() == "old"


def test_a_folder_that_can_be_moved_aside_is_back_in_its_place_on_windows(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARKER).write_text("old")
    monkeypatch.setattr(atomic, "_RENAMES_WHAT_IS_OPEN", False)
    check_output(tmp_path / "out", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
