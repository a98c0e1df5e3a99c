from types import SimpleNamespace

import numpy as np
import pytest

from braintumorseg.masks import bounding_box
from braintumorseg_training.cli import main
from braintumorseg_training.config import Config
from braintumorseg_training.data import SYNTHETIC, Patches, load_made_up
from braintumorseg_training.head_maps import TISSUES, read_head
from braintumorseg_training.synthetic_brains import _with_white_matter_disease, make_brain


@pytest.fixture(scope="module")
def head(label_maps):
    return read_head(label_maps / "one.nii.gz")


def test_a_brain_is_alone_and_what_is_labelled_as_enhancing_enhances(head):
    enhancing = 0
    for seed in range(12):
        study, truth = make_brain(head, np.random.default_rng(seed))
        t1, t1ce = (study.volumes[role].voxels for role in ("t1", "t1ce"))
        assert set(study.volumes) == {"t1", "t1ce", "t2", "flair"}
        assert ((t1 > 0) == (t1ce > 0)).all()
        assert not truth.voxels[t1 == 0].any()
        rim = truth.voxels == 3
        white = (head.tissues[bounding_box(head.brain, 4)] == TISSUES.index("white")) & (truth.voxels == 0) & (t1 > 0)
        if min(rim.sum(), white.sum()) > 500:          # enough to be more than blurred edges
            enhancing += 1
            gain = np.median(t1ce[white]) / np.median(t1[white])
            assert np.median(t1ce[rim]) > 1.15 * gain * np.median(t1[rim])
    assert enhancing


def test_white_matter_disease_is_bright_as_oedema_and_carries_no_label(head):
    changed = _with_white_matter_disease(head.tissues, np.random.default_rng(0)) != head.tissues
    assert changed.any()
    assert (head.tissues[changed] == TISSUES.index("white")).all()


def test_each_kind_of_made_up_case_has_its_share_of_the_patches():
    def case(cohort):
        return SimpleNamespace(cohort=cohort)

    config = Config(channels=(8, 8), patch=(16, 16, 16), phantom_share=0.2, synthetic_share=0.3, heal=0.0, transplant=0.0)
    patches = Patches([case("BraTS2021"), case("phantom"), case(SYNTHETIC)], config, 0, 1)
    picked = [patches._pool(chance)[0].cohort for chance in np.linspace(0, 0.999, 1000)]
    assert [picked.count(cohort) for cohort in ("phantom", SYNTHETIC, "BraTS2021")] == pytest.approx([200, 300, 500], abs=2)
    without = Patches([case("BraTS2021"), case(SYNTHETIC)], config, 0, 1)
    assert [without._pool(chance)[0].cohort for chance in (0.1, 0.4)] == [SYNTHETIC, "BraTS2021"]


def test_brains_are_packed_once_each_their_own_and_are_there_for_training(label_maps, tmp_path, capsys):
    command = ["prepare", "--heads", str(label_maps), "--each", "1", "--out", str(tmp_path / "packed")]
    assert main(command) == 0
    cases = load_made_up(tmp_path / "packed")
    assert [case.name for case in cases] == ["synthetic_one_0", "synthetic_two_0"]
    assert {case.cohort for case in cases} == {SYNTHETIC}
    capsys.readouterr()
    assert main(command) == 0
    assert "0 of 1 brains packed" in capsys.readouterr().out
    assert main(["prepare", "--heads", str(tmp_path), "--out", str(tmp_path / "packed")]) == 1
    assert "no label maps" in capsys.readouterr().err
