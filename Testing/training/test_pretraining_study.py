"""The study of pretraining: who learns from whom, and what its table says. The runs themselves are the benchmark's."""

import importlib.util
import json
from pathlib import Path

import pytest

from toy_datasets import toy_case, write_brats


@pytest.fixture(scope="module")
def study():
    path = Path(__file__).parents[1] / "benchmarks" / "pretraining_study.py"
    spec = importlib.util.spec_from_file_location("pretraining_study", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cell(size, arm, seed, wt, et_ml=5.0):
    return {"size": size, "arm": arm, "seed": seed, "config": {"steps": 300}, "validation": ["a", "b"],
            "pretraining": {"steps": 600, "further_studies": []} if arm == "pretrained" else None,
            "dice": {"a": {"WT": wt, "TC": 0.5, "ET": 0.4, "et_ml": et_ml}, "b": {"WT": wt, "TC": 0.7, "ET": 1.0, "et_ml": 0.0}}}


def test_larger_sets_hold_the_smaller_ones_and_seeds_draw_others(study):
    names = [f"case{n}" for n in range(19)]
    for seed in range(3):
        five, ten = (set(study.choose_cases(names, size, seed)) for size in (5, 10))
        assert len(five) == 5
        assert five < ten
    assert study.choose_cases(names, 5, 0) != study.choose_cases(names, 5, 1)
    assert study.choose_cases(names, 19, 0) == sorted(names)


def test_gains_are_those_of_the_same_seed(study):
    cells = [cell(5, "fresh", 0, 0.60), cell(5, "fresh", 1, 0.70), cell(5, "pretrained", 0, 0.64), cell(5, "pretrained", 1, 0.72),
             cell(10, "pretrained", 0, 0.8)]
    fresh, pretrained, alone = study.summarise(cells)
    assert (fresh["WT"]["mean"], fresh["WT"]["gain"]) == (0.65, None)
    assert pretrained["WT"]["gain"] == {"mean": 0.03, "sd": pytest.approx(0.0141, abs=1e-4), "values": [0.04, 0.02]}
    assert pretrained["ET"]["mean"] == 0.4     # the case without enhancement is not counted
    assert alone["WT"]["gain"] is None
    table = study.as_markdown(study.summarise(cells), cells, study.BASE)
    assert "| 5 | pretrained | 2 | 68.0 ± 5.7 (+3.0 ± 1.4) |" in table
    assert "pretrained 300 steps after 600 of pretraining" in table


def test_cases_are_packed_from_any_layout(study, tmp_path):
    for grade, name in (("HGG", "a"), ("LGG", "b")):
        write_brats(tmp_path / "data" / grade / name, toy_case())
    args = study.options([str(tmp_path / "data"), "--labels", "brats2021", "--split", "s", "--work", str(tmp_path / "work"), "--out", "o"])
    study.pack(args, {"train": ["a", "b"]}, study.BASE)
    assert {path.stem for path in (tmp_path / "work" / "packed").glob("*.npz")} == {"a", "b"}


def test_a_finished_cell_is_not_made_again_and_one_of_other_settings_is_refused(study, tmp_path, monkeypatch):
    split = {"train": ["a", "b", "c"], "validation": ["d"]}
    given = ["x", "--split", "s", "--work", str(tmp_path), "--out", "o", "--steps", "7"]
    monkeypatch.setattr(study, "verb", lambda folder, name, *options: (tmp_path / "verbs").open("a").write(f"{name}\n"))
    monkeypatch.setattr(study, "score", lambda args, weights, names: {"d": {"WT": 0.5, "TC": 0.5, "ET": 0.5, "et_ml": 2.0}})
    args = study.options(given)
    made, fresh = study.make_cell(args, split, study.BASE, 2, 0, "pretrained")
    assert fresh
    assert (tmp_path / "verbs").read_text().split() == ["pretrain", "fit", "export"]
    assert study.make_cell(args, split, study.BASE, 2, 0, "pretrained") == (json.loads(json.dumps(made)), False)
    with pytest.raises(SystemExit, match="other settings"):
        study.make_cell(study.options([*given, "--steps", "8"]), split, study.BASE, 2, 0, "pretrained")
