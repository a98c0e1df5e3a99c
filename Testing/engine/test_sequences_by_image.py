"""Sequences from the image alone, with the names hidden: real patients, the phantom, and everything that must not be guessed."""

import itertools

import numpy as np
import pytest

from braintumorseg.io.readers import read_volume
from braintumorseg.looks import Looks
from braintumorseg.sequences_by_image import Look, brighter, exchanged, kinds_of, roles_of
from braintumorseg.volume import Volume

CASES = ["BraTS2021_01658", "Brats18_TCIA01_499_1", "BraTS2021_01478"]  # the last is one that an earlier fit got wrong


@pytest.fixture(scope="module")
def phantom_looks(phantom):
    return {role: Look.at(volume) for role, volume in phantom.raw.volumes.items()}


def looks_in(folder):
    """Looks without a name to go by: 'a' is t1, 'b' t1ce, 'c' t2, 'd' flair."""
    return {letter: Look.at(read_volume(folder / f"{role}.nii.gz")) for letter, role in zip("abcd", ("t1", "t1ce", "t2", "flair"), strict=True)}


@pytest.mark.parametrize("case", CASES)
def test_the_sequences_of_a_real_case_are_told_or_left_open_but_never_wrong(data_folder, case):
    found = roles_of(looks_in(data_folder / "cases" / case))
    assert found in ({"t1": "a", "t1ce": "b", "t2": "c", "flair": "d"}, {})
    if case != CASES[-1]:
        assert found


def test_a_real_study_as_scanned_is_told(data_folder):
    folder = data_folder / "raw" / "TCGA-FG-6692"
    if not folder.is_dir():
        pytest.skip("real data is absent: raw/TCGA-FG-6692")
    looks = looks_in(folder)
    assert brighter(looks["a"], looks["b"]) == "other"
    assert {letter: opinion.kind for letter, opinion in kinds_of(looks).items()} == {"a": "t1", "b": "t1", "c": "t2", "d": "flair"}


def test_the_phantoms_sequences_are_told(phantom_looks):
    opinions = kinds_of(phantom_looks)
    assert {role: opinion.kind for role, opinion in opinions.items()} == {"t1": "t1", "t1ce": "t1", "t2": "t2", "flair": "flair"}


def test_contrast_is_seen_whichever_comes_first(phantom_looks):
    assert brighter(phantom_looks["t1"], phantom_looks["t1ce"]) == "other"
    assert brighter(phantom_looks["t1ce"], phantom_looks["t1"]) == "one"


def test_one_image_twice_shows_no_contrast(phantom_looks):
    assert brighter(phantom_looks["t1"], phantom_looks["t1"]) == "neither"


def test_images_of_different_places_are_not_compared(phantom):
    volume = phantom.raw.volumes["t1"]
    far = volume.affine.copy()
    far[:3, 3] += 500
    assert brighter(Look.at(volume), Look.at(Volume(volume.voxels, far))) == ""


def test_brightness_and_orientation_do_not_matter(phantom_looks, phantom):
    volume = phantom.raw.volumes["t2"]
    turned = Volume(np.flip(volume.voxels.transpose(1, 0, 2), 2) * np.float32(7.5), _turned(volume))
    traits = Look.at(turned).traits()
    assert traits == pytest.approx(phantom_looks["t2"].traits(), abs=0.05)


def _turned(volume):
    affine = volume.affine[:, [1, 0, 2, 3]].copy()
    affine[:3, 3] += affine[:3, 2] * (volume.shape[2] - 1)
    affine[:3, 2] *= -1
    return affine


def test_a_lone_t1_is_never_certain(phantom_looks):
    assert roles_of({"a": phantom_looks["t1"]}) == {}
    assert roles_of({"a": phantom_looks["t1ce"], "b": phantom_looks["t2"]}) == {}


def test_two_of_one_kind_are_never_certain(phantom_looks):
    assert roles_of({"a": phantom_looks["t2"], "b": phantom_looks["t2"], "c": phantom_looks["flair"]}) == {}


def test_what_is_known_is_taken_as_known(phantom_looks):
    found = kinds_of({"a": phantom_looks["t2"], "b": phantom_looks["flair"]}, known={"a": "t2"})
    assert set(found) == {"b"}


def test_noise_and_small_images_are_not_judged():
    noise = np.random.default_rng(0).integers(0, 100, (20, 20, 20)).astype(np.int16)
    assert Look.at(Volume(noise, np.eye(4))) is None


def test_no_images_have_no_kinds():
    assert (kinds_of({}), roles_of({})) == ({}, {})


KINDS_OF = {"t1": "t1", "t1ce": "t1", "t2": "t2", "flair": "flair"}


def test_right_names_of_the_phantom_are_never_called_exchanged_and_exchanged_ones_mostly_are(phantom):
    study, told = phantom.registered, []
    looks = Looks(study, {}).in_one_place(study.reference.voxels > 0, study.roles)
    for count in range(1, 5):
        for roles in itertools.combinations(looks, count):
            assert exchanged({role: looks[role] for role in roles}) == {}
            for one, other in itertools.combinations(roles, 2):
                found = exchanged({role: looks[{one: other, other: one}.get(role, role)] for role in roles})
                contrast = {one, other} == {"t1", "t1ce"}
                assert found in ({}, {one: other, other: one} if contrast else {one: KINDS_OF[other], other: KINDS_OF[one]})
                told.append(bool(found))
    assert sum(told) >= 22 and len(told) == 24   # a T1ce and a FLAIR alone relate little to each other
    both = {"t1": looks["t1ce"], "t1ce": looks["t1"], "t2": looks["flair"], "flair": looks["t2"]}
    assert exchanged(both) == {"t1": "t1ce", "t1ce": "t1", "t2": "flair", "flair": "t2"}


def test_images_that_are_no_brains_are_not_called_exchanged():
    rng = np.random.default_rng(2)
    region = np.ones((40, 50, 30), bool)
    looks = {role: Look.within(Volume(rng.integers(80, 120, region.shape) + (200 * (rng.random(region.shape) > 0.98)) * (role == "t1ce"), np.eye(4)),
                               region) for role in ("t1", "t1ce", "t2", "flair")}
    assert exchanged(looks) == {}
    assert exchanged({}) == {}


def test_looks_within_one_region_are_compared_there_as_those_of_two_grids_are(phantom):
    one, other = (Look.at(phantom.registered.volumes[role]) for role in ("t2", "flair"))
    beside = Look.within(other.volume, one.region)
    assert one.relation(beside) == pytest.approx(one.relation(other), abs=0.02)
