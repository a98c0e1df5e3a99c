import pytest

from braintumorseg.errors import InputError, MissingFile
from braintumorseg_training.dataset_json import convention_called, label_table, read_dataset_json, role_channels
from toy_datasets import MSD_JSON, NNUNET_JSON


def test_labels_are_read_as_names_of_values_values_of_names_and_nested_regions():
    brats = {"background": 0, "NCR": 1, "edema": 2, "enhancing": 3}
    assert label_table({"labels": brats}) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert label_table(MSD_JSON) == label_table(NNUNET_JSON) == {0: 0, 1: 2, 2: 1, 3: 3}
    after_treatment = {"background": 0, "NETC": 1, "SNFH": 2, "ET": 3, "RC": 4}
    assert convention_called(label_table({"labels": after_treatment})) == "brats2024"
    assert convention_called(label_table(MSD_JSON)) == "msd"
    assert convention_called({0: 0, 1: 3, 2: 1, 3: 2}) == "dataset.json"


def test_the_innermost_region_may_be_its_one_value_and_what_is_no_region_keeps_its_own():
    regions = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [1, 3], "enhancing tumor": 3}
    assert label_table({"labels": regions}) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert label_table({"labels": {**regions, "resection cavity": 4}}) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 0}


@pytest.mark.parametrize("labels", [
    None,
    {},
    {"background": 0, "tumour": 1},
    {"background": 0, "edema": 1, "oedema": 2, "enhancing": 3},
    {"background": 0, "edema": "x", "necrosis": 2, "enhancing": 3},
    {"background": 0, "edema": 1, "necrosis": 2.5, "enhancing": 3},
    {"background": 0, "edema": True, "necrosis": 2, "enhancing": 3},
    {"background": 0, "edema": -1, "necrosis": 2, "enhancing": 3},
    {"background": 0, "edema": 1, "necrosis": 2, "enhancing": float("inf")},
    {"background": 0, "whole tumor": [1, 2.5, 3], "tumor core": [2.5, 3], "enhancing tumor": [3]},
    {"0": "background", "1": "edema", "-2": "necrosis", "3": "enhancing"},
    {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3]},
    {"background": 0, "whole tumor": [1, 2, 3, 4], "tumor core": [2, 3], "enhancing tumor": [3]},
])
def test_labels_that_do_not_name_the_three_parts_are_refused(labels):
    with pytest.raises(InputError, match=r"dataset\.json"):
        label_table({"labels": labels})


@pytest.mark.parametrize("names, words", [
    (None, "neither channel_names nor modality"),
    ({"0": "MRI"}, "'MRI', which is none of t1, t1ce, t2, flair"),
    ({"0": "T1", "1": "T1w"}, "both t1"),
])
def test_channels_that_do_not_name_a_sequence_are_refused(names, words):
    with pytest.raises(InputError, match=words):
        role_channels({"channel_names": names})


def test_a_dataset_json_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(MissingFile, match=r"dataset\.json"):
        read_dataset_json(tmp_path)
    for content in ("{", "[]"):
        (tmp_path / "dataset.json").write_text(content)
        with pytest.raises(InputError, match=r"dataset\.json"):
            read_dataset_json(tmp_path)
