import pytest

from braintumorseg.errors import InputError, MissingFile
from braintumorseg_training.case_table import CaseRow, cohort_of, patient_of, read_table, unmatched_rows


@pytest.mark.parametrize("names", [
    ("BraTS-GLI-00000-000", "BraTS-GLI-00000-001", "BraTS2021_00000"),
    ("Brats17_TCIA_105_1", "Brats18_TCIA02_105_1"),
    ("Brats17_CBICA_AAB_1", "BraTS19_CBICA_AAB_1"),
    ("UCSF-PDGM-0004", "UCSF-PDGM-0004_FU016d"),
    ("UPENN-GBM-00001_11", "UPENN-GBM-00001_21"),
    ("sub-01_ses-1", "sub-01_ses-2"),
])
def test_one_patients_time_points_and_releases_are_one_patient(names):
    assert len({patient_of(name) for name in names}) == 1


def test_different_patients_stay_apart():
    names = ("BraTS-GLI-00000-000", "BraTS-GLI-00001-000", "BraTS-MET-00001-000", "Brats18_TCIA02_105_1", "Brats18_TCIA02_106_1", "Brats18_2013_1_1",
             "Brats18_2013_10_1", "BRATS_001", "BRATS_002", "p1", "p2")
    assert len({patient_of(name) for name in names}) == len(names)


def test_cohorts_are_told_by_the_names_of_the_releases_and_by_nothing_else():
    assert [cohort_of(name) for name in ("BraTS2021_01480", "BraTS-GLI-00000-000", "BraTS-GLI-00000-100", "Brats17_TCIA_105_1", "Brats18_CBICA_AAB_1",
                                         "BraTS20_Training_001", "BraTS-SSA-00002-000", "patient7")] == \
        ["BraTS2021", "BraTS2021", "BraTS2024", "TCIA", "CBICA", "BraTS2020", "BraTS-SSA", "other"]


def test_a_table_says_what_it_has_columns_for(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("case,labels,cohort,patient\na,\"brats2023 (1,2,3)\",Oslo,7\nb,,,\n")
    assert read_table(path) == {"a": CaseRow("brats2023", "Oslo", "7"), "b": CaseRow()}
    path.write_text("case\na\n")
    assert read_table(path) == {"a": CaseRow()}


@pytest.mark.parametrize("content, words", [
    ("", "no column `case`"),
    ("case,cohort\na,phantom\n", "of the cohort phantom, a word for what is no patient"),
    ("name,labels\na,brats2023\n", "no column `case`"),
    ("case,labels\na,brats2023\na,brats2021\n", "a twice"),
    ("case,labels\na,mine\n", "mine, which is unknown.*brats2021"),
    (b"\xff\xfe\x00", "cannot be read"),
])
def test_a_table_that_is_none_is_refused(tmp_path, content, words):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words):
        read_table(path)
    with pytest.raises(MissingFile):
        read_table(tmp_path / "nowhere.csv")


def test_rows_that_are_of_no_case_are_named():
    table = {name: CaseRow() for name in "abcdef"}
    assert unmatched_rows(table, "bf") == "Of the table's 6 rows 4 are of no case in the folder: a, c, d and 1 more."
    assert unmatched_rows(table, table) == ""
