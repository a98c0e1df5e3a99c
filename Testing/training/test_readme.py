"""The README's numbers are those of the embedded network's card, and the commands it shows to trainers exist."""

import re
from pathlib import Path

import pytest

from braintumorseg.model_zoo import load_model
from braintumorseg_training.cli import _parser

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
COMMAND = re.compile(r"(?:braintumorseg-train|braintumorseg_training\.cli) ([a-z-]+)([^`|&#;\n]*(?:\\\n[^`|&#;\n]*)*)")
VERBS = _parser()._subparsers._group_actions[0].choices


def shown() -> dict[str, set[str]]:
    """Verb -> the options that the README and Training/README.md show with it."""
    found: dict[str, set[str]] = {}
    for page in (README, ROOT / "Training" / "README.md"):
        for verb, rest in COMMAND.findall(page.read_text(encoding="utf-8")):
            found.setdefault(verb, set()).update(re.findall(r"(?<!\S)--[a-z-]+", rest))
    return found


def test_the_table_of_accuracy_says_what_the_card_says():
    rows = {cells[0]: cells[1:] for line in README.read_text(encoding="utf-8").splitlines()
            if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 5 and re.fullmatch(r"0\.\d{3}", cells[1])}
    dice = load_model().card.metrics["dice"]
    assert set(rows) == set(dice)
    for name, (mean, median, worst, count) in rows.items():
        assert [mean, median, worst] == [f"{dice[name][key]:.3f}" for key in ("mean", "median", "worst")], name
        assert count == str(dice[name]["n"])


@pytest.mark.parametrize("verb", sorted(shown()))
def test_a_command_that_trainers_are_shown_exists_with_its_options(verb):
    assert verb in VERBS
    assert shown()[verb] <= set(VERBS[verb]._option_string_actions)


def test_all_four_commands_and_every_verb_are_shown():
    assert {"prepare", "fit", "export"} <= set(shown())
    assert set(VERBS) <= set(shown()), "a verb that no page tells of"
