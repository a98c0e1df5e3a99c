"""Headers of made-up series, in the habits of vendors and in many languages, and the sequence each one is."""

import pytest

from braintumorseg.io.dicom_series import Facts
from braintumorseg.sequence_words import OTHER_KINDS, TECHNIQUES, WEIGHTINGS, read_words
from braintumorseg.sequences import SURE, judge

SE, GR, SEIR, GRIR, EP = ("SE",), ("GR",), ("SE", "IR"), ("GR", "IR"), ("EP", "SE")
ORIGINAL, DERIVED = ("ORIGINAL", "PRIMARY", "M", "ND"), ("DERIVED", "SECONDARY")


def facts(description="", scanning=(), tr=None, te=None, ti=None, **more):
    more = {"modality": "MR", "image_type": ORIGINAL, "sop_class_uid": "1.2.840.10008.5.1.4.1.1.4", **more}
    return Facts(description=description, scanning_sequence=scanning, repetition_ms=tr, echo_ms=te, inversion_ms=ti, **more)


T1SE, T2TSE, FLAIR = (SE, 550, 10), (SE, 5000, 98), (SEIR, 9000, 94, 2500)
MPRAGE, SPGR, SPACE_T1 = (GRIR, 1900, 2.5, 900), (GR, 8.2, 3.2, 450), (SE, 600, 20)

