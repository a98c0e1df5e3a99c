"""What goes into the research copy, of whom and with which secret: nothing is left out without a word, and no two people become one."""

import json
import os

import pydicom
import pytest
from pydicom.uid import RLELossless

from anonymise_toys import run
from braintumorseg.io import dicom_header
from deflated import deflate
from made_up_patient import find_secrets, write_patient

OTHER = {"PatientName": "Smith^Bob", "PatientBirthDate": "19700505"}


def write_person(folder, study, **values):
    """One image that has the patient ID of every other made-up one."""
    (path,) = write_patient(folder, series=1, slices=1, study=study)
    ds = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.save_as(path)


def test_images_behind_a_link_are_copied_once(tmp_path, capsys):
    write_patient(tmp_path / "disk")
    (tmp_path / "in").mkdir()
    for name in ("one", "two"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "in", target_is_directory=True)
    report = json.loads(run(capsys, tmp_path / "in", "--out", tmp_path / "out", "--json")[1])
    assert (report["images"], report["left_out"]) == (8, {})


def test_a_folder_that_may_not_be_opened_is_counted(tmp_path, capsys, monkeypatch):
    write_patient(tmp_path / "in")
    write_patient(tmp_path / "in" / "Wanderløst", study=2)
    scandir = os.scandir

    def closed(path):
        if os.fspath(path).endswith("Wanderløst"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)   # these tests may run as a user who may open everything
    _, out, err = run(capsys, tmp_path / "in", "--out", tmp_path / "out")
    assert "8 images" in out
    assert "Left out: 1 x a folder: this user may not open it" in out
    assert find_secrets(out.replace(str(tmp_path), "").encode() + err.encode()) == []


def test_a_file_that_may_not_be_opened_is_counted_as_that(tmp_path, capsys, monkeypatch):
    closed, *_ = write_patient(tmp_path / "in")
    read = pydicom.dcmread

    def refuse(path, **options):
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, **options)

    monkeypatch.setattr(pydicom, "dcmread", refuse)
    report = json.loads(run(capsys, tmp_path / "in", "--out", tmp_path / "out", "--json")[1])
    assert (report["images"], report["left_out"]) == (7, {"a file: this user may not open it": 1})


@pytest.mark.parametrize("seed", ["nodir/seed", "link"])
def test_there_is_no_copy_whose_secret_is_not_kept(tmp_path, capsys, seed):
    write_patient(tmp_path / "in")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    code, _, err = run(capsys, tmp_path / "in", "--out", tmp_path / "out", "--seed-file", tmp_path / seed)
    assert (code, err.count("\n")) == (1, 1)
    assert not (tmp_path / "out").exists()


def test_people_who_share_a_patient_id_are_not_made_one(tmp_path, capsys):
    write_person(tmp_path / "in", 1)
    write_person(tmp_path / "in", 2, **OTHER)
    code, out, err = run(capsys, tmp_path / "in", "--out", tmp_path / "out")
    assert (code, out) == (1, "")
    assert "different birth dates" in err and "--seed-file" in err
    assert find_secrets(err.encode()) == [] and "Smith" not in err and "1970" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
@pytest.mark.parametrize("values", [{"PatientBirthDate": ""}, {"PatientBirthDate": "1953.02.17"}, {"PatientID": "0002", **OTHER}],
                         ids=["no birth date", "another way to write it", "another ID"])
def test_people_who_can_be_told_apart_or_are_one_are_copied(tmp_path, capsys, values):
    write_person(tmp_path / "in", 1)
    write_person(tmp_path / "in", 2, **values)
    report = json.loads(run(capsys, tmp_path / "in", "--out", tmp_path / "out", "--json")[1])
    assert (report["images"], report["patients"]) == (2, 2 if "PatientID" in values else 1)


@pytest.mark.parametrize("names", [("Smith^Ann", "Jones^Bob"), ("Anonymous^001", "Anonymous^002"), ("Yamada^Tarou=山田^太郎", "Suzuki^Ken=鈴木^健"),
                                   ("Smith^Ann^^Mrs", "Jones^Bea^^Mrs"), ("Smith^Ann^M", "Jones^Bea^M")], ids=str)
