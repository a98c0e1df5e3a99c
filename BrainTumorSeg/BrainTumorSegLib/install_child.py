"""Installs the engine's packages into a private folder, or deletes them: the child process behind Installation. Standard library only.

    python -m BrainTumorSegLib.install_child --folder DIR --runtime NAME --requirements FILE [--wheels DIR]
    python -m BrainTumorSegLib.install_child --folder DIR --remove

Speaks the engine's protocol (JSON lines; closing stdin cancels). pip unpacks into a fresh folder; the manifest that names it is
written last and atomically, so what was there before stays in use until then. A stop keeps pip's downloads for the next try.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from .manifest import Manifest, requirements_hash
from .private_folder import try_lock
from .runtime_choice import RUNTIMES, Runtime, read_requirements

__all__ = ["main"]

_MODULES = {"pillow": "PIL", "python-gdcm": "gdcm"}  # packages whose modules have another name
_DOWNLOAD_SHARE, _CHECK_SHARE = 0.6, 0.05  # of a run; from a folder of wheels there is no download
_POLL_S = 0.5
_PIP_REASONS = tuple((re.compile(pattern, re.I), kind, what, fix) for pattern, kind, what, fix in (  # first match wins
    (r"no space left|disk quota|errno 28|winerror 112", "DiskFull", "The disk is full.",
     "Free some space and press Install again; it goes on where it was."),
    (r"long path support|winerror 206", "PathTooLong", "A file's path is longer than this Windows allows.",
     "Switch on long paths (Windows' policy 'Enable Win32 long paths'; it needs an administrator), restart Windows and press Install again."),
    (r"winerror (?:5|32)\b", "FileHeld",  # the number alone: Windows says the rest in its own language
     "Windows did not let a file of the engine be written: another program, often a virus scanner, holds it, or you may not write there.",
     "Wait a minute and press Install again; it goes on where it was. If that does not help, let the virus scanner leave out the folder of Slicer's "
     "settings, or ask your administrator for write access to it."),
    (r"permission denied|access is denied|errno 13|read-only file system", "NoPermission", "The folder of Slicer's settings may not be written.",
     "Ask your administrator for write access to it."),
    (r"newconnectionerror|failed to establish|name resolution|getaddrinfo|proxyerror|sslerror|certificate|timed out|connection (abort|reset|broken)",
     "NoConnection", "The packages could not be downloaded: the package server does not answer.",
     "Check the network and the proxy and press Install again; it goes on where it was. Without a network use 'Install from folder'."),
    (r"no matching distribution|could not find a version", "PackageMissing", "A package was not found for this Python ({package}).", ""),
))
_OF_THE_DISK = 4  # of these reasons, the first; the others are pip's


class _Failed(Exception):
    """kind, what, fix."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="install_child")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--remove", action="store_true")
    parser.add_argument("--runtime", choices=tuple(RUNTIMES))
    parser.add_argument("--requirements", type=Path)
    parser.add_argument("--wheels", type=Path)
    args = parser.parse_args(arguments)
    if not (args.remove or (args.runtime and args.requirements)):
        parser.error("an installation needs --runtime and --requirements")
    cancel = threading.Event()
    threading.Thread(target=_watch_stdin, args=(cancel,), daemon=True).start()
    try:
        result = _remove(args.folder, cancel) if args.remove else _install(args.folder, RUNTIMES[args.runtime], args.requirements, args.wheels,
                                                                          cancel)
        _print({"result": result})
    except _Failed as error:
        kind, what, fix = error.args
        _print({"error": {"kind": kind, "what": what, "fix": fix}})
        return 130 if kind == "Cancelled" else 1
    except OSError as error:
        known = (reason[1:] for reason in _PIP_REASONS[:_OF_THE_DISK] if reason[0].search(str(error)))
        kind, what, fix = next(known, None) or ("FolderFailed", f"The engine's private folder cannot be used ({error.strerror}).",
                                    "Look at what is in its place, or ask your administrator.")
        _print({"error": {"kind": kind, "what": what, "fix": fix}})
        return 1
    return 0


