import json

import pytest

from braintumorseg.errors import InputError, MissingFile
from braintumorseg.model_card import read_card
from braintumorseg_training import export as exporting
from braintumorseg_training.card_words import read_words, words_of
from braintumorseg_training.cli import main

GIVEN = {"task": "Resection cavities", "licence": "CC0", "limits": ["Adults only."],
         "data_sets": {"Here": {"name": "Our hospital's", "licence": "by agreement", "citation": "none"}}}


def written(tmp_path, found):
    path = tmp_path / "words.json"
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    return path


def test_a_network_of_an_unknown_data_set_claims_nothing_and_it_is_said():
    said = []
    words = words_of(["BraTS2024", "BraTS2024", "BraTS2021"], {}, said.append)
    assert said == ["WARNING: the card states no licence and source of BraTS2024; say them with --card."]
    assert "lioma" not in words["task"]
    assert "before surgery" not in json.dumps([words["intended_use"], words["limits"]])
    assert words["licence"].startswith("not stated")
    assert [(one["name"], one["licence"], one["cases"]) for one in words["training_data"]] == [
        ("BraTS2024", "not stated", 2), ("RSNA-ASNR-MICCAI BraTS 2021", "CC BY 4.0", 1)]


def test_of_made_up_cases_alone_nothing_is_said_of_patients():
    assert "before surgery" not in json.dumps(words_of(["phantom", "synthetic"], {}, print)["limits"])


def test_of_known_data_sets_before_surgery_the_card_says_so():
    said = []
    words = words_of(["BraTS2021", "phantom"], {}, said.append)
    assert not said
    assert "before surgery" in words["intended_use"]
    assert "before surgery" in words["limits"][0]


def test_what_is_given_stands_in_the_card(tmp_path):
    said = []
    words = words_of(["Here", "Here"], read_words(written(tmp_path, GIVEN)), said.append)
    assert not said
    assert words["task"] == "Resection cavities"
    assert words["licence"] == "CC0"
    assert words["limits"] == ("Adults only.",)
    assert words["training_data"] == ({"name": "Our hospital's", "licence": "by agreement", "citation": "none", "cases": 2},)


@pytest.mark.parametrize(("found", "problem"), [
    ("{", "words.json cannot be read as JSON"),
    ([], "is not an object"),
    ({"license": "MIT"}, "unknown field license.*It may hold task, licence"),
    ({"limits": "none"}, "limits is not a list of texts"),
    ({"licence": 1}, "licence is not a text"),
    ({"data_sets": {"Here": {"year": "2024"}}}, "data_sets is not cohort -> name, licence, citation"),
])
def test_words_that_do_not_belong_are_named(tmp_path, found, problem):
    with pytest.raises(InputError, match=problem):
        read_words(written(tmp_path, found))


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(MissingFile, match=r"words.json is not there\. Give --card a JSON file"):
        read_words(tmp_path / "words.json")


def test_export_takes_the_words(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(exporting, "export", lambda *args, **kwargs: asked.update(name=args[4], **kwargs) or tmp_path / "mine.onnx")
    split = written(tmp_path, {"train": ["a"], "validation": []})
    card = tmp_path / "card.json"
    card.write_text(json.dumps(GIVEN))
    assert main(["export", "run", "--data", "packed", "--out", str(tmp_path), "--split", str(split), "--card", str(card)]) == 0
    assert asked["words"] == GIVEN
    assert asked["name"] == "mine"   # not the one that comes with the engine, which 'models add' refuses


def test_an_exported_networks_card_has_them(packed, tiny, tmp_path):
    from dataclasses import replace

    from braintumorseg_training.data import Split
    from braintumorseg_training.train import fit

    split = Split(("case0", "case1"), ())
    fit(replace(tiny, steps=1), packed, split, tmp_path / "run", device="cpu", say=lambda line: None)
    path = exporting.export(tmp_path / "run", packed, split, tmp_path, "tiny", "1", say=lambda line: None, words={"intended_use": "Mice."})
    assert read_card(path.with_suffix(".json")).intended_use == "Mice."
