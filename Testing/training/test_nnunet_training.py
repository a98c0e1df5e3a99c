"""What the benchmark Testing/benchmarks/nnunet_training.py gives to nnU-Net and counts of both. The trainings themselves are the benchmark's."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from braintumorseg_training.case_folder import CaseFolder
from braintumorseg_training.data import Split
from toy_datasets import toy_case, write_msd

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location("nnunet_training", FOLDER / "nnunet_training.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nnunet_gets_the_same_cases_and_labels(bench, tmp_path):
    cases = {"a": toy_case(0), "b": toy_case(1)}
    truths = bench.to_nnunet(Split(("a",), ("b",)), CaseFolder(write_msd(tmp_path / "msd", cases)), tmp_path / "out")
    assert list(truths) == ["b"]
    found = CaseFolder(tmp_path / "out").find(["a", "b"])
    for name, case in found.items():
        study, truth = case.read()
        assert np.array_equal(study.volumes["t1ce"].voxels, cases[name]["t1ce"].voxels)
        assert np.array_equal(truth.voxels, cases[name]["seg"].voxels)


def test_ours_is_trained_exported_and_scored_on_the_split(bench, packed, tmp_path, monkeypatch):
    from braintumorseg_training import config, export, train, validate

    done = []
    scores = {region: SimpleNamespace(dice=dice) for region, dice in (("WT", 0.5), ("TC", 0.25), ("ET", 1.0))}
    evaluation = SimpleNamespace(results=(SimpleNamespace(scores=scores),))
    monkeypatch.setattr(train, "fit", lambda config, packed, split, out, **how: done.append(("fit", split.train, split.validation)))
    monkeypatch.setattr(export, "export", lambda run, packed, split, *rest, **how: done.append(("export", split.train, split.validation)))
    monkeypatch.setattr(validate, "validate", lambda weights, folder, split, out, **how: SimpleNamespace(evaluation=evaluation))
    args = SimpleNamespace(config=None, packed=packed, minutes=0.001, tiny=True)
    found, about = bench.ours(args, Split(("case0",), ("case1",)), CaseFolder(tmp_path), tmp_path)
    assert found == {"WT": [0.5], "TC": [0.25], "ET": [1.0]}
    assert done == [("fit", ("case0",), ())] * 4 + [("export", ("case0",), ("case1",))]
    assert about["batch"] == config.Config().batch
