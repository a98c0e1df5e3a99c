import errno
import os
import sys
import threading
from types import SimpleNamespace

import pytest

from braintumorseg.io import lock
from braintumorseg.io.lock import hold

fcntl = pytest.importorskip("fcntl")


def test_one_holds_it_alone_or_several_share_it(tmp_path):
    with (tmp_path / "lock").open("a+") as one, (tmp_path / "lock").open("a+") as other:
        assert hold(one)
        assert not hold(other)
        assert not hold(other, shared=True)
    with (tmp_path / "lock").open("a+") as one, (tmp_path / "lock").open("a+") as other:
        assert hold(one, shared=True)
        assert hold(other, shared=True)
        assert not hold(other)


def test_a_disk_that_knows_no_locks_keeps_nobody_out(tmp_path, monkeypatch):
    def refuses(stream, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuses)
    with (tmp_path / "lock").open("a+") as stream:
        assert hold(stream)


@pytest.fixture
def windows(monkeypatch):
    """Windows' C library in small: a byte range that one open file holds, from where it stands; none is shared."""
    held = {}

    def locking(descriptor, mode, count):
        place = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        if mode == "unlock":
            assert held.pop(place) == descriptor
        elif held.setdefault(place, descriptor) != descriptor:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK="lock", LK_UNLCK="unlock"))
    return locking


def test_on_windows_who_would_share_a_file_sees_that_another_holds_it_alone(tmp_path, windows):
    with (tmp_path / "lock").open("a+") as one, (tmp_path / "lock").open("a+") as other, (tmp_path / "lock").open("rb") as third:
        assert hold(one, shared=True) and hold(other, shared=True) and hold(third, shared=True)
        assert hold(one)
        assert not hold(other)
        assert not hold(other, shared=True) and not hold(third, shared=True)


def test_on_windows_one_that_only_looks_keeps_nobody_out(tmp_path, windows, monkeypatch):
    monkeypatch.setattr(lock, "_LOOK_S", 0.2)
    with (tmp_path / "lock").open("a+") as one, (tmp_path / "lock").open("a+") as other:
        os.lseek(one.fileno(), lock._BEYOND, os.SEEK_SET)
        windows(one.fileno(), "lock", 1)
        threading.Timer(0.1, windows, (one.fileno(), "unlock", 1)).start()
        assert hold(other, shared=True)
