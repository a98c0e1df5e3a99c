"""Made-up DICOM series of a few small slices, for tests to damage. Their voxels tell where they lie: no two are equal."""

import itertools
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from braintumorseg.io.dicom import scan_dicom
from braintumorseg.volume import Volume

__all__ = ["NAME", "axis_orders", "enhanced", "oblique", "refusal", "same_place", "save", "scanned", "slices_of_volume", "toy_volume"]

NAME = "Sorgenfrei^Ada"     # must never be seen in a message
_LPS = np.array([-1.0, -1.0, 1.0])


def toy_volume(shape=(7, 6, 8), spacing=(0.9, 1.1, 2.5), turn=None, origin=(-30.0, 20.0, 11.0)) -> Volume:
    """uint16 voxels 1, 2, 3 ... on a grid whose axes are those of `turn` (3x3 rotation; LPS axes by default)."""
    affine = np.eye(4)
    affine[:3, :3] = (np.diag([-1.0, -1, 1]) if turn is None else turn) * spacing
    affine[:3, 3] = origin
    return Volume(np.arange(1, np.prod(shape) + 1, dtype=np.uint16).reshape(shape), affine)


def oblique(x_deg=20.0, y_deg=-35.0, z_deg=50.0) -> np.ndarray:
    """A 3x3 rotation about x, then y, then z."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians([x_deg, y_deg, z_deg])):
        one = np.eye(3)
        a, b = [n for n in range(3) if n != axis]
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = one @ turn
    return turn


def axis_orders(volume: Volume):
    """The same volume in its 48 axis orders and directions."""
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            voxels = volume.voxels.transpose(order)
            affine = volume.affine[:, [*order, 3]].copy()
            for axis, flip in enumerate(flips):
                if flip < 0:
                    affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
                    affine[:3, axis] *= -1
                    voxels = np.flip(voxels, axis)
            yield Volume(np.ascontiguousarray(voxels), affine)


def same_place(found: Volume, truth: Volume, tolerance_mm=0.01) -> bool:
    """True when every voxel of `found` is the voxel of `truth` at that place in the world, and there is one for each."""
    if sorted(found.shape) != sorted(truth.shape):
        return False
    index = np.stack(np.meshgrid(*(np.arange(n) for n in found.shape), indexing="ij"), -1).reshape(-1, 3)
    world = index @ found.affine[:3, :3].T + found.affine[:3, 3]
    back = np.linalg.inv(truth.affine)
    at = np.rint(world @ back[:3, :3].T + back[:3, 3]).astype(int)
    if (at < 0).any() or (at >= truth.shape).any():
        return False
    off = at @ truth.affine[:3, :3].T + truth.affine[:3, 3] - world
    return bool(np.abs(off).max() <= tolerance_mm and (truth.voxels[tuple(at.T)] == found.voxels.ravel()).all())


def slices_of_volume(volume: Volume, patient="P1", study=None, series=None, frame=None, **attributes) -> list[Dataset]:
    """One classic MR image per slice along K; `attributes` are set on each, and a UID may be given to share it."""
    study, series, frame = (one or generate_uid() for one in (study, series, frame))
    i, j = (volume.affine[:3, axis] / volume.spacing_mm[axis] * _LPS for axis in (0, 1))
    slices = []
    for k in range(volume.shape[2]):
        ds = _head(patient, study, series, frame, MRImageStorage)
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = [_text(c) for c in (volume.affine[:3, 3] + k * volume.affine[:3, 2]) * _LPS]
        ds.ImageOrientationPatient = [_text(c) for c in (*i, *j)]
        ds.PixelSpacing = [_text(volume.spacing_mm[1]), _text(volume.spacing_mm[0])]
        ds.SliceThickness = _text(volume.spacing_mm[2])
        _put_pixels(ds, volume.voxels[:, :, k].T)
        for name, value in attributes.items():
            setattr(ds, name, value)
        slices.append(ds)
    return slices


def enhanced(volumes: Sequence[Volume], patient="P1", **attributes) -> Dataset:
    """One Enhanced MR file with a stack per volume (all of one matrix)."""
    ds = _head(patient, generate_uid(), generate_uid(), generate_uid(), EnhancedMRImageStorage)
    ds.InstanceNumber = 1
    ds.NumberOfFrames = sum(volume.shape[2] for volume in volumes)
    _put_pixels(ds, np.concatenate([volume.voxels.transpose(2, 1, 0) for volume in volumes]))
    ds.DimensionIndexSequence = Items(
        [_item(DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111) for pointer in (0x00209056, 0x00209057)])
    ds.SharedFunctionalGroupsSequence = Items([_item()])
    ds.PerFrameFunctionalGroupsSequence = Items()
    for stack, volume in enumerate(volumes, start=1):
        i, j = (volume.affine[:3, axis] / volume.spacing_mm[axis] * _LPS for axis in (0, 1))
        for k in range(volume.shape[2]):
            position = (volume.affine[:3, 3] + k * volume.affine[:3, 2]) * _LPS
            ds.PerFrameFunctionalGroupsSequence.append(_item(
                FrameContentSequence=Items([_item(StackID=str(stack), InStackPositionNumber=k + 1, DimensionIndexValues=[stack, k + 1])]),
                PlanePositionSequence=Items([_item(ImagePositionPatient=[_text(c) for c in position])]),
                PlaneOrientationSequence=Items([_item(ImageOrientationPatient=[_text(c) for c in (*i, *j)])]),
                PixelMeasuresSequence=Items([_item(PixelSpacing=[_text(volume.spacing_mm[1]), _text(volume.spacing_mm[0])],
                                                   SliceThickness=_text(volume.spacing_mm[2]))]),
                MREchoSequence=Items([_item(EffectiveEchoTime=5.0)])))
    for name, value in attributes.items():
        setattr(ds, name, value)
    return ds


def save(datasets: Sequence[Dataset] | Dataset, folder: Path, name="{:04d}.dcm") -> list[Path]:
    """Write each data set as folder/name; the paths in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, ds in enumerate([datasets] if isinstance(datasets, Dataset) else datasets, start=1):
        paths.append(folder / name.format(number))
        deepcopy(ds).save_as(paths[-1], enforce_file_format=True)
    return paths


def _head(patient: str, study: str, series: str, frame: str, kind: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = kind
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = NAME, f"SECRET-{patient}", "19010203", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20200101", "101112", "SECRET-ACC", "1"
    ds.SeriesNumber, ds.SeriesDescription, ds.Modality = 4, "SECRET description", "MR"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.ScanningSequence, ds.SequenceVariant, ds.EchoTime, ds.RepetitionTime = "SE", "NONE", 5.0, 500.0
    ds.Manufacturer = "Toy"
    return ds


def _put_pixels(ds: Dataset, pixels: np.ndarray) -> None:
    """`pixels` (rows, columns) or (frames, rows, columns), uint16."""
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = np.ascontiguousarray(pixels, "<u2").tobytes()
    ds["PixelData"].VR = "OW"


def _item(**attributes) -> Dataset:
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item


def _text(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{float(value):.10f}"[:16]


def scanned(folder, *series, **options):
    """The scan of a folder into which the slices of each series are written."""
    for number, slices in enumerate(series):
        save(slices, folder / str(number))
    return scan_dicom([folder], **options)


def refusal(scan) -> str:
    """Why the only series of a scan was refused, as one text."""
    (aside,) = scan.left_aside
    assert scan.stacks == () and aside.damaged
    return f"{aside.what}: {aside.why}"
