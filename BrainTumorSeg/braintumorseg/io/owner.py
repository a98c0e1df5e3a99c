"""Whose folder is this? Temporary folders carry the process that made them in their name, so that what a killed run left can be told
from what a live one still needs.

The mark is part of the name, not a file inside, so that there is no moment at which a folder exists without it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import time
from pathlib import Path

__all__ = ["MARK", "is_abandoned", "owner_mark", "remove_folder"]

# What `owner_mark` returns, as a regular expression: machine, process, and when it began (numbers of processes are used again).
MARK = r"[0-9a-f]{8}-[0-9]+-[0-9]+"
# A process on another machine (a shared disk) or in another container cannot be asked whether it lives; no run takes that long.
_SILENT_FOR_S = 24 * 3600


def owner_mark() -> str:
    """This process as a piece of a file name."""
    return f"{_host()}-{os.getpid()}-{_began(os.getpid())}"


def is_abandoned(folder: Path) -> bool:
    """True when the process whose mark is in the name of `folder` is gone. False for a link, another user's folder, and in doubt."""
    host, pid, began = re.findall(MARK, folder.name)[-1].split("-")
    try:
        facts = folder.lstat()
        if folder.is_symlink() or not folder.is_dir() or (hasattr(os, "getuid") and facts.st_uid != os.getuid()):
            return False
        if host != _host():
            return time.time() - _last_change(folder) > _SILENT_FOR_S
    except OSError:   # another run may have removed it just now
        return False
    return _began(int(pid)) not in (began, "")


def remove_folder(folder: Path) -> None:
    """Delete a folder and all in it, as far as the system allows; links inside are deleted, never followed."""
    shutil.rmtree(folder, ignore_errors=True)


def _host() -> str:
    """This machine; a container that has processes of its own counts as another, even under the same name."""
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:   # not on Linux
        processes = ""
    return hashlib.sha256(f"{platform.node()}{processes}".encode()).hexdigest()[:8]


def _began(pid: int) -> str:
    """When process `pid` began, the same at every call; '0' when there is none, '' when the system does not tell."""
    import psutil

    try:
        # On Linux psutil reckons from the clock, which may be set meanwhile; the kernel's own count since boot (field 22) stays.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        return str(int(psutil.Process(pid).create_time()))
    except psutil.NoSuchProcess:
        return "0"
    except psutil.Error:
        return ""


def _last_change(folder: Path) -> float:
    times = [max(folder.lstat().st_mtime, folder.lstat().st_ctime)]  # a rename changes only the second
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                times.append(os.lstat(os.path.join(place, name)).st_mtime)
            except OSError:
                continue
    return max(times)
