"""The secret behind the pseudonyms: kept before it is used, and one for all who name its file."""

import os
import stat
import threading

import pytest

from braintumorseg import pseudonyms
from braintumorseg.errors import ConfigError, OutputError
from braintumorseg.pseudonyms import secret_from


def test_a_new_secret_is_in_its_file_once_it_is_known(tmp_path):
    secret = secret_from(tmp_path / "seed")
    assert bytes.fromhex((tmp_path / "seed").read_text()) == secret
    assert secret_from(tmp_path / "seed") == secret
    assert os.name != "posix" or stat.S_IMODE((tmp_path / "seed").stat().st_mode) == 0o600


def test_without_a_file_every_secret_is_another():
    assert len({secret_from(None) for _ in range(5)}) == 5


def test_a_secret_that_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(OutputError, match="seed cannot be written"):
        secret_from(tmp_path / "nodir" / "seed")


def test_a_link_to_nowhere_is_no_seed_file(tmp_path):
    (tmp_path / "seed").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="seed is a link to a file that is not there"):
        secret_from(tmp_path / "seed")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_is_no_seed_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        secret_from(tmp_path)


def test_runs_that_begin_together_use_one_secret(tmp_path):
    together, found = threading.Barrier(8), []

    def run():
        together.wait()
        found.append(secret_from(tmp_path / "seed"))

    runs = [threading.Thread(target=run) for _ in range(8)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert found == [bytes.fromhex((tmp_path / "seed").read_text())] * 8


def test_the_run_that_comes_second_takes_the_secret_of_the_first(tmp_path, monkeypatch):
    first = secret_from(tmp_path / "seed")
    monkeypatch.setattr(os.path, "lexists", lambda _: False)   # it looked just before the other made the file
    assert secret_from(tmp_path / "seed") == first


def test_a_file_that_another_run_has_not_filled_yet_is_waited_for(tmp_path, monkeypatch):
    (tmp_path / "seed").touch(0o600)
    monkeypatch.setattr(pseudonyms.time, "sleep", lambda _: (tmp_path / "seed").write_text("ab" * 32))
    assert secret_from(tmp_path / "seed") == b"\xab" * 32


def test_a_file_that_stays_empty_is_no_seed_file(tmp_path, monkeypatch):
    (tmp_path / "seed").touch(0o600)
    monkeypatch.setattr(pseudonyms.time, "sleep", lambda _: None)
    with pytest.raises(ConfigError, match="not a seed file"):
        secret_from(tmp_path / "seed")


def test_a_disk_that_is_full_leaves_no_empty_seed_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        secret_from(tmp_path / "seed")
    assert not (tmp_path / "seed").exists()
