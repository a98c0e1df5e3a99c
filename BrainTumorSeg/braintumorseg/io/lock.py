"""A file that one process at a time holds. The system lets go of it when that process ends, however it ends."""

from __future__ import annotations

import errno
import os
import time
from typing import IO

__all__ = ["hold"]

# Disks that know no locks (some of clusters, mounted without): there nothing is held, and nobody is kept out.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_BEYOND = 2**30   # Windows keeps others from reading the bytes that are locked, so that is one after the end
_LOOKS, _LOOK_S = 5, 0.05


def hold(stream: IO, shared: bool = False) -> bool:
    """Hold the open, writable file until it is closed; False when another process does. `shared`: with others that ask likewise."""
    try:
        import fcntl
    except ImportError:
        return _hold_on_windows(stream, shared)
    try:
        fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _hold_on_windows(stream: IO, shared: bool) -> bool:
    """Windows' C library has no shared lock: who asks for one sees whether another holds the file, and does not keep that one out afterwards."""
    import msvcrt

    for look in range(_LOOKS):
        os.lseek(stream.fileno(), _BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            if look + 1 < _LOOKS:   # it may only be one that looks, as below
                time.sleep(_LOOK_S)
            continue
        if shared:
            os.lseek(stream.fileno(), _BEYOND, os.SEEK_SET)
            msvcrt.locking(stream.fileno(), msvcrt.LK_UNLCK, 1)
        return True
    return False
