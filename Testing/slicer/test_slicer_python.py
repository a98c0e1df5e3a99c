import os
import sys
from pathlib import Path

from BrainTumorSegLib.slicer_python import engine_folder, find_python


def make_program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


SUFFIX = ".exe" if os.name == "nt" else ""


def test_the_launcher_on_path_comes_first(tmp_path):
    launcher = make_program(tmp_path / "elsewhere" / f"PythonSlicer{SUFFIX}")
    make_program(tmp_path / "bin" / f"PythonSlicer{SUFFIX}")
    assert find_python(str(tmp_path), which=lambda name: launcher) == launcher


def test_then_that_of_slicers_own_folder(tmp_path):
    launcher = make_program(tmp_path / "bin" / f"PythonSlicer{SUFFIX}")
    assert find_python(str(tmp_path), which=lambda name: None) == launcher


def test_the_programs_own_executable_only_if_it_is_a_python(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", make_program(tmp_path / "bin" / "SlicerApp-real"))
    found = find_python(str(tmp_path), which=lambda name: None)
    assert "Slicer" not in os.path.basename(found)
    assert os.path.isfile(found), "the Python that is embedded has a program of its own"
    monkeypatch.setattr(sys, "executable", make_program(tmp_path / "python3.11"))
    assert find_python(str(tmp_path), which=lambda name: None) == str(tmp_path / "python3.11")


def test_where_there_is_none_the_expected_place_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    assert find_python(str(tmp_path), which=lambda name: None) == str(tmp_path / "bin" / f"PythonSlicer{SUFFIX}")


def test_each_slicer_and_python_has_its_own_folder(tmp_path):
    folder = engine_folder(tmp_path / "slicer.org", "5.10", {})
    assert folder.parent == tmp_path / "slicer.org" / "BrainTumorSeg"
    assert folder.name.startswith(f"slicer-5.10-cp{sys.version_info.major}{sys.version_info.minor}-")
    assert engine_folder(tmp_path, "5.12", {}) != engine_folder(tmp_path, "5.10", {})


def test_on_windows_it_does_not_roam_with_the_profile(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    folder = engine_folder(Path("/roaming/slicer.org"), "5.10", {"LOCALAPPDATA": str(tmp_path)})
    assert folder.parent == tmp_path / "slicer.org" / "BrainTumorSeg"


def test_the_running_slicer_has_an_installation_in_its_settings_folder(host, monkeypatch):
    import slicer

    from BrainTumorSegLib.slicer_python import installation_of_slicer

    monkeypatch.delenv("BRAINTUMORSEG_PYTHON", raising=False)
    found = installation_of_slicer()
    assert not found.chosen
    assert found.folder.is_relative_to(Path(slicer.app.slicerUserSettingsFilePath).parent)


def test_a_site_chooses_a_python_by_variable_or_by_setting(host, monkeypatch):
    import slicer

    from BrainTumorSegLib.slicer_python import installation_of_slicer

    monkeypatch.setenv("BRAINTUMORSEG_PYTHON", sys.executable)
    assert installation_of_slicer().chosen
    assert installation_of_slicer().python == sys.executable
    monkeypatch.delenv("BRAINTUMORSEG_PYTHON")
    slicer.app.settings().setValue("BrainTumorSeg/Python", "/opt/python")
    try:
        assert installation_of_slicer().python == "/opt/python"
    finally:
        slicer.app.settings().remove("BrainTumorSeg/Python")
