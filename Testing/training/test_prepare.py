"""The verb `prepare`, folder to folder."""

import csv
import json
import multiprocessing
import os
import time
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest

from braintumorseg.errors import InputError, MissingFile, OutputError
from braintumorseg_training.case_table import CaseRow, read_table
from braintumorseg_training.cli import main
from braintumorseg_training.data import load_cases
from braintumorseg_training.export import draft_card
from braintumorseg_training.packing import packed_names, read_facts
from braintumorseg_training.prepare import TABLE, prepare_folder, summary
from braintumorseg_training.unlabelled import pack_unlabelled
from toy_datasets import MSD_JSON, NNUNET_JSON, toy_case, write_brats, write_msd, write_nnunet, write_plain

CARD = draft_card(size_multiple=4)
FORK = multiprocessing.get_context("fork")


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


def test_a_case_that_is_no_longer_in_its_folder_is_named_and_pruned(cases, tmp_path):
    out, lines = tmp_path / "out", []
    write_plain(tmp_path / "elsewhere" / "p1", toy_case(8))
    pack_unlabelled([write_plain(tmp_path / "cases" / "study", {"t1": toy_case(7)["t1"]})], out, CARD, lambda line: None)
    rmtree(tmp_path / "cases" / "study")
    prepare(tmp_path / "elsewhere", out)
    prepare(cases, out, "brats2021", lines.append)
    assert "no longer" not in "".join(lines)
    rmtree(cases / "BraTS2021_00002")
    prepare(cases, out, "brats2021", lines.append)
    assert lines[-1] == "1 case is packed though no longer in cases, and split deals them out: BraTS2021_00002. Put them back, or add --prune"
    assert packed_names(out) == ["BraTS2021_00001", "BraTS2021_00002", "BraTS2021_00003", "p1", "study"]
    prepare(cases, out, "brats2021", lines.append, prune=True)
    assert lines[-1] == "1 case is no longer in cases, and so no longer packed: BraTS2021_00002"
    assert packed_names(out) == ["BraTS2021_00001", "BraTS2021_00003", "p1", "study"]
    assert sorted(table(out)) == ["BraTS2021_00001", "BraTS2021_00003", "p1"]


def test_a_case_that_was_renamed_takes_the_place_of_what_was_packed_under_its_old_name(tmp_path):
    out, lines = tmp_path / "out", []
    for name in ("a", "b"):
        write_plain(tmp_path / "plain" / name, toy_case(ord(name)))
    prepare(tmp_path / "plain", out)
    (tmp_path / "plain" / "a").rename(tmp_path / "plain" / "c")
    assert [(outcome.case, outcome.status) for outcome in prepare(tmp_path / "plain", out, say=lines.append)] == [("b", "packed"), ("c", "packed")]
    assert lines[-1] == "1 case is no longer in plain, and so no longer packed: a"
    assert packed_names(out) == sorted(table(out)) == ["b", "c"]
    write_plain(tmp_path / "more" / "e", toy_case(ord("a")))
    write_plain(tmp_path / "more" / "f", toy_case(6))
    assert prepare(tmp_path / "more", out)[0].reason.startswith("it shows the same as c:")


def test_what_lies_there_in_another_layout_is_not_gone(tmp_path):
    write_brats(tmp_path / "data" / "BraTS2021_00001", toy_case(1), et=3)
    write_plain(tmp_path / "data" / "p1", toy_case(2))
    lines = []
    for layout in ("brats", "plain"):
        prepare(tmp_path / "data", tmp_path / "out", layout=layout, prune=True, say=lines.append)
    assert packed_names(tmp_path / "out") == ["BraTS2021_00001", "p1"]
    assert "no longer" not in "".join(lines)
    rmtree(tmp_path / "data" / "BraTS2021_00001")
    prepare(tmp_path / "data", tmp_path / "out", layout="plain", prune=True, say=lines.append)
    assert packed_names(tmp_path / "out") == ["p1"]


def test_cases_of_one_name_in_another_folder_are_refused_and_leave_those_that_are_packed(tmp_path):
    out = tmp_path / "out"
    for seed, name in enumerate(("a/001", "a/002", "b/001", "b/002", "b/003")):
        write_plain(tmp_path / name, toy_case(seed))
    prepare(tmp_path / "a", out)
    (tmp_path / "b" / "001" / "t1.nii.gz").unlink()
    facts, rows = [read_facts(out, name) for name in ("001", "002")], table(out)
    said = prepare(tmp_path / "b", out)
    assert [(outcome.case, outcome.status) for outcome in said] == [("001", "refused"), ("002", "refused"), ("003", "packed")]
    assert "a case of this name was packed from another folder. Give another --out" in said[1].reason
    assert [read_facts(out, name) for name in ("001", "002")] == facts
    assert len(load_cases(out)) == 3
    after = table(out)
    assert all(after[name].pop("reason").startswith("another case of this name was refused: ") for name in rows)
    assert all(after[name] == {key: value for key, value in rows[name].items() if key != "reason"} for name in rows)
    assert [outcome.status for outcome in prepare(tmp_path / "b", out, force=True)] == ["refused", "packed", "packed"]
    assert packed_names(out) == ["002", "003"]
    assert read_facts(out, "002") != facts[1]


