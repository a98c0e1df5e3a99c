import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "BrainTumorSeg" / "Resources" / "fill_wheel_folder.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("fill_wheel_folder", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_asks_pip_for_wheels_of_the_other_system(script, monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(script.subprocess, "run", lambda command: commands.append(command) or type("Done", (), {"returncode": 0}))
    assert script.main(["--out", str(tmp_path), "--python", "3.12", "--system", "windows", "--runtime", "cuda13"]) == 0
    command = commands[0]
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[command.index("--python-version") + 1] == "3.12"
    assert command[command.index("--platform") + 1] == "win_amd64"
    assert "--only-binary=:all:" in command
    assert "onnxruntime-gpu[cuda,cudnn]>=1.31" in command
    assert "SimpleITK>=2.5" in command


def test_the_conditions_of_this_computer_do_not_decide_for_another(script, tmp_path):
    command = script.pip_command(tmp_path, "3.12", "windows", "cpu")
    assert "openvino>=2025.4" in command
    assert not any(";" in word for word in command)


def test_a_mac_gets_the_last_runtime_that_it_can_use(script, tmp_path):
    assert "onnxruntime>=1.23,<1.24" in script.pip_command(tmp_path, "3.12", "macos", "cpu-macos")


def test_a_gpu_for_a_mac_is_wrong_usage(script, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        script.main(["--out", str(tmp_path), "--system", "macos", "--runtime", "cuda13"])
    assert stop.value.code == 2
    assert "macOS" in capsys.readouterr().err
