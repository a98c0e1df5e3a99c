"""Nothing of a patient's header reaches what a run prints, names or writes; only the DICOM results carry it, for the archive."""

import gzip
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from braintumorseg.io.nifti import write_nifti
from made_up_patient import find_secrets, write_study


@pytest.fixture
def patient(toy_study, tmp_path):
    """A DICOM study whose every header holds every secret."""
    folder = tmp_path / "Wanderløst, Griselda (QX-4711)"
    write_study(toy_study, folder)
    return folder


def run(tmp_path, *arguments):
    """The command in a process of its own, so that nothing it prints escapes: (code, stdout, stderr)."""
    done = subprocess.run([sys.executable, "-m", "braintumorseg.cli", *map(str, arguments)], capture_output=True, cwd=tmp_path, check=False,
                          env={**os.environ, "PYTHONIOENCODING": "utf-8"}, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def contents(path):
    """The bytes of a result, and those that it holds packed."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content += gzip.decompress(content)
    if path.suffix == ".png":
        with Image.open(path) as image:
            content += repr(image.info).encode()
    return content


@pytest.mark.parametrize("talk", [(), ("--json",)], ids=str)
def test_the_table_of_a_study_names_nobody(patient, tmp_path, talk):
    code, out, err = run(tmp_path, "study", patient, *talk)
    assert code == 0
    assert b"lair" in out
    assert find_secrets(out + err) == []
    code, out, _ = run(tmp_path, "study", patient, *talk, "--with-identity")
    assert "Griselda" in find_secrets(json.loads(out)["series"][0]["description"].encode() if talk else out)


@pytest.mark.parametrize("talk", [(), ("--json",)], ids=str)
def test_no_result_but_the_segmentation_for_the_archive_holds_identity(patient, toy_model, tmp_path, talk):
    code, out, err = run(tmp_path, "segment", patient, "--out", tmp_path / "out", "--model", toy_model.weights, *talk)
    assert (code, err) == (0, b"")
    assert find_secrets(out.replace(os.fsencode(tmp_path), b"")) == []
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {"report.json", "report.html", "overlay.png", "segmentation.nii.gz", "segmentation.dcm"} <= {path.name for path in files}
    for path in files:
        assert find_secrets(path.name.encode()) == []
        if path.suffix == ".dcm":
            assert pydicom.dcmread(path).PatientID == "QX-4711"
        else:
            assert find_secrets(contents(path)) == [], path.name


def test_the_lines_of_the_child_protocol_name_nobody(patient, toy_model, tmp_path):
    process = subprocess.Popen([sys.executable, "-m", "braintumorseg.cli", "segment", str(patient), "--out", str(tmp_path / "out"), "--model",
                                str(toy_model.weights), "--progress", "json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out = process.stdout.read()
    err = process.stderr.read()
    process.stdin.close()
    process.wait(60)
    assert b'{"result"' in out
    assert find_secrets(out + err) == []


def _cut(patient):
    file = patient / "1" / "0003.dcm"
    file.write_bytes(file.read_bytes()[:-300])


def _missing(patient):
    (patient / "2" / "0010.dcm").unlink()


def _second_patient(patient):
    for file in (patient / "3").iterdir():
        ds = pydicom.dcmread(file)
        ds.PatientID, ds.PatientName = "Rumpelstiltskin", "Rumpelstiltskin^Griselda"
        ds.save_as(file)


def _no_geometry(patient):
    for file in patient.rglob("*.dcm"):
        ds = pydicom.dcmread(file)
        del ds.ImagePositionPatient
        ds.save_as(file)


@pytest.mark.parametrize("spoil", [_cut, _missing, _second_patient, _no_geometry])
def test_no_error_names_anybody(patient, toy_model, tmp_path, spoil):
    spoil(patient)
    code, out, err = run(tmp_path, "segment", patient, "--out", tmp_path / "out", "--model", toy_model.weights)
    assert (code, err.count(b"\n")) == ((1, 1) if spoil in (_second_patient, _no_geometry) else (0, 0))   # else: done without that series
    assert find_secrets(out + err) == []


def test_the_runtime_reports_nothing_and_leaves_no_trace(toy_study, toy_model, tmp_path):
    """ONNX Runtime with telemetry leaves .ses in TMPDIR and a database of events in the user's cache, OpenVINO an identifier in HOME/intel."""
    places = {name: tmp_path / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "in")}
    for place in places.values():
        place.mkdir()
    for role, volume in toy_study.volumes.items():
        write_nifti(volume, places["in"] / f"case_{role}.nii.gz")
    environment = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI", "TF_BUILD", "JENKINS_URL")}
    environment |= {name: str(place) for name, place in places.items()}
    done = subprocess.run([sys.executable, "-m", "braintumorseg.cli", "segment", str(places["in"]), "--out", str(tmp_path / "out"), "--model",
                           str(toy_model.weights)], env=environment, check=False)
    assert done.returncode == 0
    assert [path for name, place in places.items() if name != "in" for path in place.rglob("*")] == []