# (role, description, then ScanningSequence, TR, TE, TI as far as the header has them)
SEQUENCES = [
    # Siemens
    ("t1", "t1_se_tra", *T1SE), ("t1", "t1_tse_tra_320", *T1SE), ("t1", "t1_mprage_sag_p2_iso", *MPRAGE), ("t1", "t1_mpr_tra_gk_v4", *MPRAGE),
    ("t1", "t1_fl2d_tra", GR, 250, 2.5), ("t1", "t1_tirm_tra_dark-fluid", SEIR, 2000, 9, 860), ("t1", "t1_space_sag_p2_iso", *SPACE_T1),
    ("t1", "t1_vibe_tra_p2", GR, 6, 2.5), ("t1ce", "t1_mprage_tra_KM", *MPRAGE), ("t1ce", "t1_se_tra_fs_post", *T1SE),
    ("t1ce", "t1_vibe_dixon_tra_km_W", GR, 7, 2.4),
    ("t1ce", "t1_space_sag_p2_iso_+c", *SPACE_T1), ("t2", "t2_tse_tra_p2", *T2TSE), ("t2", "t2_blade_tra", *T2TSE),
    ("t2", "t2_space_sag_p2_iso", SE, 3200, 409),
    ("t2", "t2_tse_tra_448_fs", *T2TSE), ("flair", "t2_tirm_tra_dark-fluid_320", *FLAIR),
    ("flair", "t2_space_dark-fluid_sag_p2_iso", SEIR, 5000, 389, 1800),
    ("flair", "t2_tirm_tra", *FLAIR), ("flair", "t2_spc_da-fl_sag", SEIR, 5000, 389, 1800), ("flair", "t2_blade_dark-fluid_tra"),
    # GE
    ("t1", "SAG T1 ISOTROPIC", *SPGR), ("t2", "Ax T2 FSE ASSET", *T2TSE), ("t1", "Ax T1 FSE", *T1SE),
    ("t1", "Sag T1 FLAIR", SEIR, 2500, 24, 860), ("t1", "AX T1FLAIR PROPELLER", SEIR, 2200, 25, 780),
    ("t1", "Ax 3D BRAVO", *SPGR),
    ("t1", "SAG FSPGR 3D", *SPGR), ("t1", "Sag CUBE T1", *SPACE_T1), ("t1", "Ax T1 MPR", GRIR, 2200, 3.1, 900),
    ("t1ce", "Ax T1 FSPGR 3D +Gd", *SPGR), ("t1ce", "+C AX BRAVO", *SPGR),
    ("t1ce", "AX T1 +C", *T1SE), ("t1ce", "Ax T1 FSE FS POST", *T1SE), ("t1ce", "SAG 3D SPGR C+", *SPGR),
    ("t1ce", "+C Sag CUBE T1 FS", *SPACE_T1), ("t1ce", "AxT1Post", *T1SE),
    ("t2", "Ax T2 FRFSE", *T2TSE), ("t2", "AX T2 PROPELLER", SE, 4500, 105), ("t2", "Sag CUBE T2", SE, 2500, 90), ("flair", "Ax T2 FLAIR", *FLAIR),
    ("flair", "Sag CUBE T2 FLAIR", SEIR, 6000, 120, 1700), ("flair", "AX FLAIR PROPELLER", SEIR, 8800, 120, 2250),
    ("flair", "Ax T2 FLAIR FS +C", *FLAIR),
    # Philips
    ("t1", "sT1W_3D_TFE", GR, 8.1, 3.7), ("t1", "T1W_SE", *T1SE), ("t1", "eT1W_FFE", GR, 220, 2.3), ("t1", "3D_BrainVIEW_T1", *SPACE_T1),
    ("t1", "T1W_IR_TSE", SEIR, 3000, 20, 400),
    ("t1ce", "sT1W_3D_TFE +C", GR, 8.1, 3.7), ("t1ce", "T1W_TSE_GD", *T1SE), ("t1ce", "3D T1 VISTA post gado", *SPACE_T1),
    ("t2", "T2W_TSE", SE, 3000, 80),
    ("t2", "T2W_TSE_MultiVane", *T2TSE), ("t2", "3D_BrainVIEW_T2", SE, 2500, 250), ("t2", "T2W_SPIR", SE, 3000, 80),
    ("flair", "FLAIR_longTR", SEIR, 11000, 120, 2800),
    ("flair", "3D_BrainVIEW_FLAIR", SEIR, 4800, 280, 1650), ("flair", "sVISTA FLAIR", SEIR, 4800, 300, 1660), ("flair", "T2W_FLAIR_SPIR", *FLAIR),
    # Canon, Hitachi, United Imaging
    ("t1", "T1 3D FFE", GR, 12, 5), ("t1", "T1 FE3D", GR, 6, 2.7), ("t1ce", "CE T1 3D FFE", GR, 12, 5), ("t2", "T2 FASE", SE, 4000, 100),
    ("flair", "FLAIR mVox", SEIR, 6000, 300, 1900),
    ("t2", "T2 JET", *T2TSE), ("t1", "t1_gre_fsp_3d_sag", GR, 7, 3), ("flair", "FLAIR isoFSE", SEIR, 6000, 200, 1900),
    ("flair", "t2_fse_flair_tra", *FLAIR),
    # German
    ("t1", "T1 nativ tra", *T1SE), ("t1", "T1 SE vor KM", *T1SE), ("t1", "T1 ohne KM", *T1SE), ("t1ce", "T1 nach KM", *T1SE),
    ("t1ce", "T1 MPRAGE n. K.M.", *MPRAGE),
    ("t1ce", "T1 tra Kontrastmittel", *T1SE), ("flair", "dunkle Flüssigkeit tra", *FLAIR), ("t2", "T2-gewichtet axial", *T2TSE),
    # French
    ("t1", "T1 SE sans inj", *T1SE), ("t1", "T1 avant gado", *T1SE), ("t1ce", "T1 après gado", *T1SE), ("t1ce", "3D T1 INJ", *SPGR),
    ("t1ce", "Ax T1 gadolinium", *T1SE),
    ("t1ce", "T1 post-injection", *T1SE), ("flair", "Axiale FLAIR", *FLAIR), ("t1", "T1 sans injection de gadolinium", *T1SE),
    # Spanish, Portuguese, Italian
    ("t1", "T1 sin contraste", *T1SE), ("t1", "T1 S/C axial", *T1SE), ("t1", "T1 simples", *T1SE), ("t1", "T1 sem contraste", *T1SE),
    ("t1", "T1 senza mdc", *T1SE),
    ("t1ce", "T1 con contraste", *T1SE), ("t1ce", "T1 C/C axial", *T1SE), ("t1ce", "T1 pós contraste", *T1SE),
    ("t1ce", "T1 dopo m.d.c.", *T1SE), ("t1ce", "T1 mdc", *T1SE),
    ("t1ce", "T1 tras contraste", *T1SE), ("t1ce", "T1 com gad", *T1SE), ("t1", "T1 basale", *T1SE),
    # Dutch, Polish, Turkish, Russian, Chinese, Japanese, Korean
    ("t1", "T1 blanco", *T1SE), ("t1ce", "T1 na contrast", *T1SE), ("t1", "T1 zonder contrast", *T1SE), ("t1", "T1 bez kontrastu", *T1SE),
    ("t1ce", "T1 po kontraście", *T1SE),
    ("t1ce", "T1 +K", *T1SE), ("t1", "T1 kontrastsız", *T1SE), ("t1ce", "T1 kontrastlı aksiyel", *T1SE), ("t1ce", "T1 İLAÇLI", *T1SE),
    ("t1", "Т1 нативно", *T1SE),
    ("t1ce", "Т1 с контрастом", *T1SE), ("t1", "Т1 без контраста", *T1SE), ("t1ce", "Т1 ВИ с КУ", *T1SE),
    ("t2", "Т2 ВИ аксиальная", *T2TSE), ("t1ce", "T1增强", *T1SE),
    ("t1", "T1 平扫", *T1SE), ("t1", "T1 增强前", *T1SE), ("t1ce", "造影後T1", *T1SE), ("t1", "単純T1", *T1SE),
    ("flair", "T2 压水", *FLAIR), ("t1ce", "T1 조영증강", *T1SE),
    # words alone, as in anonymised headers
    ("t1", "T1"), ("t1ce", "T1 Gd"), ("t1ce", "T1c"), ("t2", "T2 TSE"), ("flair", "FLAIR"), ("t1", "MPRAGE"), ("t1ce", "MPRAGE post"),
    ("t1ce", "axt1fsepost"), ("flair", "AXFLAIR"),
    ("t1", "T1 post op", *T1SE), ("t1ce", "T1 Gd post op", *T1SE), ("t1", "T1 pre", *T1SE), ("t1", "T1 W/O", *T1SE),
    ("t1", "non-contrast T1", *T1SE),
    # timing alone
    ("t1", "", *T1SE), ("t1", "", *MPRAGE), ("t1", "", *SPGR), ("t1", "", SEIR, 2200, 10, 800), ("t2", "", *T2TSE),
    ("t2", "", SE, 3200, 409), ("flair", "", *FLAIR),
    ("flair", "", SEIR, 5000, 389, 1800), ("t1", "Kopf", *T1SE), ("t2", "Serie 5", *T2TSE),
]

