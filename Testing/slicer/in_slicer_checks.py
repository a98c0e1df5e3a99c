"""Run inside a real Slicer (test_in_slicer.py, or ctest): what the Qt host cannot show of the code around the panel."""

import ast
import os
import signal
import sys
import tempfile
import unittest
from pathlib import Path

import ctk
import qt
import slicer

HERE = Path(__file__).resolve().parent
MODULE = HERE.parents[1] / "BrainTumorSeg"
sys.path[:0] = [str(path) for path in (HERE, MODULE) if str(path) not in sys.path]

from wheelhouse import make_wheelhouse, probe  # noqa: E402

from BrainTumorSegLib.install import OLDEST_PYTHON, Installation  # noqa: E402
from BrainTumorSegLib.process import EngineProcess  # noqa: E402
from BrainTumorSegLib.runtime_choice import RUNTIMES  # noqa: E402
from BrainTumorSegLib.slicer_python import find_python, installation_of_slicer  # noqa: E402

LISTENS = """
import sys, threading, os, time
def watch():
    sys.stdin.buffer.raw.read()
    os._exit(130)
threading.Thread(target=watch, daemon=True).start()
print('{"step": "predict", "done": 0.1}', flush=True)
time.sleep(60)
"""
DEAF = LISTENS.replace("import sys", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nimport sys").replace("os._exit(130)", "pass")


def spin(until, seconds=60):
    """Run the event loop until it is so; false when it did not become so."""
    loop = qt.QEventLoop()
    poll, end = qt.QTimer(), qt.QTimer()
    poll.connect("timeout()", lambda: until() and loop.quit())
    end.setSingleShot(True)
    end.connect("timeout()", loop.quit)
    poll.start(10)
    end.start(int(seconds * 1000))
    loop.exec_()
    poll.stop()
    return bool(until())


class ProcessTest(unittest.TestCase):
    """QProcess through PythonQt."""

    def run_child(self, code, until_progress=False, **options):
        self.progress, self.outcomes = [], []
        command = code if isinstance(code, list) else [find_python(slicer.app.slicerHome), "-c", code]
        process = EngineProcess(command, dict(os.environ), on_progress=lambda *told: self.progress.append(told),
                                on_finished=self.outcomes.append, **options)
        process.start()
        if until_progress:
            self.assertTrue(spin(lambda: self.progress or self.outcomes))
        return process

    def outcome(self):
        self.assertTrue(spin(lambda: self.outcomes))
        spin(lambda: False, 0.1)
        self.assertEqual(len(self.outcomes), 1)
        return self.outcomes[0]

    def test_a_result_comes_through_pipes(self):
        self.run_child("import json, sys; print(json.dumps({'step': 'read', 'done': 0.5})); print('x' * 300000); sys.stderr.write('e' * 300000);"
                       "sys.stdout.buffer.write('{\"result\": \"größer\"}'.encode())")
        outcome = self.outcome()
        self.assertEqual(outcome.result, "größer")
        self.assertEqual(self.progress, [("read", 0.5, None)])
        self.assertEqual(len(outcome.stderr), 64_000)

    def test_a_child_without_output_is_one_outcome(self):
        self.run_child("pass")
        self.assertEqual(self.outcome().error_kind, "EngineSilent")

    def test_cancel_reaches_a_child_that_listens(self):
        self.run_child(LISTENS, until_progress=True).cancel()
        outcome = self.outcome()
        self.assertTrue(outcome.cancelled)
        self.assertEqual(outcome.exit_code, 130)

    @unittest.skipIf(os.name == "nt", "SIGTERM")
    def test_a_deaf_child_is_killed(self):
        self.run_child(DEAF, until_progress=True, grace_s=0.2).cancel()
        self.assertTrue(self.outcome().cancelled)

    @unittest.skipIf(os.name == "nt", "SIGKILL")
    def test_a_child_that_is_killed_from_outside_is_an_error(self):
        self.run_child(f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})")
        self.assertEqual(self.outcome().error_kind, "EngineKilled")

    def test_a_program_that_is_not_there_is_an_error(self):
        self.run_child(["/nonexistent/python"])
        outcome = self.outcome()
        self.assertEqual(outcome.error_kind, "EngineNotStarted")
        self.assertIn("(", outcome.what)

    def test_the_event_loop_goes_on(self):
        ticks, timer = [], qt.QTimer()
        timer.connect("timeout()", lambda: ticks.append(1))
        timer.start(10)
        self.run_child("import time; time.sleep(0.5); print('{\"result\": 1}')")
        self.assertEqual(self.outcome().result, 1)
        self.assertGreater(len(ticks), 5)


