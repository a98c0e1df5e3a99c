"""A folder of tiny packed cases, and a configuration that trains on them in seconds."""

import numpy as np
import pytest

from braintumorseg_training.config import Config
from braintumorseg_training.data import pack_case
from braintumorseg_training.export import draft_card
from toys import make_toy_study


@pytest.fixture(scope="session")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    card = draft_card(size_multiple=4)
    for number, shape in enumerate([(40, 44, 36), (36, 40, 40), (44, 36, 40), (40, 40, 40)]):
        study = make_toy_study(shape)
        labels = np.zeros(shape, np.uint8)
        for label, half in ((2, 7), (1, 5), (3, 4)):
            labels[tuple(slice(n // 2 - half, n // 2 + half) for n in shape)] = label
        pack_case(f"case{number}", "BraTS2021", study, study.reference.with_voxels(labels), card, folder)
    return folder


@pytest.fixture
def tiny():
    return Config(channels=(8, 8), patch=(16, 16, 16), steps=6, warm_up=2, save_every=2, validate_every=100, transplant=0.5, bf16=False, seed=7)
