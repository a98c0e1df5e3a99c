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
