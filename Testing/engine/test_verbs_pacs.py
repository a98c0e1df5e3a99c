"""The verbs of `braintumorseg pacs`, against a real Orthanc. What `segment` itself does is tested elsewhere: here a stand-in writes results."""

import io
import json
import os
import signal
import subprocess
import sys

import pydicom
import pytest

from braintumorseg.cli import main
from braintumorseg.errors import BadImage
from braintumorseg.io.atomic import output_folder
from made_up_patient import ACCESSION, PATIENT_ID, find_secrets, write_patient, write_study
from orthanc import PASSWORD, USER

STUDY = "1.2.826.0.1.3680043.9.9999.1"
RESULTS = {"segmentation.dcm": "1.2.840.10008.5.1.4.1.1.66.4", "measurements.dcm": "1.2.840.10008.5.1.4.1.1.88.34"}


@pytest.fixture
def config(orthanc, tmp_path, monkeypatch):
    path = tmp_path / "pacs.toml"
    path.write_text(f'[classic]\nkind = "dimse"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n'
                    f'[web]\nkind = "dicomweb"\nurl = "{orthanc.url}"\nuser = "{USER}"\npassword = "{PASSWORD}"\n', encoding="utf-8")
    path.chmod(0o600)
    monkeypatch.setenv("BRAINTUMORSEG_PACS", str(path))
    return path


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where temporary folders go during the test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def full(orthanc, config, tmp_path):
    orthanc.store(write_patient(tmp_path / "patient"))
    return orthanc


