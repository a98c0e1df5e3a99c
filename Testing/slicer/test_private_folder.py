import os
import stat
import subprocess
import sys
import time

import pytest

from BrainTumorSegLib.private_folder import PrivateFolder, remove_leftovers


def age(folder):
    """As if it had been made an hour ago."""
    an_hour_ago = time.time() - 3600
    os.utime(folder / ".in-use", (an_hour_ago, an_hour_ago))


def test_it_is_the_users_alone_and_gone_afterwards(tmp_path):
    with PrivateFolder(tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "t1.nii").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_after_an_error_and_removing_twice_is_harmless(tmp_path):
    folder = PrivateFolder(tmp_path)
    with pytest.raises(ValueError, match="run"), folder:
        raise ValueError("run")
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_slicer_is_removed_by_the_next(tmp_path):
    program = ("import sys, os, pathlib; from BrainTumorSegLib.private_folder import PrivateFolder\n"
               "folder = PrivateFolder(pathlib.Path(sys.argv[1])); (folder.path / 'image.nii').write_bytes(b'patient')\n"
               "print(folder.path, flush=True); os._exit(9)")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, env=environment)
    left = tmp_path / os.path.basename(done.stdout.strip())
    assert (left / "image.nii").exists()
    age(left)
    with PrivateFolder(tmp_path):
        assert not left.exists()


def test_the_folder_of_a_living_slicer_is_left_alone(tmp_path):
    with PrivateFolder(tmp_path) as mine:
        age(mine)
        remove_leftovers(tmp_path)
        assert mine.exists()


def test_a_folder_made_this_minute_is_left_alone(tmp_path):
    young = tmp_path / "braintumorseg-young"
    young.mkdir()
    (young / ".in-use").touch()
    remove_leftovers(tmp_path)
    assert young.exists()
    age(young)
    remove_leftovers(tmp_path)
    assert not young.exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users of POSIX")
def test_the_folder_of_another_user_is_left_alone(tmp_path, monkeypatch):
    left = tmp_path / "braintumorseg-left"
    left.mkdir()
    (left / ".in-use").touch()
    age(left)
    monkeypatch.setattr(os, "getuid", lambda: left.stat().st_uid + 1)
    remove_leftovers(tmp_path)
    assert left.exists()
    monkeypatch.undo()
    remove_leftovers(tmp_path)
    assert not left.exists()


def test_other_folders_and_links_are_left_alone(tmp_path):
    other = tmp_path / "braintumorseg-results"
    other.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".in-use").touch()
    age(tmp_path / "elsewhere")
    (tmp_path / "braintumorseg-link").symlink_to(tmp_path / "elsewhere")
    remove_leftovers(tmp_path)
    assert other.exists()
    assert (tmp_path / "elsewhere").exists()
