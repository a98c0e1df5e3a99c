"""The engine's packages: their state, and real installations from a folder of tiny wheels."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import FakeProcess
from wheelhouse import make_wheelhouse, probe

from BrainTumorSegLib.install import Installation
from BrainTumorSegLib.manifest import Manifest, requirements_hash
from BrainTumorSegLib.runtime_choice import RUNTIMES, read_requirements

MODULE = Path(__file__).resolve().parents[2] / "BrainTumorSeg"
REQUIREMENTS = read_requirements(MODULE / "Resources" / "requirements.txt")


def installation(tmp_path, **options):
    options = {"runtime": RUNTIMES["cpu"], "make_process": FakeProcess, "python_version": (3, 12), **options}
    return Installation(tmp_path / "engine", MODULE, sys.executable, **options)


@pytest.fixture
def installed(tmp_path):
    """As an installation leaves it, without running pip."""
    found = installation(tmp_path)
    (found.folder / "packages-1" / "numpy").mkdir(parents=True)
    Manifest("packages-1", requirements_hash(REQUIREMENTS), "cpu", ("numpy",)).write(found.folder)
    return found


def test_nothing_installed_is_missing(tmp_path):
    assert installation(tmp_path).state().kind == "missing"
    assert not (tmp_path / "engine").exists(), "asking leaves no trace"


def test_a_complete_one_is_ready(installed):
    assert installed.state().ready
    assert "processor" in installed.state().text


def test_a_package_that_is_gone_breaks_it(installed):
    shutil.rmtree(installed.folder / "packages-1" / "numpy")
    assert installed.state().kind == "broken"
    shutil.rmtree(installed.folder / "packages-1")
    assert installed.state().kind == "broken"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"packages": "x"}'])
def test_a_damaged_manifest_counts_as_missing(installed, text):
    (installed.folder / "engine.json").write_text(text)
    assert installed.state().kind == "missing"


def test_newer_requirements_make_it_outdated(installed):
    Manifest("packages-1", requirements_hash(["numpy>=1.0"]), "cpu", ("numpy",)).write(installed.folder)
    assert installed.state().kind == "outdated"


def test_a_new_driver_leaves_it_ready_and_is_mentioned(installed, tmp_path):
    assert "driver has changed" in installation(tmp_path, runtime=RUNTIMES["cuda13"]).state().text
    assert installation(tmp_path, runtime=RUNTIMES["cuda13"]).state().ready


def test_an_old_python_is_unsupported_and_says_what_to_do(tmp_path):
    state = installation(tmp_path, python_version=(3, 9)).state()
    assert state.kind == "unsupported"
    assert "5.10" in state.text
    assert "BRAINTUMORSEG_PYTHON" in state.text


def test_the_question_says_size_place_and_that_slicer_is_not_changed(tmp_path):
    question = installation(tmp_path).question
    assert "220 MB" in question
    assert "900 MB" in question
    assert str(tmp_path / "engine") in question
    assert "change nothing" in question
    assert "1.7 GB" in installation(tmp_path, runtime=RUNTIMES["cuda13"]).question


def test_the_engine_sees_its_own_packages_first_and_no_others_of_the_user(installed):
    environment = installed.environment()
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(MODULE), str(installed.folder / "packages-1")]
    assert environment["BRAINTUMORSEG_PATH"] == environment["PYTHONPATH"]
    assert environment["PYTHONNOUSERSITE"] == environment["PYTHONSAFEPATH"] == "1"


@pytest.mark.skipif(os.name == "nt", reason="the launcher is a shell script")
def test_the_engine_runs_from_our_folders_whatever_a_launcher_of_python_makes_of_pythonpath(installed, tmp_path):
    (tmp_path / "slicers" / "braintumorseg").mkdir(parents=True)  # Slicer's own packages come first in PYTHONPATH
    (tmp_path / "slicers" / "braintumorseg" / "__init__.py").touch()
    (tmp_path / "slicers" / "braintumorseg" / "__main__.py").write_text("raise SystemExit('the wrong one')")
    launcher = tmp_path / "PythonSlicer"
    launcher.write_text(f"#!/bin/sh\nPYTHONPATH='{tmp_path / 'slicers'}' exec '{sys.executable}' \"$@\"\n")
    launcher.chmod(0o755)
    command = [str(launcher), *installed.command()[1:], "--version"]
    done = subprocess.run(command, env={**os.environ, **installed.environment()}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, "braintumorseg"), done.stderr


def test_a_chosen_python_loses_slicers_home_and_keeps_its_own_packages(tmp_path):
    chosen = installation(tmp_path, chosen=True, environment={"PYTHONHOME": "/slicer", "PATH": "/bin"})
    environment = chosen.environment()
    assert "PYTHONHOME" not in environment
    assert "PYTHONNOUSERSITE" not in environment
    assert environment["PYTHONPATH"] == str(MODULE)
    assert environment["BRAINTUMORSEG_PYTHON"] == chosen.python
    assert chosen.state().ready
    assert "Not tested yet" in chosen.state().text


def test_a_chosen_python_that_is_not_there_is_broken(tmp_path):
    gone = Installation(tmp_path, MODULE, str(tmp_path / "python"), chosen=True, make_process=FakeProcess)
    assert gone.state().kind == "broken"
    assert "BRAINTUMORSEG_PYTHON" in gone.state().text


def test_the_self_test_keeps_what_a_session_really_used(installed):
    outcomes = []
    assert installed.last_self_test is None
    installed.self_test(outcomes.append)
    assert FakeProcess.last.command == (*installed.command(), "doctor", "--json")
    FakeProcess.last.say(b'{"session": {"provider": "CUDAExecutionProvider"}, "problems": []}\n')
    FakeProcess.last.end(0, "")
    assert outcomes[0].result["session"]["provider"] == "CUDAExecutionProvider"
    assert installed.last_self_test["session"]["provider"] == "CUDAExecutionProvider"


def test_a_chosen_python_whose_self_test_failed_is_broken_until_it_passes(tmp_path):
    chosen = installation(tmp_path, chosen=True)
    chosen.self_test(lambda outcome: None)
    FakeProcess.last.complain(b"ModuleNotFoundError: No module named 'scipy'")
    FakeProcess.last.end(1, "")
    assert chosen.state().kind == "broken"
    assert "Repair" not in chosen.state().text
    chosen.self_test(lambda outcome: None)
    FakeProcess.last.say(b'{"problems": []}\n')
    FakeProcess.last.end(0, "")
    assert chosen.state().ready


def test_a_cancelled_self_test_is_forgotten(installed):
    installed.self_test(lambda outcome: None).cancel()
    FakeProcess.last.end(130, "")
    assert installed.last_self_test is None


def test_an_engine_that_is_being_removed_is_not_used(installed):
    process = installed.remove(lambda *told: None, lambda outcome: None)
    assert FakeProcess.last.command[-3:] == ("--folder", str(installed.folder), "--remove")
    assert process.running
    assert installed.state().kind == "missing"
    FakeProcess.last.say(b'{"error": {"kind": "Busy", "what": "Another Slicer is installing.", "fix": "Wait."}}\n')
    FakeProcess.last.end(1, "")
    assert installed.state().ready, "nothing was deleted"


def test_what_a_stopped_installation_or_removal_left_can_be_removed(tmp_path):
    found = installation(tmp_path)
    assert not found.removable
    (found.folder / "packages-1").mkdir(parents=True)
    assert found.state().kind == "missing"
    assert found.removable
    assert not installation(tmp_path, chosen=True).removable


class Real:
    """Installs with real pip in a real child on the Qt host."""

    def __init__(self, host, tmp_path):
        from BrainTumorSegLib.qt_process import QtProcess

        self.host, self.progress, self.outcomes = host, [], []
        self.installation = installation(tmp_path, make_process=QtProcess, python_version=sys.version_info[:2])
        self.folder = self.installation.folder

    def start(self, wheels):
        self.outcomes.clear()
        return self.installation.install(lambda *told: self.progress.append(told), self.outcomes.append, wheels=wheels)

    def outcome(self):
        assert self.host.spin(until=lambda: self.outcomes, seconds=120)
        return self.outcomes[0]


@pytest.fixture
def real(host, tmp_path, monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)   # set for all tests; an installation has to see to it itself
    return Real(host, tmp_path)


def test_an_installation_from_a_folder_is_ready_and_leaves_no_scraps(real, tmp_path):
    real.start(make_wheelhouse(tmp_path / "größe wheels"))
    outcome = real.outcome()
    assert outcome.ok, outcome
    assert outcome.result["runtime"] == "cpu"
    assert real.installation.state().ready
    assert {step for step, *_ in real.progress} >= {"download", "check"}
    manifest = Manifest.read(real.folder)
    assert "numpy" in manifest.entries
    assert sorted(entry.name for entry in real.folder.iterdir()) == sorted(["engine.json", "install.lock", manifest.packages])


def test_the_engine_runs_on_what_was_installed(real, tmp_path):
    """Its packages come before those of the Python that runs it, as they must before Slicer's."""
    real.start(make_wheelhouse(tmp_path / "wheels"))
    assert real.outcome().ok
    from BrainTumorSegLib.process import EngineProcess

    found = []
    EngineProcess(*probe(real.installation, tmp_path, "numpy"), on_finished=found.append).start()
    assert real.host.spin(until=lambda: found, seconds=60)
    assert found[0].result == "9999.0"


