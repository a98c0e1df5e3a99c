"""The verb `prepare`, folder to folder."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from braintumorseg.errors import InputError, MissingFile, OutputError
from braintumorseg_training.case_table import CaseRow, read_table
from braintumorseg_training.cli import main
from braintumorseg_training.data import load_cases
from braintumorseg_training.export import draft_card
from braintumorseg_training.packing import packed_names, read_facts
from braintumorseg_training.prepare import TABLE, prepare_folder, summary
from toy_datasets import toy_case, write_brats, write_msd, write_plain

CARD = draft_card(size_multiple=4)


def prepare(folder, out, labels="brats2023", say=lambda line: None, **how):
    return prepare_folder(folder, out, CARD, labels=labels, say=say, **how)


def table(out):
    with (out / TABLE).open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


@pytest.fixture
def cases(tmp_path):
    for seed, name in enumerate(("BraTS2021_00001", "BraTS2021_00002", "BraTS2021_00003")):
        write_brats(tmp_path / "cases" / name, toy_case(seed))
    return tmp_path / "cases"


def test_every_case_has_a_row_that_says_what_became_of_it(cases, tmp_path):
    write_brats(cases / "BraTS2021_00004", toy_case(4), et=3)
    bare = toy_case(5)
    write_brats(cases / "BraTS2021_00005", bare | {"seg": bare["seg"].with_voxels(np.zeros_like(bare["seg"].voxels))})
    (cases / "empty").mkdir()
    lines = []
    outcomes = prepare(cases, tmp_path / "out", "brats2021", lines.append)
    rows = table(tmp_path / "out")
    assert {name: row["status"] for name, row in rows.items()} == {
        "BraTS2021_00001": "packed", "BraTS2021_00002": "packed", "BraTS2021_00003": "packed", "BraTS2021_00004": "refused",
        "BraTS2021_00005": "warning", "empty": "refused"}
    assert "brats2023" in rows["BraTS2021_00004"]["reason"]
    assert rows["BraTS2021_00005"]["reason"] == "no tumour in it"
    first = rows["BraTS2021_00001"]
    assert (first["cohort"], first["patient"]) == ("BraTS2021", "BraTS-GLI-00001")
    assert (first["ncr_ml"], first["ed_ml"], first["et_ml"]) == ("1.74", "3.09", "1.00")
    assert packed_names(tmp_path / "out") == ["BraTS2021_00001", "BraTS2021_00002", "BraTS2021_00003", "BraTS2021_00005"]
    assert "1/6 BraTS2021_00001 packed" in lines[1]
    assert "left" in lines[1]
    assert summary(outcomes)[0].startswith("4 of 6 cases are packed (0 were before, 1 with a warning), 2 refused")
    assert [path.name for path in (tmp_path / "out").glob(".*")] == []


def test_what_is_packed_is_skipped_until_its_files_or_its_declaration_change(cases, tmp_path):
    out = tmp_path / "out"
    assert all(outcome.fresh for outcome in prepare(cases, out, "brats2021"))
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    assert [outcome.fresh for outcome in prepare(cases, out, "brats2021")] == [False] * 3
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.npz")} == before
    os.utime(cases / "BraTS2021_00002" / "BraTS2021_00002_t1.nii.gz", (time.time(), time.time() + 5))
    assert [outcome.fresh for outcome in prepare(cases, out, "brats2021")] == [False, True, False]
    assert [outcome.fresh for outcome in prepare(cases, out, "brats2021", table={"BraTS2021_00001": CaseRow(cohort="Oslo")})] == [True, False, False]
    assert [outcome.fresh for outcome in prepare(cases, out, "brats2021", force=True)] == [True] * 3
    assert {row["status"] for row in table(out).values()} == {"packed"}


def test_a_case_that_is_refused_now_is_no_longer_packed(cases, tmp_path):
    prepare(cases, tmp_path / "out", "brats2021")
    (cases / "BraTS2021_00002" / "BraTS2021_00002_seg.nii.gz").unlink()
    prepare(cases, tmp_path / "out", "brats2021")
    assert packed_names(tmp_path / "out") == ["BraTS2021_00001", "BraTS2021_00003"]
    assert not list((tmp_path / "out").glob("BraTS2021_00002.*"))


def test_several_processes_do_the_same_as_one(cases, tmp_path):
    write_plain(cases / "other" / "unfit", toy_case(9))
    for workers, out in ((1, "one"), (2, "two")):
        prepare(cases, tmp_path / out, "brats2021", workers=workers, layout="brats")
    assert table(tmp_path / "one") == table(tmp_path / "two")
    assert [read_facts(tmp_path / "one", name) for name in packed_names(tmp_path / "one")] == \
        [read_facts(tmp_path / "two", name) for name in packed_names(tmp_path / "two")]


def test_an_image_under_two_names_would_leak_and_is_refused(cases, tmp_path):
    out = tmp_path / "out"
    again = toy_case(7) | {"flair": toy_case(0)["flair"]}
    write_brats(cases / "BraTS2021_00009", again)
    prepare(cases, out, "brats2021")
    assert table(out)["BraTS2021_00009"]["reason"] == "it shows the same as BraTS2021_00001: an image is in both."
    assert packed_names(out) == ["BraTS2021_00001", "BraTS2021_00002", "BraTS2021_00003"]
    write_plain(tmp_path / "more" / "copy", toy_case(2))
    write_plain(tmp_path / "more" / "new", toy_case(3))
    prepare(tmp_path / "more", out)
    assert "BraTS2021_00003" in table(out)["copy"]["reason"]
    assert packed_names(out) == ["BraTS2021_00001", "BraTS2021_00002", "BraTS2021_00003", "new"]
    assert len(table(out)) == 6


def test_the_table_says_convention_cohort_and_patient_of_single_cases(cases, tmp_path):
    write_brats(cases / "BraTS2021_00004", toy_case(4), et=3)
    (tmp_path / "table.csv").write_text("case,labels,cohort,patient\nBraTS2021_00004,brats2023,Oslo,p\nBraTS2021_00001,,Oslo,p\n")
    prepare(cases, tmp_path / "out", "brats2021", table=read_table(tmp_path / "table.csv"))
    rows = table(tmp_path / "out")
    assert {row["status"] for row in rows.values()} == {"packed"}
    assert [(row["cohort"], row["patient"]) for row in rows.values()] == [
        ("Oslo", "p"), ("BraTS2021", "BraTS-GLI-00002"), ("BraTS2021", "BraTS-GLI-00003"), ("Oslo", "p")]
    assert load_cases(tmp_path / "out", ["BraTS2021_00004"])[0].cohort == "Oslo"


def test_a_convention_that_does_not_look_right_in_most_cases_is_said_at_the_end(cases, tmp_path):
    for name in ("a", "b", "c"):
        write_plain(tmp_path / "msd" / name, toy_case(ord(name)))
    lines = summary(prepare(tmp_path / "msd", tmp_path / "out", "msd"))
    assert lines[-1].startswith("In 3 of 3 cases the labels do not look as declared")
    assert "look as declared" not in summary(prepare(cases, tmp_path / "out", "brats2021"))[-1]


def test_the_decathlon_needs_no_declaration(tmp_path):
    write_msd(tmp_path / "Task01_BrainTumour", {"BRATS_001": toy_case(0), "BRATS_002": toy_case(1)})
    outcomes = prepare(tmp_path / "Task01_BrainTumour", tmp_path / "out", "")
    assert [outcome.status for outcome in outcomes] == ["packed", "packed"]
    assert table(tmp_path / "out")["BRATS_001"]["cohort"] == "MSD Task01"
    assert table(tmp_path / "out")["BRATS_001"]["ed_ml"] == "3.09"


def test_sequences_that_are_missing_are_taken_when_asked_for_and_asked_for_again_each_time(tmp_path):
    case = toy_case()
    del case["t1"]
    write_plain(tmp_path / "cases" / "part", case)
    write_plain(tmp_path / "cases" / "whole", toy_case(1))
    out = tmp_path / "out"
    assert [outcome.status for outcome in prepare(tmp_path / "cases", out, missing_ok=True)] == ["warning", "packed"]
    assert not load_cases(out, ["part"])[0].channels[0].any()
    assert [outcome.fresh for outcome in prepare(tmp_path / "cases", out, missing_ok=True)] == [False, False]
    assert [outcome.status for outcome in prepare(tmp_path / "cases", out)] == ["refused", "packed"]
    assert packed_names(out) == ["whole"]


def test_no_case_at_all_and_none_that_fits_are_one_line_each(cases, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(MissingFile, match="no cases"):
        prepare(tmp_path / "nothing", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert main(["prepare", str(cases), "--out", str(tmp_path / "out"), "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "None of the 3 cases could be packed" in error
    assert "--labels" in error
    assert {row["status"] for row in table(tmp_path / "out").values()} == {"refused"}
    with pytest.raises(SystemExit, match="2"):
        main(["prepare", str(cases), "--out", str(tmp_path / "out"), "--labels", "mine"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full, the disk that is always full, is Linux's")
def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(cases, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    os.symlink("/dev/full", out / ".BraTS2021_00002.partial.channels.npy")
    with pytest.raises(OutputError, match="BraTS2021_00002 cannot be written"):
        prepare(cases, out, "brats2021")
    assert packed_names(out) == ["BraTS2021_00001"]
    assert [outcome.fresh for outcome in prepare(cases, out, "brats2021")] == [False, True, True]


def test_a_run_that_was_killed_leaves_nothing_that_counts_as_packed_by_half(cases, tmp_path):
    for seed in range(10, 22):
        write_brats(cases / f"BraTS2021_001{seed}", toy_case(seed))
    out = tmp_path / "out"
    run = subprocess.Popen([sys.executable, "-m", "braintumorseg_training.cli", "prepare", str(cases), "--labels", "brats2021", "--out", str(out),
                            "--workers", "1"], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, text=True)
    for _ in range(4):
        run.stdout.readline()
    run.kill()
    run.communicate()
    there = packed_names(out)
    assert 3 <= len(there) < 15
    assert all(case.labels.any() for case in load_cases(out, there))
    outcomes = prepare_folder(cases, out, draft_card(), labels="brats2021", say=lambda line: None)
    assert [outcome.case for outcome in outcomes if not outcome.fresh] == there
    assert len(packed_names(out)) == 15


def test_the_real_cases_are_packed_as_their_table_says(data_folder, tmp_path):
    chosen = ("BraTS2021_01481", "Brats18_TCIA01_201_1", "Brats18_TCIA13_623_1")
    for name in chosen:
        (tmp_path / "cases").mkdir(exist_ok=True)
        (tmp_path / "cases" / name).symlink_to(data_folder / "cases" / name, target_is_directory=True)
    prepare_folder(tmp_path / "cases", tmp_path / "out", draft_card(), table=read_table(data_folder / "cases.csv"), say=lambda line: None)
    rows = table(tmp_path / "out")
    assert [rows[name]["status"] for name in chosen] == ["packed", "packed", "warning"]
    with (data_folder / "cases.csv").open(newline="", encoding="utf-8") as file:
        told = {row["case"]: row for row in csv.DictReader(file)}
    for name in chosen:
        for column in ("ncr_ml", "ed_ml", "et_ml"):
            assert float(rows[name][column]) == pytest.approx(float(told[name][column]), abs=0.06)


def test_a_declaration_of_nothing_but_the_wrong_value_is_an_error_of_its_own(cases, tmp_path):
    with pytest.raises(InputError, match=r"None of the 3 .*values 4, which brats2023 does not know"):
        prepare(cases, tmp_path / "out", "brats2023")
