"""The verb `study`: its table for people, its JSON for programs, and no word of a header in either unless asked for."""

import json

import pytest

from braintumorseg.cli import main
from braintumorseg.io.nifti import write_nifti
from dicom_toys import save, slices_of_volume, toy_volume


@pytest.fixture
def patient(tmp_path):
    folder = tmp_path / "patient"
    protocols = [("T1 KM Herr Geheim", 550.0, 10.0), ("T2 Herr Geheim", 5000.0, 98.0), ("DWI Geheim", 4000.0, 80.0)]
    for number, (words, tr, te) in enumerate(protocols, start=3):
        slices = slices_of_volume(toy_volume(), study="1.2.1", series=f"1.2.3.{number}", SeriesNumber=number, SeriesDescription=words,
                                  RepetitionTime=tr, EchoTime=te, AcquisitionDate="20200101", AcquisitionTime=f"1{number}0000")
        save(slices, folder / f"S{number}")
    (folder / "S3" / "again.dcm").write_bytes((folder / "S3" / "0001.dcm").read_bytes())
    (folder / "notes.txt").write_text("nothing")
    return folder


def run(capsys, *arguments):
    code = main(["study", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_table_names_each_series_its_role_why_and_its_grid(patient, capsys):
    code, out, _ = run(capsys, patient)
    assert code == 0
    lines = [line.split() for line in out.splitlines() if line]
    assert lines[0][:3] == ["series", "3", "T1ce"]
    assert "words t1 +c; TR 550, TE 10" in out
    assert "left out: diffusion" in out
    assert "7 x 6 x 8 voxels of 0.90 x 1.10 x 2.50 mm, LPS" in out
    assert "taken 2nd" in out
    assert "1 slice was there twice and is read once" in out
    assert "Found: T1ce (series 3), T2 (series 4)" in out
    assert "Missing: T1, FLAIR" in out
    assert "not a DICOM file" in out


def test_json_has_the_keys_that_programs_rely_on(patient, capsys):
    code, out, _ = run(capsys, patient, "--json")
    assert code == 0
    found = json.loads(out)
    assert set(found) == {"format", "series", "missing", "left_aside", "reference", "question"}
    assert (found["format"], found["missing"], found["reference"], found["question"]) == ("braintumorseg study 1", ["t1", "flair"], "t1ce", "")
    assert [(one["number"], one["series_uid"], one["role"], one["left_out"], one["order"], one["files"]) for one in found["series"]] == [
        (3, "1.2.3.3", "t1ce", "", 1, 8), (4, "1.2.3.4", "t2", "", 2, 8), (5, "1.2.3.5", None, "diffusion", 3, 8)]
    assert set(found["series"][0]) == {"number", "series_uid", "name", "role", "may_be", "why", "left_out", "grid", "order", "notes", "files"}
    assert [(one["why"], one["damaged"]) for one in found["left_aside"]] == [("not a DICOM file", False)]


def test_descriptions_are_shown_only_when_asked_for(patient, capsys):
    for options in ((), ("--json",)):
        _, out, err = run(capsys, patient, *options)
        assert "Geheim" not in out + err
        _, out, _ = run(capsys, patient, *options, "--with-identity")
        assert "T1 KM Herr Geheim" in out


def test_a_list_of_files_is_as_good_as_a_folder(patient, capsys):
    files = sorted((patient / "S4").glob("*.dcm"))
    code, out, _ = run(capsys, *files, "--json")
    assert code == 0
    assert [(one["role"], one["files"]) for one in json.loads(out)["series"]] == [("t2", 8)]


def test_image_files_are_shown_by_name(tmp_path, capsys):
    write_nifti(toy_volume(), tmp_path / "P_t2.nii.gz")
    write_nifti(toy_volume(), tmp_path / "P_seg.nii.gz")
    code, out, _ = run(capsys, tmp_path, "--json")
    assert code == 0
    assert [(one["number"], one["name"], one["role"], one["why"], one["left_out"]) for one in json.loads(out)["series"]] == [
        (None, "P_t2.nii.gz", "t2", "file name ends in _t2", ""),
        (None, "P_seg.nii.gz", None, "", "its name says that it is a mask or a segmentation")]


def test_what_is_not_certain_is_shown_and_asked(tmp_path, capsys):
    for number in (1, 2):
        save(slices_of_volume(toy_volume(), study="1.2.1", series=f"1.2.{number}", SeriesNumber=number, SeriesDescription="T1", RepetitionTime=550.0,
                              EchoTime=10.0, AcquisitionDate="20200101", AcquisitionTime=f"1{number}0000"), tmp_path / str(number))
    code, out, _ = run(capsys, tmp_path)
    assert code == 0
    assert "Not certain: series 1 may be t1 or t1ce; series 2 may be t1 or t1ce. Say it with --t1" in out


def test_nothing_given_and_nothing_there_are_one_line(tmp_path, capsys):
    code, out, err = run(capsys)
    assert (code, out) == (1, "")
    assert "No folder and no image was given" in err
    code, _, err = run(capsys, tmp_path / "nowhere")
    assert code == 1
    assert "nowhere" in err