def test_where_no_case_has_a_name_of_its_own_the_error_says_so(tmp_path):
    for seed, folder in enumerate("ab"):
        write_plain(tmp_path / folder / "001", toy_case(seed))
    prepare(tmp_path / "a", tmp_path / "out")
    with pytest.raises(InputError, match=r"None of the 1 .*another folder.*in its place\.$"):
        prepare(tmp_path / "b", tmp_path / "out")
    with pytest.raises(InputError, match="its label convention is not declared"):
        prepare(tmp_path / "b", tmp_path / "out", "")
    assert packed_names(tmp_path / "out") == ["001"]


def test_an_image_of_a_case_that_keeps_its_name_would_leak_too(tmp_path):
    write_plain(tmp_path / "a" / "002", toy_case(0))
    write_plain(tmp_path / "b" / "001", toy_case(1) | {"t2": toy_case(0)["t2"]})
    write_plain(tmp_path / "b" / "002", toy_case(2))
    write_plain(tmp_path / "b" / "003", toy_case(3))
    prepare(tmp_path / "a", tmp_path / "out")
    assert prepare(tmp_path / "b", tmp_path / "out")[0].reason == "it shows the same as 002: an image is in both."
    assert packed_names(tmp_path / "out") == ["002", "003"]


def test_a_study_without_labels_gives_way_to_the_same_with_labels_and_to_no_other(tmp_path):
    study = write_plain(tmp_path / "a" / "001", {"t1": toy_case()["t1"]})
    pack_unlabelled([study], tmp_path / "out", CARD, lambda line: None)
    write_plain(tmp_path / "b" / "001", toy_case(1))
    with pytest.raises(InputError, match="another folder"):
        prepare(tmp_path / "b", tmp_path / "out")
    assert read_facts(tmp_path / "out", "001").cohort == "unlabelled"
    (study / "t1.nii.gz").unlink()
    study.rmdir()
    write_plain(study, toy_case())
    assert [outcome.status for outcome in prepare(tmp_path / "a", tmp_path / "out")] == ["packed"]


def test_a_folder_that_was_moved_is_not_another_one(cases, tmp_path):
    prepare(cases, tmp_path / "out", "brats2021")
    cases.rename(tmp_path / "moved")
    assert [(outcome.status, outcome.fresh) for outcome in prepare(tmp_path / "moved", tmp_path / "out", "brats2021")] == [("packed", False)] * 3


@pytest.mark.parametrize("write, described, field", [(write_nnunet, NNUNET_JSON, "channel_names"), (write_msd, MSD_JSON, "modality")])
def test_a_corrected_order_of_channels_packs_again(tmp_path, write, described, field):
    folder = write(tmp_path / "data", {"p1": toy_case()}, described)
    prepare(folder, tmp_path / "out", "")
    before = np.array(load_cases(tmp_path / "out")[0].channels)
    given = json.loads((folder / "dataset.json").read_text())
    given[field]["0"], given[field]["1"] = given[field]["1"], given[field]["0"]
    (folder / "dataset.json").write_text(json.dumps(given))
    assert [outcome.fresh for outcome in prepare(folder, tmp_path / "out", "")] == [True]
    assert not np.array_equal(load_cases(tmp_path / "out")[0].channels, before)
    assert [outcome.fresh for outcome in prepare(folder, tmp_path / "out", "")] == [False]


def test_the_spacing_that_is_asked_for_is_packed_and_another_one_packs_again(tmp_path):
    write_plain(tmp_path / "cases" / "p1", toy_case())
    given = ["prepare", str(tmp_path / "cases"), "--labels", "brats2023", "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main([*given, "--spacing", "2"]) == 0
    assert read_facts(tmp_path / "out", "p1").spacing_mm == (2, 2, 2)
    assert np.count_nonzero(load_cases(tmp_path / "out")[0].labels) == pytest.approx(5832 / 8, rel=0.3)
    assert main(given) == 0
    assert read_facts(tmp_path / "out", "p1").spacing_mm == (1, 1, 1)
    for wrong in ("0", "nan", "20"):
        with pytest.raises(SystemExit, match="2"):
            main([*given, "--spacing", wrong])


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
    (tmp_path / "table.csv").write_text("case,labels,cohort,patient\nBraTS2021_00004,brats2023,Oslo,p\nBraTS2021_00001,,Oslo,p\n4,,Oslo,p\n")
    lines = []
    prepare(cases, tmp_path / "out", "brats2021", table=read_table(tmp_path / "table.csv"), say=lines.append)
    assert "Of the table's 3 rows 1 are of no case in the folder: 4." in lines
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
    told, tell = FORK.Pipe(duplex=False)
    run = FORK.Process(target=prepare, args=(cases, out, "brats2021", tell.send))
    run.start()
    for _ in range(4):
        told.recv()
    run.kill()
    run.join()
    assert run.exitcode < 0
    there = packed_names(out)
    assert 3 <= len(there) < 15
    assert all(case.labels.any() for case in load_cases(out, there))
    outcomes = prepare(cases, out, "brats2021")
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
