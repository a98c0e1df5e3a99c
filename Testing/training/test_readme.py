"""The README's numbers are those of the embedded network's card."""

import re
from pathlib import Path

from braintumorseg.model_zoo import load_model

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_table_of_accuracy_says_what_the_card_says():
    rows = {cells[0]: cells[1:] for line in README.read_text(encoding="utf-8").splitlines()
            if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 5 and re.fullmatch(r"0\.\d{3}", cells[1])}
    dice = load_model().card.metrics["dice"]
    assert set(rows) == set(dice)
    for name, (mean, median, worst, count) in rows.items():
        assert [mean, median, worst] == [f"{dice[name][key]:.3f}" for key in ("mean", "median", "worst")], name
        assert count == str(dice[name]["n"])
