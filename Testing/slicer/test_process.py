"""One run of the engine, with a child played by the test: every end is one outcome."""

import json
from pathlib import PureWindowsPath

import pytest
from fakes import FakeProcess

from BrainTumorSegLib.process import EngineProcess, without_paths


class Run:
    def __init__(self, *command):
        self.progress, self.outcomes = [], []
        self.process = EngineProcess(command or ("python", "-m", "braintumorseg", "segment"), {}, on_finished=self.outcomes.append,
                                     on_progress=lambda *told: self.progress.append(told), make_process=FakeProcess)
        self.child = FakeProcess.last

    def start(self):
        self.process.start()
        return self

    @property
    def outcome(self):
        assert len(self.outcomes) == 1
        assert not self.process.running
        return self.outcomes[0]


@pytest.fixture
def run():
    return Run().start()


def line(**values):
    return json.dumps(values).encode() + b"\n"


def test_progress_is_told_as_it_comes(run):
    run.child.say(line(step="read", done=0.1, eta_s=None))
    run.child.say(line(step="prepare", done=0.2) + line(step="predict", done=0.42, eta_s=3.5))  # only the latest of what came at once
    assert run.progress == [("read", 0.1, None), ("predict", 0.42, 3.5)]
    assert run.process.running


def test_lines_may_come_in_pieces_even_within_a_letter(run):
    data = json.dumps({"result": {"flag": "Ödem größer"}}, ensure_ascii=False).encode() + b"\n"
    for index in range(len(data)):
        run.child.say(data[index:index + 1])
    run.child.end(0, "")
    assert run.outcome.result == {"flag": "Ödem größer"}


def test_a_last_line_without_its_end_counts(run):
    run.child.say(line(result={"ml": 1.5}).rstrip())
    run.child.end(0, "")
    assert run.outcome.result == {"ml": 1.5}
    assert run.outcome.ok


def test_only_the_first_end_counts(run):
    run.child.say(line(result={"ml": 1}))
    run.child.end(0, "")
    run.child.end(None, "crashed")
    assert run.outcome.result == {"ml": 1}


def test_garbage_on_stdout_is_passed_over(run):
    run.child.say(b"WARNING: a library speaks\n\xff\xfe\x00\n{half\n[1]\n" + line(step="read", done=0.5) + line(result={"ml": 2}))
    run.child.end(0, "")
    assert run.progress == [("read", 0.5, None)]
    assert run.outcome.result == {"ml": 2}


def test_an_endless_line_is_not_kept(run):
    for _ in range(20):
        run.child.say(b"x" * 1_000_000)
    run.child.say(b"\n" + line(result={}))
    run.child.end(0, "")
    assert run.outcome.result == {}
    assert len(run.process._line) == 0


def test_the_engines_own_error_is_handed_on(run):
    run.child.say(line(error={"kind": "BadImage", "what": "flair is 4-D.", "fix": "Choose one volume of it."}))
    run.child.end(1, "")
    assert (run.outcome.error_kind, run.outcome.what, run.outcome.fix) == ("BadImage", "flair is 4-D.", "Choose one volume of it.")
    assert not run.outcome.ok


def test_a_verb_without_the_protocol_has_its_json_line_as_result():
    run = Run("python", "-m", "braintumorseg", "models", "list", "--json").start()
    run.child.say(b'[{"name": "glioma"}]\n')
    run.child.end(0, "")
    assert run.outcome.result == [{"name": "glioma"}]


def test_a_verb_without_the_protocol_says_its_error_on_stderr():
    run = Run("python", "-m", "braintumorseg", "models", "show", "x", "--json").start()
    run.child.complain(b"braintumorseg: There is no network x. See 'models list'.\n")
    run.child.end(1, "")
    assert run.outcome.what == "There is no network x. See 'models list'."


