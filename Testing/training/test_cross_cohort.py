"""The arithmetic of the benchmark Testing/benchmarks/cross_cohort.py."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "cross_cohort.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("cross_cohort", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cell(trained_on, held_out, other, seed=0, variant="baseline"):
    def rows(given):
        return {name: {"WT": dice, "TC": dice, "ET": dice, "et_ml": 5.0} for name, dice in given.items()}

    return {"variant": variant, "trained_on": trained_on, "seed": seed,
            "held_out": rows(held_out), "other": rows(other), "other_calibrated": rows(other)}


def test_four_seeds_hold_out_each_case_once(bench):
    cases = [f"c{n}" for n in range(11)]
    assert sorted(name for seed in range(4) for name in bench.hold_out(cases, seed)) == sorted(cases)


def test_the_fall_is_of_the_same_patients(bench):
    cells = [cell("A", {"a1": 0.9}, {"b1": 0.6, "b2": 0.2}), cell("B", {"b1": 0.8}, {"a1": 0.7, "a2": 0.1})]
    (row,) = bench.summarise(cells)
    assert row["regions"]["WT"]["held_out"]["mean"] == pytest.approx(0.85)
    assert row["regions"]["WT"]["fall"]["mean"] == pytest.approx(((0.9 - 0.7) + (0.8 - 0.6)) / 2)   # not a2 and b2, which nobody held out
    assert row["regions"]["WT"]["other"]["mean"] == pytest.approx(0.4)
    assert row["regions"]["WT"]["fall"]["sd"] is None


def test_a_seed_counts_when_both_ways_are_done_and_spread_is_over_seeds(bench):
    cells = [cell(way, {f"{way}1": dice}, {"A1" if way == "B" else "B1": 0.5}, seed) for seed, dice in ((0, 0.7), (1, 0.9)) for way in "AB"]
    (row,) = bench.summarise([*cells, cell("A", {"A1": 0.0}, {"B1": 0.0}, seed=2)])
    assert row["seeds"] == 2
    assert row["regions"]["WT"]["fall"]["mean"] == pytest.approx(0.3)
    assert row["regions"]["WT"]["fall"]["sd"] == pytest.approx(0.1414, abs=1e-4)


def test_a_cell_pretrains_on_nothing_but_its_own_training_cases_and_fit_begins_there(bench, monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr("braintumorseg_training.packing.packed_names", lambda folder: ["a1", "a2", "a3", "b1", "watched"])
    monkeypatch.setattr(bench.subprocess, "run", lambda command, **more: commands.append(command) or SimpleNamespace(returncode=0))
    args = SimpleNamespace(packed=tmp_path, device="cpu")
    bench.train(args, tmp_path / "run", {"steps": 5}, ["--set", "x=1"], ["a1", "a3"], {"steps": 3})
    assert [command[3] for command in commands] == ["pretrain", "fit", "export"]
    split = json.loads((tmp_path / "run" / "first_split.json").read_text())
    assert (split["train"], split["validation"]) == (["a1", "a3"], ["a2", "b1", "watched"])   # pretrain takes all that is not held back
    assert str(tmp_path / "run" / "first_split.json") in commands[0]
    assert commands[1][-4:] == ["--init", str(tmp_path / "run" / "first" / "checkpoint.pt"), "--set", "x=1"]
    commands.clear()
    bench.train(args, tmp_path / "plain", {"steps": 5}, [], ["a1"], None)
    assert [command[3] for command in commands] == ["fit", "export"]