OTHERS = [
    ("localizer", "localizer"), ("localizer", "3-plane loc"), ("localizer", "AAHScout"), ("localizer", "SURVEY"),
    ("localizer", "3 Pl Loc FGRE"), ("localizer", "Lokalizer"),
    ("localizer", "repérage"), ("localizer", "定位像"), ("localizer", "локалайзер"), ("localizer", "Übersicht"), ("localizer", "Locator"),
    ("localizer", "SmartBrain T1"),
    ("calibration", "ASSET calibration"), ("calibration", "gre_field_mapping"), ("calibration", "Ref scan"), ("calibration", "CoilSurvey"),
    ("calibration", "B1 map"),
    ("diffusion", "ep2d_diff_3scan_trace_p2_ADC"), ("diffusion", "DWI_ssh"), ("diffusion", "Ax DWI b1000"), ("diffusion", "DTI 32 dir"),
    ("diffusion", "eADC"),
    ("diffusion", "Diffusionsgewichtet"), ("diffusion", "difusión"), ("diffusion", "ДВИ"), ("diffusion", "弥散"),
    ("diffusion", "resolve_4scan_trace"),
    ("perfusion", "ep2d_perf_p2"), ("perfusion", "DSC perfusion"), ("perfusion", "T1 DCE"), ("perfusion", "relCBV CBV"),
    ("perfusion", "Perfusión"), ("perfusion", "灌注"),
    ("asl", "3D ASL"), ("asl", "pCASL"), ("angiography", "3D TOF"), ("angiography", "fl_tof"), ("angiography", "CE MRA head"),
    ("angiography", "MRV 2D PC"),
    ("angiography", "sPCA phase contrast"), ("angiography", "Inhance 3D velocity"), ("angiography", "angio RM"),
    ("angiography", "血管造影"), ("spectroscopy", "csi_se_135"),
    ("spectroscopy", "MRS SV 144"), ("functional", "BOLD finger tapping"), ("functional", "rsfMRI"), ("susceptibility", "SWI_Images"),
    ("susceptibility", "Ax SWAN"),
    ("susceptibility", "t2_fl2d_tra_hemo"), ("susceptibility", "Ax T2* GRE"), ("susceptibility", "VEN_BOLD"), ("steady", "t2_ci3d CISS"),
    ("steady", "FIESTA-C"), ("steady", "BFFE"),
    ("dir", "DIR 3D"), ("stir", "COR STIR"), ("map", "T1 map"), ("map", "FAT: Ax T1 LAVA Flex"), ("map", "OutPhase: Ax T1 LAVA"),
    ("map", "t1_vibe_dixon_tra_opp"), ("map", "MAGiC synthetic"), ("phase", "Pha_Images"),
    ("projection", "MIP T1"), ("reformat", "T1 reformat COR"),
    ("subtraction", "T1 SUB"), ("subtraction", "Subtraktion"), ("report", "PhoenixZIPReport"), ("report", "Screen Save"),
    ("report", "PosDisp: [3] t1_mprage"), ("diffusion", "Isotropic image"),
    ("body", "C-SPINE T2"), ("body", "T2 HWS sag"),
]

