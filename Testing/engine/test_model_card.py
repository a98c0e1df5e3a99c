import json
from dataclasses import replace

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


LABELS = [{"value": 1, "name": "Necrosis", "code": ["6574001", "SCT", "Necrosis"], "rgb": [216, 191, 216]},
          {"value": 2, "name": "Edema", "code": ["79654002", "SCT", "Edema"], "rgb": [140, 224, 228]},
          {"value": 3, "name": "Enhancing Lesion", "code": ["C113842", "NCIt", "Enhancing Lesion"], "rgb": [128, 174, 128]}]


def labels(**change):
    """With the first changed."""
    return {"labels": [{**LABELS[0], **change}, *LABELS[1:]]}


@pytest.mark.parametrize("change, words", [
    ({"name": 5}, "name is 5, not text"),
    ({"version": 1}, "version is 1, not text"),
    ({"task": None}, "task is None, not text"),
    ({"sha256": 5}, "sha256 is 5"),
    ({"brain_only": "no"}, "brain_only is 'no', not true or false"),
    ({"size_multiple": 2.5}, "size_multiple is 2.5, not a whole number"),
    ({"size_multiple": True}, "size_multiple is True"),
    ({"size_multiple": 10**9}, "size_multiple 1000000000 is not from 1 to"),
    ({"bytes_per_voxel": float("inf")}, "bytes_per_voxel is inf"),
    ({"bytes_per_voxel": 1e-30}, "bytes_per_voxel 1e-30 is not"),
    ({"spacing_mm": ["1", "1", "1"]}, r"spacing_mm\[0\] is '1', not a number"),
    ({"spacing_mm": 1}, "spacing_mm is 1, not a list of 3"),
    ({"roles": "t1"}, "roles is 't1', not a list"),
    ({"may_be_missing": None}, "may_be_missing is None"),
    ({"limits": "one sentence"}, "limits is 'one sentence', not a list"),
    ({"limits": [{"a": 1}]}, r"limits\[0\] is"),
    ({"licence": ["a"]}, "licence is"),
    ({"training_data": ["BraTS"]}, r"training_data\[0\] is 'BraTS'"),
    ({"training_data": {"name": "x"}}, "training_data is"),
    ({"training_data": [{"cases": "many"}]}, r"training_data\[0\].cases is 'many'"),
    ({"training": "x"}, "training is 'x'"),
    ({"training": {"rate": [{"at": float("nan")}]}}, r"training.rate\[0\].at is nan"),
    ({"metrics": []}, "metrics is"),
    ({"metrics": None}, "metrics is None"),
    ({"metrics": {"dice": 0.9}}, "metrics.dice is 0.9"),
    ({"metrics": {"dice": {"WT": {"mean": float("nan")}}}}, "metrics.dice.WT.mean is nan"),
    ({"metrics": {"dice": {"WT": {"mean": "0.9"}}}}, "metrics.dice.WT.mean is '0.9', not a number or nothing"),
    ({"metrics": {"dice_by_sequences": [1]}}, "metrics.dice_by_sequences is"),
    ({"metrics": {"dice_by_sequences": {"t1": {"WT": None}}}}, "metrics.dice_by_sequences.t1.WT is None"),
    ({"post_processing": {"smallest_lesion_ml": "x"}}, "post_processing.smallest_lesion_ml is 'x'"),
    ({"post_processing": {"smallest_lesion_ml": 1e9}}, "smallest_lesion_ml is not from 0"),
    ({"post_processing": {"smallest_et_ml": -5}}, "smallest_et_ml is not from 0"),
    ({"post_processing": {"thresholds": {"WT": True, "TC": 0.5, "ET": 0.5}}}, "thresholds.WT is True, not a number"),
    ({"normalisation": []}, r"normalisation is \[\], not values with names"),
    ({"normalisation": {"clip_percentiles": ["0", "99"]}}, "clip_percentiles"),
    ({"minimum_onnxruntime": "new"}, "minimum_onnxruntime"),
    ({"variants": [{"file": "a.onnx", "sha256": "0" * 64, "precision": "int8", "provider": 5}]}, r"variants\[0\].provider is 5"),
    ({"variants": [{"file": "a.onnx", "sha256": "x" * 64, "precision": "int8", "provider": "openvino"}]}, "SHA-256"),
    ({"variants": [{"file": "toy.onnx", "sha256": "0" * 64, "precision": "bfloat16", "provider": "openvino"}]}, "own file, and has another SHA-256"),
    ({"name": "x\x1b[31my"}, "name holds characters"),
    ({"name": "a\nb"}, "one line of at most 64 letters"),
    ({"name": "a\u202eb"}, "one line of at most 64 letters"),
    ({"version": "1" * 65}, "one line of at most 64 letters"),
    ({"task": "\x1b]0;pwned\x07"}, "task holds characters"),
    ({"metrics": {"\x1b[2J": 1}}, "a name in metrics holds characters"),
    ({"licence": "\ud800"}, "licence holds characters"),
    (labels(rgb=["x", 2, 3]), r"labels\[0\].rgb\[0\] is 'x'"),
    (labels(rgb=[]), r"labels\[0\].rgb is \(\), not a list of 3"),
    (labels(rgb=[999, -2, 3]), "colour of label 1"),
    (labels(code=["6574001", "SCT"]), "not a list of 3"),
    (labels(code=["6574001", "SCT", ""]), "code of label 1"),
    (labels(code=["6574001", "SCT", "N" * 65]), "code of label 1"),
    (labels(value=True), r"labels\[0\].value is True"),
    (labels(name=None), r"labels\[0\].name is None"),
    (labels(code=["1", "99ME", "Necrosis"]), r"label 1 has the code 1 \(99ME\).* 6574001"),
], ids=lambda value: ascii(value[:40]) if isinstance(value, str) else "")
def test_a_card_with_a_value_that_no_run_could_use_is_refused_and_says_which(toy_model, tmp_path, change, words):
    path = tmp_path / "card.json"
    write_card(toy_model.card, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=words):
        read_card(path)


