"""Made-up MR series small enough to count by hand: oblique, tilted, and as one Enhanced MR object; and a tumour in them."""

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from braintumorseg.io.dicom_grid import series_grid
from braintumorseg.model_card import Label
from braintumorseg.volume import Volume

__all__ = ["ABOUT", "COLUMNS", "FIRST", "ROWS", "SLICES", "SPACING", "TABLE", "axes", "enhanced", "image_of", "mr_series", "save", "tilted", "tumour"]

TABLE = (Label(1, "NCR", ("6574001", "SCT", "Necrosis"), (216, 191, 216)),
         Label(2, "ED", ("79654002", "SCT", "Edema"), (140, 224, 228)),
         Label(3, "ET", ("C113842", "NCIt", "Enhancing Lesion"), (128, 174, 128)))
ABOUT = {"algorithm": "spine-2mm", "version": "0.1.0", "sha256": "ab" * 32}
COLUMNS, ROWS, SLICES, SPACING = 6, 5, 7, (0.7, 0.8, 2.5)  # spacing along a row, down a column, between slices: mm
FIRST = np.array([-20.0, -30.0, 40.0])        # LPS mm


def axes():
    """Unit vectors (LPS) along a row, down a column and between slices, turned about two axes."""
    a, b = np.deg2rad([17, -9])
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return (turn_z @ turn_x).T


def mr_series(order=(3, 0, 6, 1, 5, 2, 4), lean_mm=0.0):
    """Seven slices of a valid MR series, not in the order of their positions; each pixel is 100 k + 10 row + column.

    lean_mm: how far each slice is shifted down a column against the one before.
    """
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    row, column, normal = axes()
    slices = []
    for k in order:
        one = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, generate_uid()
        for name, uid in uids.items():
            setattr(one, name, uid)
        one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = "Phantom^Ünï 脳", "P1", "19700101", "O"
        one.SpecificCharacterSet = "ISO_IR 192"
        one.StudyDate, one.StudyTime, one.StudyID, one.AccessionNumber = "20240102", "030405", "1", "A1"
        one.Modality, one.SeriesNumber, one.InstanceNumber = "MR", 4, k + 1
        one.Rows, one.Columns, one.PixelSpacing, one.SliceThickness = ROWS, COLUMNS, [SPACING[1], SPACING[0]], SPACING[2]
        one.ImageOrientationPatient = [f"{x:.12g}" for x in (*row, *column)]
        one.ImagePositionPatient = [f"{x:.12g}" for x in FIRST + normal * SPACING[2] * k + column * lean_mm * k]
        one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
        one.BitsAllocated, one.BitsStored, one.HighBit = 16, 12, 11
        one.PixelData = (100 * k + 10 * np.arange(ROWS)[:, None] + np.arange(COLUMNS)).astype("<u2").tobytes()
        slices.append(one)
    return slices


def tilted():
    """The same slices under a gantry tilted by 10 degrees."""
    return mr_series(lean_mm=SPACING[2] * np.tan(np.deg2rad(10)))


def enhanced(echoes=1):
    """The same slices as the frames of one Enhanced MR object: one echo after the other, the last slice first. Headers only."""
    slices = sorted(mr_series(), key=lambda one: -one.InstanceNumber)
    whole = pydicom.Dataset()
    whole.update({element.tag: element for element in slices[0]
                  if element.keyword not in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "PixelData")})
    whole.SOPClassUID, whole.SOPInstanceUID, whole.NumberOfFrames = EnhancedMRImageStorage, generate_uid(), SLICES * echoes
    measures, turn, shared = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = slices[0].PixelSpacing, SPACING[2], SPACING[2]
    turn.ImageOrientationPatient = slices[0].ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turn]
    whole.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for echo in range(echoes):
        for one in slices:
            frame, place, content = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
            place.ImagePositionPatient = one.ImagePositionPatient
            content.DimensionIndexValues = [echo + 1, one.InstanceNumber]
            frame.PlanePositionSequence, frame.FrameContentSequence = [place], [content]
            frames.append(frame)
    whole.PerFrameFunctionalGroupsSequence = frames
    return whole


def tumour(series):
    """4 voxels NCR, no ED, 3 ET, in two of the seven slices and different along every axis."""
    voxels = np.zeros((COLUMNS, ROWS, SLICES), np.uint8)
    voxels[2:4, 1:3, 3] = 1
    voxels[0, 0, 3] = 3
    voxels[1:3, 4, 4] = 3
    return Volume(voxels, series_grid(series).affine)


def image_of(source, affine):
    """The voxels of the series (I, J, K) on a grid with this affine."""
    slices = sorted(source, key=lambda one: one.InstanceNumber)
    return Volume(np.stack([np.frombuffer(one.PixelData, "<u2").reshape(ROWS, COLUMNS).T for one in slices], -1), affine)


def save(series, folder):
    """Write the slices as folder/1.dcm ... in the order given; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(series, start=1):
        one.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder
