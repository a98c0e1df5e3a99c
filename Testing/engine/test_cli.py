import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from braintumorseg.cli import main
from braintumorseg.io.nifti import write_nifti
from braintumorseg.io.readers import read_volume
from braintumorseg.volume import Volume
from dicom_toys import save, slices_of_volume, toy_volume


@pytest.fixture
def patient(toy_study, tmp_path):
    folder = tmp_path / "Müller, Jörg 患者"  # umlauts, blanks and other scripts must simply work
    folder.mkdir()
    for role, volume in toy_study.volumes.items():
        write_nifti(volume, folder / f"case_{role}.nii.gz")
    return folder


@pytest.fixture
def model(toy_model):
    return str(toy_model.weights)


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_segment_writes_every_file_and_prints_the_volumes(patient, model, tmp_path, capsys):
    out = tmp_path / "Ergebnis ü"
    code, text, _ = run(capsys, "segment", patient, "--out", out, "--model", model, "--registered")
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == ["overlay.png", "report.html", "report.json", "segmentation.nii.gz"]
    assert "WT 2.7 ml" in text
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["volumes_ml"]["regions"]["ET"] == pytest.approx(0.512)
    assert report["provider"] in ("OpenVINO", "CPUExecutionProvider", "CUDAExecutionProvider")
    assert (report["precision"], report["weights"]) == ("float32", "toy.onnx")
    assert f"on {report['provider']} (float32)" in text
    assert "Müller" not in (out / "report.json").read_text(encoding="utf-8")
    assert np.abs(read_volume(out / "segmentation.nii.gz").affine - read_volume(patient / "case_t1ce.nii.gz").affine).max() < 1e-6


def test_without_t1ce_the_volumes_that_rest_on_it_are_marked(patient, model, tmp_path, capsys):
    code, text, _ = run(capsys, "segment", "--flair", patient / "case_flair.nii.gz", "--out", tmp_path / "out", "--model", model, "--stripped")
    assert code == 0
    regions, labels, mark = text.splitlines()[:3]
    assert [part.endswith("*") for part in regions.removeprefix("Regions  ").split("   ")] == [False, True, True]     # WT, TC, ET
    assert [part.endswith("*") for part in labels.removeprefix("Labels   ").split("   ")] == [True, False, True]      # NCR, ED, ET
    assert mark == "* estimated without T1ce: not to be read as enhancement"


def test_a_thorough_run_says_how_sure_it_is(patient, model, tmp_path, capsys):
    code, text, _ = run(capsys, "segment", patient, "--out", tmp_path / "out", "--model", model, "--registered", "--thorough")
    assert code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["looks"] == 5
    assert f"How sure WT {report['expected_dice']['WT']:.2f}" in text


def test_a_dicom_study_is_segmented_and_gets_a_dicom_seg(toy_study, model, tmp_path, capsys):
    words = {"t1": "T1 nativ", "t1ce": "T1 KM", "t2": "T2", "flair": "FLAIR"}
    for number, (role, volume) in enumerate(toy_study.volumes.items(), start=1):
        voxels = np.rint(volume.voxels * (1000 / volume.voxels.max())).astype(np.uint16)
        slices = slices_of_volume(volume.with_voxels(voxels), study="1.2.1", series=f"1.2.1.{number}", frame="1.2.2", SeriesNumber=number,
                                  SeriesDescription=words[role], ScanningSequence="RM", RepetitionTime=None, EchoTime=None)
        save(slices, tmp_path / "in" / str(number))
    save(slices_of_volume(toy_volume(), study="1.2.1", series="1.2.1.9", SeriesNumber=9, SeriesDescription="DWI"), tmp_path / "in" / "9")
    code, text, err = run(capsys, "segment", tmp_path / "in", "--out", tmp_path / "out", "--model", model, "--registered", "--stripped")
    assert (code, err) == (0, "")
    assert "Not used: series 9 (diffusion)" in text
    assert (tmp_path / "out" / "segmentation.dcm").is_file()
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["sequences"]["t1ce"]["recognised"].startswith("words t1 +c")
    assert report["left_out"] == [{"what": "series 9", "why": "diffusion"}]
    assert "SECRET" not in json.dumps(report)