def _install(folder: Path, runtime: Runtime, requirements_file: Path, wheels: Path | None, cancel: threading.Event) -> dict:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "install.lock").open("a+b") as lock:
        _hold(lock)
        _sweep(folder)
        requirements = read_requirements(requirements_file)
        _check_disk(folder, runtime)
        packages = folder / f"packages-{secrets.token_hex(4)}"
        try:
            _run_pip(folder, packages, [*requirements, *runtime.requirements], runtime, wheels, cancel)
            _check_imports(packages, requirements, cancel)
            if cancel.is_set():
                raise _Failed("Cancelled", "The installation was cancelled.", "")
            manifest = Manifest(packages.name, requirements_hash(requirements), runtime.name, tuple(sorted(os.listdir(packages))))
            manifest.write(folder)
        finally:
            shutil.rmtree(folder / "tmp", ignore_errors=True)
            _sweep(folder)  # the new packages too, unless the manifest names them
        shutil.rmtree(folder / "downloads", ignore_errors=True)
        return {"runtime": runtime.name, "mb": round(_bytes_in(packages) / 1e6)}


def _remove(folder: Path, cancel: threading.Event) -> dict:
    """Delete the folder. The manifest goes first: what is half deleted is no engine any more."""
    if not folder.is_dir():
        return {"files": 0}
    place = folder / "install.lock"
    with place.open("a+b") as lock:
        _hold(lock)
        Manifest.remove(folder)
        count = _delete_all_but(place, cancel)
        if os.name != "nt":
            place.unlink()  # still held, so it is ours and no newcomer's
    with contextlib.suppress(OSError):  # another Slicer may install anew already: then both stay
        if os.name == "nt":
            place.unlink()
        folder.rmdir()
    return {"files": count}


def _hold(lock) -> None:
    if not try_lock(lock):
        raise _Failed("Busy", "Another Slicer is installing or removing the engine at this moment.", "Wait until it has finished.")


def _delete_all_but(kept: Path, cancel: threading.Event) -> int:
    """Delete what else lies in the folder of `kept`; how many files and folders that were."""
    folder, left = kept.parent, []
    found = [os.path.join(where, name) for where, folders, files in os.walk(folder, topdown=False) for name in (*files, *folders)]
    doomed = [path for path in found if path != str(kept)]
    for number, path in enumerate(doomed):
        if cancel.is_set():
            raise _Failed("Cancelled", "The removal was stopped; some files are left.", "Press Remove to delete them.")
        if number % 1000 == 0:
            _tell("remove", number / len(doomed), None)
        try:
            _delete(path)
        except FileNotFoundError:  # someone was faster
            pass
        except OSError as error:
            left.append(error)
    if left:
        raise _Failed("NotRemoved", f"{len(left)} of {len(doomed)} files and folders could not be deleted ({left[0].strerror}); "
                                    f"{_bytes_in(folder) / 1e6:.0f} MB are left in {folder}.",
                      "Close other windows of Slicer and programs that use these files and press Remove again, or delete the folder yourself.")
    return len(doomed)


def _delete(path: str) -> None:
    remove = os.rmdir if os.path.isdir(path) and not os.path.islink(path) else os.unlink
    try:
        remove(path)
    except PermissionError:  # Windows deletes nothing that is marked as read-only
        if os.name != "nt":
            raise
        os.chmod(path, stat.S_IWRITE)
        remove(path)


def _check_disk(folder: Path, runtime: Runtime) -> None:
    needed = 1.1 * (runtime.disk_mb + runtime.download_mb)
    free = shutil.disk_usage(folder).free / 1e6
    if free < needed:
        raise _Failed("DiskFull", f"The disk of Slicer's settings has {free:.0f} MB free; the engine needs {needed:.0f} MB while it is installed.",
                      "Free some space and press Install again.")


def _run_pip(folder: Path, packages: Path, requirements: list, runtime: Runtime, wheels: Path | None, cancel: threading.Event) -> None:
    temporary, downloads = folder / "tmp", folder / "downloads"
    temporary.mkdir(exist_ok=True)
    downloads.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pip", "install", "--only-binary=:all:", "--no-input", "--disable-pip-version-check",
               "--no-warn-script-location", "--progress-bar", "off", "--cache-dir", str(downloads), "--target", str(packages)]
    if wheels is not None:
        command += ["--no-index", "--find-links", str(wheels)]
    # pip unpacks in the temporary folder and then moves: it should be on the same disk. Nothing of the user's may redirect it.
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary)), "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    process = subprocess.Popen([*command, *requirements], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    last, unpacking = deque(maxlen=200), threading.Event()
    reader = threading.Thread(target=_read_pip, args=(process.stdout, last, unpacking), daemon=True)
    reader.start()
    began = time.monotonic()
    while process.poll() is None:
        _tell_pip(began, unpacking.is_set(), temporary, downloads, packages, runtime, wheels is not None)
        if cancel.wait(_POLL_S):
            _stop(process)
            raise _Failed("Cancelled", "The installation was cancelled; what was downloaded is kept for the next time.", "")
    reader.join()
    if process.returncode != 0:
        text = "\n".join(last)
        print(text, file=sys.stderr)
        raise _Failed(*_why(text, wheels))


