import json
import re
from dataclasses import replace

import pytest

from braintumorseg.errors import ModelError
from braintumorseg_training.config import Config, override, read_config, write_config


def test_a_configuration_survives_being_written_and_read(tiny, tmp_path):
    write_config(tiny, tmp_path / "config.json")
    assert read_config(tmp_path / "config.json") == tiny


@pytest.mark.parametrize("change, words", [({"patch": (100, 96, 96)}, "multiple of 32"), ({"batch": 0}, "batch"),
                                           ({"patch": (32, 32, 32)}, "single voxel"), ({"ema": 1.0}, "ema"),
                                           ({"channels": (8,)}, "channels"), ({"low_resolution": -0.5}, "low_resolution cannot"),
                                           ({"uneven": -1.0}, "uneven cannot"),
                                           ({"tumour_share": 2}, "tumour_share"),
                                           ({"phantom_share": 0.5, "synthetic_share": 0.5}, "phantom_share 0.5 and synthetic_share 0.5 leave no"),
                                           ({"phantom_share": 1.0}, "for real cases")])
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


@pytest.mark.parametrize("setting, field, value", [
    ("learning_rate=1e-3", "learning_rate", 1e-3), ("batch=2", "batch", 2), ("network=unet", "network", "unet"), ("bf16=false", "bf16", False),
    ("channels=[8, 16]", "channels", (8, 16)), ("ema=0.5", "ema", 0.5), ("clip=2", "clip", 2)])
def test_one_field_is_set_by_name(tiny, setting, field, value):
    assert getattr(override(tiny, [setting]), field) == value


@pytest.mark.parametrize("setting, words", [
    ("learning_rat=1", "Did you mean learning_rate"), ("batch=two", "batch is 'two' and should be a whole number"), ("batch=1.5", "whole number"),
    ("batch=true", "whole number"), ("bf16=1", "true or false"), ("learning_rate=NaN", "should be a number"), ("patch=[16, 16]", "list of 3"),
    ("patch=16", "list of 3"), ("channels=8", "a list of whole numbers"), ("batch", "FIELD=VALUE"), ("zzz=1", "The fields are"),
    ("network=resnet", "none of resunet, unet"), ("schedule=linear", "none of constant_then_linear"), ("optimiser=adam", "none of adamw"),
    ("seed=99999999999999999999999", "seed has more than 18 digits"), (f"learning_rate=1{400 * '0'}", "learning_rate has more than 18 digits"),
    (f"channels=[8, 1{20 * '0'}]", "channels has more than 18 digits"),
    ("accumulate=0", "accumulate starts at 1"), ("patience=-1", "patience"), ("learning_rate=0", "learning_rate is above 0")])
def test_a_setting_that_cannot_be_is_one_line(tiny, setting, words):
    with pytest.raises(ModelError, match=re.escape(words)) as error:
        override(tiny, [setting])
    assert "\n" not in str(error.value)


def test_segresnet_wants_channels_that_double(tiny):
    with pytest.raises(ModelError, match="doubles them"):
        replace(tiny, network="segresnet", channels=(8, 12))
    assert replace(tiny, network="segresnet", channels=(8, 16)).size_multiple == 4


def test_a_file_that_is_no_object_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ModelError, match="not a JSON object"):
        read_config(tmp_path / "config.json")