def test_a_second_run_needs_force_and_leaves_the_first_as_it_was(patient, model, tmp_path, capsys):
    arguments = ("segment", patient, "--out", tmp_path / "out", "--model", model, "--registered")
    assert run(capsys, *arguments)[0] == 0
    before = (tmp_path / "out" / "report.json").stat().st_mtime_ns
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert "--force" in err
    assert (tmp_path / "out" / "report.json").stat().st_mtime_ns == before
    assert run(capsys, *arguments, "--force")[0] == 0


def test_json_is_one_line_at_the_end_of_stdout(patient, model, tmp_path, capsys):
    code, out, _ = run(capsys, "segment", patient, "--out", tmp_path / "out", "--model", model, "--registered", "--json")
    assert code == 0
    assert json.loads(out)["model"]["name"] == "toy"


def test_progress_json_ends_with_the_result(patient, model, tmp_path, monkeypatch):
    done = child(["segment", str(patient), "--out", str(tmp_path / "out"), "--model", model, "--registered", "--progress", "json"])
    out, _ = done.communicate_without_closing()
    lines = [json.loads(line) for line in out.splitlines()]
    assert list(lines[-1]) == ["result"]
    assert all(set(line) == {"step", "done", "eta_s"} for line in lines[:-1])
    assert [line["done"] for line in lines[:-1]] == sorted(line["done"] for line in lines[:-1])


def test_closing_stdin_cancels_with_130_and_leaves_nothing(patient, model, tmp_path):
    done = child(["segment", str(patient), "--out", str(tmp_path / "out"), "--model", model, "--registered", "--progress", "json"])
    done.process.stdin.close()
    out = done.process.stdout.read()
    assert done.process.wait(60) == 130
    assert json.loads(out.splitlines()[-1])["error"]["kind"] == "Cancelled"
    assert [path.name for path in tmp_path.iterdir()] == [patient.name]


class child:
    """The CLI in a process of its own, its stdin held open."""

    def __init__(self, arguments):
        self.process = subprocess.Popen([sys.executable, "-m", "braintumorseg.cli", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "utf-8"})

    def communicate_without_closing(self):
        out = self.process.stdout.read()
        self.process.wait(60)
        err = self.process.stderr.read()
        self.process.stdin.close()
        return out, err



def _empty(folder):
    (folder / "case_t1.nii.gz").write_bytes(b"")


def _truncated(folder):
    path = folder / "case_t1.nii.gz"
    path.write_bytes(path.read_bytes()[:-2000])


def _not_an_image(folder):
    (folder / "case_t1.nii.gz").write_bytes(b"this is text, not an image" * 100)


def _four_dimensions(folder):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 5, 5, 3), np.int16), np.eye(4)), folder / "case_t1.nii.gz")


def _nan(folder):
    volume = read_volume(folder / "case_t1.nii.gz")
    voxels = volume.voxels.astype(np.float32)
    voxels[20, 20, 20] = np.nan
    write_nifti(Volume(voxels, volume.affine), folder / "case_t1.nii.gz")


def _constant(folder):
    write_nifti(Volume(np.full((9, 9, 9), 5, np.int16), np.eye(4)), folder / "case_t1.nii.gz")


def _label_map(folder):
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[2:5] = 4
    write_nifti(Volume(labels, np.eye(4)), folder / "case_t1.nii.gz")


def _singular(folder):
    import nibabel

    image = nibabel.load(folder / "case_t1.nii.gz")
    affine = image.affine.copy()
    affine[:, 2] = 0
    header = image.header.copy()
    header.set_sform(affine, code=1)
    header.set_qform(None, code=0)
    broken = nibabel.Nifti1Image(np.asarray(image.dataobj), None, header)
    broken.header.set_sform(affine, code=1)
    nibabel.save(broken, folder / "case_t1.nii.gz")


def _two_for_one_role(folder):
    (folder / "again-t1w.nii.gz").write_bytes((folder / "case_t1.nii.gz").read_bytes())


