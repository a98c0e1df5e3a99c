import csv
import io
import json
import sys

import numpy as np
import pytest

from braintumorseg.errors import InputError, MissingFile
from braintumorseg_training.cli import main
from braintumorseg_training.compare import compare, difference, read_groups, summary


def write_validation(folder, dice, et_ml=None, truth=20.0, subsets=True, sha256=None):
    """A validation.json as validate writes it, of cases c0, c1, ... whose Dice is the same in every region."""
    folder.mkdir()
    cases = [f"c{number}" for number in range(len(dice))]
    et_ml = et_ml or [5.0] * len(dice)
    results = [{"case": case, "structures": {region: {"dice": value, "truth_ml": et if region == "ET" else truth} for region in ("WT", "TC", "ET")}}
               for case, value, et in zip(cases, dice, et_ml, strict=True)]
    by_sequences = {"flair": {case: dict.fromkeys(("WT", "TC", "ET"), value / 2) for case, value in zip(cases, dice, strict=True)}}
    (folder / "validation.json").write_text(json.dumps({"results": results, "by_sequences": by_sequences if subsets else {},
                                                        **({"network": {"name": "mine", "sha256": sha256}} if sha256 else {})}))
    return folder


def test_differences_are_paired_by_case_against_the_first(tmp_path):
    one = write_validation(tmp_path / "one", [0.8, 0.7, 0.2, 0.9, 0.6, 0.5])
    two = write_validation(tmp_path / "two", [0.9, 0.8, 0.3, 1.0, 0.7, 0.6])
    found = compare(read_groups([one, two], []), tmp_path / "out", say=lambda line: None)
    assert found["differences"]["two"]["WT"] == {"n": 6, "mean": 0.1, "low": 0.1, "high": 0.1, "p": pytest.approx(2 / 64, abs=1e-3)}
    assert found["groups"]["two"]["WT"] == {"n": 6, "seeds": 1, "mean": 0.7167, "sd_over_seeds": None, "median": 0.75, "worst": 0.3,
                                            "worst_case": "c2"}
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "| two | 6 | +10.0 | +10.0 to +10.0 | 0.031 |" in text
    assert "cannot fall below 0.0312" in text
    assert (tmp_path / "out" / "compare.png").stat().st_size > 10_000
    with (tmp_path / "out" / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 6 * 3 * 2      # networks, cases, regions, all sequences and FLAIR
    assert {"group": "one", "seed": "1", "case": "c2", "sequences": "flair", "region": "TC", "dice": "0.1"} in rows


def test_the_interval_holds_the_mean_and_widens_with_the_spread(tmp_path):
    one = write_validation(tmp_path / "one", [0.5] * 8)
    near = write_validation(tmp_path / "near", [0.5 + step / 100 for step in range(8)])
    far = write_validation(tmp_path / "far", [0.5 + step / 20 for step in range(8)])
    a, b, c = read_groups([one, near, far], [])
    close, wide = difference(a, b, "WT"), difference(a, c, "WT")
    assert close.low < close.mean < close.high
    assert wide.high - wide.low == pytest.approx(5 * (close.high - close.low), rel=0.01)
    assert difference(a, a, "WT").p == 1.0


def test_a_terminal_without_its_letters_costs_nothing(tmp_path, monkeypatch):
    paths = [write_validation(tmp_path / name, values) for name, values in (("s1", [0.8, 0.6]), ("s2", [0.6, 0.4]), ("plain", [0.5, 0.5]))]
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["compare", str(paths[2]), "--group", f"ours={paths[0]},{paths[1]}", "--out", str(tmp_path / "out")]) == 0
    out.flush()
    assert b"0.600 " in out.buffer.getvalue()


def test_seeds_of_one_recipe_are_one_row_with_its_spread(tmp_path):
    paths = [write_validation(tmp_path / name, values) for name, values in (("s1", [0.8, 0.6]), ("s2", [0.6, 0.4]), ("plain", [0.5, 0.5]))]
    groups = read_groups(paths[2:], [f"ours={paths[0]},{paths[1]}"])
    assert summary(groups[1], "WT") == {"n": 2, "seeds": 2, "mean": 0.6, "sd_over_seeds": round(float(np.std([0.7, 0.5], ddof=1)), 4), "median": 0.6,
                                        "worst": 0.5, "worst_case": "c1"}
    found = compare(groups, tmp_path / "out", say=lambda line: None)
    assert found["by_sequences"]["flair"]["ours"]["WT"] == 0.3
    assert "0.600 ± 0.141" in (tmp_path / "out" / "compare.md").read_text()


def test_one_network_is_not_several_seeds(tmp_path):
    one, again, other, old = (write_validation(tmp_path / name, [0.8, 0.6], sha256=sha256)
                              for name, sha256 in (("one", "a1"), ("again", "a1"), ("other", "b2"), ("old", None)))
    for named in (f"{one},{again}", f"{one},{other},{one}", f"{old},{other},{old}"):
        with pytest.raises(InputError, match=r"in --group ours are of one network, and a group is of several seeds"):
            read_groups([other], [f"ours={named}"])
    assert [len(group.dice["WT"]) for group in read_groups([one, again], [f"ours={one},{other},{old}"])] == [1, 1, 3]


def test_et_counts_only_where_there_is_enough_of_it_and_missing_subsets_are_left_out(tmp_path):
    one = write_validation(tmp_path / "one", [0.8, 0.0, 0.6], et_ml=[5.0, 0.2, 3.0])
    two = write_validation(tmp_path / "two", [0.8, 0.0, 0.6], et_ml=[5.0, 0.2, 3.0], subsets=False)
    found = compare(read_groups([one, two], []), tmp_path / "out", say=lambda line: None)
    assert (found["groups"]["one"]["ET"]["n"], found["groups"]["one"]["ET"]["mean"]) == (2, 0.7)
    assert found["by_sequences"] == {}


def test_a_network_that_was_trained_on_the_cases_is_named_before_its_numbers(tmp_path):
    one, two, three = (write_validation(tmp_path / name, [0.8, 0.7]) for name in ("one", "two", "three"))
    content = json.loads((two / "validation.json").read_text())
    (two / "validation.json").write_text(json.dumps({**content, "part": "train", "trained_on": ["c1"]}))
    said = []
    found = compare(read_groups([one], [f"ours={three},{two}"]), tmp_path / "out", said.append)
    assert found["trained_on"] == {"ours": ["c1"]}
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["trained_on"] == {"ours": ["c1"]}
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "> **ours was trained on 1 of these cases, or on others of their patients** (c1)" in text
    assert text.index("was trained on") < text.index("## WT")
    assert said == [text]
    compare(read_groups([one, three], []), tmp_path / "out", said.append)
    assert "trained on" not in said[1]


def test_what_cannot_be_compared_is_one_line(tmp_path, capsys):
    one = write_validation(tmp_path / "one", [0.8, 0.7])
    more = write_validation(tmp_path / "more", [0.8, 0.7, 0.6])
    other = write_validation(tmp_path / "other", [0.8, 0.7], truth=21.0)
    for folders, error, words in (([one, more], InputError, "c2 in only one"), ([one, other], InputError, "truth of c0"),
                                  ([one], InputError, "two or more"), ([one, tmp_path / "none"], MissingFile, "validation.json")):
        with pytest.raises(error, match=words):
            read_groups(folders, [])
    assert main(["compare", str(one), "--group", "nonsense", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()