def _why(text: str, wheels: Path | None) -> tuple:
    for pattern, kind, what, fix in _PIP_REASONS:
        if pattern.search(text) and not (kind == "NoConnection" and wheels):
            found = re.search(r"No matching distribution found for ([\w.\[\],-]+)", text)
            if kind == "PackageMissing":
                fix = ("Fill the folder with Resources/fill_wheel_folder.py for this system and Python "
                       f"{sys.version_info.major}.{sys.version_info.minor}." if wheels else
                       "Use a current Slicer; if that does not help, copy the error report and send it to us.")
            return kind, what.format(package=found.group(1) if found else "unknown"), fix
    return ("PipFailed", "pip could not install the engine's packages.", "Copy the error report and send it to us.")


def _check_imports(packages: Path, requirements: Sequence[str], cancel: threading.Event) -> None:
    _tell("check", 1 - _CHECK_SHARE, None)
    names = [re.match(r"[\w-]+", requirement).group() for requirement in requirements]
    modules = ", ".join([*(_MODULES.get(name, name) for name in names), "onnxruntime"])
    code = f"import sys; sys.path.insert(0, {str(packages)!r}); import {modules}"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"})  # ONNX Runtime would report that it was loaded
    errors: list[bytes] = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True)
    reader.start()
    while process.poll() is None:
        if cancel.wait(_POLL_S):
            _stop(process)
            raise _Failed("Cancelled", "The installation was cancelled.", "")
    reader.join()
    if process.returncode != 0:
        print(errors[0].decode("utf-8", "replace"), file=sys.stderr)
        raise _Failed("PackagesBroken", "The packages were installed but cannot be loaded by Slicer's Python.",
                      "Copy the error report and send it to us.")


def _tell_pip(began: float, unpacking: bool, temporary: Path, downloads: Path, packages: Path, runtime: Runtime, offline: bool) -> None:
    """Progress by what really lies on the disk: pip itself tells only the start of each file."""
    downloaded = 0.0 if offline else _DOWNLOAD_SHARE
    if unpacking:
        step, first, last = "install", downloaded, 1 - _CHECK_SHARE
        share = _bytes_in(temporary, packages) / 1e6 / runtime.disk_mb
    else:
        step, first, last = "download", 0.0, downloaded
        share = max(_bytes_in(temporary), _bytes_in(downloads)) / 1e6 / runtime.download_mb
    done = first + (last - first) * min(share, 1.0)
    passed = time.monotonic() - began
    _tell(step, done, passed * (1 - done) / done if done > 0.05 else None)


def _tell(step: str, done: float, eta_s: float | None) -> None:
    _print({"step": step, "done": round(done, 4), "eta_s": None if eta_s is None else round(eta_s, 1)})


def _read_pip(stream, last: deque, unpacking: threading.Event) -> None:
    for line in stream:
        text = line.decode("utf-8", "replace").rstrip()
        last.append(text)
        if text.startswith("Installing collected packages"):
            unpacking.set()


def _bytes_in(*folders: Path) -> int:
    total = 0
    for folder in folders:
        for where, _, files in os.walk(folder):
            for name in files:
                with contextlib.suppress(OSError):  # gone meanwhile
                    total += os.lstat(os.path.join(where, name)).st_size
    return total


def _sweep(folder: Path) -> None:
    """Delete packages that no manifest names: of a stop, or of an older version."""
    manifest = Manifest.read(folder)
    for old in folder.glob("packages-*"):
        if manifest is None or old.name != manifest.packages:
            shutil.rmtree(old, ignore_errors=True)


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _watch_stdin(cancel: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin is not None and sys.stdin.buffer.raw.read(4096):
            pass
    cancel.set()


def _print(value: dict) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    sys.exit(main())