def _other_grid(folder):
    volume = read_volume(folder / "case_t1.nii.gz")
    write_nifti(Volume(volume.voxels[:, :, 2:], volume.affine), folder / "case_t1.nii.gz")


@pytest.mark.parametrize("spoil, words", [
    (_empty, "empty"), (_truncated, "case_t1.nii.gz"), (_not_an_image, "case_t1.nii.gz"), (_four_dimensions, "3"), (_nan, "NaN"),
    (_constant, "constant"), (_label_map, "label map"), (_singular, "singular"), (_two_for_one_role, "--t1"), (_other_grid, "--registered"),
], ids=lambda value: getattr(value, "__name__", None))
def test_bad_input_is_one_line_and_nothing_is_written(spoil, words, patient, model, tmp_path, capsys):
    spoil(patient)
    code, out, err = run(capsys, "segment", patient, "--out", tmp_path / "out", "--model", model, "--registered")
    assert code == 1
    assert err.startswith("braintumorseg: ")
    assert err.count("\n") == 1
    assert words in err
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == [patient.name]


@pytest.mark.parametrize("arguments, words", [
    (["--t1", "nowhere.nii.gz"], "nowhere.nii.gz"),
    (["PATIENT", "--model", "gloima"], "glioma"),
    (["--t1", "PATIENT/case_t1.nii.gz", "--t2", "PATIENT/case_t1.nii.gz"], "--t1 and as --t2"),
    ([], "--t1"),
])
def test_bad_arguments_are_one_line(arguments, words, patient, tmp_path, capsys):
    arguments = [argument.replace("PATIENT", str(patient)) for argument in arguments]
    code, _, err = run(capsys, "segment", *arguments, "--out", tmp_path / "out")
    assert code == 1
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "out").exists()


def test_wrong_usage_is_exit_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["segment"])
    assert stop.value.code == 2


def test_a_card_whose_hash_does_not_match_is_refused_before_anything_is_read(toy_model, patient, tmp_path, capsys):
    import shutil

    for suffix in (".onnx", ".json"):
        shutil.copy(toy_model.weights.with_suffix(suffix), tmp_path / f"toy{suffix}")
    (tmp_path / "toy.onnx").write_bytes((tmp_path / "toy.onnx").read_bytes() + b"x")
    code, _, err = run(capsys, "segment", patient, "--out", tmp_path / "out", "--model", tmp_path / "toy.onnx")
    assert code == 1
    assert "SHA-256" in err


def test_models_are_listed_and_shown(capsys):
    assert "glioma" in run(capsys, "models", "list")[1]
    code, out, _ = run(capsys, "models", "show", "glioma")
    assert code == 0
    assert "CC BY 4.0" in out
    assert re.search(r"with these sequences +WT +TC +ET +\(ET where at least 1 ml\)\n +t1 \+ t1ce \+ t2 \+ flair +0\.\d\d  0\.\d\d  0\.\d\d\n", out)
    assert json.loads(run(capsys, "models", "show", "glioma", "--json")[1])["sha256"]


def test_the_provider_that_was_asked_for_runs_the_network(patient, model, tmp_path, capsys):
    code, out, _ = run(capsys, "segment", patient, "--out", tmp_path / "out", "--model", model, "--registered", "--provider", "onnxruntime", "--json")
    assert code == 0
    report = json.loads(out.splitlines()[-1])
    assert (report["provider"], report["provider_note"]) == ("CPUExecutionProvider", "")
    assert run(capsys, "segment", patient, "--out", tmp_path / "two", "--model", model, "--registered", "--provider", "cuda")[0] == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "cp1251"])
def test_letters_that_the_terminal_lacks_cost_nothing(patient, model, tmp_path, encoding):
    def told(*arguments):
        return subprocess.run([sys.executable, "-m", "braintumorseg.cli", *map(str, arguments)], capture_output=True, check=False,
                              env={**os.environ, "PYTHONIOENCODING": encoding})

    done = told("segment", patient, "--out", tmp_path / "ü", "--model", model, "--registered")
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert b"\\xfc" in done.stdout
    done = told("evaluate", "--truth", tmp_path / "ü", "--found", tmp_path / "ü")
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert b"lesions of\n50 mm3 and less" in done.stdout.replace(b"\r", b"")