BY_HEADER = [
    ("localizer", facts("T1", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))), ("diffusion", facts("", b_value=1000.0)),
    ("diffusion", facts("", image_type=("DERIVED", "PRIMARY", "DIFFUSION", "ADC"))),
    ("reformat", facts("T1 MPRAGE COR", image_type=(*DERIVED, "MPR"))),
    ("reformat", facts("T1 BRAVO", image_type=(*DERIVED, "REFORMATTED", "AVERAGE"))), ("reformat", facts("t1_mprage_MPR_tra", image_type=DERIVED)),
    ("projection", facts("x", image_type=(*DERIVED, "PROJECTION IMAGE"))), ("subtraction", facts("T1", image_type=(*DERIVED, "SUBTRACT"))),
    ("phase", facts("t2", image_type=("ORIGINAL", "PRIMARY", "P", "ND"))), ("angiography", facts("", GR, sequence_name="*fl3d1r_t70")),
    ("steady", facts("", sequence_name="*tfi2d1_105")), ("pd", facts("PD", *(SE, 3000, 15))), ("pd", facts("PD/T2 TSE", SE, 3000, 12)),
    ("pd", facts("PD T2", echo_number=1)), ("stir", facts("", SEIR, 4500, 60, 160)), ("stir", facts("tirm cor", SEIR, 4500, 60, 150)),
    ("susceptibility", facts("", GR, 700, 20, flip_deg=20.0)), ("susceptibility", facts("T2 FFE", GR, 700, 16)),
    ("susceptibility", facts("T2 EG axial", GR, 600, 20)),
    ("steady", facts("", GR, 5, 2, flip_deg=60.0)), ("body", facts("T1", body_part="CSPINE")), ("pd", facts("", SE, 3000, 14)),
]


@pytest.mark.parametrize(("role", "row"), [(role, row) for role, *row in SEQUENCES],
                         ids=lambda value: value if isinstance(value, str) else value[0] or "silent")
def test_a_header_tells_its_sequence(role, row):
    judged = judge(facts(*row))
    assert (judged.role, judged.left_out) == (role, "")
    assert judged.confidence >= SURE
    assert judged.why


@pytest.mark.parametrize(("kind", "description"), OTHERS)
def test_other_kinds_are_left_out_by_their_words(kind, description):
    judged = judge(facts(description))
    assert (judged.role, judged.left_out) == ("", OTHER_KINDS[kind])
    assert judged.why.startswith("words ")


