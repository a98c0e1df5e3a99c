import errno
import os

import pytest

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