def test_people_who_share_a_patient_id_and_no_word_of_their_names_are_not_made_one(tmp_path, capsys, names):
    for study, name in enumerate(names, start=1):
        write_person(tmp_path / "in", study, PatientID="0000", PatientName=name, PatientBirthDate="")
    code, out, err = run(capsys, tmp_path / "in", "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no word in common" in err and "--seed-file" in err and not any(word in err for word in ("Smith", "Jones", "Yamada", "0000"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", [("DOE^JANE", "Doe^Jane^M"), ("Müller^Anna", "MULLER, ANNA"), ("Yamada^Tarou=山田^太郎", "=山田^太郎"),
                                   ("O'Brien^P", "OBrien^P"), ("van der Berg^J", "vanderBerg^J"), ("Müller^A", "Mueller^A"),
                                   ("Smith^Ann", ""), ("Smith^Ann", "Anonymous"), ("Smith^Ann", "Jones^Ann", "Jones^Bea")], ids=str)
def test_people_whose_names_may_be_one_persons_are_copied_as_one(tmp_path, capsys, names):
    for study, name in enumerate(names, start=1):
        write_person(tmp_path / "in", study, PatientID="0000", PatientName=name, PatientBirthDate="")
    report = json.loads(run(capsys, tmp_path / "in", "--out", tmp_path / "out", "--json")[1])
    assert (report["images"], report["patients"]) == (len(names), 1)


def test_a_birth_date_that_is_the_same_makes_other_names_one_persons(tmp_path, capsys):
    for study, name in enumerate(("Smith^Ann", "Jones^Bea"), start=1):
        write_person(tmp_path / "in", study, PatientName=name)
    assert json.loads(run(capsys, tmp_path / "in", "--out", tmp_path / "out", "--json")[1])["patients"] == 1
    write_person(tmp_path / "in", 3, PatientName="Brown^Eve", PatientBirthDate="")
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out2")[0] == 1


def test_runs_of_their_own_tell_people_who_share_an_id_apart(tmp_path, capsys):
    """What the refusal tells the user to do."""
    for study, values in enumerate(({}, OTHER), start=1):
        write_person(tmp_path / f"in{study}", study, **values)
        assert run(capsys, tmp_path / f"in{study}", "--out", tmp_path / f"out{study}")[0] == 0
    first, second = (pydicom.dcmread(tmp_path / f"out{study}" / "001" / "0001.dcm") for study in (1, 2))
    assert first.PatientID != second.PatientID


@pytest.mark.parametrize("how", ["plain", "compressed"])
def test_a_damaged_copy_of_an_image_does_not_keep_the_whole_one_out(tmp_path, capsys, how):
    whole = write_patient(tmp_path / "in" / "b")
    if how == "compressed":
        for path in whole:
            ds = pydicom.dcmread(path)
            ds.compress(RLELossless, generate_instance_uid=False)
            ds.save_as(path)
    (tmp_path / "in" / "a").mkdir()
    (tmp_path / "in" / "a" / "copy.dcm").write_bytes(whole[2].read_bytes()[:-300])
    report = json.loads(run(capsys, tmp_path / "in", "--out", tmp_path / "out", "--json")[1])
    assert (report["images"], list(report["left_out"].values())) == (8, [1])
    assert "there before" not in next(iter(report["left_out"]))
    assert all(len(pydicom.dcmread(path).pixel_array) for path in (tmp_path / "out").rglob("*.dcm"))


def test_a_file_that_is_deflated_from_more_than_memory_should_hold_is_left_out(tmp_path, capsys, monkeypatch):
    (bomb, *_) = write_patient(tmp_path / "in")
    deflate(bomb, 3 << 20)
    monkeypatch.setattr(dicom_header, "_MOST_INFLATED", 1 << 20)
    report = json.loads(run(capsys, tmp_path / "in", "--out", tmp_path / "out", "--json")[1])
    assert (report["images"], report["left_out"]) == (7, {"a DICOM file with a damaged header": 1})
