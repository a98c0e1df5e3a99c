"""The table, CSV, JSON and box plots of an evaluation made by hand, whose means can be worked out in the head."""

import csv
import json
import math
import subprocess
import sys

import pytest
from PIL import Image

from braintumorseg.errors import OutputError, ResourceError
from braintumorseg.evaluate import STRUCTURES, CaseResult, Evaluation, Scores
from braintumorseg.evaluation_report import METRICS, format_table, summarise, to_json, write_box_plots, write_csv
from braintumorseg.lesions import LesionScores


def result(case: str, dice: float, hd95: float = 2.0, truth_ml: float = 10.0, found_ml: float = 12.0) -> CaseResult:
    lesions = LesionScores(dice / 2, 100.0, truth=2, found=3, matched=1, false_found=1)
    scores = Scores(truth_ml, found_ml, found_ml - truth_ml, dice, dice / 2, dice, dice, hd95, dice, lesions)
    return CaseResult(case, dict.fromkeys(STRUCTURES, scores))


@pytest.fixture
def evaluation() -> Evaluation:
    return Evaluation((result("good", 0.9, 1.0), result("fair", 0.8, 4.0), result("none", 1.0, 0.0, 0.0, 0.0),
                       result("bad", 0.0, math.inf, 10.0, 0.0)), ("lonely",), ("extra",), (("odd", "The grids differ."),))


def summary(evaluation, key):
    return summarise(evaluation.results, "ET", next(metric for metric in METRICS if metric.key == key))


def test_the_summary_has_mean_median_and_the_worst_with_its_name(evaluation):
    dice = summary(evaluation, "dice")
    assert (dice.n, dice.worst, dice.worst_case) == (4, 0.0, "bad")
    assert (dice.mean, dice.median) == pytest.approx((0.675, 0.85))


def test_an_undefined_distance_is_left_out_and_counted(evaluation):
    distance = summary(evaluation, "hd95_mm")
    assert (distance.n, distance.mean, distance.worst, distance.worst_case) == (3, pytest.approx(5 / 3), 4.0, "fair")
    assert summarise([result("bad", 0.0, math.inf)], "WT", METRICS[4]).mean is None
    assert "HD95 over 3" in format_table(evaluation)


def test_the_worst_volume_error_is_the_farthest_from_zero(evaluation):
    error = summary(evaluation, "volume_error_ml")
    assert (error.worst, error.worst_case, error.mean) == (-10.0, "bad", pytest.approx(-1.5))


def test_the_table_of_several_cases_names_counts_worst_cases_and_definitions(evaluation):
    table = format_table(evaluation)
    mean = next(line for line in table.splitlines() if line.startswith("WT    mean"))
    assert mean.split()[2:] == ["0.675", "0.338", "0.675", "0.675", "1.7", "0.675", "-1.5", "0.338", "100.0"]
    for text in ("4 cases", "worst Dice: bad", "truth and found in 1, only truth in 0, only found in 1",
                 "8 true (4 matched, 4 missed)", "12 found (4 false)", "BraTS 2023 lesion-wise", "Nikolov 2018",
                 "odd: The grids differ.", "(1): lonely", "(1): extra"):
        assert text in table
    assert max(map(len, table.splitlines())) <= 120


def test_the_table_of_one_case_has_one_line_a_structure_and_a_dash_for_undefined():
    table = format_table(Evaluation((result("only", 0.0, math.inf, 10.0, 0.0),)))
    line = next(line for line in table.splitlines() if line.startswith("ET"))
    assert line.split() == ["ET", "0.000", "0.000", "0.000", "0.000", "-", "0.000", "-10.0", "0.000", "100.0"]
    assert "case only" in table and "mean" not in table.replace("in its mean", "")
    assert "truth 10.0 ml, found 0.0 ml" in table


def test_the_json_is_plain_and_complete(evaluation):
    plain = json.loads(json.dumps(to_json(evaluation), allow_nan=False))
    assert plain["summary"]["WT"]["dice"]["mean"] == pytest.approx(0.675)
    assert (plain["summary"]["WT"]["both_empty"], plain["summary"]["WT"]["found_empty"]) == (1, 1)
    bad = plain["results"][3]
    assert (bad["case"], bad["structures"]["NCR"]["hd95_mm"], bad["structures"]["NCR"]["lesions_missed"]) == ("bad", None, 1)
    assert (plain["truth_only"], plain["found_only"]) == (["lonely"], ["extra"])
    assert plain["refused"] == [{"case": "odd", "why": "The grids differ."}]
    assert "BraTS 2023" in plain["definitions"]["lesions"]


def test_the_csv_has_a_line_per_case_and_structure_and_empty_cells_for_undefined(evaluation, tmp_path):
    write_csv(evaluation, tmp_path / "größe.csv")
    rows = list(csv.DictReader((tmp_path / "größe.csv").open(encoding="utf-8")))
    assert [(row["case"], row["structure"]) for row in rows[:6]] == [("good", s) for s in STRUCTURES] + [("fair", "WT")]
    assert float(rows[0]["dice"]) == 0.9 and float(rows[0]["lesion_f1_brats2023"]) == 0.5
    assert rows[-1]["hd95_mm"] == "" and rows[-1]["empty"] == "found"
    assert [path.name for path in tmp_path.iterdir()] == ["größe.csv"]


def test_a_folder_that_is_not_there_is_one_clear_error(evaluation, tmp_path):
    for write in (write_csv, write_box_plots):
        with pytest.raises(OutputError, match=r"here\.out cannot be written.*folder exists"):
            write(evaluation, tmp_path / "not" / "here.out")


def test_box_plots_draw_every_case_and_leave_pyplot_alone(evaluation, tmp_path):
    write_box_plots(evaluation, tmp_path / "dice.png")
    picture = Image.open(tmp_path / "dice.png").convert("RGB")
    assert picture.size == (1125, 750)
    dots = sum(pixel == (31, 78, 121) for pixel in picture.get_flattened_data())
    assert dots > 3 * 3 * 50  # three regions, three filled dots (the fourth is hollow) of at least 50 pixels
    script = ("import sys, braintumorseg.evaluation_report; assert 'matplotlib' not in sys.modules; "
              "from braintumorseg.evaluate import Evaluation; import test_evaluation_report as t; "
              f"t.write_box_plots(Evaluation((t.result('a', 0.5),)), r'{tmp_path / 'one.png'}'); "
              "assert 'matplotlib.pyplot' not in sys.modules")
    subprocess.run([sys.executable, "-c", script], check=True, cwd=__file__.rpartition("test_")[0])


def test_without_matplotlib_the_error_says_what_to_install(evaluation, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ResourceError, match="Run: pip install matplotlib"):
        write_box_plots(evaluation, tmp_path / "dice.png")
    assert not list(tmp_path.iterdir())
