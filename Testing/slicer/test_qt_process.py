"""Real children on Qt's event loop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from BrainTumorSegLib.process import EngineProcess

HERE = Path(__file__).parent
LISTENS = """
import sys, threading, os, time
def watch():
    sys.stdin.buffer.raw.read()
    print('{"error": {"kind": "Cancelled", "what": "", "fix": ""}}', flush=True)
    os._exit(130)
threading.Thread(target=watch, daemon=True).start()
print('{"step": "predict", "done": 0.1}', flush=True)
time.sleep(60)
"""
DEAF = """
import time, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"step": "predict", "done": 0.1}', flush=True)
time.sleep(60)
"""


class Run:
    def __init__(self, host, code, **options):
        self.progress, self.outcomes, self.host = [], [], host
        command = code if isinstance(code, list) else [sys.executable, "-c", code]
        self.process = EngineProcess(command, dict(os.environ), on_progress=lambda *told: self.progress.append(told),
                                     on_finished=self.outcomes.append, **options)
        self.process.start()

    def until_progress(self):
        assert self.host.spin(until=lambda: self.progress, seconds=30)
        return self

    @property
    def outcome(self):
        assert self.host.spin(until=lambda: self.outcomes, seconds=30)
        self.host.spin()
        assert len(self.outcomes) == 1
        return self.outcomes[0]


def test_a_result_comes_through_pipes(host):
    run = Run(host, "import json, sys; print(json.dumps({'step': 'read', 'done': 0.5})); print('x' * 300000); sys.stderr.write('e' * 300000);"
                    "sys.stdout.buffer.write('{\"result\": \"größer\"}'.encode())")
    assert run.outcome.result == "größer"
    assert run.progress == [("read", 0.5, None)]
    assert len(run.outcome.stderr) == 64_000


def test_the_child_gets_its_environment_and_no_other(host, monkeypatch):
    outcomes = []
    monkeypatch.setenv("BRAINTUMORSEG_SECRET", "x")
    environment = {name: value for name, value in os.environ.items() if name != "BRAINTUMORSEG_SECRET"} | {"BRAINTUMORSEG_GIVEN": "é=1"}
    code = "import os, json; print(json.dumps({'result': [os.environ.get('BRAINTUMORSEG_SECRET'), os.environ.get('BRAINTUMORSEG_GIVEN')]}))"
    EngineProcess([sys.executable, "-c", code], environment, on_finished=outcomes.append).start()
    assert host.spin(until=lambda: outcomes, seconds=30)
    assert outcomes[0].result == [None, "é=1"]


def test_cancel_reaches_a_child_that_listens(host):
    run = Run(host, LISTENS).until_progress()
    run.process.cancel()
    assert run.outcome.cancelled
    assert run.outcome.exit_code == 130


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM")
def test_a_deaf_child_is_killed(host):
    run = Run(host, DEAF, grace_s=0.1).until_progress()
    run.process.cancel()
    assert run.outcome.cancelled
    assert run.outcome.exit_code is None


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_child_that_is_killed_from_outside_is_an_error(host):
    run = Run(host, f"import os; print('{{\"step\": \"predict\", \"done\": 0.1}}', flush=True); os.kill(os.getpid(), {signal.SIGKILL})")
    assert run.outcome.error_kind == "EngineKilled"


def test_a_program_that_is_not_there_is_an_error(host):
    run = Run(host, ["/nonexistent/python", "-m", "braintumorseg"])
    assert run.outcome.error_kind == "EngineNotStarted"


def test_the_event_loop_goes_on_during_a_run(host):
    import qt

    ticks = []
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start(10)
    run = Run(host, "import time; time.sleep(0.5); print('{\"result\": 1}')")
    assert run.outcome.result == 1
    timer.stop()
    assert len(ticks) > 5


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM")
@pytest.mark.parametrize("child", [LISTENS, DEAF], ids=["listens", "deaf"])
def test_no_child_is_left_when_the_application_quits(host, tmp_path, child):
    code = f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n{child}"
    program = f"""
import sys, os
sys.path[:0] = {[str(HERE), *sys.path]!r}
from host import start
host = start()
from BrainTumorSegLib.process import EngineProcess
told, outcomes = [], []
process = EngineProcess([sys.executable, "-c", {code!r}], dict(os.environ), on_progress=lambda *a: told.append(a), on_finished=outcomes.append)
process.start()
assert host.spin(until=lambda: told, seconds=30)
import qt
qt.QTimer.singleShot(0, host.app.quit)
host.app.exec()
assert [outcome.cancelled for outcome in outcomes] == [True]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    assert not is_alive(int((tmp_path / "pid").read_text()))


def is_alive(pid):
    for _ in range(20):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.skipif(os.name == "nt", reason="ends without a child's leave")
def test_quitting_ends_the_queue_starts_no_other_run_and_leaves_no_folder(host, tmp_path):
    child = f"import os; open({str(tmp_path)!r} + f'/started-{{os.getpid()}}', 'w').close()\n{LISTENS}"
    program = f"""
import sys, os, tempfile
sys.path[:0] = {[str(HERE), *sys.path]!r}
tempfile.tempdir = {str(tmp_path)!r}
from pathlib import Path
from host import start
host = start()
import qt
from made_up import make_volume
from test_run import FakeEngine
from BrainTumorSegLib.logic import Logic
class Engine(FakeEngine):
    def command(self):
        return [sys.executable, "-c", {child!r}]
    def environment(self):
        return dict(os.environ)
logic = Logic(Engine())
ended = []
for name in ("first", "second"):
    logic.segment({{"t1ce": make_volume(name=name)}}, on_finished=lambda outcome, node: ended.append(outcome.cancelled))
assert host.spin(until=lambda: list(Path(tempfile.tempdir).glob("started-*")) and len(logic.queue.waiting) == 1, seconds=60)
qt.QTimer.singleShot(0, host.app.quit)
host.app.exec()
assert ended == [True, True], ended
assert list(Path(tempfile.tempdir).glob("braintumorseg-*")) == []
logic.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    time.sleep(0.5)
    assert len(list(tmp_path.glob("started-*"))) == 1


def test_a_child_that_not_even_a_kill_ends_is_given_up_when_the_application_quits(host, monkeypatch):
    run = Run(host, LISTENS).until_progress()
    process = run.process._process._process
    ended = process.waitForFinished
    monkeypatch.setattr(type(process), "waitForFinished", lambda *_: False)
    monkeypatch.setattr(type(process), "kill", lambda *_: None)
    run.process._process.stop_now()
    monkeypatch.undo()
    assert run.outcomes[0].cancelled
    ended(10_000)
