"""A made-up patient whose identity stands everywhere a header has room for it, and what to look for in files that must not hold it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from braintumorseg.study import Study
from dicom_toys import save, slices_of_volume

__all__ = ["ACCESSION", "PATIENT_ID", "SECRETS", "encodings", "find_secrets", "write_patient", "write_study"]

PATIENT_ID, ACCESSION = "QX-4711", "ACC998877"
# Words, none of which may be found in anything that leaves; unlike any word of DICOM or of ours.
SECRETS = ("Wanderløst", "Griselda", "Öztürk", "QX-4711", "QX4711", ACCESSION, "19530217", "Whistlebury", "Quackenbush", "Mumblethorpe",
           "20190923", "SCANNERXYZ9", "Rumpelstiltskin", "0049-555-0199", "SERIAL12345Z", "1.2.826.0.1.3680043.9.9999")
# Number: role, description with a name in it, and what tells the sequence.
_SCANS = {
    1: ("t1", "Griselda Wanderløst t1_se", {"RepetitionTime": 500, "EchoTime": 10}),
    2: ("t1ce", "t1_se +C Wanderløst", {"RepetitionTime": 500, "EchoTime": 10, "ContrastBolusAgent": "Quackenbush mix"}),
    3: ("t2", "Griselda t2_tse", {"RepetitionTime": 5000, "EchoTime": 100}),
    4: ("flair", "flair Mumblethorpe", {"RepetitionTime": 9000, "EchoTime": 100, "InversionTime": 2500, "ScanningSequence": ["SE", "IR"]}),
}
_UID = "1.2.826.0.1.3680043.9.9999"   # stands for the hospital's own root: it says where the images were made


def encodings(word: str) -> set[bytes]:
    """A word as bytes, in the ways and letter cases in which it could be written."""
    found = set()
    for text in (word, word.lower(), word.upper()):
        for name in ("latin-1", "utf-8", "utf-16-le", "utf-16-be"):
            found.add(text.encode(name, errors="replace"))
    return found


def find_secrets(content: bytes) -> list[str]:
    """Which of SECRETS stand in some bytes."""
    return [word for word in SECRETS if any(form in content for form in encodings(word))]


def write_patient(folder: Path, *, series: int = 2, slices: int = 4, patient_id: str = PATIENT_ID, date: str = "20190923",
                  study: int = 1) -> list[Path]:
    """Write series of 16 x 16 MR images; every file holds every one of SECRETS (the defaults' ones)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for one in range(1, series + 1):
        for index in range(slices):
            path = folder / f"Wanderløst_{study}_{one}_{index}.dcm"
            _image(patient_id, date, study, one, index).save_as(path, enforce_file_format=True)
            paths.append(path)
    return paths


def write_study(study: Study, folder: Path) -> list[Path]:
    """Write the sequences of a study as DICOM series folder/1 (T1) .. folder/4 (FLAIR) that hold SECRETS, the descriptions too."""
    paths = []
    uid, frame = generate_uid(), generate_uid()
    for number, (role, description, attributes) in _SCANS.items():
        slices = slices_of_volume(study.volumes[role], study=uid, frame=frame)
        for ds in slices:
            _put_identity(ds)
            ds.SpecificCharacterSet = "ISO_IR 192"
            ds.SeriesNumber, ds.SeriesDescription, ds.ProtocolName, ds.BodyPartExamined = number, description, description, "HEAD"
            for name, value in attributes.items():
                setattr(ds, name, value)
        paths += save(slices, folder / str(number))
    return paths


def _image(patient_id: str, date: str, study: int, series: int, index: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, MRImageStorage
    meta.MediaStorageSOPInstanceUID = f"{_UID}.{study}.{series}.{index + 1}"
    meta.SourceApplicationEntityTitle = "SCANNERXYZ9"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"Griselda Wanderl\xf8st".ljust(128, b"\0"))
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{_UID}.{study}", f"{_UID}.{study}.{series}"
    ds.FrameOfReferenceUID = f"{_UID}.{study}.999"
    _put_identity(ds, patient_id, date)
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "MR", series, index + 1
    ds.SeriesDescription = ("Griselda Wanderløst t1_mpr_sag +C", "AX T2 FLAIR Quackenbush")[(series - 1) % 2]
    ds.Manufacturer, ds.ManufacturerModelName, ds.MagneticFieldStrength = "SIEMENS", "Skyra", 3.0
    ds.SequenceName, ds.SoftwareVersions = "*tfl3d1", "syngo MR E11"
    ds.BodyPartExamined, ds.PatientPosition, ds.PositionReferenceIndicator = "HEAD", "HFS", ""
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "GR", "SP", "", "3D"
    ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength, ds.FlipAngle = 2000, 2.5, 1, 9
    ds.SliceThickness, ds.PixelSpacing = 1, [1, 1]
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-8, -8, index]
    ds.Rows = ds.Columns = 16
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = np.random.default_rng(100 * series + index).integers(0, 4000, (16, 16)).astype("<u2").tobytes()
    ds.add_new(0xFFFCFFFC, "OB", b"Griselda")
    return ds


