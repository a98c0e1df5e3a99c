import json

import pytest

from braintumorseg.errors import ModelError
from braintumorseg.model_card import read_card, write_card
from braintumorseg.model_zoo import load_model


def test_a_card_survives_being_written_and_read(toy_model, tmp_path):
    write_card(toy_model.card, tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == toy_model.card


@pytest.mark.parametrize("change, words", [
    ({"sha256": "abc"}, "sha256"),
    ({"roles": ["t1", "dwi"]}, "roles"),
    ({"roles": ["t1", "t1"], "may_be_missing": []}, "distinct"),
    ({"may_be_missing": ["t1"], "roles": ["t2"]}, "may_be_missing"),
    ({"spacing_mm": [1, 1]}, "spacing_mm"),
    ({"size_multiple": 0}, "size_multiple"),
    ({"regions": ["WT"]}, "regions"),
    ({"labels": []}, "labels"),
    ({"normalisation": {"kind": "magic", "clip_percentiles": [0, 100]}}, "magic"),
    ({"post_processing": {"thresholds": {"WT": 2, "TC": 0.5, "ET": 0.5}}}, "thresholds"),
    ({"surprise": 1}, "surprise"),
    ({"name": ""}, "name"),
])
def test_a_card_that_contradicts_itself_is_refused_and_says_where(toy_model, tmp_path, change, words):
    path = tmp_path / "card.json"
    write_card(toy_model.card, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=words):
        read_card(path)


def test_a_card_without_a_field_or_that_is_no_json_is_refused(toy_model, tmp_path):
    path = tmp_path / "card.json"
    path.write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        read_card(path)
    write_card(toy_model.card, path)
    card = json.loads(path.read_text())
    del card["regions"]
    path.write_text(json.dumps(card))
    with pytest.raises(ModelError, match="regions"):
        read_card(path)


def test_a_card_of_the_version_before_finds_tumours(toy_model, tmp_path):
    path = tmp_path / "card.json"
    write_card(toy_model.card, path)
    card = json.loads(path.read_text())
    del card["finds"]
    path.write_text(json.dumps(card))
    assert read_card(path).finds == "tumour"


@pytest.mark.parametrize("change, words", [
    ({"finds": "bones"}, "bones"),
    ({"finds": "tumour"}, "roles"),
    ({"roles": ["t1"]}, "any sequence"),
    ({"may_be_missing": ["any"]}, "none missing"),
    ({"brain_only": True}, "not brain_only"),
    ({"regions": ["WT", "TC", "ET"]}, "regions"),
    ({"labels": []}, "labels"),
    ({"normalisation": {"kind": "brain_zscore", "clip_percentiles": [0, 100]}}, "brain_zscore"),
    ({"post_processing": {"thresholds": {"WT": 0.5, "TC": 0.5, "ET": 0.5}}}, "thresholds"),
])
def test_a_card_of_the_brain_that_contradicts_itself_is_refused(tmp_path, change, words):
    path = tmp_path / "card.json"
    write_card(load_model("brain").card, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=words):
        read_card(path)
