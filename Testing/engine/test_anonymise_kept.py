"""What a research copy still says: which sequence a series is, who made the scanner, and all that the standard asks of it."""

import pydicom
import pytest

from anonymise_toys import copies, run
from braintumorseg.confidentiality import published_meaning
from braintumorseg.io.dicom_seg import write_dicom_seg
from braintumorseg.survey import survey
from dicom_oracles import dciodvfy_errors, no_dciodvfy_error
from dicom_toys import enhanced, save, slices_of_volume, toy_volume
from seg_toys import ABOUT, TABLE, mr_series, tumour

# what a series is

AGENTS = {"none": "NONE", "native": "kein KM", "dose of nothing": "0 ml", "agent": "Gadovist 7.5 ml", "empty": ""}
WORDS = ["AX T1 SE", "T1 ohne KM tra", "T1 tra nativ", "AX T1 w/o contrast", "T1 non contrast", "T1 nach KM", "T1 post Gd",
         "T1 with and without contrast", "AxT1FSE+C", "T1 SE SUB post", "T1 +C MIP", "T2 TSE tra", "t2_tirm_tra_dark-fluid", "флэр", "FLAIR post KM",
         "T1 spine post KM", "T2 MAP", "T2 DIR", "DWI b1000", "fat: T1 dixon", "rs-fMRI bold", "SWI", "CISS", "MRS csi", "T1 MPRAGE sag",
         "3D SPACE T2", "localizer"]


def a_study(folder, *series):
    """One study of MR series, each a mapping of attributes; a spin echo with the timing of a T1 where they say nothing else."""
    for number, values in enumerate(series, start=1):
        values = {"SpecificCharacterSet": "ISO_IR 192", "SeriesNumber": number, "SeriesDescription": "", "AcquisitionDate": "20200101",
                  "AcquisitionTime": f"10{number:02d}00", "RepetitionTime": 550.0, "EchoTime": 10.0, **values}
        save(slices_of_volume(toy_volume(), study="1.2.826.1", frame="1.2.826.3", series=f"1.2.826.2.{number}", **values), folder / str(number))


def roles(folder):
    """Number of the series -> its role, or what it may be."""
    return {one.stack.facts.number: one.role or one.may_be for one in survey([folder]).found}


@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
def test_what_the_header_says_of_contrast_is_said_by_the_copy(tmp_path, capsys, agent):
    a_study(tmp_path / "in", {"SeriesDescription": "AX T1 SE", "ContrastBolusAgent": agent},
            {"SeriesDescription": "AX T2 FLAIR", "EchoTime": 100.0, "RepetitionTime": 9000.0})
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    assert roles(tmp_path / "out") == roles(tmp_path / "in")
    assert roles(tmp_path / "out")[1] == ("t1ce" if agent.startswith("Gad") else "t1")


def test_contrast_that_one_series_denies_and_another_names_is_told_by_the_copy(tmp_path, capsys):
    t1 = {"SeriesDescription": "AX T1 SE"}
    a_study(tmp_path / "in", {**t1, "ContrastBolusAgent": "NONE"}, {**t1, "ContrastBolusAgent": "Gadovist"})
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    assert roles(tmp_path / "out") == roles(tmp_path / "in") == {1: "t1", 2: "t1ce"}


def test_contrast_that_only_a_code_of_the_hospital_tells_is_still_told(tmp_path, capsys):
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "X1", "99HOSP", "house mix"
    a_study(tmp_path / "in", {"SeriesDescription": "AX T1 SE", "ContrastBolusAgentSequence": [code]})
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    assert roles(tmp_path / "out") == roles(tmp_path / "in") == {1: "t1ce"}


@pytest.mark.parametrize(("words", "attribute"), [*((words, "SeriesDescription") for words in WORDS),
                                                  *((words, "ProtocolName") for words in WORDS[:7])])
def test_words_mean_in_the_copy_what_they_meant(tmp_path, capsys, words, attribute):
    """'ohne KM' without 'ohne' is the opposite."""
    a_study(tmp_path / "in", {attribute: words}, {"SeriesDescription": "AX T1 SE"})
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    assert roles(tmp_path / "out") == roles(tmp_path / "in")


# still valid

@pytest.mark.parametrize(("naming", "manufacturer"), [({"StationName": "PHILIPS-4R3DG"}, "Philips"), ({"StationName": "SIEMENS_01"}, "SIEMENS"),
                                                      ({"InstitutionName": "City Medical Center"}, "GE MEDICAL SYSTEMS"),
                                                      ({"InstitutionName": "Canon Hospital"}, "Canon Medical Systems")], ids=str)
def test_the_maker_of_a_scanner_stays_though_a_station_or_a_hospital_is_named_for_it(tmp_path, capsys, naming, manufacturer):
    a_study(tmp_path / "in", {"SeriesDescription": "T1", "Manufacturer": manufacturer, **naming})
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    assert {image.Manufacturer for image in copies(tmp_path / "out")} == {manufacturer}


