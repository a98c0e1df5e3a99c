"""The four commands of the README in a row, on made-up cases and a tiny network."""

import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest

from braintumorseg.cli import main as engine_main
from braintumorseg.io.nifti import write_nifti
from braintumorseg.model_zoo import load_model
from braintumorseg_training import cli, verbs_data
from braintumorseg_training.checkpoints import load_checkpoint
from braintumorseg_training.cli import main
from braintumorseg_training.packing import packed_names
from braintumorseg_training.run_log import RunLog
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


def test_from_cases_to_an_installed_network_with_its_numbers(cases, capsys, monkeypatch):
    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    run("prepare", cases / "cases", "--labels", "brats2021", "--out", cases / "packed")
    assert "left" in run("fit", "--data", cases / "packed", "--split", cases / "split.json", "--config", cases / "config.json",
                         "--out", cases / "run", "--device", "cpu")
    run("export", cases / "run", "--data", cases / "packed", "--out", cases / "network", "--name", "tiny",
        "--validate", cases / "cases", "--labels", "brats2021", "--zip")
    monkeypatch.setenv("BRAINTUMORSEG_MODELS", str(cases / "models"))
    assert engine_main(["models", "add", str(cases / "network" / "tiny.zip")]) == 0
    card = load_model("tiny").card
    assert card.metrics["dice"]["WT"]["n"] == 1
    assert "c" in card.metrics["split"]
    assert len(card.metrics["dice_by_sequences"]) == 15
    assert card.training["trained_on"] == ["a", "b"]
    assert card.training["held_out"] == ["c"]
    assert 0 <= card.training["parity"]["largest_difference"] <= card.training["parity"]["allowed"]
    capsys.readouterr()
    assert engine_main(["models", "show", "tiny"]) == 0
    assert "(N = 1)" in capsys.readouterr().out

    run("validate", cases / "cases", "--labels", "brats2021", "--model", cases / "network" / "tiny.onnx", "--split", cases / "split.json",
        "--out", cases / "validation")
    written = {path.name for path in (cases / "validation").iterdir()}
    assert written >= {"report.md", "validation.json", "validation.csv", "validation.png", "metrics.png", "worst_WT.png", "worst_case"}
    run("compare", cases / "validation", cases / "network" / "validation_tiny", "--out", cases / "comparison")
    assert (cases / "comparison" / "compare.md").is_file()


def test_export_takes_the_runs_own_split_and_says_what_lacks_before_it_begins(cases, capsys):
    def refused(*arguments):
        assert main([str(argument) for argument in arguments]) == 1
        return capsys.readouterr().err

    assert main(["prepare", str(cases / "cases"), "--labels", "brats2021", "--out", str(cases / "packed")]) == 0
    fit = ["fit", "--data", cases / "packed", "--config", cases / "config.json", "--out", cases / "run", "--device", "cpu", "--split"]
    assert main([str(argument) for argument in [*fit, cases / "split.json"]]) == 0
    (cases / "other.json").write_text(json.dumps({"train": ["a", "c"], "validation": ["b"]}))
    capsys.readouterr()
    assert "made with another split: train lacks b and adds c; validation lacks c and adds b" in refused(*fit, cases / "other.json")

    export = ["export", cases / "run", "--data", cases / "packed", "--out", cases / "network"]
    assert "trained on other cases than the split says: train lacks b and adds c" in refused(*export, "--split", cases / "other.json")
    assert "c: its label convention is not declared" in refused(*export, "--validate", cases / "cases")
    (cases / "cases" / "c").rename(cases / "elsewhere")
    assert "cases lacks c of the split" in refused(*export, "--validate", cases / "cases", "--labels", "brats2021")
    assert not (cases / "network").exists()


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


def main_unread(arguments) -> int:
    """`main` with a stdout whose reader has gone, as in `... | head`, up to the last flush of the interpreter's end."""
    there, here = os.pipe()
    os.close(there)
    with open(here, "w") as pipe, redirect_stdout(pipe):
        return main([str(word) for word in arguments])


def test_a_run_goes_on_when_nobody_reads_it_any_more(cases):
    pack = ["prepare", cases / "cases", "--out", cases / "packed", "--labels", "brats2021", "--workers", "1"]
    assert main_unread(pack) == 0
    fit = ["fit", "--data", cases / "packed", "--split", cases / "split.json", "--config", cases / "config.json", "--out", cases / "run", "--device",
           "cpu", "--workers", "0"]
    assert main_unread(fit) == 0
    assert load_checkpoint(cases / "run" / "checkpoint.pt")["step"] == 2


def test_what_measures_and_packs_is_done_though_nobody_reads_it_any_more(cases):
    study = cases / "cases" / "a"
    assert main_unread(["prepare-unlabelled", study, cases / "cases" / "b", cases, "--out", cases / "unlabelled"]) == 0
    assert packed_names(cases / "unlabelled") == ["a", "b"]
    for name, value in (("one", 0.5), ("two", 0.6)):
        (cases / name).mkdir()
        row = {"case": "a", "structures": {region: {"dice": value, "truth_ml": 5.0} for region in ("WT", "TC", "ET")}}
        (cases / name / "validation.json").write_text(json.dumps({"results": [row]}))
    assert main_unread(["compare", cases / "one", cases / "two", "--out", cases / "compared"]) == 0
    assert (cases / "compared" / "compare.md").is_file()


def test_a_verb_whose_last_line_nobody_reads_ends_without_a_traceback(tmp_path, capfd):
    RunLog(tmp_path, ("WT",), print).add({"step": 1, "loss": 0.5, "rate": "1e-3"})
    assert main_unread(["curves", tmp_path]) == 1
    assert capfd.readouterr().err == ""


def test_the_number_of_workers_is_that_of_the_cores_that_were_granted(monkeypatch, capsys):
    monkeypatch.setattr(verbs_data, "granted_cores", lambda: 3)
    assert cli._parser().parse_args(["prepare", "x", "--out", "y"]).workers == 3
    with pytest.raises(SystemExit):
        main(["fit", "--data", "x", "--out", "y", "--workers", "-1"])
    assert "--workers: -1 is not between 0 and 1024" in capsys.readouterr().err


def test_without_the_training_packages_a_verb_ends_in_one_line(tmp_path):
    """The engine's installation has this command too."""
    code = ("import sys; sys.modules.update(dict.fromkeys(('torch', 'monai', 'onnx', 'matplotlib'))); "
            "from braintumorseg_training.cli import main; sys.exit(main(sys.argv[1:]))")
    for arguments in (["fit", "--data", "x", "--out", "y"], ["prepare", "x", "--out", "y"], ["curves", "x"],
                      ["export", "x", "--data", "x", "--out", "y"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 1
        assert re.fullmatch(r"braintumorseg-train: Training needs the package \w+, which is not installed\. Run in [^\n]*\"\.\[cpu,training\]\"\n",
                            done.stderr)
