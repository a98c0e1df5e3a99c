"""One role for one series: the better of two, what the user gave, and the image where headers do not tell."""

import numpy as np
import pytest

from braintumorseg.errors import BadImage
from braintumorseg.io.dicom_series import Facts, Stack
from braintumorseg.series_roles import recognise_series, series_name
from braintumorseg.volume import Grid


def stack(description="", number=1, minute=None, spacing=(1.0, 1.0, 1.0), shape=(200, 200, 170), **more):
    facts = Facts(description=description, modality="MR", number=number, series_uid=f"1.2.{number}", image_type=("ORIGINAL", "PRIMARY"),
                  acquired="" if minute is None else f"2020010110{minute:02d}00")
    return Stack(facts.__class__(**{**vars(facts), **more}), Grid(shape, np.diag([*spacing, 1.0])), ())


THICK = {"spacing": (0.8, 0.8, 5.0), "shape": (256, 256, 32), "acquisition_type": "2D"}


def roles(stacks, **more):
    return [one.role for one in recognise_series(stacks, **more)]


def never(one):
    raise AssertionError(f"{series_name(one)} was read, and its header tells everything")


def test_four_series_have_four_roles_and_no_image_is_read():
    found = recognise_series([stack("localizer"), stack("T1 nativ"), stack("T1 KM"), stack("T2"), stack("FLAIR"), stack("DWI")], read=never)
    assert [one.role for one in found] == ["", "t1", "t1ce", "t2", "flair", ""]
    assert [one.left_out for one in found] == ["localizer", "", "", "", "", "diffusion"]


@pytest.mark.parametrize(("better", "worse", "reason"), [
    (stack("T1 KM", 1), stack("T1 KM", 2, **THICK), "3-D"),
    (stack("FLAIR", 1, **THICK), stack("FLAIR", 2, **{**THICK, "spacing": (0.8, 0.8, 6.0)}), "thinner slices (5.0 mm against 6.0 mm)"),
    (stack("T2", 1, **THICK), stack("T2", 2, shape=(200, 200, 60)), "covers more of the head (160 mm against 60 mm)"),
    (stack("T1 KM", 2, minute=40), stack("T1 KM", 1, minute=30), "later"),
    (stack("T2", 1), stack("T2", 2, image_type=("DERIVED", "SECONDARY")), "not derived from other images"),
    (stack("T2", 2), stack("T2", 1), "the higher series number"),
])
def test_the_better_of_two_is_taken_and_both_say_why(better, worse, reason):
    for order in ([better, worse], [worse, better]):
        found = {one.stack: one for one in recognise_series(order)}
        assert found[better].role
        assert f"better than {series_name(worse)}" in found[better].why
        assert (found[worse].role, found[worse].left_out) == ("", f"{series_name(better)} is the better {found[better].role}: {reason}")


def test_a_derived_series_is_taken_where_there_is_no_other_and_says_so():
    [found] = recognise_series([stack("FLAIR", image_type=("DERIVED", "SECONDARY"))])
    assert found.role == "flair"
    assert "derived, but the only flair" in found.why


def test_a_reformatted_series_is_not_taken_even_where_there_is_no_other():
    [found] = recognise_series([stack("T1 KM", image_type=("DERIVED", "SECONDARY", "MPR"))])
    assert (found.role, found.left_out) == ("", "reformatted (MPR)")


def test_few_slices_are_left_out():
    [found] = recognise_series([stack("T2", shape=(256, 256, 4))])
    assert (found.role, found.left_out) == ("", "shows 4 slices only")


def test_what_the_user_gave_stands_against_header_and_quality():
    good, given = stack("T1 KM", 1), stack("DWI", 2, **THICK)
    found = recognise_series([good, given], given={"t1ce": given})
    assert [(one.role, one.left_out) for one in found] == [("", "series 2 was given as --t1ce"), ("t1ce", "")]
    assert found[1].why == "given as --t1ce"


def test_without_images_what_headers_do_not_tell_is_uncertain():
    found = recognise_series([stack("T1", 1, minute=1), stack("T1", 2, minute=30), stack("", 3)])
    assert [one.may_be for one in found] == [("t1", "t1ce"), ("t1", "t1ce"), ("t1", "t1ce", "t2", "flair")]
    assert all(one.role == "" and one.left_out.startswith("not certain") for one in found)


def test_two_t1s_are_told_apart_by_their_images_whatever_their_order(phantom):
    for first, second in (("t1", "t1ce"), ("t1ce", "t1")):
        one, two = stack("T1", 1, minute=1), stack("T1", 2, minute=30)
        volumes = {one: phantom.raw.volumes[first], two: phantom.raw.volumes[second]}
        found = recognise_series([one, two], read=volumes.__getitem__)
        assert [each.role for each in found] == [first, second]
        assert "brighter in places than series" in found[(first, second).index("t1ce")].why