def test_a_card_whose_labels_are_in_another_order_than_ours_is_refused(toy_model, tmp_path):
    """As the Decathlon has them: 1 oedema, 2 necrosis. A DICOM segmentation would name one the other."""
    path = tmp_path / "card.json"
    write_card(toy_model.card, path)
    swapped = [{**LABELS[1], "value": 1}, {**LABELS[0], "value": 2}, LABELS[2]]
    path.write_text(json.dumps({**json.loads(path.read_text()), "labels": swapped}))
    with pytest.raises(ModelError, match=r"label 1 has the code 79654002 \(SCT\)"):
        read_card(path)


def test_what_is_checked_in_a_file_is_checked_in_a_card_that_is_made_here(toy_model):
    with pytest.raises(ModelError, match="limits is 'one sentence', not a list"):
        replace(toy_model.card, limits="one sentence")


def test_a_card_may_tell_more_in_its_numbers_and_nothing_where_no_case_was_scored(toy_model, tmp_path):
    metrics = {"dice": {"WT": {"n": 0, "mean": None, "median": None, "worst": None, "worst_case": None}}, "weather": {"fair": [1, None, True]}}
    write_card(replace(toy_model.card, metrics=metrics, training_data=({"name": "Ours", "scanner": "3 T"},)), tmp_path / "card.json")
    assert read_card(tmp_path / "card.json").metrics == metrics


@pytest.mark.parametrize("text", ["[]", "5", '"card"', "[" * 100_000, '{"labels": ' + '[{"a": ' * 50_000], ids=range(5))
def test_json_that_is_no_card_at_all_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(ModelError, match=r"card\.json (cannot be read|does not fit)"):
        read_card(tmp_path / "card.json")
