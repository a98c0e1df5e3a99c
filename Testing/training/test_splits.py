import json
from collections import Counter
from statistics import median

import pytest

from braintumorseg.errors import InputError, MissingFile, OutputError
from braintumorseg_training.case_table import CaseRow
from braintumorseg_training.cli import OWN_SPLIT, main
from braintumorseg_training.lineage import Lineage, learned_by_name
from braintumorseg_training.packing import PackedFacts
from braintumorseg_training.splits import (
    Split,
    folds_within,
    leave_out,
    make_folds,
    make_split,
    read_split,
    refuse_shared_patients,
    split_cases,
    write_splits,
)
from braintumorseg_training.train import fit


def make_cases(counts=(("A", 60), ("B", 40)), visits=1) -> list[PackedFacts]:
    """Patients A0, A1 ... with tumours of 1, 2 ... ml, each seen `visits` times."""
    return [PackedFacts(f"{cohort}{number:03}-{visit}", cohort, f"{cohort}{number:03}", (0.0, float(number + 1), 0.0))
            for cohort, count in counts for number in range(count) for visit in range(visits)]


def parts(split):
    return split.train, split.validation, split.test


def test_a_split_has_its_shares_in_the_whole_in_each_cohort_and_in_size():
    cases = make_cases()
    ml = {case.name: case.tumour_ml for case in cases}
    for seed in range(5):
        split = make_split(cases, validation=0.2, test=0.1, seed=seed)
        assert sorted(name for part in parts(split) for name in part) == sorted(ml)
        assert [len(part) for part in parts(split)] == [70, 20, 10]
        for part, (a, b) in zip(parts(split), ((42, 28), (12, 8), (6, 4)), strict=True):
            counts = Counter(name[0] for name in part)
            assert abs(counts["A"] - a) <= 1
            assert abs(counts["B"] - b) <= 1
            assert abs(median(ml[name] for name in part) - median(ml.values())) <= 9


def test_a_split_is_a_function_of_the_cases_and_the_seed():
    cases = make_cases()
    one = make_split(cases, validation=0.2, test=0.1, seed=3)
    assert make_split(cases[::-1], validation=0.2, test=0.1, seed=3) == one
    assert make_split(cases, validation=0.2, test=0.1, seed=4).validation != one.validation


def test_all_time_points_of_a_patient_are_on_one_side():
    cases = make_cases(visits=3)
    patient = {case.name: case.patient for case in cases}
    for split in [make_split(cases, validation=0.2, test=0.1, seed=1), *make_folds(cases, 5, test=0.2, seed=1)]:
        sides = [{patient[name] for name in part} for part in parts(split)]
        assert sum(map(len, sides)) == len(set(patient.values())) == 100
        assert sum(map(len, parts(split))) == 300


def test_folds_watch_every_patient_once_and_share_their_test():
    cases = make_cases()
    folds = make_folds(cases, 5, test=0.1, seed=1)
    watched = [name for fold in folds for name in fold.validation]
    assert len(watched) == len(set(watched)) == 90
    assert {fold.test for fold in folds} == {folds[0].test}
    assert not set(watched) & set(folds[0].test)
    assert all(len(fold.train) == 72 for fold in folds)
    assert make_folds(cases, 4, test=0.0, seed=1)[0].test == ()


def test_a_cohort_left_out_is_the_test_and_none_of_its_patients_trains():
    cases = [*make_cases(), PackedFacts("B-again", "A", "B001", (1, 1, 1))]
    split = leave_out(cases, "B", validation=0.2, seed=1)
    assert {name[0] for name in split.test} == {"B"}
    assert len(split.test) == 40
    assert (len(split.train), len(split.validation)) == (48, 12)
    assert "B-again" not in {*split.train, *split.validation}
    assert "B-again" in split.reason
    assert leave_out(cases, "B", validation=0.0, seed=1).validation == ()
    with pytest.raises(InputError, match=r"not among.* A, B; "):
        leave_out(cases, "C", validation=0.2, seed=1)
    with pytest.raises(InputError, match="all there is"):
        leave_out(make_cases((("A", 5),)), "A", validation=0.2, seed=1)


