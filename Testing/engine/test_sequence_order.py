"""Contrast among the T1s of one study: order of scanning, perfusion in between, and agents that a plan wrote everywhere."""

import pytest

from braintumorseg.io.dicom_series import Facts
from braintumorseg.sequence_order import judge_study


def series(description, minute, agent="", tr=550.0, te=10.0, day="20200101"):
    return Facts(description=description, modality="MR", acquired=f"{day}10{minute:02d}00" if minute is not None else "", contrast_agent=agent,
                 scanning_sequence=("SE",), repetition_ms=tr, echo_ms=te, acquisition_type="2D")


def roles(*all_series):
    return [(one.role or one.left_out, one.sure) for one in judge_study(all_series)]


T2 = series("T2", 5, tr=5000.0, te=98.0)


def test_the_agent_of_one_series_alone_is_believed():
    assert roles(T2, series("T1", 2), series("T1", 30, "Gadovist")) == [("t2", True), ("t1", True), ("t1ce", True)]


@pytest.mark.parametrize("agent", ["NONE", "no", "0 ml", "0.0ml Dotarem", "N/A", "ohne KM", "sans", "Keine", "-", "нет", "无", "not given"])
def test_an_agent_that_was_not_given_is_none(agent):
    assert roles(series("T1", 2, agent)) == [("t1", True)]


def test_words_win_over_an_agent_in_every_header():
    plan = [series("localizer", 1, "Gd"), series("T1 nativ", 2, "Gd"), series("T1 KM", 30, "Gd")]
    assert roles(*plan) == [("localizer", False), ("t1", True), ("t1ce", True)]


def test_an_agent_in_every_header_leaves_two_alike_to_the_image():
    found = judge_study([series("localizer", 1, "Gd"), series("T1", 2, "Gd"), series("T1", 30, "Gd")])
    assert [(one.role, one.sure) for one in found[1:]] == [("t1", False), ("t1ce", False)]
    assert "the earlier of two alike" in found[1].why
    assert "tells nothing" in found[1].why


def test_an_agent_in_every_header_leaves_a_lone_t1_uncertain():
    assert roles(series("localizer", 1, "Gd"), series("T1", 20, "Gd")) == [("localizer", False), ("t1ce", False)]


def test_an_agent_before_a_native_series_is_not_believed():
    found = judge_study([series("T1 sag", 2, "Gd"), series("T1 ohne KM", 10), series("T1 KM", 30, "Gd")])
    assert [(one.role, one.sure) for one in found] == [("t1", True), ("t1", True), ("t1ce", True)]
    assert "native" in found[0].why


def test_an_agent_that_a_native_series_has_too_is_not_believed():
    assert roles(series("T1 nativ", 2, "Gd"), series("T2", 5, tr=5000.0, te=98.0), series("T1 sag", 10, "Gd")) == [
        ("t1", True), ("t2", True), ("t1ce", False)]


def test_a_perfusion_in_between_tells_before_from_after():
    found = judge_study([series("T1", 2), series("ep2d_perf", 15), series("T1", 30)])
    assert [(one.role, one.sure) for one in found if one.role] == [("t1", True), ("t1ce", True)]
    assert "perfusion" in found[2].why


def test_arterial_spin_labelling_needs_no_contrast():
    found = judge_study([series("T1", 2), series("3D ASL", 15), series("MPRAGE", 30, tr=8.0, te=3.0)])
    assert not any(one.role == "t1ce" for one in found)


def test_a_t1_after_one_with_contrast_is_after_contrast_too():
    assert roles(series("T1 KM tra", 20), series("T1 cor", 25), series("T1 sag", 3)) == [("t1ce", True), ("t1ce", True), ("t1", True)]


def test_two_alike_without_any_word_are_left_to_the_image():
    assert roles(series("T1", 2), series("T1", 30)) == [("t1", False), ("t1ce", False)]


def test_two_unlike_without_any_word_are_left_to_the_image():
    assert [sure for _, sure in roles(series("T1", 2), series("T1", 30, tr=600.0, te=20.0))] == [False, False]


def test_a_lone_t1_without_any_word_is_native_and_says_so():
    [found] = judge_study([series("T1", 2)])
    assert (found.role, found.sure) == ("t1", True)
    assert "nothing speaks of contrast" in found.why


def test_a_day_alone_orders_nothing():
    day_only = [Facts(description=words, modality="MR", acquired="20200101", scanning_sequence=("SE",), repetition_ms=550.0, echo_ms=10.0)
                for words in ("T1 KM", "T1")]
    assert roles(*day_only) == [("t1ce", True), ("t1", False)]


def test_no_series_have_no_judgements():
    assert judge_study([]) == []
