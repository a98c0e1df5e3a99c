"""The four commands of the README in a row, on made-up cases and a tiny network."""

import json

import numpy as np
import pytest

from braintumorseg.io.nifti import write_nifti
from braintumorseg.model_zoo import load_model
from braintumorseg_training.cli import main
from toys import make_toy_study


@pytest.fixture
def cases(tmp_path):
    for name, shape in (("a", (40, 44, 36)), ("b", (36, 40, 40)), ("c", (44, 36, 40))):
        folder = tmp_path / "cases" / name
        folder.mkdir(parents=True)
        study = make_toy_study(shape)
        for role, volume in study.volumes.items():
            write_nifti(volume, folder / f"{role}.nii.gz")
        labels = np.zeros(shape, np.uint8)
        for label, half in ((2, 7), (1, 5), (4, 4)):
            labels[tuple(slice(n // 2 - half, n // 2 + half) for n in shape)] = label
        write_nifti(study.reference.with_voxels(labels), folder / "seg.nii.gz")
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a", "b"], "validation": ["c"]}))
    (tmp_path / "config.json").write_text(json.dumps({"channels": [8, 8], "patch": [16, 16, 16], "steps": 2, "bf16": False, "warm_up": 1}))
    return tmp_path


def test_from_cases_to_a_card_with_its_numbers(cases, capsys):
    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    run("prepare", cases / "cases", "--labels", "brats2021", "--out", cases / "packed")
    assert "left" in run("fit", "--data", cases / "packed", "--split", cases / "split.json", "--config", cases / "config.json",
                         "--out", cases / "run", "--device", "cpu")
    run("export", cases / "run", "--data", cases / "packed", "--split", cases / "split.json", "--out", cases / "network", "--name", "tiny")
    model = cases / "network" / "tiny.onnx"
    run("validate", cases / "cases", "--labels", "brats2021", "--model", model, "--split", cases / "split.json", "--out", cases / "validation",
        "--subsets", "--write-card")
    metrics = load_model(model).card.metrics
    assert metrics["dice"]["WT"]["n"] == 1
    assert "c" in metrics["split"]
    assert len(metrics["dice_by_sequences"]) == 15
    written = {path.name for path in (cases / "validation").iterdir()}
    assert written >= {"validation.json", "validation.csv", "validation.png", "subsets.json", "worst_c"}


@pytest.mark.parametrize("arguments, words", [
    (["fit", "--data", "CASES/packed", "--out", "CASES/run"], "prepare"),
    (["export", "CASES/nothing", "--data", "CASES/packed", "--out", "CASES/network"], "checkpoint.pt"),
    (["fit", "--data", "CASES/packed", "--out", "CASES/run", "--split", "CASES/nowhere.json"], "nowhere.json"),
    (["fit", "--data", "CASES/packed", "--out", "CASES/run", "--split", "CASES/config.json"], "train"),
])
def test_bad_input_is_one_line(cases, arguments, words, capsys):
    assert main([argument.replace("CASES", str(cases)) for argument in arguments]) == 1
    err = capsys.readouterr().err
    assert err.startswith("braintumorseg-train: ")
    assert err.count("\n") == 1
    assert words in err