@pytest.mark.parametrize(("kind", "header"), BY_HEADER)
def test_other_kinds_are_left_out_by_the_rest_of_the_header(kind, header):
    assert judge(header).left_out == OTHER_KINDS[kind]


@pytest.mark.parametrize("header", [facts("T1", *T2TSE), facts("T2", *T1SE), facts("T2 FLAIR", *T1SE), facts("T1 T2")])
def test_words_against_timing_are_not_certain(header):
    judged = judge(header)
    assert not judged.sure
    assert not judged.left_out


def test_a_silent_header_tells_nothing():
    judged = judge(Facts())
    assert (judged.role, judged.left_out, judged.confidence, judged.why) == ("", "", 0.0, "the header is silent")


@pytest.mark.parametrize("name", ["Müller^Anna", "Postma Jan", "T1 Gadowski", "Sara Connor", "Perez T2 Perfecta", "Flairmont",
                                  "Скаутов", "Dr. Dixon-Smith"])
def test_reasons_hold_our_vocabulary_and_numbers_only(name):
    known = {"words", "which", "contradict", "each", "other", "the", "header", "is", "silent", "tr", "te", "ti", "+c", "-c", "+/-c", "mpr",
             *WEIGHTINGS, *TECHNIQUES, *OTHER_KINDS}
    for role_words in ("", "T1 ", "T2 FLAIR "):
        why = judge(facts(role_words + name, *T1SE, protocol=name, contrast_agent="")).why
        assert {word for word in why.lower().replace(",", " ").replace(";", " ").split() if not word[0].isdigit()} <= known, why


@pytest.mark.parametrize("name", ["Gadowski", "Postma", "Preston", "Kontra", "Injero", "Simpleson"])
def test_a_name_is_no_contrast(name):
    assert read_words(f"T1 {name}").contrast == ""


def test_the_protocol_is_read_where_the_description_says_no_sequence():
    assert judge(facts("Reihe 4", protocol="t1_mprage_sag_KM")).role == "t1ce"
    assert judge(facts("T2", *T2TSE, protocol="t1_mprage_sag_KM")).role == "t2"


def test_a_ge_protocol_names_the_examination_and_says_nothing_of_contrast():
    judged = judge(facts("Serie", *T1SE, protocol="BRAIN T1 POST GAD", manufacturer="GE MEDICAL SYSTEMS"))
    assert (judged.role, judged.contrast) == ("t1", "")


def test_with_and_without_says_nothing_of_one_series():
    assert [read_words(text).contrast for text in ("T1 W/WO", "T1 mit und ohne KM", "T1 avec et sans gado", "T1 pre/post", "T1 +/-")] == ["both"] * 5
    assert judge(facts("BRAIN T1 W/WO", *T1SE)).contrast == ""


def test_an_agent_is_believed_unless_it_says_that_none_was_given():
    assert judge(facts("T1", *T1SE, contrast_agent="Gadovist 7.5 ml")).role == "t1ce"
    assert judge(facts("T1", *T1SE, contrast_agent="NONE")).role == "t1"
    assert judge(facts("T1 nativ", *T1SE, contrast_agent="Gadovist")).role == "t1"  # the words win


@pytest.mark.parametrize("modality", ["CT", "PT", "SR", "XX"])
def test_other_modalities_are_left_out(modality):
    judged = judge(facts("T1", modality=modality))
    assert judged.left_out.startswith("not MR: ")
    assert "XX" not in judged.left_out


def test_secondary_captures_and_unknown_objects_are_left_out():
    assert "secondary capture" in judge(facts("T1", sop_class_uid="1.2.840.10008.5.1.4.1.1.7")).left_out
    assert judge(facts("T1", sop_class_uid="1.2.3")).left_out == "not an MR image"


def test_the_vocabulary_gives_every_kind_a_reason():
    assert all(OTHER_KINDS.values())
    assert read_words("") == read_words("Herr Unbekannt 1954")
