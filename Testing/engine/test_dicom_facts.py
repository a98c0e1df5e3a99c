"""Facts of a header: what is there, None or '' where it is missing or damaged, never an exception."""

import pytest
from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from braintumorseg.io.dicom_facts import facts_of, integer, number, text, texts
from braintumorseg.io.dicom_series import Facts
from dicom_toys import slices_of_volume, toy_volume


def header(**values) -> Dataset:
    (one, *_) = slices_of_volume(toy_volume(), **values)
    return one


def test_a_header_gives_its_facts():
    facts = facts_of(header(EchoTime=2.97, InversionTime=900, FlipAngle=9, EchoNumbers=1, ScanningSequence=["GR", "IR"], ContrastBolusAgent="Gd",
                            AcquisitionDate="20200101", AcquisitionTime="101112.5", LossyImageCompression="01", MRAcquisitionType="3D"), b"salt")
    assert (facts.echo_ms, facts.inversion_ms, facts.flip_deg, facts.echo_number) == (2.97, 900, 9, 1)
    assert facts.scanning_sequence == ("GR", "IR") and facts.contrast_agent == "Gd" and facts.acquired == "20200101101112.5"
    assert facts.lossy and facts.acquisition_type == "3D" and facts.image_type == ("ORIGINAL", "PRIMARY", "M") and facts.number == 4


def test_an_empty_header_gives_empty_facts():
    facts = facts_of(Dataset(), b"salt")
    assert facts == Facts(patient_key=facts.patient_key)


def test_contrast_that_only_a_sequence_of_items_says_is_yes():
    assert facts_of(header(ContrastBolusAgentSequence=Sequence([Dataset()])), b"").contrast_agent == "yes"
    assert facts_of(header(ContrastBolusAgentSequence=Sequence()), b"").contrast_agent == ""


@pytest.mark.parametrize("a, b, same", [(dict(), dict(), True), (dict(PatientName="Doe^Ann"), dict(PatientName="DOE^ANN "), True),
                                        (dict(PatientID="1"), dict(PatientID="2"), False),
                                        (dict(PatientName="Doe^Ann"), dict(PatientName="Doe^Ann^M"), True),
                                        (dict(PatientName="A", PatientBirthDate=""), dict(PatientName="B", PatientBirthDate=""), False),
                                        (dict(PatientName="A", PatientID=""), dict(PatientName="B", PatientID=""), False),
                                        (dict(PatientBirthDate="19600101"), dict(PatientBirthDate="19600102"), False)], ids=str)
def test_patients_are_told_apart_by_their_identity(a, b, same):
    keys = {facts_of(header(study="1.2", **values), b"salt").patient_key for values in (a, b)}
    assert (len(keys) == 1) == same


def test_the_key_of_a_name_tells_spellings_apart_and_is_no_name():
    keys = [facts_of(header(PatientName=name), b"salt").name_key for name in ("Doe^Ann", "DOE^ANN ", "Doe^Ann^M", "")]
    assert keys[0] == keys[1] != keys[2] and keys[3] == "" and "doe" not in "".join(keys).casefold()


def test_without_any_identity_one_study_is_one_patient():
    nobody = dict(PatientName="", PatientID="", PatientBirthDate="")
    keys = [facts_of(header(study=study, **nobody), b"salt").patient_key for study in ("1.2", "1.2", "1.3")]
    assert keys[0] == keys[1] != keys[2]


def raw(tag: int, vr: str, value: bytes) -> Dataset:
    dataset = Dataset()
    dataset[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    return dataset


@pytest.mark.parametrize("vr, value", [("DS", b"1.2.3"), ("DS", b"abc"), ("DS", b""), ("US", b"\1"), ("FD", b"\0\0\xff"), ("DS", b"nan"),
                                       ("DS", b"1e999"), ("SQ", b"\1\2\3\4")], ids=str)
def test_a_damaged_number_is_none(vr, value):
    dataset = raw(0x00180081, vr, value)
    assert number(dataset, "EchoTime") is None and integer(dataset, "EchoTime") is None


def test_text_loses_its_padding_and_several_values_are_kept():
    dataset = Dataset()
    dataset.add(DataElement(0x00080008, "CS", ["A ", " B"]))
    assert texts(dataset, "ImageType") == ("A", "B") and text(dataset, "ImageType") == "A" and text(dataset, "Modality") == ""


def test_a_private_value_without_a_type_is_read_as_text():
    assert texts(raw(0x0019100C, "UN", b"10\\20 "), 0x0019100C) == ("10", "20")