@pytest.mark.parametrize(("code", "reason", "stderr", "kind"), [
    (None, "crashed", b"", "EngineKilled"),
    (1, "", b"error: [C:/Slicer/bin/python-real.exe] exit abnormally - Report the problem.\n", "EngineKilled"),  # as CTKAppLauncher tells it
    (1, "", b"std::bad_alloc\nerror: [/opt/python-real] exit abnormally - Report the problem.\n", "OutOfMemory"),
    (None, "execve: No such file or directory", b"", "EngineNotStarted"),
    (0, "", b"", "EngineSilent"),
    (1, "", b"Traceback\nModuleNotFoundError: No module named 'scipy'\n", "EngineDamaged"),
    (1, "", b"OSError: [Errno 28] No space left on device\n", "DiskFull"),
    (1, "", b"PermissionError: [Errno 13] Permission denied\n", "NoPermission"),
    (1, "", b"PermissionError: [WinError 5] Zugriff verweigert: 'x'\n", "FileHeld"),
    (1, "", "PermissionError: [WinError 32] \u30d7\u30ed\u30bb\u30b9\u306f\u30d5\u30a1\u30a4\u30eb\u306b\n".encode(), "FileHeld"),
    (1, "", b"OSError: [WinError 53] Der Netzwerkpfad wurde nicht gefunden\n", "EngineFailed"),
    (1, "", b"numpy.core._exceptions._ArrayMemoryError: out of memory\n", "OutOfMemory"),
    (2, "", b"usage: braintumorseg\n", "EngineDamaged"),
    (77, "", b"", "EngineFailed"),
])
def test_every_other_end_says_what_happened_and_what_to_do(run, code, reason, stderr, kind):
    run.child.complain(stderr)
    run.child.end(code, reason)
    outcome = run.outcome
    assert outcome.error_kind == kind
    assert outcome.what.endswith(".")
    assert outcome.fix.endswith(".")
    assert not outcome.cancelled


@pytest.mark.parametrize("stderr", ["ModuleNotFoundError: No module named 'scipy'", ""], ids=["no packages", "silent"])
def test_a_python_that_a_site_named_is_mended_by_the_site(stderr):
    outcomes = []
    process = EngineProcess(["python"], {"BRAINTUMORSEG_PYTHON": "/usr/bin/python3"}, on_finished=outcomes.append, make_process=FakeProcess)
    process.start()
    FakeProcess.last.complain(stderr.encode())
    FakeProcess.last.end(1 if stderr else 0, "")
    assert "Repair" not in outcomes[0].fix
    assert "Resources/requirements.txt" in outcomes[0].fix
    assert "unset" in outcomes[0].fix


def test_a_killed_child_says_during_which_step(run):
    run.child.say(line(step="predict", done=0.4))
    run.child.end(None, "crashed")
    assert "during the step 'predict'" in run.outcome.what


def test_a_result_that_is_followed_by_a_crash_does_not_count(run):
    run.child.say(line(result={"ml": 2}))
    run.child.end(None, "crashed")
    assert run.outcome.error_kind == "EngineKilled"
    assert run.outcome.result is None


def test_cancel_closes_stdin_and_the_child_ends_by_itself(run):
    run.process.cancel()
    assert run.child.calls == ["start", "close_stdin"]
    assert run.process.running
    run.child.say(line(step="predict", done=0.5) + line(error={"kind": "Cancelled", "what": "stopped", "fix": ""}))
    run.child.end(130, "")
    assert run.outcome.cancelled
    assert not run.outcome.error_kind
    assert run.progress == [], "no progress is shown after a cancel"


def test_a_child_that_does_not_listen_is_terminated_and_then_killed(run):
    run.process.cancel()
    run.process.cancel()
    run.child.let_pass(9)
    assert "terminate" not in run.child.calls
    run.child.let_pass(2)
    assert run.child.calls == ["start", "close_stdin", "terminate"]
    run.child.let_pass(10)
    assert run.child.calls[-1] == "kill"
    run.child.end(None, "crashed")
    assert run.outcome.cancelled


def test_a_result_that_races_with_the_cancel_is_dropped(run):
    run.process.cancel()
    run.child.say(line(result={"ml": 2}))
    run.child.end(0, "")
    assert run.outcome.cancelled
    assert run.outcome.result is None


