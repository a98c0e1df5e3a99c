"""The module's own tests in a real Slicer, where BRAINTUMORSEG_SLICER names its launcher."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "BrainTumorSeg"


@pytest.fixture(scope="module")
def slicer_command():
    launcher = os.environ.get("BRAINTUMORSEG_SLICER")
    if not launcher:
        pytest.skip("no 3D Slicer: set BRAINTUMORSEG_SLICER to its launcher")
    if not shutil.which(launcher):
        pytest.fail(f"BRAINTUMORSEG_SLICER names no program: {launcher}")
    screen = []
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        if not shutil.which("xvfb-run"):
            pytest.skip("no display and no xvfb-run (Debian package xvfb)")
        screen = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24"]
    return [*screen, launcher, "--no-splash", "--testing", "--additional-module-paths", str(MODULE)]


def run(command, folder, name, *options):
    """Run a unittest module inside Slicer as slicer_add_python_unittest does; the number of tests that ran, all well."""
    code = f"import slicer.testing; slicer.testing.runUnitTest([{str(folder)!r}], {name!r})"
    environment = {**os.environ, "BRAINTUMORSEG_PYTHON": os.environ.get("BRAINTUMORSEG_PYTHON", sys.executable)}
    # Slicer inherits nothing of the tests' own Python.
    environment = {key: value for key, value in environment.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "QT_QPA_PLATFORM")}
    with tempfile.TemporaryDirectory() as place:  # Slicer's DICOM module may leave an empty database where it was started
        done = subprocess.run([*command, *options, "--python-code", code], capture_output=True, text=True, timeout=1200, env=environment,
                              errors="replace", cwd=place)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-6000:]
    ran = re.search(r"Ran (\d+) tests? in", output)
    assert ran, output[-6000:]
    assert re.search(r"^OK", output, re.M), output[-6000:]
    return int(ran.group(1)), output


def test_the_process_and_the_installation_work_in_slicer(slicer_command):
    count, _ = run(slicer_command, Path(__file__).parent, "in_slicer_checks", "--no-main-window")
    assert count >= 11


def test_the_modules_self_tests_pass_in_slicer(slicer_command):
    count, output = run(slicer_command, MODULE, "BrainTumorSeg")
    assert count >= 5
    assert "skipped" not in output.rsplit("Ran ", 1)[-1], output[-3000:]
