"""The benchmark that counts which results are told as doubtful."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from braintumorseg.study import ROLES


@pytest.fixture
def doubts(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import doubts

    return doubts


def row(dice, *warnings, part="validation", true_ml=40.0, ml=30.0):
    return {"part": part, "case": "A", "change": "as they are", "sequences": "t1", "dice": dice, "true_ml": true_ml, "ml": ml,
            "warnings": list(warnings)}


def test_runs_are_counted_by_dice_and_what_was_told_wrongly_or_not_at_all_is_listed(doubts):
    rows = [row(0.5, "unsure"), row(0.4, "on_both_sides", "unsure"), row(0.3), row(0.7, "dark_in_flair"), row(0.9), row(0.8, "unsure"),
            row(0.9, part="training"), row(0.0, "unsure", true_ml=0.0), row(1.0, true_ml=0.0, ml=0.0)]
    text = doubts.as_markdown({"network": {"name": "n", "version": "1"}, "rows": rows})
    assert "| Dice below 0.6 | 3 | 1 | 0 | 2 | 0 | 0 | 2 |" in text
    assert "| 0.6 to 0.75 | 1 | 0 | 1 | 0 | 0 | 0 | 1 |" in text
    assert "| 0.75 and more, validation and phantoms | 2 | 0 | 0 | 1 | 0 | 0 | 1 |" in text
    assert "| 0.75 and more, training | 1 | 0 | 0 | 0 | 0 | 0 | 0 |" in text
    assert "| no tumour, 1 ml or more found | 1 | 0 | 0 | 1 | 0 | 0 | 1 |" in text
    assert text.split("## Told though")[1].count("0.80, 30 ml of 40") == 1
    assert text.split("## Not told though")[1].count("0.30, 30 ml of 40") == 1


def test_files_that_are_exchanged_or_given_twice_change_the_right_channels(doubts):
    channels = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1) * np.ones((4, 2, 2, 2), np.float32)
    images, card = doubts.Images(channels, np.zeros((2, 2, 2), np.uint8), "A"), SimpleNamespace(roles=ROLES)
    place = {role: number for number, role in enumerate(ROLES)}
    swapped = doubts.exchanged("t1", "flair")(images, card).channels[:, 0, 0, 0]
    assert swapped[place["t1"]] == place["flair"]
    assert swapped[place["flair"]] == place["t1"]
    assert doubts.twice("t1", "flair")(images, card).channels[place["flair"], 0, 0, 0] == place["t1"]
    assert channels[place["flair"], 0, 0, 0] == place["flair"], "the images as they are stay so"
