import sys

import numpy as np
import pytest
from PIL import Image

from braintumorseg.errors import MissingFile, ResourceError
from braintumorseg_training.cli import main
from braintumorseg_training.curves import draw_curves, read_curves
from braintumorseg_training.run_log import RunLog


@pytest.fixture
def run(tmp_path):
    def make(name, last=0.8):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        log = RunLog(folder, ("WT", "ET"), print)
        for step in range(25, 201, 25):
            log.add({"step": step, "loss": 1 / step, "rate": "1.00e-03"})
            if step % 100 == 0:
                log.add({"step": step, "dice_WT": last, "dice_ET": last - 0.2})
        return folder

    return make


def test_a_log_becomes_a_curve_a_column_and_one_of_the_mean(run):
    curves = read_curves(run("one"))
    assert set(curves) == {"loss", "rate", "dice_WT", "dice_ET", "mean Dice"}
    steps, values = curves["mean Dice"]
    assert (steps.tolist(), values.tolist()) == ([100, 200], [pytest.approx(0.7)] * 2)
    assert curves["loss"][0].tolist() == list(range(25, 201, 25))


def test_several_runs_are_drawn_over_each_other_in_colours_of_their_own(run, tmp_path):
    def colours(*runs):
        draw_curves(runs, tmp_path / "picture.png")
        pixels = np.array(Image.open(tmp_path / "picture.png").convert("RGB")).reshape(-1, 3)
        return [bool((pixels == np.array(colour)).all(1).sum() > 50) for colour in ((31, 119, 180), (255, 127, 14))]   # matplotlib's C0 and C1

    one, other = run("a/run", 0.8), run("b/run", 0.5)
    assert colours(one, other) == [True, True]
    assert not list(tmp_path.glob(".*"))


def test_the_verb_draws_and_says_what_is_missing(run, tmp_path, capsys):
    assert main(["curves", str(run("one"))]) == 0
    assert capsys.readouterr().out.strip().endswith("curves.png")
    assert (tmp_path / "one" / "curves.png").is_file()
    assert main(["curves", str(tmp_path / "nothing")]) == 1
    assert "no log.csv" in capsys.readouterr().err
    with pytest.raises(MissingFile):
        read_curves(tmp_path)


def test_without_matplotlib_it_is_said(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ResourceError, match="pip install matplotlib"):
        draw_curves([run("one")], tmp_path / "picture.png")
