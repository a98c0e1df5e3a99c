import json

import pytest

from braintumorseg.errors import ModelError
from braintumorseg_training.config import Config, read_config, write_config


def test_a_configuration_survives_being_written_and_read(tiny, tmp_path):
    write_config(tiny, tmp_path / "config.json")
    assert read_config(tmp_path / "config.json") == tiny


@pytest.mark.parametrize("change, words", [({"patch": (100, 96, 96)}, "multiple of 32"), ({"batch": 0}, "batch"), ({"ema": 1.0}, "ema"),
                                           ({"channels": (8,)}, "channels"), ({"tumour_share": 2}, "tumour_share")])
def test_a_contradiction_is_refused_by_its_field(change, words):
    with pytest.raises(ModelError, match=words):
        Config(**change)


def test_an_unknown_field_and_a_file_that_is_no_json_are_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"learning_rat": 1}))
    with pytest.raises(ModelError, match=r"learning_rat.*learning_rate"):
        read_config(path)
    path.write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        read_config(path)