def test_a_wheel_that_is_missing_is_named_with_the_fix(real, tmp_path):
    real.start(make_wheelhouse(tmp_path / "wheels", leave_out=("scipy",)))
    outcome = real.outcome()
    assert outcome.error_kind == "PackageMissing"
    assert "scipy" in outcome.what
    assert "fill_wheel_folder.py" in outcome.fix
    assert real.installation.state().kind == "missing"
    assert [entry.name for entry in real.folder.iterdir() if entry.name.startswith("packages")] == []


def test_packages_that_cannot_be_imported_are_not_taken(real, tmp_path):
    real.start(make_wheelhouse(tmp_path / "good"))
    assert real.outcome().ok
    before = Manifest.read(real.folder)
    real.start(make_wheelhouse(tmp_path / "bad", broken=("nibabel",)))
    assert real.outcome().error_kind == "PackagesBroken"
    assert Manifest.read(real.folder) == before
    assert real.installation.state().ready, "what was there stays in use"


def test_a_cancelled_installation_leaves_what_was_there(real, tmp_path):
    process = real.start(make_wheelhouse(tmp_path / "wheels"))
    assert real.host.spin(until=lambda: real.progress, seconds=60)
    process.cancel()
    assert real.outcome().cancelled
    assert real.installation.state().kind == "missing"
    assert [entry.name for entry in real.folder.iterdir() if entry.name.startswith("packages")] == []


