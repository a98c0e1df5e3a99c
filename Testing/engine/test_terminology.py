"""The terminology file for Slicer and dcmqi holds the labels of the model cards and what SEGs by others are understood by."""

import json
from pathlib import Path

import pytest

from braintumorseg.io.dicom_codes import ABNORMAL_STRUCTURE, MEANT_BY_CODE
from braintumorseg.model_zoo import list_models

FILE = Path(__file__).resolve().parents[2] / "BrainTumorSeg" / "Resources" / "BrainTumorSeg.term.json"


@pytest.fixture(scope="module")
def category():
    only, = json.loads(FILE.read_text(encoding="utf-8"))["SegmentationCodes"]["Category"]
    return only


def code(entry):
    return entry["CodeValue"], entry["CodingSchemeDesignator"], entry["CodeMeaning"]


def test_every_label_of_every_embedded_tumour_model_is_there_with_its_code_and_colour(category):
    types = {code(entry): tuple(entry["recommendedDisplayRGBValue"]) for entry in category["Type"]}
    assert code(category) == ABNORMAL_STRUCTURE
    embedded = [model for model in list_models() if model.embedded and model.card.finds == "tumour"]  # the brain is no abnormal structure
    assert embedded
    for model in embedded:
        assert {label.code: label.rgb for label in model.card.labels}.items() <= types.items()


def test_every_code_that_is_understood_can_be_chosen(category):
    assert set(MEANT_BY_CODE) <= {code(entry)[:2] for entry in category["Type"]}


def test_colours_differ(category):
    colours = [tuple(entry["recommendedDisplayRGBValue"]) for entry in category["Type"]]
    assert len(set(colours)) == len(colours)
