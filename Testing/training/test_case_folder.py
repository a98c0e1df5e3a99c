"""The cases that a split names, found in every layout that `prepare` reads."""

import numpy as np
import pytest

from braintumorseg.errors import InputError, MissingFile, UnknownLabels
from braintumorseg.study import ROLES
from braintumorseg_training.case_folder import CaseFolder
from braintumorseg_training.case_table import CaseRow
from toy_datasets import BRATS2023, toy_case, write_brats, write_msd, write_nnunet, write_plain

NAMES = ("p1", "p2")


def each(write):
    """write(folder, case) as a way to write all of them."""
    def write_all(folder, cases):
        for name, case in cases.items():
            write(folder / name, case)
    return write_all


def nested(folder, cases):
    for grade, (name, case) in zip(("HGG", "LGG"), cases.items(), strict=True):
        write_brats(folder / "release" / grade / name, case)


@pytest.fixture
def plain(tmp_path):
    """A folder of two plain cases."""
    each(write_plain)(tmp_path / "data", {name: toy_case(seed) for seed, name in enumerate(NAMES)})
    return tmp_path / "data"


@pytest.mark.parametrize("write, labels", [(each(write_plain), "brats2023"), (each(write_brats), "brats2021"), (nested, "brats2021"), (write_msd, ""),
                                           (each(lambda folder, case: write_brats(folder, case, BRATS2023, et=3)), "brats2023"), (write_nnunet, "")])
def test_every_layout_gives_the_same_cases(tmp_path, write, labels):
    cases = {name: toy_case(seed) for seed, name in enumerate(NAMES)}
    write(tmp_path / "data", cases)
    found = CaseFolder(tmp_path / "data", labels).find(("p2", "p1"))
    assert list(found) == ["p2", "p1"]
    for name, case in found.items():
        study, truth = case.read()
        assert study.roles == ROLES
        assert np.array_equal(study.volumes["t2"].voxels, cases[name]["t2"].voxels)
        assert np.array_equal(truth.voxels, cases[name]["seg"].voxels)


def test_the_table_speaks_before_the_labels_of_all_others(plain):
    found = CaseFolder(plain, "brats2023", {"p2": CaseRow("msd", "Oslo")}).find(NAMES)
    assert [(case.row.labels, case.row.cohort) for case in found.values()] == [("brats2023", "other"), ("msd", "Oslo")]
    assert np.count_nonzero(found["p2"].read()[1].voxels == 1) == np.count_nonzero(found["p1"].read()[1].voxels == 2)    # msd: 1 is oedema


def test_rows_of_the_table_that_are_of_no_case_are_said_and_others_know_their_patient(plain):
    folder, said = CaseFolder(plain, "brats2023", {"p1": CaseRow(patient="P"), "p9": CaseRow(patient="P")}), []
    assert folder.find(["p1"], said.append)["p1"].row.patient == folder.patient_of("p9") == "P"
    assert said == ["Of the table's 2 rows 1 are of no case in the folder: p9."]
    assert folder.patient_of("BraTS2021_00007") == "BraTS-GLI-00007"


def test_a_case_that_is_not_there_is_one_line_that_says_what_is(plain):
    with pytest.raises(MissingFile) as error:
        CaseFolder(plain, "brats2023").find(["p1", "a", "b", "c", "d"])
    assert str(error.value) == ("data lacks a, b, c and 1 more of the split; it holds 2 cases in the layout plain, p1 first. "
                                "Give the folder that prepare was given, or another --split.")


def test_what_shows_without_reading_an_image_is_said_of_all_cases_at_once(plain):
    for file in plain.glob("p2/*.nii.gz"):
        file.write_bytes(b"read too early")
    with pytest.raises(InputError, match=r"p1: its label convention is not declared\. Give --labels"):
        CaseFolder(plain).find(NAMES)
    with pytest.raises(InputError, match=r"p2: its label convention is not declared"):
        CaseFolder(plain, table={"p1": CaseRow("brats2023")}).find(NAMES)
    (plain / "p2" / "t2.nii.gz").unlink()
    with pytest.raises(MissingFile, match=r"p2: it lacks t2\..*--missing-ok"):
        CaseFolder(plain, "brats2023").find(NAMES)
    assert CaseFolder(plain, "brats2023", missing_ok=True).find(NAMES)["p2"].missing == ("t2",)
    (plain / "p2" / "seg.nii.gz").unlink()
    with pytest.raises(MissingFile, match="p2: it has no label file"):
        CaseFolder(plain, "brats2023", missing_ok=True).find(NAMES)
    assert list(CaseFolder(plain, "brats2023").find(["p1"])) == ["p1"]                   # others' faults are not asked for


def test_dataset_json_is_believed_and_not_contradicted(tmp_path):
    write_msd(tmp_path / "msd", {"p1": toy_case()})
    assert CaseFolder(tmp_path / "msd", "msd").find(["p1"])
    with pytest.raises(InputError, match=r"p1: it is declared as brats2023, and dataset\.json says"):
        CaseFolder(tmp_path / "msd", "brats2023").find(["p1"])


def test_of_two_layouts_one_is_chosen(plain):
    write_brats(plain / "p3", toy_case(3))
    with pytest.raises(InputError, match=r"more than one layout: brats \(1\), plain \(2\)\..*--layout"):
        CaseFolder(plain, "brats2023").find(["p1"])
    assert CaseFolder(plain, "brats2021", layout="brats").find(["p3"])


def test_a_fault_that_shows_on_reading_names_the_case(plain):
    case = CaseFolder(plain, "brats2021").find(["p2"])["p2"]
    with pytest.raises(UnknownLabels, match=r"^p2: .*brats2021"):
        case.read()
