import json

from braintumorseg.errors import MissingFile
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