def test_what_cannot_be_dealt_is_refused():
    cases = make_cases((("A", 4),))
    with pytest.raises(InputError, match="4 patients are too few for a test part of 5%"):
        make_split(cases, validation=0.25, test=0.05, seed=1)
    with pytest.raises(InputError, match="take 120%"):
        make_split(cases, validation=0.6, test=0.6, seed=1)
    with pytest.raises(InputError, match="4 patients cannot be dealt into 5"):
        make_folds(cases, 5, test=0.0, seed=1)


def test_a_split_file_says_how_it_was_made_and_is_never_overwritten(tmp_path):
    split = make_split(make_cases(), validation=0.2, test=0.1, seed=3)
    (path,) = write_splits([split], tmp_path / "split.json")
    assert read_split(path) == split
    assert "Seed 3" in split.reason
    assert "validation 20 cases of 20 patients (A 12, B 8)" in split.reason
    with pytest.raises(OutputError, match=r"split\.json exists already.*--force"):
        write_splits([split], path)
    folds = make_folds(make_cases(), 3, test=0.0, seed=1)
    (tmp_path / "cv_fold2.json").write_text("{}")
    with pytest.raises(OutputError, match=r"cv_fold2\.json"):
        write_splits(folds, tmp_path / "cv.json")
    assert not (tmp_path / "cv_fold0.json").exists()
    assert [path.name for path in write_splits(folds, tmp_path / "cv.json", force=True)] == ["cv_fold0.json", "cv_fold1.json", "cv_fold2.json"]
    assert read_split(tmp_path / "cv_fold2.json") == folds[2]
    assert not list(tmp_path.glob(".*"))


def test_splits_without_a_test_part_are_read_as_before():
    split = read_split(OWN_SPLIT)
    assert (len(split.train), len(split.validation), split.test) == (19, 5, ())


def test_a_patient_on_both_sides_of_a_split_is_refused(tmp_path):
    path = tmp_path / "split.json"
    for content, words in (({"train": ["a", "b"], "validation": ["b"]}, "b in training and in validation"),
                           ({"train": ["a"], "validation": ["b"], "test": ["a"]}, "a in training and in test"),
                           ({"train": ["a"], "validation": ["b"], "test": ["b"]}, "b in validation and in test"),
                           ({"train": ["a"]}, "lacks a list"), ([], "lacks a list")):
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match=words):
            read_split(path)
    assert Split(("a",), ("b",)).train == ("a",)


def test_the_table_corrects_cohort_and_patient_and_made_up_cases_are_left_out(packed):
    rows = {"case0": CaseRow("", "Oslo", "7"), "case1": CaseRow("", "", "7")}
    found = {case.name: case for case in split_cases(packed, rows)}
    assert (found["case0"].cohort, found["case0"].patient) == ("Oslo", "7")
    assert (found["case1"].cohort, found["case1"].patient) == ("BraTS2021", "7")
    assert set(found) == {"case0", "case1", "case2", "case3"}


def test_the_verb_writes_what_was_asked_for(packed, tmp_path, capsys):
    def split(*arguments):
        return main(["split", "--data", str(packed), *map(str, arguments)])

    assert split("--out", tmp_path / "s.json", "--validation", 0.25, "--test", 0.25) == 0
    assert "train 2 cases of 2 patients (BraTS2021 2)" in capsys.readouterr().out
    assert [len(part) for part in parts(read_split(tmp_path / "s.json"))] == [2, 1, 1]
    assert split("--out", tmp_path / "w.json", "--folds", 2, "--within", tmp_path / "s.json") == 0
    whole, fold = read_split(tmp_path / "s.json"), read_split(tmp_path / "w_fold1.json")
    assert {*fold.train, *fold.validation} == set(whole.train)
    assert set(fold.test) == {*whole.validation, *whole.test}
    assert split("--out", tmp_path / "f.json", "--folds", 2) == 0
    assert read_split(tmp_path / "f_fold1.json").test == ()
    (tmp_path / "t.csv").write_text("case,cohort\ncase3,Oslo\n")
    assert split("--out", tmp_path / "l.json", "--leave-out", "Oslo", "--cohorts", tmp_path / "t.csv", "--validation", 0) == 0
    assert read_split(tmp_path / "l.json").test == ("case3",)
    capsys.readouterr()
    assert split("--out", tmp_path / "s.json") == 1
    assert capsys.readouterr().err.count("\n") == 1
    for wrong in (["--folds", 1], ["--validation", 2], ["--folds", 2, "--validation", 0.2], ["--folds", 2, "--leave-out", "A"],
                  ["--leave-out", "A", "--test", 0.1], ["--within", "s.json"], ["--within", "s.json", "--folds", 2, "--test", 0.1]):
        with pytest.raises(SystemExit, match="2"):
            split("--out", tmp_path / "x.json", *wrong)


