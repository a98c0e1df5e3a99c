"""The verb `phantom`; what is in the files is tested with the phantom and the demo."""

import json

import pytest

from braintumorseg import phantom as phantoms
from braintumorseg import read_study, verbs_phantom
from braintumorseg.cli import main
from braintumorseg.io.nifti import read_nifti
from braintumorseg.study import ROLES


@pytest.fixture
def quick(monkeypatch):
    """The phantom itself takes 10 s to make: empty files stand for it."""
    def write(made, folder):
        found = {"dicom": {role: f"dicom/{role}" for role in ROLES}, "brain_only": {role: f"brain_only/phantom_{role}.nii.gz" for role in ROLES},
                 "truth": "brain_only/truth.nii.gz"}
        for path in (*found["dicom"].values(), *found["brain_only"].values(), found["truth"]):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(str(made).encode())
        return found

    monkeypatch.setattr(phantoms, "make_phantom", lambda seed: seed)
    monkeypatch.setattr(verbs_phantom, "write_patient", write)


def test_it_says_where_everything_is_and_all_of_it_is_there(quick, tmp_path, capsys):
    assert main(["phantom", "--out", str(tmp_path / "made up"), "--seed", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seed"] == 3
    for path in (*found["dicom"].values(), *found["brain_only"].values(), found["truth"]):
        assert (tmp_path / "made up" / path).exists()
    assert json.loads((tmp_path / "made up" / "report.json").read_text()) == found


def test_it_replaces_only_what_is_its_own_and_only_when_told(quick, tmp_path, capsys):
    assert main(["phantom", "--out", str(tmp_path / "a")]) == 0
    assert main(["phantom", "--out", str(tmp_path / "a")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["phantom", "--out", str(tmp_path / "a"), "--force"]) == 0
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("x")
    assert main(["phantom", "--out", str(tmp_path / "b"), "--force"]) == 1


def test_the_patient_is_four_dicom_series_and_four_brains_with_the_truth_on_the_t1ces_grid(phantom, tmp_path):
    found = verbs_phantom.write_patient(phantom, tmp_path)
    assert set(found["dicom"]) == set(found["brain_only"]) == set(ROLES)
    for role, folder in found["dicom"].items():
        assert len(list((tmp_path / folder).iterdir())) == phantom.raw.volumes[role].shape[2]
    study = read_study([tmp_path / name for name in found["brain_only"].values()])
    assert set(study.volumes) == set(ROLES)
    t1ce = study.volumes["t1ce"]
    truth = read_nifti(tmp_path / found["truth"])
    assert truth.grid.same_as(t1ce.grid)
    assert (t1ce.voxels[truth.voxels > 0] > 0).all()     # the tumour lies in the brain
    assert (t1ce.voxels == 0).mean() > 0.5               # and nothing of the head is left around it
