"""A folder of tiny packed cases, and a configuration that trains on them in seconds."""

import numpy as np
import pytest

from braintumorseg.io.nifti import write_nifti
from braintumorseg.volume import Volume
from braintumorseg_training import curves
from braintumorseg_training import run as running
from braintumorseg_training.config import BrainConfig, Config
from braintumorseg_training.data import pack_case
from braintumorseg_training.export import draft_card
from toys import make_toy_study


@pytest.fixture(scope="session", autouse=True)
def undrawn():
    """Runs draw no curves, which takes ten times as long as their few steps do; `drawn` is for tests of the picture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "draw_curves", lambda runs, path: None)
        yield


@pytest.fixture
def drawn(monkeypatch):
    monkeypatch.setattr(running, "draw_curves", curves.draw_curves)


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


@pytest.fixture(scope="session")
def label_maps(tmp_path_factory):
    """A folder of two toy heads, shells in one another: skin, soft tissue, bone, fluid, cortex, white matter, ventricle; and an eye."""
    folder = tmp_path_factory.mktemp("maps")
    for name, shape in (("one", (73, 84, 78)), ("two", (70, 80, 82))):
        write_nifti(Volume(toy_head(shape), np.diag([-1.0, -1, 1, 1])), folder / f"{name}.nii.gz")
    return folder


def toy_head(shape) -> np.ndarray:
    """(I, J, K) uint8 in SynthSeg's labels; the brain's radius is 20 mm and more."""
    axes = np.meshgrid(*((np.arange(n) - n / 2) / (n / 2 - 2) for n in shape), indexing="ij", sparse=True)
    radius = np.sqrt(sum(axis**2 for axis in axes))
    labels = np.zeros(shape, np.uint8)
    for label, outer in ((211, 1.0), (207, 0.95), (215, 0.85), (24, 0.75), (3, 0.68), (2, 0.55), (4, 0.2)):
        labels[radius < outer] = label
    front = tuple(slice(n // 2 - 3 + d, n // 2 + 3 + d) for n, d in zip(shape, (0, -int(shape[1] * 0.44), 0), strict=True))
    labels[front] = 206
    return labels


@pytest.fixture
def tiny_brain():
    return BrainConfig(channels=(8, 8), patch=(32, 40, 40), steps=6, warm_up=2, save_every=2, validate_every=100, bf16=False, seed=7)