def _put_identity(ds: Dataset, patient_id: str = PATIENT_ID, date: str = "20190923") -> None:
    """Write every one of SECRETS into a data set."""
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Wanderløst^Griselda^Öztürk", patient_id, "19530217"
    ds.PatientSex, ds.PatientAge, ds.PatientWeight, ds.PatientSize = "F", "066Y", 71.5, 1.68
    ds.OtherPatientIDs, ds.PatientAddress, ds.PatientTelephoneNumbers = "QX4711", "1 Whistlebury Lane", "0049-555-0199"
    ds.PatientComments, ds.AdditionalPatientHistory = "Known to Dr Quackenbush", "Griselda has had headaches"
    ds.AccessionNumber, ds.StudyID = ACCESSION, "Rumpelstiltskin"
    ds.ReferringPhysicianName = ds.PerformingPhysicianName = ds.OperatorsName = "Quackenbush^Mumblethorpe"
    ds.InstitutionName, ds.InstitutionAddress, ds.InstitutionalDepartmentName = "Whistlebury General", "Whistlebury", "Whistlebury Radiology"
    ds.StationName, ds.DeviceSerialNumber = "SCANNERXYZ9", "SERIAL12345Z"
    ds.StudyDescription, ds.ProtocolName = "MR head Wanderløst", "Griselda special"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101500"
    ds.AcquisitionDateTime = f"{date}101500.123"
    ds.ImageComments, ds.DerivationDescription = "Griselda moved", "by Mumblethorpe"
    request = Dataset()
    request.RequestedProcedureDescription, request.RequestedProcedureID = "for Wanderløst", "Rumpelstiltskin"
    request.AccessionNumber, request.ScheduledProcedureStepStartDate = ACCESSION, date
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "X1", "99WHIST", "Whistlebury head"
    request.RequestedProcedureCodeSequence = Sequence([code])
    ds.RequestAttributesSequence = Sequence([request])
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = MRImageStorage, f"{_UID}.1.1.1"
    image.PurposeOfReferenceCodeSequence = Sequence([code])
    ds.ReferencedImageSequence = Sequence([image])
    other = Dataset()
    other.PatientID, other.TypeOfPatientID = "QX4711", "TEXT"
    ds.OtherPatientIDsSequence = Sequence([other])
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", "Griselda Wanderløst".encode("utf-16-le"))
    block.add_new(0x11, "LO", "Quackenbush")
    nested = Dataset()
    nested.private_block(0x0051, "WHISTLEBURY 1.0", create=True).add_new(0x01, "LT", "Griselda")
    block.add_new(0x12, "SQ", [nested])
    ds.add_new(0x60000010, "US", 16)   # an overlay, in which text can be drawn
    ds.add_new(0x60000022, "LO", "Wanderløst")
    ds.add_new(0x60003000, "OW", b"Griselda")