def test_an_interrupt_says_nothing_untrue_of_what_was_written_before(patient, model, tmp_path, capsys, monkeypatch):
    def interrupted(found):
        raise KeyboardInterrupt

    assert run(capsys, "segment", patient, "--out", tmp_path / "out", "--model", model, "--registered")[0] == 0
    monkeypatch.setattr("braintumorseg.evaluation_report.format_table", interrupted)
    code, _, err = run(capsys, "evaluate", "--truth", tmp_path / "out", "--found", tmp_path / "out", "--csv", tmp_path / "scores.csv")
    assert (code, err) == (130, "braintumorseg: The run was cancelled; nothing half-written is left.\n")
    assert (tmp_path / "scores.csv").is_file()


def test_doctor_says_which_provider_a_session_really_used(capsys):
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    assert "really ran on" in out


def test_help_and_import_load_no_scientific_package():
    program = ("import sys; import braintumorseg.cli as cli\n"
               "try: cli.main(['segment', '--help'])\nexcept SystemExit: pass\n"
               "heavy = {'numpy', 'scipy', 'SimpleITK', 'nibabel', 'pydicom', 'highdicom', 'onnxruntime', 'openvino', 'PIL'} & set(sys.modules)\n"
               "sys.exit(f'loaded: {heavy}' if heavy else 0)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_system_refuses_is_one_line(tmp_path, capsys):
    for arguments, words in ((("segment", "--t1", tmp_path / ("x" * 300), "--out", tmp_path / "o"), "longer than this system's disks can hold"),
                             (("evaluate", "--truth", "y" * 300, "--found", "z"), "File name too long")):
        code, _, err = run(capsys, *arguments)
        assert (code, err.count("\n")) == (1, 1)
        assert words in err
    code, out, _ = run(capsys, "segment", "--t1", tmp_path / ("x" * 300), "--out", tmp_path / "o", "--progress", "json")
    assert code == 1
    assert json.loads(out.splitlines()[-1])["error"]["what"].endswith("longer than this system's disks can hold.")


@pytest.mark.parametrize("arguments", [("segment", "", "--out", "o"), ("segment", "p", "--out", ""), ("segment", "--t1", "", "--out", "o"),
                                       ("study", ""), ("cohort", "", "--out", "o"), ("anonymise", "", "--out", "o")])
def test_an_empty_path_is_wrong_usage_and_not_the_folder_at_hand(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    assert "an empty path was given" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("segment", ".", "--out", "o", "--threads", "-5"), ("phantom", "--out", "o", "--seed", "-1"),
                                       ("demo", "--out", "o", "--seed", "x")])
def test_numbers_below_zero_are_refused_as_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 2
    assert "is not a whole number from 0 on" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a name be any bytes")
def test_a_name_that_is_not_utf8_costs_nothing(patient, model, tmp_path, capsys):
    odd = os.fsencode(patient) + b"/maske_\xe4_mask.nii.gz"
    with open(odd, "wb") as file:
        file.write((patient / "case_t1.nii.gz").read_bytes())
    code, _, err = run(capsys, "segment", patient, "--out", tmp_path / "o", "--model", model, "--registered")
    assert (code, err) == (0, "")
    folder = os.fsencode(tmp_path / "cohort") + b"/J\xe4ger"
    os.makedirs(folder)
    with open(folder + b"/x_t1ce.nii.gz", "wb") as file:
        file.write((patient / "case_t1ce.nii.gz").read_bytes())
    for _ in range(2):
        code, _, err = run(capsys, "cohort", tmp_path / "cohort", "--out", tmp_path / "c", "--model", model, "--registered")
        assert (code, err) == (0, "")
    assert "J%E4ger/report.html" in (tmp_path / "c" / "cohort.html").read_text(encoding="utf-8")
