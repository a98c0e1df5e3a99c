"""`python -m braintumorseg`."""

import os
import subprocess
import sys


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "braintumorseg", *arguments], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def test_it_is_the_command():
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("braintumorseg ")


def test_usage_errors_exit_2():
    assert run("nonsense").returncode == 2