def test_a_repair_replaces_damaged_packages(real, tmp_path):
    wheels = make_wheelhouse(tmp_path / "wheels")
    real.start(wheels)
    assert real.outcome().ok
    first = Manifest.read(real.folder).packages
    shutil.rmtree(real.folder / first / "numpy")
    real.outcomes.clear()
    real.installation.install(lambda *told: None, real.outcomes.append, wheels=wheels)
    assert real.outcome().ok
    assert real.installation.state().ready
    assert not (real.folder / first).exists()


def test_two_slicers_do_not_install_at_once(real, tmp_path):
    from BrainTumorSegLib.private_folder import try_lock

    real.folder.mkdir(parents=True)
    with (real.folder / "install.lock").open("a+b") as lock:
        assert try_lock(lock)
        real.start(make_wheelhouse(tmp_path / "wheels"))
        assert real.outcome().error_kind == "Busy"


def test_remove_leaves_nothing_and_is_done_by_a_child(real):
    packages = real.folder / "packages-1" / "numpy"
    packages.mkdir(parents=True)
    (packages / "__init__.py").write_text("")
    Manifest("packages-1", requirements_hash(REQUIREMENTS), "cpu", ("numpy",)).write(real.folder)
    process = real.installation.remove(lambda *told: real.progress.append(told), real.outcomes.append)
    assert process.running
    assert packages.is_dir(), "the window does not wait for it"
    assert real.outcome().ok
    assert not real.folder.exists()
    assert real.progress[0][0] == "remove"


def test_nothing_is_removed_while_another_slicer_installs(real):
    from BrainTumorSegLib.private_folder import try_lock

    (real.folder / "packages-1").mkdir(parents=True)
    with (real.folder / "install.lock").open("a+b") as lock:
        assert try_lock(lock)
        real.installation.remove(lambda *told: None, real.outcomes.append)
        assert real.outcome().error_kind == "Busy"
    assert (real.folder / "packages-1").is_dir()


def test_a_manifest_is_read_back(tmp_path):
    manifest = Manifest("packages-1", "hash", "cpu", ("a", "b"))
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    assert json.loads((tmp_path / "engine.json").read_text())["packages"] == "packages-1"