def test_cancel_before_the_start_and_after_the_end_is_harmless():
    run = Run()
    run.process.cancel()
    assert run.outcome.cancelled
    assert run.child.calls == []
    done = Run().start()
    done.child.end(0, "")
    done.process.cancel()
    assert not done.outcome.cancelled


def test_huge_stderr_keeps_its_end(run):
    for index in range(3000):
        run.child.complain(b"%06d " % index + b"x" * 100 + b"\n")
    run.child.end(1, "")
    assert len(run.outcome.stderr) <= 64_000
    assert "002999" in run.outcome.stderr


def test_stderr_has_no_path_of_the_command_nor_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path / "home")
    patient = tmp_path / "DOE^JOHN"
    run = Run("python", "segment", str(patient), "--out", str(patient / "result")).start()
    run.child.complain(f'File "{patient}/IM0001.dcm" is bad\n{patient / "result"}: no\nFile "{tmp_path}/home/x/cli.py", line 3\n'.encode())
    run.child.end(1, "")
    assert "DOE" not in run.outcome.stderr
    assert "IM0001" not in run.outcome.stderr
    assert 'File "~/x/cli.py", line 3' in run.outcome.stderr


class WindowsPath(PureWindowsPath):
    @classmethod
    def home(cls):
        return cls(r"C:\Users\Jörg Müller")


@pytest.mark.parametrize("spell", [str, lambda text: text.replace("\\", "\\\\"), lambda text: text.replace("\\", "/"), str.upper, str.lower,
                                   lambda text: str(OSError(2, "No such file", text))], ids=["plain", "doubled", "turned", "upper", "lower", "error"])
def test_on_windows_paths_go_in_every_spelling(monkeypatch, spell):
    from BrainTumorSegLib import process

    monkeypatch.setattr(process, "Path", WindowsPath)
    home, folder = r"C:\Users\Jörg Müller", r"D:\Temp\DOE^JOHN-1"
    run = Run("python", "segment", folder, "--out", folder + r"\result").start()
    run.child.say(line(error={"kind": "InputError", "what": f"{spell(folder)} cannot be read.", "fix": f"Look into {spell(home)}"}))
    run.child.complain(f"{spell(folder + chr(92) + 'result')}\n{spell(home + chr(92) + 'AppData')}\n".encode())
    run.child.end(1, "")
    outcome = run.outcome
    told = "\n".join([outcome.stderr, *(without_paths(text, outcome.paths) for text in (outcome.what, outcome.fix))]).lower()
    assert not [word for word in ("doe", "jörg", "müller", "result") if word in told], told
    assert "<path>" in told
    assert "~" in told


def test_the_user_is_shown_the_path_that_the_report_hides(monkeypatch, tmp_path):
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    run = Run("python", "segment", str(tmp_path / "DOE")).start()
    run.child.say(line(error={"kind": "InputError", "what": f"{tmp_path / 'DOE'} is empty.", "fix": ""}))
    run.child.end(1, "")
    assert "DOE" in run.outcome.what
    assert without_paths(run.outcome.what, run.outcome.paths) == "<path>"


def test_a_run_starts_once(run):
    with pytest.raises(RuntimeError, match="once"):
        run.process.start()


def test_an_error_of_the_panel_loses_no_result():
    outcomes = []

    def breaks(*told):
        raise ValueError("the panel")

    process = EngineProcess(["python"], {}, on_progress=breaks, on_finished=outcomes.append, make_process=FakeProcess)
    process.start()
    with pytest.raises(ValueError, match="panel"):
        FakeProcess.last.say(line(step="read", done=0.5) + line(result={"ml": 1}))
    FakeProcess.last.end(0, "")
    assert outcomes[0].result == {"ml": 1}


def test_a_run_that_ends_with_the_application_counts_as_cancelled(run):
    run.child.end(None, "quit")
    assert run.outcome.cancelled