def run(capsys, *arguments):
    code = main(["pacs", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def stand_in(folder_seen):
    """A `segment` that looks at what it was given and writes DICOM results."""
    def segment(args, talk):
        with talk.progress().step("predict") as tell:
            tell(1.0)
        source = [pydicom.dcmread(file) for file in sorted(args.paths[0].rglob("*.dcm"))]
        folder_seen.append((args.paths[0], args.paths[0].stat().st_mode & 0o777, len(source)))
        with output_folder(args.out, args.force) as folder:
            (folder / "report.json").write_text("{}")
            for number, (name, sop_class) in enumerate(RESULTS.items()):
                ds = source[0]
                ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
                ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}.77.{number}"
                ds.SeriesInstanceUID, ds.Modality = f"{STUDY}.7{number}", "SEG"
                ds.save_as(folder / name)
        talk.result({"model": args.model})
    return segment


@pytest.mark.parametrize("node", ["classic", "web"])
def test_echo(config, capsys, node):
    assert run(capsys, "echo", node) == (0, f"{node} answers.\n", "")
    assert json.loads(run(capsys, "echo", node, "--json")[1]) == {"node": node, "answers": True}


@pytest.mark.parametrize("node", ["classic", "web"])
def test_what_is_found_is_shown_without_identity(full, capsys, node, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PATIENT_ID}\n"))
    code, out, err = run(capsys, "find", node, "--patient-id-file", "-")
    assert (code, err) == (0, "")
    assert out.split() == ["20190923", "2", "series", "MR", STUDY]
    code, out, _ = run(capsys, "find", node, "--date", "20190101-20191231", "--json")
    assert json.loads(out)[0]["study_uid"] == STUDY
    assert set(find_secrets(out.encode())) == {"20190923", "1.2.826.0.1.3680043.9.9999"}   # the date and the UID are the listing


def test_identity_is_shown_on_request(full, capsys, tmp_path):
    (tmp_path / "number.txt").write_text(f"{ACCESSION}\n")
    out = run(capsys, "find", "web", "--accession-file", tmp_path / "number.txt", "--with-identity")[1]
    assert "Wanderløst^Griselda" in out
    assert PATIENT_ID in out


def test_retrieve_makes_a_folder_and_send_fills_the_archive_again(full, capsys, tmp_path):
    assert run(capsys, "retrieve", "web", STUDY, "--out", tmp_path / "got")[0] == 0
    files = sorted((tmp_path / "got").rglob("*.dcm"))
    assert len(files) == 8
    full.empty()
    code, out, _ = run(capsys, "send", "classic", *files)
    assert (code, out) == (0, "classic has taken 8 files.\n")
    assert full.rest("/statistics")["CountInstances"] == 8


def test_a_retrieve_that_fails_leaves_no_folder(full, capsys, tmp_path):
    code, out, err = run(capsys, "retrieve", "classic", "1.2.3", "--out", tmp_path / "got")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert not any("got" in path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("node", ["classic", "web"])
def test_segment_fetches_to_a_private_folder_and_sends_back_what_was_asked_for(full, capsys, tmp_path, temporary, monkeypatch, node):
    seen = []
    monkeypatch.setattr("braintumorseg.verbs.segment", stand_in(seen))
    code, out, err = run(capsys, "segment", node, STUDY, "--out", tmp_path / "out", "--send-back", "seg,sr,sc", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"report": {"model": "glioma"}, "sent": ["segmentation.dcm", "measurements.dcm"], "not_written": ["sc"]}
    assert seen[0][1:] == (0o700, 8)
    assert list(temporary.iterdir()) == []
    assert full.rest("/statistics")["CountInstances"] == 10
    assert len(full.rest("/studies")) == 1
    assert (tmp_path / "out" / "segmentation.dcm").exists()


def test_progress_counts_over_the_whole_of_it(full, capsys, tmp_path, temporary, monkeypatch):
    monkeypatch.setattr("braintumorseg.verbs.segment", stand_in([]))
    monkeypatch.setattr("sys.stdin", None)
    out = run(capsys, "segment", "web", STUDY, "--out", tmp_path / "out", "--send-back", "seg", "--progress", "json")[1]
    lines = [json.loads(line) for line in out.splitlines()]
    done = [line["done"] for line in lines[:-1]]
    assert done == sorted(done)
    assert done[-1] == 1
    assert list(dict.fromkeys(line["step"] for line in lines[:-1])) == ["retrieve", "predict", "send"]
    assert lines[-1]["result"]["sent"] == ["segmentation.dcm"]
    assert find_secrets(out.encode()) == []


def test_nothing_is_left_when_segment_fails(full, capsys, tmp_path, temporary, monkeypatch):
    def fails(args, talk):
        raise BadImage("a reason")

    monkeypatch.setattr("braintumorseg.verbs.segment", fails)
    code, _, err = run(capsys, "segment", "web", STUDY, "--out", tmp_path / "out")
    assert (code, err) == (1, "braintumorseg: a reason\n")
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_results_that_cannot_be_sent_stay_and_it_is_said_where(full, capsys, tmp_path, temporary, monkeypatch, config):
    inner = stand_in([])

    def then_the_archive_forgets_us(args, talk):
        inner(args, talk)
        monkeypatch.setattr("braintumorseg.pacs.web.WebNode._post", lambda self, file: (_ for _ in ()).throw(BadImage("no room.")))

    monkeypatch.setattr("braintumorseg.verbs.segment", then_the_archive_forgets_us)
    code, _, err = run(capsys, "segment", "web", STUDY, "--out", tmp_path / "out", "--send-back", "seg")
    assert code == 1
    assert "The results are in out, and not all of them are in the archive" in err
    assert (tmp_path / "out" / "segmentation.dcm").exists()


@pytest.mark.parametrize("node", ["classic", "web"])
def test_a_study_of_the_archive_is_really_segmented_and_sent_back(orthanc, config, capsys, tmp_path, temporary, toy_study, toy_model, node):
    files = write_study(toy_study, tmp_path / "study")
    study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
    assert run(capsys, "send", node, *files)[0] == 0
    code, out, err = run(capsys, "segment", node, study, "--out", tmp_path / "out", "--model", toy_model.weights, "--send-back", "seg,sr,sc")
    assert (code, err) == (0, "")
    assert f"Sent to {node}: segmentation.dcm, measurements.dcm, overlay_0001.dcm" in out
    assert "Not sent" not in out
    assert find_secrets(out.encode()) == []
    assert list(temporary.iterdir()) == []
    series = [orthanc.rest(f"/series/{one}") for one in orthanc.rest("/series")]
    assert sorted(one["MainDicomTags"]["Modality"] for one in series) == ["MR", "MR", "MR", "MR", "OT", "SEG", "SR"]
    assert {one["ParentStudy"] for one in series} == {series[0]["ParentStudy"]}
    seg = next(one for one in series if one["MainDicomTags"]["Modality"] == "SEG")
    there = pydicom.dcmread(io.BytesIO(orthanc.rest(f"/instances/{seg['Instances'][0]}/file")))
    assert there == pydicom.dcmread(tmp_path / "out" / "segmentation.dcm")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_images_that_a_killed_run_had_fetched_are_gone_after_the_next_run(full, capsys, tmp_path, temporary, monkeypatch):
    program = ("import os, signal, sys; import braintumorseg.verbs as verbs\n"
               "verbs.segment = lambda args, talk: os.kill(os.getpid(), signal.SIGKILL)\n"
               "from braintumorseg.cli import main; main(sys.argv[1:])")
    arguments = ["pacs", "segment", "web", STUDY, "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", program, *arguments], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(temporary.rglob("*.dcm"))) == 8
    monkeypatch.setattr("braintumorseg.verbs.segment", stand_in([]))
    assert run(capsys, "segment", "web", STUDY, "--out", tmp_path / "out")[0] == 0
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="this system has neither SIGTERM nor SIGHUP")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_run_that_is_terminated_or_loses_its_terminal_takes_its_images_with_it(full, tmp_path, temporary, name):
    program = (f"import signal, sys, time; signal.signal(signal.{name}, signal.SIG_DFL)\n"   # under nohup SIGHUP is ignored from birth
               "import braintumorseg.verbs as verbs\n"
               "verbs.segment = lambda args, talk: (print('ready', flush=True), time.sleep(600))\n"
               "from braintumorseg.cli import main; sys.exit(main(sys.argv[1:]))")
    child = subprocess.Popen([sys.executable, "-c", program, "pacs", "segment", "web", STUDY, "--out", str(tmp_path / "out")],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    assert len(list(temporary.rglob("*.dcm"))) == 8
    child.send_signal(getattr(signal, name))
    assert child.communicate(timeout=60)[1] == "braintumorseg: The run was cancelled; nothing half-written is left.\n"
    assert child.returncode == 130
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("given", ["QX-4711\n", "\ufeffQX-4711\r\n"], ids=repr)
@pytest.mark.parametrize("source", ["file", "stdin"])
def test_a_number_is_asked_for_without_the_byte_order_mark_that_an_editor_put_before_it(tmp_path, monkeypatch, capsys, given, source):
    asked = []

    class Archive:
        def find(self, query):
            return asked.append(query.patient_id) or []

    (tmp_path / "id.txt").write_text(given, encoding="utf-8", newline="")
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    monkeypatch.setattr("braintumorseg.verbs_pacs._node", lambda args: Archive())
    assert run(capsys, "find", "web", "--patient-id-file", tmp_path / "id.txt" if source == "file" else "-")[0] == 0
    assert asked == ["QX-4711"]


@pytest.mark.parametrize(("arguments", "words"), [
    (["echo", "nowhere"], "no archive nowhere; it has classic, web"),
    (["find", "web"], "--patient-id-file"),
    (["find", "web", "--date", "2019"], "YYYYMMDD"),
    (["find", "web", "--patient-id-file", "FOLDER/none.txt"], "none.txt"),
    (["find", "web", "--patient-id-file", "FOLDER/pacs.toml"], "exactly one line"),
    (["retrieve", "web", "../..", "--out", "FOLDER/out"], "UID"),
    (["send", "classic", "FOLDER/pacs.toml"], "not a DICOM file"),
    (["segment", "web", "1.2.3", "--out", "FOLDER/out", "--send-back", "pdf"], "pdf"),
    (["segment", "web", "1.2.3", "--out", "FOLDER"], "exists already"),
])
def test_wrong_arguments_are_one_line(config, capsys, tmp_path, arguments, words):
    code, out, err = run(capsys, *(word.replace("FOLDER", str(tmp_path)) for word in arguments))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert words in err


def test_no_option_takes_a_password_or_a_patient():
    text = "".join(subprocess.run([sys.executable, "-m", "braintumorseg.cli", "pacs", verb, "--help"], capture_output=True, text=True, check=True,
                                  env={**os.environ, "COLUMNS": "200"}).stdout for verb in ("echo", "find", "retrieve", "send", "segment"))
    options = {word.strip("[],") for word in text.split() if word.strip("[],").startswith("--")}
    assert {one for one in options if any(secret in one for secret in ("password", "token", "user", "patient-id", "accession"))} == {
        "--patient-id-file", "--accession-file"}
