"""Which volume is which sequence, by names and headers."""

import pytest


@pytest.fixture
def rec(host):
    from BrainTumorSegLib import recognise

    return recognise


def by_name(rec, *names):
    return rec.recognise(rec.Candidate(str(index), name) for index, name in enumerate(names))


@pytest.mark.parametrize("names", [
    ("BraTS2021_00000_t1", "BraTS2021_00000_t1ce", "BraTS2021_00000_t2", "BraTS2021_00000_flair"),
    ("BraTS-GLI-00000-000-t1n", "BraTS-GLI-00000-000-t1c", "BraTS-GLI-00000-000-t2w", "BraTS-GLI-00000-000-t2f"),
    ("3: AX T1", "7: SAG T1 MPRAGE +C", "4: AX T2 TSE", "5: AX T2 FLAIR"),
    ("sub-01_T1w", "sub-01_ce-gd_T1w", "sub-01_T2w", "sub-01_FLAIR"),
])
def test_names_tell(rec, names):
    assert by_name(rec, *names).roles == {"t1": "0", "t1ce": "1", "t2": "2", "flair": "3"}


def test_names_that_say_nothing_are_not_guessed(rec):
    found = by_name(rec, "MRHead", "Volume_1", "ADC map", "seg_mask")
    assert found.roles == {}


def test_two_that_fit_are_left_to_the_user(rec):
    found = by_name(rec, "Phantom_flair", "Phantom_flair_1")
    assert "flair" not in found.roles
    assert "2 volumes fit" in found.unclear["flair"]


def test_a_header_is_asked_before_the_name(rec):
    from braintumorseg.io.dicom_series import Facts

    flair = Facts(modality="MR", description="AX", scanning_sequence=("SE", "IR"), repetition_ms=9000.0, echo_ms=120.0, inversion_ms=2500.0)
    contrast = Facts(modality="MR", description="AX T1", scanning_sequence=("SE",), repetition_ms=500.0, echo_ms=9.0, contrast_agent="Gadovist")
    found = rec.recognise([rec.Candidate("a", "5: AX", flair), rec.Candidate("b", "6: AX T1", contrast)])
    assert found.roles["flair"] == "a"
    assert found.roles["t1ce"] == "b"


def test_the_reason_holds_no_word_of_the_header(rec):
    from braintumorseg.io.dicom_series import Facts

    facts = Facts(modality="MR", description="John Doe AX T2 TSE", repetition_ms=5000.0, echo_ms=100.0)
    found = rec.recognise([rec.Candidate("a", "John Doe T2", facts)])
    assert "Doe" not in found.why["t2"]


def test_what_the_engine_finds_becomes_nodes(rec):
    series = [{"role": "t1ce", "series_uid": "1.2", "why": "contrast agent", "left_out": ""},
              {"role": None, "series_uid": "1.3", "why": "", "left_out": "localizer"},
              {"role": "flair", "series_uid": "1.9", "why": "not loaded", "left_out": ""}]
    found = rec.from_study({"series": series}, {"n1": "1.2", "n2": "1.3", "n3": ""})
    assert found.roles == {"t1ce": "n1"}
    assert found.why == {"t1ce": "contrast agent"}