def test_one_image_twice_is_without_contrast_only_where_one_of_them_is_known_to_be(phantom):
    one, two, native = stack("T1", 1, minute=1), stack("T1", 2, minute=30), stack("T1 nativ", 3, minute=20)

    def read(which):
        return phantom.raw.volumes["t1"]

    assert [each.may_be for each in recognise_series([one, two], read=read)] == [("t1", "t1ce")] * 2  # both may be after contrast
    found = recognise_series([two, native], read=read)
    assert sorted(each.role for each in found) == ["", "t1"]
    assert "the same picture as series 3, which is without contrast" in found[0].why


def test_silent_headers_are_told_by_the_image(phantom):
    silent = {stack("", number): volume for number, volume in enumerate(phantom.raw.volumes.values(), start=1)}
    found = recognise_series(list(silent), read=silent.__getitem__)
    certain = {phantom_role: one.role for phantom_role, one in zip(phantom.raw.volumes, found, strict=True) if one.role}
    assert certain == {role: role for role in certain}  # nothing wrong
    assert len(certain) >= 3
    assert all("in its image" in one.why for one in found if one.role)


def test_an_image_that_cannot_be_read_leaves_its_series_uncertain():
    def damaged(one):
        raise BadImage("damaged")

    assert roles([stack("", 1), stack("T2", 2)], read=damaged) == ["", "t2"]


# several volumes in one series

DIXON = {"F": ("DERIVED", "PRIMARY", "F", "F", "DERIVED"), "M": ("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"),
         "IP": ("DERIVED", "PRIMARY", "IP", "IP", "DERIVED"), "OP": ("DERIVED", "PRIMARY", "OP", "OP", "DERIVED"),
         "W": ("DERIVED", "PRIMARY", "W", "W", "DERIVED"), "FAT": ("ORIGINAL", "PRIMARY", "DIXON", "FAT"),
         "WATER": ("ORIGINAL", "PRIMARY", "DIXON", "WATER"), "IN": ("ORIGINAL", "PRIMARY", "DIXON", "IN_PHASE"),
         "OUT": ("ORIGINAL", "PRIMARY", "DIXON", "OUT_PHASE")}


@pytest.mark.parametrize(("kinds", "best"), [("F M W IP OP", "W"), ("F W OP", "W"), ("F IP OP", "IP"), ("FAT WATER IN OUT", "WATER"),
                                             ("FAT IN OUT", "IN")])
@pytest.mark.parametrize("words", ["3D T1 mDIXON GD", "3D T1 mDIXON"])
def test_of_a_dixon_series_the_water_is_taken_else_the_image_in_phase_whatever_their_order(kinds, best, words):
    for order in (kinds.split(), kinds.split()[::-1]):
        found = recognise_series([stack(words, 8, minute=10, image_type=DIXON[kind]) for kind in order])
        assert [kind for kind, one in zip(order, found, strict=True) if one.role or one.may_be] == [best]
        assert {one.role for one in found} == {"", "t1ce" if "GD" in words else "t1"}
        assert all(one.left_out for one in found if not one.role)


def test_a_dixon_series_does_not_keep_another_series_from_its_role():
    dixon = [stack("T1 mDIXON GD", 8, minute=10, image_type=DIXON[kind]) for kind in ("W", "IP")]
    found = recognise_series([*dixon, stack("T1 MPRAGE GD", 9, minute=20)])
    assert [one.role for one in found] == ["", "", "t1ce"]


def test_volumes_of_one_series_that_nothing_tells_apart_are_asked_about():
    alike = [stack("T1 KM", 7, minute=10), stack("T1 KM", 7, minute=10)]
    found = recognise_series(alike)
    assert [(one.role, one.may_be) for one in found] == [("", ("t1ce",))] * 2
    assert all("not certain" in one.left_out for one in found)
    assert [one.role for one in recognise_series([*alike, stack("T1 KM", 8, minute=20)])] == ["", "", "t1ce"]
    assert [one.role for one in recognise_series(alike, given={"t1ce": alike[1]})] == ["", "t1ce"]


def test_volumes_of_one_series_that_were_taken_one_after_the_other_are_told_apart():
    assert roles([stack("T2", 7, minute=12), stack("T2", 7, minute=10)]) == ["t2", ""]


def test_no_series_have_no_roles():
    assert recognise_series([]) == []
