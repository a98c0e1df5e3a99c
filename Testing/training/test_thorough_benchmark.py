"""The benchmark Testing/benchmarks/thorough.py counts what it says."""

from pathlib import Path

import pytest


@pytest.fixture
def thorough(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import thorough

    return thorough


def row(one, several, expected, network=1, case="a", et_ml=5.0):
    return {"network": network, "case": case, "one": {"WT": one, "TC": one, "ET": one, "et_ml": et_ml},
            "several": {"WT": several, "TC": several, "ET": several, "et_ml": et_ml},
            "expected": {} if expected is None else dict.fromkeys(("WT", "TC", "ET"), expected)}


ROWS = [row(0.9, 0.92, 0.95, case="a"), row(0.8, 0.78, 0.7, case="b"), row(0.5, 0.6, 0.85, case="c", et_ml=0.2),
        row(0.0, 0.0, None, case="d", network=2)]


def test_gains_are_in_points_and_what_was_not_found_has_no_expected_dice(thorough):
    found = thorough.summary(ROWS, "WT")
    assert (found["n"], found["found"]) == (4, 3)
    assert found["gain"] == pytest.approx(100 * (0.02 - 0.02 + 0.1) / 4)
    assert found["off"] == pytest.approx((0.03 + 0.08 + 0.25) / 3)
    assert thorough.summary(ROWS, "ET")["n"] == 3      # one has too little of it


def test_a_doubtful_tumour_counts_as_told_when_it_was_expected_to_be_or_nothing_was_found(thorough):
    assert thorough.flags(ROWS) == {"bad": (2, 3), "good": (0, 1)}


def test_the_table_tells_networks_patients_and_flags(thorough):
    text = thorough.as_markdown({"part": "train", "rows": ROWS, "networks": [{"network": n, "name": "toy", "version": "1"} for n in (1, 2)]}, "x.png")
    assert "2 networks (toy 1), 4 patients of the split's train cases" in text
    assert "2 of 3 expected below it or found nothing; of those above: 0 of 1" in text
    assert "WT 1 of 2" in text