def test_an_empty_folder_has_nothing_to_split(tmp_path):
    with pytest.raises(MissingFile, match="prepare"):
        split_cases(tmp_path)


def test_folds_within_a_split_are_of_its_training_cases_and_never_see_what_it_holds_out():
    cases = make_cases(visits=2)
    whole = make_split(cases, validation=0.2, test=0.1, seed=1)
    folds = folds_within(cases, whole, 5, seed=1)
    watched = [name for fold in folds for name in fold.validation]
    assert sorted(watched) == sorted(whole.train)
    assert all(sorted(fold.train + fold.validation) == sorted(whole.train) for fold in folds)
    assert {fold.test for fold in folds} == {(*whole.validation, *whole.test)}
    assert "test is the 60 cases that it holds out" in folds[0].reason
    with pytest.raises(MissingFile, match=r"training cases A\d+-0, .* and 1 more are not packed"):
        folds_within([case for case in cases if case.name not in sorted(whole.train)[:4]], whole, 5, seed=1)


def test_one_patient_in_validation_and_in_test_is_refused_as_in_training(tmp_path):
    one, other = "BraTS-GLI-00001-000", "BraTS-GLI-00001-001"
    for split, words in ((Split((one,), (other,)), "training and in validation"), (Split((one,), (), test=(other,)), "training and in test"),
                         (Split(("a",), (one,), test=(other,)), "validation and in test")):
        with pytest.raises(InputError, match=f"one patient in {words}: {one} and {other}"):
            refuse_shared_patients(tmp_path, split)
    with pytest.raises(InputError, match=rf"learned from {one} \(whose patient is that of {other}\): of patients in the split's val"):
        refuse_shared_patients(tmp_path, Split(("a",), (other,), inherited=Lineage((learned_by_name(one),))))
    refuse_shared_patients(tmp_path, Split((one,), ("b",), inherited=Lineage((learned_by_name(other),))))


@pytest.mark.parametrize("content, words", [
    ({"train": [1, 2], "validation": []}, "train is not a list of cases' names in quotation marks"),
    ({"train": "abc", "validation": []}, "train is not a list"), ({"train": ["a"], "validation": None}, "validation is not a list"),
    ({"train": ["a"], "validation": [["b"]]}, "validation is not a list"), ({"train": ["a"], "validation": [""]}, "validation is not a list"),
    ({"train": ["a"], "validation": [], "test": {"b": 1}}, "test is not a list"),
    ({"train": ["a", "b", "a"], "validation": []}, "The split has a more than once in training")])
def test_a_split_file_that_is_none_is_said_in_a_line(tmp_path, content, words):
    (tmp_path / "split.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=words) as error:
        read_split(tmp_path / "split.json")
    assert "\n" not in str(error.value)


def test_a_split_without_training_cases_is_for_measuring_and_not_for_fit(packed, tiny, tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"train": [], "validation": ["case0"]}))
    split = read_split(tmp_path / "split.json")
    with pytest.raises(InputError, match="no training cases"):
        fit(tiny, packed, split, tmp_path / "run", device="cpu", say=lambda line: None)