def test_a_maker_that_is_not_known_to_be_one_and_is_named_in_the_identity_is_there_and_empty(tmp_path, capsys):
    a_study(tmp_path / "in", {"SeriesDescription": "T1", "Manufacturer": "Sorgenfrei AG"})
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    assert {image["Manufacturer"].value for image in copies(tmp_path / "out")} == {""}
    assert [line for line in dciodvfy_errors(next((tmp_path / "out").rglob("*.dcm"))) if "Manufacturer" in line] == []


def test_a_copy_of_our_own_segmentation_is_as_valid_as_it_was(tmp_path, capsys):
    source = mr_series()
    (tmp_path / "in").mkdir()
    write_dicom_seg(tumour(source), source, TABLE, tmp_path / "in" / "seg.dcm", **ABOUT)
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    (copy,) = (tmp_path / "out").rglob("*.dcm")
    assert no_dciodvfy_error(tmp_path / "in" / "seg.dcm") and no_dciodvfy_error(copy)


def test_free_text_of_a_segmentation_does_not_stay_beside_its_codes(tmp_path, capsys):
    """Codes say what a segment is; the words beside them, and the name of an algorithm, may hold anything."""
    source = mr_series()
    (tmp_path / "in").mkdir()
    write_dicom_seg(tumour(source), source, TABLE, tmp_path / "in" / "seg.dcm", **ABOUT)
    seg = pydicom.dcmread(tmp_path / "in" / "seg.dcm")
    was = [one.SegmentedPropertyTypeCodeSequence[0].CodeValue for one in seg.SegmentSequence]
    for one, kind in zip(seg.SegmentSequence, ("MANUAL", "SEMIAUTOMATIC"), strict=True):
        one.SegmentAlgorithmType, one.SegmentAlgorithmName, one.SegmentLabel = kind, "Drawn by Dr Theodora Blumenfeld", "Glioma of Mr Tanaka"
        one.SegmentedPropertyTypeCodeSequence[0].CodeMeaning = "Glioma of Mr Tanaka (room 12)"
        one.SegmentedPropertyTypeCodeSequence[0].CodingSchemeVersion = "Blumenfeld 3"
        for key in ("AlgorithmName", "AlgorithmVersion"):
            setattr(one.SegmentationAlgorithmIdentificationSequence[0], key, "Blumenfeld")
    seg.save_as(tmp_path / "in" / "seg.dcm")
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    (path,), (copy,) = (tmp_path / "out").rglob("*.dcm"), copies(tmp_path / "out")
    assert not any(word in path.read_bytes() for word in (b"Blumenfeld", b"Tanaka", b"room 12"))
    assert [one.SegmentedPropertyTypeCodeSequence[0].CodeValue for one in copy.SegmentSequence] == was
    assert {one.SegmentLabel for one in copy.SegmentSequence} == {"Necrosis", "Enhancing Lesion"}
    assert [one.get("SegmentAlgorithmName") for one in copy.SegmentSequence] == [None, "Semiautomatic"]
    assert no_dciodvfy_error(path)


def test_a_segmentation_of_a_hospital_that_is_named_for_brains_has_a_copy(tmp_path, capsys):
    source = mr_series()
    (tmp_path / "in").mkdir()
    write_dicom_seg(tumour(source), source, TABLE, tmp_path / "in" / "seg.dcm", **ABOUT)
    seg = pydicom.dcmread(tmp_path / "in" / "seg.dcm")
    seg.InstitutionName = "Brain and Edema Center, Semiautomatic Wing"
    seg.save_as(tmp_path / "in" / "seg.dcm")
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    assert copies(tmp_path / "out")[0].SegmentSequence[0].AnatomicRegionSequence[0].CodeMeaning == "Brain"


@pytest.mark.parametrize(("value", "scheme", "meaning"), [
    ("79654002", "SCT", "Edema"), ("M-54000", "SRT", "Necrosis"), ("123110", "DCM", "Artificial Intelligence"), ("mm", "UCUM", "mm"),
    ("12345678901", "SCT", "12345678901"), ("C99999", "NCIt", "C99999"), ("Blumenfeld", "SCT", None), ("{Blumenfeld}", "UCUM", None),
    ("79654002", "99HOSP", None), ("", "SCT", None)])
def test_a_code_means_what_its_vocabulary_says_and_is_none_in_another_form(value, scheme, meaning):
    assert published_meaning(value, scheme) == meaning


def test_the_number_of_a_device_is_replaced_and_is_one_for_one_device_where_the_object_needs_it(tmp_path, capsys):
    for place, serial in enumerate(("SERIAL12345Z", "SERIAL12345Z", "OTHER9"), start=1):
        save(enhanced([toy_volume()], DeviceSerialNumber=serial), tmp_path / "in" / str(place))
    save(slices_of_volume(toy_volume(), DeviceSerialNumber="SERIAL12345Z"), tmp_path / "in" / "classic")
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    found = [image.get("DeviceSerialNumber", "") for image in copies(tmp_path / "out")]
    assert sorted(map(found.count, set(found))) == [1, 2, 8] and found.count("") == 8
    assert not any("SERIAL" in one or "OTHER" in one for one in found)
