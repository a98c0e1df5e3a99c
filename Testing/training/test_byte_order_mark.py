"""Text that Windows' Notepad or PowerShell has saved begins with a byte-order mark."""

import json

import pytest

from braintumorseg_training.card_words import read_words
from braintumorseg_training.case_table import read_table
from braintumorseg_training.compare import _read
from braintumorseg_training.config import read_config
from braintumorseg_training.dataset_json import read_dataset_json
from braintumorseg_training.export import draft_card
from braintumorseg_training.prepare import TABLE, prepare_folder
from braintumorseg_training.splits import read_split
from toy_datasets import toy_case, write_plain


@pytest.mark.parametrize("name, given, read, found", [
    ("config.json", {"steps": 3}, lambda path: read_config(path).steps, 3),
    ("words.json", {"task": "Mice"}, lambda path: read_words(path)["task"], "Mice"),
    ("dataset.json", {"labels": {}}, lambda path: read_dataset_json(path.parent), {"labels": {}}),
    ("split.json", {"train": ["a"], "validation": []}, lambda path: read_split(path).train, ("a",)),
    ("validation.json", {"results": [{"case": "a", "structures": {}}]}, lambda path: _read(path.parent)["results"], {"a": {}})])
def test_a_mark_at_its_beginning_changes_nothing(tmp_path, name, given, read, found):
    path = tmp_path / name
    path.write_text(json.dumps(given), encoding="utf-8-sig")
    assert read(path) == found


def test_nor_in_a_table(tmp_path):
    (tmp_path / "table.csv").write_text("case,cohort\na,Oslo\n", encoding="utf-8-sig")
    assert read_table(tmp_path / "table.csv")["a"].cohort == "Oslo"
    write_plain(tmp_path / "cases" / "001", toy_case())
    for _ in range(2):
        outcomes = prepare_folder(tmp_path / "cases", tmp_path / "out", draft_card(size_multiple=4), labels="brats2023", say=lambda line: None)
        table = tmp_path / "out" / TABLE
        table.write_text(table.read_text(encoding="utf-8-sig"), encoding="utf-8-sig")     # looked at and saved
    assert [outcome.fresh for outcome in outcomes] == [False]
    assert table.read_text(encoding="utf-8-sig").count("\n") == 2
