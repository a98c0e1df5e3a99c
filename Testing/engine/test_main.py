"""`python -m braintumorseg`, as the panel starts it."""

import os
import subprocess
import sys


def run(*arguments, **environment):
    return subprocess.run([sys.executable, "-m", "braintumorseg", *arguments], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment})


def test_it_is_the_command():
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("braintumorseg ")


def test_usage_errors_exit_2():
    assert run("nonsense").returncode == 2


def test_the_folders_of_braintumorseg_path_come_before_all_others(tmp_path):
    """Slicer's launcher of Python puts Slicer's packages before PYTHONPATH."""
    (tmp_path / "psutil.py").write_text("raise ImportError('the one of BRAINTUMORSEG_PATH')")
    done = run("doctor", BRAINTUMORSEG_PATH=str(tmp_path))
    assert "the one of BRAINTUMORSEG_PATH" in done.stderr
