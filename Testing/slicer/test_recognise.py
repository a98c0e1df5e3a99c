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
    ("301_T1", "1001_T1GD", "401_T2", "501_FLAIR"),
    ("IM-0003_T1", "IM-0009_T1GD", "IM-0004_T2", "IM-0005_FLAIR"),
    ("s0003_t1", "s0009_t1gd", "s0004_t2", "s0005_flair"),
    ("12345678_301_T1", "12345678_1001_T1GD", "12345678_401_T2", "12345678_501_FLAIR"),
    ("Smith_301_T1", "Smith_1001_T1GD", "Smith_401_T2", "Smith_501_FLAIR"),
    ("DICOM_T1W_3D_TFE_20240105103000_301", "DICOM_T1W_3D_TFE_GD_20240105103000_1201", "DICOM_T2W_TSE_20240105103000_401",
     "DICOM_FLAIR_20240105103000_1001"),
    ("T1W_SE_TRA", "T1W_3D_FFE_GADO_SENSE", "T2W_TSE_TRA_MV", "3D_Brain_VIEW_FLAIR_SHC"),
    ("T1_axial_5mm", "T1_axial_5mm_contrast", "T2_axial_3mm", "FLAIR_axial_4mm"),
    ("T1_MPRAGE_0.9mm", "T1_MPRAGE_GD_1.0mm", "T2_SPACE_1.0mm", "FLAIR_SPACE_1.2mm"),
    ("T1 SE AX", "T1 SE AX GD MTC", "T2 TSE AX", "FLAIR AX LONG TR"),
    ("t1", "t1c", "t2", "flair_final"),
])
def test_names_tell(rec, names):
    found = by_name(rec, *names)
    assert found.roles == {"t1": "0", "t1ce": "1", "t2": "2", "flair": "3"}
    assert found.note == ""


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


def test_volumes_of_two_people_are_not_put_together(rec):
    found = by_name(rec, "Smith_t1ce", *(f"Jones_{role}" for role in ("t1", "t1ce", "t2", "flair")))
    assert found.roles == {"t1": "1", "t1ce": "2", "t2": "3", "flair": "4"}
    assert found.together == {"1", "2", "3", "4"}
    assert "more than one patient" in found.note


def test_what_was_chosen_says_whose_volumes_are_meant(rec):
    candidates = [rec.Candidate(str(index), name) for index, name in enumerate(("Smith_t1ce", "Smith_t2", "Jones_t1", "Jones_t1ce", "Jones_flair"))]
    assert rec.recognise(candidates, chosen=["1"]).roles == {"t1ce": "0", "t2": "1"}
    assert rec.recognise(candidates, chosen=["not a candidate"]).roles == {"t1": "2", "t1ce": "3", "flair": "4"}
    assert rec.recognise(candidates[1:3]).roles == {}


@pytest.mark.parametrize("names", [
    ("Smith_t2", "Jones_t1"), ("P01_T1", "P02_T2"), ("P1_T1", "P2_T2"), ("sub-01_T1w", "sub-02_T2w"), ("12345_T1", "67890_FLAIR"),
    ("Case_1_t1", "Case_2_t2"), ("Case_1_t1", "Case_2_t2", "Case_3_flair"), ("T1_Case_1", "T2_Case_2"), ("Series_A_1_t1", "Series_A_2_t2"),
    ("BraTS-GLI-00000-000-t1n", "BraTS-GLI-00000-001-t2w"),
    ("BraTS2021_00000_t1", "BraTS2021_00002_t2", "BraTS2021_00003_flair"), ("20240105_T1", "20240612_T2"),
    ("01_T1", "01_T2", "02_T1", "02_T2"), ("01_T1", "01_T2", "02_T1gd", "02_FLAIR"), ("T1_1001", "T2_1001", "T1gd_1002", "FLAIR_1002"),
])
def test_identifiers_in_names_tell_two_people_apart(rec, names):
    found = by_name(rec, *names)
    assert found.roles == {}
    assert "more than one patient" in found.note


def test_series_of_two_studies_are_not_put_together(rec):
    from braintumorseg.io.dicom_series import Facts

    candidates = [rec.Candidate(name, name, Facts(modality="MR", description=name, study_uid=study)) for name, study in (
        ("T1", "1"), ("T1 +C", "1"), ("T2", "2"), ("FLAIR", "2"))]
    found = rec.recognise(candidates)
    assert found.roles == {}
    assert "more than one patient or examination" in found.note
    assert rec.recognise(candidates, chosen=["FLAIR"]).roles == {"t2": "T2", "flair": "FLAIR"}


def test_of_two_that_fit_the_chosen_one_is_taken(rec):
    candidates = [rec.Candidate(str(index), name) for index, name in enumerate(("Phantom_flair", "Phantom_flair_1"))]
    found = rec.recognise(candidates, chosen=["1"])
    assert found.roles == {"flair": "1"}
    assert found.unclear == {}


def test_where_choices_are_of_two_people_those_with_most_of_them_are_completed(rec):
    names = [f"{person}_{role}" for person in ("Smith", "Jones") for role in ("t1", "t1ce", "t2", "flair")]
    found = rec.recognise([rec.Candidate(name, name) for name in names], chosen=["Smith_t1", "Smith_t2", "Jones_flair"])
    assert found.together == frozenset(names[:4])
    assert found.roles["t1ce"] == "Smith_t1ce"
