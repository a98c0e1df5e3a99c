"""The phantom's raw study as DICOM: four classic MR Image Storage series of one study, in one frame of reference.

Every type 1 and 2 attribute of the MR Image IOD (DICOM PS3.3 A.4) is there. UIDs come from the seed, so a phantom written
twice is the same study. Identity is plainly made up: Phantom^Made Up, PHANTOM-<seed>.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from .volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

    from .phantom import Phantom

__all__ = ["PROTOCOLS", "write_series"]

# What a scanner would say of each sequence. Series are numbered in the order of scanning: T1ce is last, contrast just went in.
PROTOCOLS: Mapping[str, Mapping] = MappingProxyType({
    "t1": dict(number=2, time="101500", description="AX T1 SE", name="*se2d1", kind="2D",
               scanning="SE", variant="NONE", options="", repetition=550.0, echo=9.5, inversion=None, train=1, flip=90.0),
    "t2": dict(number=3, time="102000", description="AX T2 TSE", name="*tse2d1_16", kind="2D",
               scanning="SE", variant="SK", options="", repetition=5200.0, echo=98.0, inversion=None, train=16, flip=150.0),
    "flair": dict(number=4, time="102600", description="AX T2 FLAIR", name="*tir2d1_16", kind="2D", scanning=["SE", "IR"],
                  variant="SK", options="", repetition=9000.0, echo=94.0, inversion=2500.0, train=16, flip=150.0),
    "t1ce": dict(number=5, time="103300", description="SAG T1 MPRAGE +C", name="*tfl3d1", kind="3D", scanning=["GR", "IR"],
                 variant=["SK", "SP", "MP"], options="", repetition=1900.0, echo=2.5, inversion=900.0, train=1, flip=9.0),
})
_DATE, _BEGAN = "20200101", "101200"  # a holiday: no patient was scanned
_ROOT = "2.25."                       # UIDs from a number alone need no registered root (PS3.5 B.2)


def write_series(phantom: Phantom, folder: Path) -> dict[str, list[Path]]:
    """Write folder/role/0001.dcm ... per sequence, uint16 in Explicit VR Little Endian; the files by role, in slice order."""
    paths: dict[str, list[Path]] = {}
    for role, volume in phantom.raw.volumes.items():
        place = folder / role
        place.mkdir(parents=True, exist_ok=True)
        series = _series(phantom, role, volume)
        paths[role] = []
        for index in range(volume.shape[2]):
            _put_slice(series, phantom.seed, role, volume, index)
            path = place / f"{index + 1:04d}.dcm"
            series.save_as(path, enforce_file_format=True)
            paths[role].append(path)
    return paths


def _series(phantom: Phantom, role: str, volume: Volume) -> FileDataset:
    """A data set with all that the images of one series share."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MRImageStorage
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = MRImageStorage
    _put_identity(ds, phantom.seed, role)
    _put_protocol(ds, role)
    sizes = volume.spacing_mm
    ds.SliceThickness = _number(phantom.thickness_mm[role])
    ds.SpacingBetweenSlices = _number(sizes[2])
    ds.PixelSpacing = [_number(sizes[1]), _number(sizes[0])]  # between rows, then between columns
    ds.ImageOrientationPatient = [_number(c) for axis in (0, 1) for c in _lps(volume.affine[:3, axis] / sizes[axis])]
    ds.Columns, ds.Rows = volume.shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    low, high = np.percentile(volume.voxels[::4, ::4], [50, 99.5])
    ds.WindowCenter, ds.WindowWidth = _number(round((low + high) / 2)), _number(max(round(high - low), 1))
    return ds


def _put_identity(ds, seed: int, role: str) -> None:
    protocol = PROTOCOLS[role]
    ds.PatientName, ds.PatientID = "Phantom^Made Up", f"PHANTOM-{seed}"
    ds.PatientBirthDate, ds.PatientSex = "19600101", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid(seed, "study"), _uid(seed, "series", role)
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = _uid(seed, "frame of reference"), ""
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
    ds.StudyDescription = "MR HEAD, made up by code"
    ds.SeriesDescription = ds.ProtocolName = protocol["description"]
    ds.SeriesNumber, ds.AcquisitionNumber, ds.Modality = protocol["number"], 1, "MR"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = _DATE
    ds.StudyTime = _BEGAN
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = protocol["time"]
    ds.Manufacturer, ds.ManufacturerModelName, ds.InstitutionName = "BrainTumorSeg", "Phantom", ""
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "1"
    ds.BodyPartExamined, ds.PatientPosition = "HEAD", "HFS"  # unpaired: no Laterality


def _put_protocol(ds, role: str) -> None:
    protocol = PROTOCOLS[role]
    ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.ScanningSequence, ds.SequenceVariant = protocol["scanning"], protocol["variant"]
    ds.ScanOptions, ds.MRAcquisitionType, ds.SequenceName = protocol["options"], protocol["kind"], protocol["name"]
    ds.RepetitionTime, ds.EchoTime = protocol["repetition"], protocol["echo"]
    if protocol["inversion"] is not None:
        ds.InversionTime = protocol["inversion"]
    ds.EchoTrainLength, ds.FlipAngle, ds.NumberOfAverages, ds.EchoNumbers = protocol["train"], protocol["flip"], 1, 1
    ds.MagneticFieldStrength, ds.ImagedNucleus, ds.ImagingFrequency = 3.0, "1H", 123.2
    if role == "t1ce":
        ds.ContrastBolusAgent, ds.ContrastBolusRoute, ds.ContrastBolusIngredient = "Gadobutrol", "IV", "GADOLINIUM"


def _put_slice(ds, seed: int, role: str, volume: Volume, index: int) -> None:
    """Make `ds` the image of slice `index`, counted along the slices' normal."""
    uid = _uid(seed, "image", role, str(index))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.InstanceNumber = index + 1
    position = volume.affine[:3, 3] + index * volume.affine[:3, 2]
    ds.ImagePositionPatient = [_number(c) for c in _lps(position)]
    normal = volume.affine[:3, 2] / volume.spacing_mm[2]
    ds.SliceLocation = _number(position @ normal)
    pixels = volume.voxels[:, :, index].T  # rows, columns
    ds.SmallestImagePixelValue, ds.LargestImagePixelValue = int(pixels.min()), int(pixels.max())
    ds.PixelData = np.ascontiguousarray(pixels, "<u2").tobytes()


def _uid(seed: int, *what: str) -> str:
    from pydicom.uid import generate_uid

    return generate_uid(prefix=_ROOT, entropy_srcs=["braintumorseg phantom", str(seed), *what])


def _lps(vector):
    return vector * np.array([-1.0, -1.0, 1.0])


def _number(value: float) -> str:
    """A decimal string of at most the 16 characters that DICOM allows."""
    return f"{float(value):.9f}".rstrip("0").rstrip(".")[:16]
