import errno
import json
import os
from collections import namedtuple
from pathlib import Path

import pytest

from BrainTumorSegLib import install_child
from BrainTumorSegLib.runtime_choice import RUNTIMES

NO_NETWORK = """WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(... Temporary failure in name resolution)'
ERROR: Could not find a version that satisfies the requirement numpy>=2.0 (from versions: none)
ERROR: No matching distribution found for numpy>=2.0"""
MISSING = """ERROR: Could not find a version that satisfies the requirement onnxruntime>=1.23 (from versions: 1.20.0)
ERROR: No matching distribution found for onnxruntime>=1.23"""
FROM_OS = "ERROR: Could not install packages due to an OSError: "


@pytest.fixture(autouse=True)
def without_stdin(monkeypatch):
    monkeypatch.setattr(install_child, "_watch_stdin", lambda cancel: None)


@pytest.mark.parametrize(("text", "wheels", "kind", "words"), [
    (NO_NETWORK, None, "NoConnection", "Install from folder"),
    ("ERROR: SSLError(SSLCertVerificationError(...))", None, "NoConnection", "proxy"),
    (MISSING, None, "PackageMissing", "current Slicer"),
    (MISSING, Path("wheels"), "PackageMissing", "fill_wheel_folder.py"),
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", None, "DiskFull", "Free some space"),
    ("ERROR: [Errno 13] Permission denied: 'x'", None, "NoPermission", "administrator"),
    (f"{FROM_OS}[WinError 5] Access is denied: 'C:\\\\x.pyd'", None, "FileHeld", "virus scanner"),
    (f"{FROM_OS}[WinError 5] Zugriff verweigert: 'C:\\\\x.pyd'", None, "FileHeld", "virus scanner"),
    (f"{FROM_OS}[WinError 32] The process cannot access the file because it is being used by another process", None, "FileHeld", "Wait a minute"),
    (f"{FROM_OS}[Errno 2] No such file or directory: 'C:\\\\...'\nHINT: This error might have occurred since this system does not have Windows Long "
     "Path support enabled.", None, "PathTooLong", "long paths"),
    ("ERROR: something new", None, "PipFailed", "error report"),
])
def test_what_pip_said_becomes_a_cause_and_a_fix(text, wheels, kind, words):
    found, what, fix = install_child._why(text, wheels)
    assert found == kind
    assert words in fix
    assert what.endswith(".")
    if text == MISSING:
        assert "onnxruntime" in what


def test_a_disk_without_room_is_told_before_anything_is_downloaded(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(install_child.shutil, "disk_usage", lambda folder: namedtuple("usage", "total used free")(1, 1, 500_000_000))
    monkeypatch.setattr(install_child, "_run_pip", lambda *_: pytest.fail("pip was run"))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("numpy>=2.0\n")
    assert install_child.main(["--folder", str(tmp_path / "engine"), "--runtime", "cpu", "--requirements", str(requirements)]) == 1
    said = capsys.readouterr().out
    assert "DiskFull" in said
    assert "500 MB" in said
    assert RUNTIMES["cpu"].disk_mb > 500


def test_a_folder_that_cannot_be_made_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert install_child.main(["--folder", str(tmp_path / "file" / "engine"), "--runtime", "cpu", "--requirements", str(tmp_path / "none")]) == 1
    assert "FolderFailed" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "kind"), [(OSError("[WinError 32] Der Prozess kann nicht auf die Datei zugreifen"), "FileHeld"),
                                             (PermissionError(errno.EACCES, "Permission denied"), "NoPermission")])
def test_a_folder_that_may_not_be_written_says_what_helps(monkeypatch, tmp_path, capsys, error, kind):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert install_child.main(["--folder", str(tmp_path / "engine"), "--runtime", "cpu", "--requirements", str(tmp_path / "none")]) == 1
    assert kind in capsys.readouterr().out


def a_folder(tmp_path):
    folder = tmp_path / "engine"
    (folder / "packages-1" / "numpy").mkdir(parents=True)
    (folder / "engine.json").write_text("{}")
    for name in "abc":
        (folder / "packages-1" / "numpy" / name).write_bytes(b"x" * 1_000_000)
    return folder


def remove(folder, capsys):
    code = install_child.main(["--folder", str(folder), "--remove"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_remove_deletes_the_folder_and_follows_no_link(tmp_path, capsys):
    folder, outside = a_folder(tmp_path), tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (folder / "link").symlink_to(outside)
    assert remove(folder, capsys) == (0, {"result": {"files": 6}})
    assert not folder.exists()
    assert (outside / "kept").exists()
    assert remove(folder, capsys)[0] == 0, "what is gone is removed"


def test_a_file_that_cannot_be_deleted_is_said_with_what_is_left_and_the_others_go(tmp_path, capsys, monkeypatch):
    folder, unlink = a_folder(tmp_path), os.unlink

    def refuses(path, *args, **options):
        if str(path).endswith("b"):
            raise OSError(errno.EBUSY, "In use")
        unlink(path, *args, **options)

    monkeypatch.setattr(install_child.os, "unlink", refuses)
    code, said = remove(folder, capsys)
    assert (code, said["error"]["kind"]) == (1, "NotRemoved")
    assert "In use" in said["error"]["what"]
    assert f"1 MB are left in {folder}" in said["error"]["what"]
    assert "Remove again" in said["error"]["fix"]
    assert [path.name for path in folder.rglob("*") if path.is_file()] in (["install.lock", "b"], ["b", "install.lock"])


def test_a_removal_that_is_stopped_leaves_no_engine_that_seems_whole(tmp_path, capsys, monkeypatch):
    folder = a_folder(tmp_path)
    monkeypatch.setattr(install_child, "_watch_stdin", lambda cancel: cancel.set())
    monkeypatch.setattr(install_child.threading.Thread, "start", lambda thread: thread.run())
    assert remove(folder, capsys)[0] == 130
    assert not (folder / "engine.json").exists()
    assert (folder / "packages-1").exists()