class InstallationTest(unittest.TestCase):
    """Slicer's own Python, and pip in it."""

    def test_slicers_python_is_found_and_is_of_slicers_version(self):
        outcomes = []
        EngineProcess([find_python(slicer.app.slicerHome), "-c", "import json, sys; print(json.dumps({'result': list(sys.version_info[:2])}))"],
                      dict(os.environ), on_finished=outcomes.append).start()
        self.assertTrue(spin(lambda: outcomes))
        self.assertEqual(outcomes[0].result, list(sys.version_info[:2]), outcomes[0])

    def test_the_installation_of_this_slicer_lies_in_its_settings(self):
        found = installation_of_slicer()
        if not found.chosen and os.name != "nt":
            self.assertEqual(found.folder.parents[1], Path(slicer.app.slicerUserSettingsFilePath).parent)
        self.assertIn(found.state().kind, ("ready", "missing", "broken", "outdated", "unsupported"))
        self.assertTrue(found.state().text)

    @unittest.skipIf(sys.version_info[:2] < OLDEST_PYTHON, "the engine needs a newer Python than this Slicer has")
    def test_packages_are_installed_from_a_folder_and_come_before_slicers(self):
        before = sorted(sys.path), sorted(name for name in sys.modules if name.split(".")[0] in ("onnxruntime", "highdicom"))
        with tempfile.TemporaryDirectory() as folder:
            installation = Installation(Path(folder) / "engine", MODULE, find_python(slicer.app.slicerHome), runtime=RUNTIMES["cpu"])
            self.assertEqual(installation.state().kind, "missing")
            outcomes = []
            installation.install(lambda *told: None, outcomes.append, wheels=make_wheelhouse(Path(folder) / "wheels"))
            self.assertTrue(spin(lambda: outcomes, 180))
            self.assertTrue(outcomes[0].ok, outcomes[0])
            self.assertTrue(installation.state().ready)
            outcomes.clear()
            EngineProcess(*probe(installation, Path(folder), "pydicom"), on_finished=outcomes.append).start()
            self.assertTrue(spin(lambda: outcomes))
            self.assertEqual(outcomes[0].result, "9999.0", outcomes[0])
        after = sorted(sys.path), sorted(name for name in sys.modules if name.split(".")[0] in ("onnxruntime", "highdicom"))
        self.assertEqual(before, after, "nothing of Slicer's own Python is touched")


class NamesTest(unittest.TestCase):
    """Every qt.X.y, ctk.X.y and slicer.X.y that the panel's code says is there."""

    def test_all_names_exist(self):
        modules, unknown = {"qt": qt, "ctk": ctk, "slicer": slicer}, []
        for file in sorted([*MODULE.glob("*.py"), *(MODULE / "BrainTumorSegLib").glob("*.py")]):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                parts, value = [], node
                while isinstance(value, ast.Attribute):
                    parts.append(value.attr)
                    value = value.value
                if not (parts and isinstance(value, ast.Name) and value.id in modules):
                    continue
                found, path = modules[value.id], list(reversed(parts))[:2]
                for name in path:
                    if not hasattr(found, name):
                        unknown.append(f"{file.name}:{node.lineno}: {value.id}.{'.'.join(path)}")
                        break
                    found = getattr(found, name)
        known_later = {"slicer.modules"}  # the module's own names there exist once its panel was opened
        self.assertEqual([one for one in unknown if not any(part in one for part in known_later)], [])


if __name__ == "__main__":
    unittest.main()
