"""`python -m braintumorseg`, what it puts in order first, and the signals that end it."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from braintumorseg.cli import main
from braintumorseg.io import owner

ROOT = Path(__file__).parents[2]


def run(*arguments, **environment):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment})


def python(program):
    return run("-c", program)


def test_it_is_the_command():
    done = run("-m", "braintumorseg", "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("braintumorseg ")


INTERRUPTED = """
import sys

class Ctrl_C:
    def find_spec(self, name, path=None, target=None):
        if name == "braintumorseg.cli":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Ctrl_C())
"""


@pytest.mark.parametrize("begins", ["import runpy; runpy.run_module('braintumorseg', run_name='__main__')", None])
def test_an_interrupt_while_it_is_being_imported_exits_130_in_one_line(begins):
    script = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]["braintumorseg"]
    module, _, name = script.partition(":")
    done = python(INTERRUPTED + (begins or f"from {module} import {name}; sys.exit({name}())"))
    assert (done.returncode, done.stderr) == (130, "braintumorseg: The run was cancelled.\n")


HURT = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)   # whoever runs the tests may ignore it

class Numpy:
    def find_spec(self, name, path=None, target=None):
        if name == "braintumorseg.cli":
            if SIGNAL:
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                except KeyboardInterrupt:
                    pass
            raise ImportError("a bad install")

sys.meta_path.insert(0, Numpy())
from braintumorseg.__main__ import main
sys.exit(main())
"""


def test_an_interrupt_of_which_an_import_made_an_error_of_its_own_is_an_interrupt_all_the_same():
    done = python("SIGNAL = True" + HURT)
    assert (done.returncode, done.stderr) == (130, "braintumorseg: The run was cancelled.\n")
    done = python("SIGNAL = False" + HURT)
    assert done.returncode == 1 and "ImportError: a bad install" in done.stderr


def test_an_interrupt_that_is_ignored_stays_ignored():
    """As in a process that a shell has put into the background."""
    done = python("import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.argv = ['braintumorseg', '--version']\n"
                  "from braintumorseg.__main__ import main\n"
                  "try: main()\nfinally: print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)")
    assert done.stdout.splitlines()[-1] == "True"


def test_usage_errors_exit_2():
    assert run("-m", "braintumorseg", "nonsense").returncode == 2


def test_patients_files_that_a_killed_run_left_go_with_the_next_run_that_writes_whatever_its_verb(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"braintumorseg-pacs-{owner._host()}-{os.getpid()}-1-abcd"
    left.mkdir()
    assert main(["study", str(tmp_path / "nowhere")]) == 1
    assert left.exists()   # it writes nothing
    assert main(["anonymise", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 1
    assert not left.exists()


@pytest.mark.skipif(os.name != "posix", reason="this system has no SIGHUP")
def test_a_run_under_nohup_does_not_mind_its_terminal(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr("braintumorseg.verbs.doctor", lambda args, talk: seen.append(signal.getsignal(signal.SIGHUP)))
    before = signal.getsignal(signal.SIGHUP)
    try:
        for handler in (signal.SIG_IGN, signal.SIG_DFL):
            signal.signal(signal.SIGHUP, handler)
            assert main(["doctor"]) == 0
            assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == [signal.SIG_IGN, signal.default_int_handler]
