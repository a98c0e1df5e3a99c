import json
import subprocess
import sys

from braintumorseg.errors import MissingFile, StudiesFailed
from braintumorseg.progress import Update
from braintumorseg.terminal import Talk


def test_people_get_text_and_programs_get_the_result_alone(capsys):
    for talk in (Talk(), Talk(json_result=True)):
        talk.text("hello")
        talk.result({"ml": 1.0})
    assert capsys.readouterr().out == 'hello\n{"ml": 1.0}\n'


def test_the_child_protocol_is_one_json_object_a_line(capsys):
    talk = Talk(json_lines=True)
    talk.text("not for programs")
    talk._json_update(Update("predict", 0.42, 3.14159))
    talk.error(MissingFile("There is no file x.", "Check the path."))
    out, err = capsys.readouterr()
    update, error = [json.loads(line) for line in out.splitlines()]
    assert update == {"step": "predict", "done": 0.42, "eta_s": 3.1}
    assert error == {"error": {"kind": "MissingFile", "what": "There is no file x.", "fix": "Check the path."}}
    assert err == "braintumorseg: There is no file x. Check the path.\n"


def test_a_result_and_what_failed_are_one_last_line_and_nothing_follows_it(capsys):
    talk, failure = Talk(json_lines=True), StudiesFailed("1 of 2 studies failed.", "Look.")
    talk.result({"done": 1}, failure)
    talk.error(failure)
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    assert json.loads(line) == {"result": {"done": 1}, "error": {"kind": "StudiesFailed", "what": "1 of 2 studies failed.", "fix": "Look."}}
    assert err == "braintumorseg: 1 of 2 studies failed. Look.\n"


def test_the_line_of_progress_is_written_over_with_spaces_and_leaves_nothing(capsys, monkeypatch):
    """The classic Windows console prints \\033[K."""
    talk = Talk()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    talk.show(Update("predict", 0.42, 100.0))
    talk.show(Update("write", 1.0, None))
    talk.text("Done.")
    talk.text("More.")
    out, err = capsys.readouterr()
    assert "\033" not in err
    assert shown(err) == ""
    assert shown(err.rpartition("\r")[0].rpartition("\r")[0]) == "100% writing"
    assert out == "Done.\nMore.\n"


def shown(written):
    """What a terminal shows of a line when \\r goes back to its beginning."""
    line = []
    for part in written.split("\r"):
        line[:len(part)] = part
    return "".join(line).rstrip()


def test_letters_that_a_terminal_would_obey_are_shown_as_their_code(capsys):
    talk = Talk()
    talk.text("name \033]0;owned\a.nii \x9b2J \u202egnp", "Mü\u3000ller\xa0\t脳 a\nb")
    talk.error(MissingFile("There is no \033[2J\b\udcff x.", "Check."))
    out, err = capsys.readouterr()
    assert out == "name \\x1b]0;owned\\x07.nii \\x9b2J \\u202egnp\nMü\u3000ller\xa0\t脳 a\nb\n"
    assert err == "braintumorseg: There is no \\x1b[2J\\x08\\udcff x. Check.\n"


HANGS = """
import sys, time
from braintumorseg import terminal
terminal._GRACE_S = 0.1
terminal.Talk(json_lines=True, owns_process={owns}).progress()
time.sleep({seconds})
"""


def run_hanging(owns, seconds):
    return subprocess.run([sys.executable, "-c", HANGS.format(owns=owns, seconds=seconds)], stdin=subprocess.DEVNULL, timeout=60).returncode


def test_a_run_that_hangs_after_the_cancel_takes_its_own_process_with_it():
    assert run_hanging(owns=True, seconds=50) == 130


def test_a_process_that_only_borrows_the_run_is_left_alone():
    assert run_hanging(owns=False, seconds=1) == 0
