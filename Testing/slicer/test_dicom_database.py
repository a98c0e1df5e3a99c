"""What Slicer's DICOM database says of a volume: whose it is."""

import pydicom
import pytest
from made_up import make_volume
from pydicom.uid import MRImageStorage, generate_uid


@pytest.fixture
def series(host, tmp_path):
    """A function that puts a series of one file into the database: its volume node."""
    import slicer

    def add(patient="", name="", born="", study="", **header):
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID = MRImageStorage, generate_uid(), generate_uid()
        data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = MRImageStorage, data.SOPInstanceUID
        data.PatientID, data.PatientName, data.PatientBirthDate = patient, name, born
        data.StudyInstanceUID = study or generate_uid()
        for keyword, value in header.items():
            setattr(data, keyword, value)
        data.Modality = "MR"
        path = tmp_path / f"{data.SOPInstanceUID}.dcm"
        data.save_as(path, enforce_file_format=True)
        slicer.dicomDatabase._add(path)
        node = make_volume(name=header.get("SeriesDescription", "MR"))
        node.SetAttribute("DICOM.instanceUIDs", str(data.SOPInstanceUID))
        return node

    yield add
    slicer.dicomDatabase._clear()


ADAMS, BROWN = {"name": "Adams^C"}, {"name": "Brown^D"}


@pytest.mark.parametrize(("one", "other", "same"), [
    ({"patient": "1"}, {"patient": "2"}, False),
    ({"patient": "1", **ADAMS}, {"patient": "1", **ADAMS}, True),
    (ADAMS, BROWN, False),                                                               # no ID at all
    ({"patient": "ANON", **ADAMS}, {"patient": "ANON", **BROWN}, False),                 # one ID for all
    ({"patient": "ANON", "born": "19500101"}, {"patient": "ANON", "born": "19700101"}, False),
    ({"born": "19500101", **ADAMS}, {"born": "19700101", **ADAMS}, False),
    ({"name": "Adams^Carl"}, {"name": "Adams^Dora"}, False),
    ({"patient": "1", "name": "Adams^Dora"}, {"patient": "1", "name": "Brown^Dora"}, True),   # a name may change
    ({"patient": "1", "name": "M\u00fcller^Hans"}, {"name": "MUELLER^HANS^K"}, True),
    ({"patient": "1", **ADAMS}, ADAMS, True),
    ({}, ADAMS, True),                                                                   # not told, so not known to be another
    ({"study": "1.2.3", **ADAMS}, {"study": "1.2.3", **BROWN}, True),
    ({"study": "1.2.3", "patient": "1"}, {"study": "1.2.3", "patient": "2"}, False),
])
def test_people_are_told_apart_by_id_name_and_birth_date(series, one, other, same):
    from BrainTumorSegLib import dicom

    (first, _), (second, _) = (dicom.identity_of(series(SpecificCharacterSet="ISO_IR 192", **header)) for header in (one, other))
    assert (first == second, second == first) == (same, same)
    assert bool(first) is bool({"patient", "name", "born"} & one.keys())


def test_the_panel_does_not_take_two_people_without_an_id_for_one(series, host):
    from BrainTumorSegLib.logic import Logic

    problems = Logic(object()).problems({"t1": series(**ADAMS), "t2": series(**BROWN)})
    assert problems["t2"].blocking
    assert "another patient" in problems["t2"].text


def test_an_unnamed_series_of_another_study_is_only_from_another_examination(series, host):
    from BrainTumorSegLib.logic import Logic

    problems = Logic(object()).problems({"t1": series(), "t2": series()})
    assert not problems["t2"].blocking
    assert "another examination" in problems["t2"].text


def role_of(node):
    from BrainTumorSegLib import dicom
    from BrainTumorSegLib.recognise import Candidate, recognise

    return {node_id: role for role, node_id in recognise([Candidate("it", node.GetName(), dicom.facts_of(node))]).roles.items()}.get("it", "")


T1, T2 = {"RepetitionTime": 500, "EchoTime": 9, "ScanningSequence": "SE"}, {"RepetitionTime": 5000, "EchoTime": 100, "ScanningSequence": "SE"}


@pytest.mark.parametrize(("header", "role"), [
    ({"SeriesDescription": "AX T1", **T1}, "t1"),
    ({"SeriesDescription": "AX T1", **T1, "ContrastBolusAgentSequence": [pydicom.Dataset()]}, "t1ce"),
    ({"SeriesDescription": "AX", **T2}, "t2"),
    ({"SeriesDescription": "AX", **T2, "PulseSequenceName": "*ep2d_diff"}, ""),
])
def test_a_header_means_to_the_panel_what_it_means_to_the_engine(series, header, role):
    assert role_of(series(**header)) == role


def test_a_file_is_read_once_however_often_the_panel_asks(series, monkeypatch):
    from BrainTumorSegLib import dicom

    node, asked, read = series(SeriesDescription="AX T1"), [], pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *args, **options: asked.append(args) or read(*args, **options))
    assert dicom.facts_of(node).description == "AX T1"
    assert dicom.facts_of(node).description == "AX T1"
    assert len(asked) == 1
    assert dicom.facts_of(series(SeriesDescription="AX T2")).description == "AX T2"


def test_of_a_file_that_is_gone_the_study_is_still_known(series):
    from pathlib import Path

    import slicer

    from BrainTumorSegLib import dicom

    node = series(study="1.2.3", SeriesDescription="AX T1")
    Path(slicer.dicomDatabase.fileForInstance(node.GetAttribute("DICOM.instanceUIDs"))).unlink()
    assert (dicom.facts_of(node).study_uid, dicom.facts_of(node).description) == ("1.2.3", "")


def test_the_facts_hold_no_name(series):
    from BrainTumorSegLib import dicom

    assert "adams" not in repr(dicom.facts_of(series(patient="Adams77", **ADAMS))).casefold()