_WATCHED = """import os, sys
for name in ("CI", "TF_BUILD", "JENKINS_URL"):   # where OpenVINO reports nothing by itself
    os.environ.pop(name, None)
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event in ("socket.connect", "socket.getaddrinfo", "os.fork", "os.posix_spawn") else None)
import numpy as np
from pathlib import Path
from braintumorseg.runtime import open_session
{also}
for provider in ("openvino", "onnxruntime"):
    open_session(Path(sys.argv[1]), provider=provider).run(np.zeros((4, 8, 8, 8), np.float32))
import time; time.sleep(0.5)   # a sender would work in a thread
print(sorted(set(seen)))"""


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
@pytest.mark.parametrize(("also", "seen"), [("", "[]"), ("import socket; socket.getaddrinfo('localhost', 80)", "['socket.getaddrinfo']")])
def test_neither_runtime_opens_a_connection(toy_model, also, seen):
    """OpenVINO by itself sends an event when it is imported, from a forked process; the second case proves the watch."""
    done = subprocess.run([sys.executable, "-c", _WATCHED.format(also=also), str(toy_model.weights)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == seen


def test_free_text_of_a_nifti_header_goes_nowhere(toy_study, toy_model, tmp_path):
    folder = tmp_path / "Wanderløst, Griselda"
    folder.mkdir()
    for role, volume in toy_study.volumes.items():
        path = folder / f"case_{role}.nii"
        write_nifti(volume, path)
        image = nibabel.load(path, mmap=False)
        image.header["descrip"], image.header["aux_file"], image.header["db_name"] = b"Griselda Wanderl\xf8st", b"QX-4711", b"Quackenbush"
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Griselda Wanderl\xf8st, 19530217"))
        nibabel.save(nibabel.Nifti1Image(np.array(image.dataobj), None, image.header), path)
        assert "Griselda" in find_secrets(path.read_bytes())
    code, out, err = run(tmp_path, "segment", folder, "--out", tmp_path / "out", "--model", toy_model.weights)
    assert (code, err) == (0, b"")
    assert find_secrets(out.replace(os.fsencode(tmp_path), b"")) == []
    for path in (tmp_path / "out").iterdir():
        assert find_secrets(contents(path)) == [], path.name


def test_warnings_of_the_libraries_do_not_reach_the_terminal(patient, tmp_path):
    """They quote a UID that is none, as the last lines show."""
    for file in (patient / "1").iterdir():
        content = file.read_bytes()
        at = content.index(b"\x20\x00\x52\x00UI") + 8   # frame of reference
        file.write_bytes(content[:at] + b"1.Griselda" + content[at + 10:])
    code, out, err = run(tmp_path, "study", patient)
    assert (code, err) == (0, b"")
    assert find_secrets(out) == []
    quoting = "import sys, pydicom\ndef study(args, talk): print(pydicom.dcmread(args.paths[0]).FrameOfReferenceUID)\n"
    for main, found in (("import braintumorseg.verbs_study as verbs, braintumorseg.cli as cli\nverbs.study = study\ncli.main(sys.argv[1:])", []),
                        ("class args: paths = sys.argv[2:]\nstudy(args, None)", ["Griselda"])):
        done = subprocess.run([sys.executable, "-c", quoting + main, "study", str(file)], capture_output=True, check=True)
        assert find_secrets(done.stdout) == ["Griselda"]
        assert find_secrets(done.stderr) == found
