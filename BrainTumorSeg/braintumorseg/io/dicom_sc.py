"""The outlines burnt into pictures, as a secondary capture series (PS3.3 A.8.1) for a PACS whose viewers show no SEG.

Single-frame RGB objects, one for each slice: what every viewer shows. They carry place and frame of reference beside what the IOD asks for
(a Standard Extended SOP class, PS3.2 7.3), so that viewers link their scrolling with the other series of the study.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..masks import bounding_box
from ..measure import LABEL_VALUES, estimated
from ..overlay_page import OUTLINES, draw_outlines, text_font
from ..volume import Volume
from .dicom_codes import SegmentLabel
from .dicom_grid import LPS_FROM_RAS, onto_grid
from .dicom_quiet import quiet
from .dicom_source import MANUFACTURER, SourceSeries, put_character_set, series_number

if TYPE_CHECKING:
    from pydicom import FileDataset

    from ..quality import Flag

__all__ = ["SC_NAME", "ScSummary", "write_dicom_sc"]

SC_NAME = "overlay_{:04d}.dcm"
MARGIN_MM = 10.0       # of slices above and below the tumour, to see where it ends
SMALLEST_SIDE = 512    # pixels: below that neither the text nor thin outlines can be read
LARGEST_SCALE = 4
WINDOW_PERCENTILES = (1.0, 99.5)
RESEARCH_ONLY = "RESEARCH USE ONLY - NOT FOR DIAGNOSIS"
_TEXT, _MARK, _WARNING = (236, 236, 240), (240, 200, 90), (255, 170, 40)
_WARNING_LINES = 2
_COPIED = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID",
           "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "FrameOfReferenceUID", "PositionReferenceIndicator")


@dataclass(frozen=True)
class ScSummary:
    """The series written: its files in slice order; none when nothing was found."""

    paths: tuple[Path, ...]
    series_uid: str = ""


def write_dicom_sc(labels: Volume, image: Volume, series: SourceSeries, table: Sequence[SegmentLabel], folder: Path | str, *,
                   algorithm: str, version: str, missing: Collection[str] = (), flags: Sequence[Flag] = ()) -> ScSummary:
    """Write overlay_0001.dcm ... into an existing folder: the slices with tumour and 10 mm on either side; nothing when there is none.

    Args:
        labels: (I, J, K) uint8, on the grid of `image`, axes in any order and direction.
        image: what is shown below the outlines: the source series as it was read.
        series: whose patient, study and frame of reference the pictures belong to.
        table: names of the labels; their colours are those of all our pictures.
        folder: for the files.
        algorithm, version: who found it; '' when a person drew it.
        missing: the sequences that the network had to do without; the legend says what is guessed without T1ce.
        flags: of the result; every picture tells how many warnings there are among them, and the first.
    """
    from pydicom.uid import generate_uid

    folder = Path(folder)
    if not series.tilted:
        image = onto_grid(image, series.grid, "The image")
    labels = onto_grid(labels, image.grid, "The result")
    box = bounding_box(labels.voxels != 0)
    if box is None:
        return ScSummary(())
    around = int(np.ceil(MARGIN_MM / image.spacing_mm[2]))
    shown = range(max(0, box[2].start - around), min(image.shape[2], box[2].stop + around))
    window = np.percentile(image.voxels[::2, ::2, shown.start:shown.stop], WINDOW_PERCENTILES)
    made_by = f"{algorithm} {version}".strip() or "Drawn by hand"
    guessed = {LABEL_VALUES[name] for name in estimated(missing) if name in LABEL_VALUES}
    legend = [(label.name + " (estimated without T1ce)" * (label.value in guessed), OUTLINES[label.value]) for label in table]
    warnings = [flag.text for flag in flags if flag.severity == "warning"]
    size = _size(image)
    paths = []
    with quiet():
        common = _common(series, made_by, generate_uid(prefix=None))
        for number, k in enumerate(shown, start=1):
            picture = _picture(image.voxels[:, :, k].T, labels.voxels[:, :, k].T, window, size, legend, made_by, warnings)   # (rows, columns, RGB)
            paths.append(folder / SC_NAME.format(number))
            _put_slice(common, picture, image, series, k, number)
            common.save_as(paths[-1], enforce_file_format=True)
    return ScSummary(tuple(paths), str(common.SeriesInstanceUID))


def _size(image: Volume) -> tuple[int, int]:
    """(columns, rows) of the pictures: square pixels, and large enough for the text."""
    across, down = image.spacing_mm[:2]
    columns, rows = image.shape[0] * across, image.shape[1] * down                                  # mm
    finest = min(across, down)
    scale = min(LARGEST_SCALE, max(1.0, SMALLEST_SIDE * finest / min(columns, rows)))
    return round(columns * scale / finest), round(rows * scale / finest)


def _picture(image: np.ndarray, labels: np.ndarray, window: np.ndarray, size: tuple[int, int], legend: Sequence[tuple[str, tuple[int, int, int]]],
             made_by: str, warnings: Sequence[str]) -> np.ndarray:
    """(rows, columns, 3) uint8: a slice (rows, columns) with its outlines, their legend, and what it is and is not for."""
    from PIL import Image, ImageDraw

    low, high = window
    grey = (255 * np.clip((image.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)
    large = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC))
    outlines = np.asarray(Image.fromarray(np.ascontiguousarray(labels)).resize(size, Image.Resampling.NEAREST))
    page = Image.fromarray(draw_outlines(np.repeat(large[:, :, None], 3, axis=2), outlines, OUTLINES))
    draw, line = ImageDraw.Draw(page), max(14, min(size) // 32)

    def write(text: str, x: int, y: int, colour: tuple[int, int, int], anchor: str) -> None:
        draw.text((x, y), text, fill=colour, font=text_font(line), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))

    step = round(1.25 * line)
    write(RESEARCH_ONLY, 8, size[1] - 8, _MARK, "lb")
    for number, text in enumerate(reversed(_warned(warnings, line, size[0] - 16)), start=1):
        write(text, 8, size[1] - 8 - number * step, _WARNING, "lb")
    write(made_by, 8, 8, _TEXT, "la")
    for number, (text, rgb) in enumerate(legend, start=1):
        write(text, 8, 8 + number * step, rgb, "la")
    return np.asarray(page)


def _warned(warnings: Sequence[str], letter: int, width: int) -> list[str]:
    """How many warnings there are, and the first as far as it goes, in at most _WARNING_LINES lines of `width` pixels; [] where there are none."""
    if not warnings:
        return []
    counted = f"{len(warnings)} warnings; first: " if len(warnings) > 1 else "Warning: "
    lines = [""]
    for word in f"{counted}{warnings[0]}".split():
        longer = f"{lines[-1]} {word}".lstrip()
        last = len(lines) == _WARNING_LINES
        if text_font(letter).getlength(longer + " ..." * last) <= width or not lines[-1]:
            lines[-1] = longer
        elif last:
            lines[-1] += " ..."
            break
        else:
            lines.append(word)
    return lines


def _common(series: SourceSeries, made_by: str, series_uid: str) -> FileDataset:
    """All that the pictures of the series share."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    now = datetime.now()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, SecondaryCaptureImageStorage
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    put_character_set(ds, series)
    for name in _COPIED:
        if name in series.first:
            ds[name] = series.first[name]
    ds.SOPClassUID, ds.SeriesInstanceUID, ds.Modality = SecondaryCaptureImageStorage, series_uid, "OT"
    ds.SeriesNumber, ds.SeriesDescription = series_number(series, "SC"), "Brain tumour overlay (research use only)"
    ds.ConversionType, ds.Manufacturer, ds.ManufacturerModelName = "WSD", MANUFACTURER, made_by[:64]
    ds.SecondaryCaptureDeviceManufacturer, ds.SecondaryCaptureDeviceManufacturerModelName = MANUFACTURER, made_by[:64]
    ds.DateOfSecondaryCapture = ds.SeriesDate = ds.ContentDate = now.strftime("%Y%m%d")
    ds.TimeOfSecondaryCapture = ds.SeriesTime = ds.ContentTime = now.strftime("%H%M%S")
    ds.ImageType = ["DERIVED", "SECONDARY", "OVERLAY"]
    ds.DerivationDescription = "Outlines of tumour parts drawn on the source image; research use only"
    ds.BurnedInAnnotation = "NO"  # PS3.3 C.7.6.1: of the patient's identity; the text here is none
    ds.BodyPartExamined = series.first.get("BodyPartExamined") or "BRAIN"
    ds.LossyImageCompression = series.first.get("LossyImageCompression") or "00"
    ds.PositionReferenceIndicator = ds.get("PositionReferenceIndicator", None)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration, ds.PixelRepresentation = 3, "RGB", 0, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    return ds


def _put_slice(ds: FileDataset, picture: np.ndarray, image: Volume, series: SourceSeries, k: int, number: int) -> None:
    """Make `ds` the picture of slice `k`. Its first pixel is smaller than the source's, so its centre lies nearer to their common corner."""
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    ds.InstanceNumber = number
    ds.Rows, ds.Columns = picture.shape[:2]
    ds.PixelData = picture.tobytes()
    shrunk = np.array([image.shape[0] / ds.Columns, image.shape[1] / ds.Rows])                      # old pixels for a new one
    affine = LPS_FROM_RAS @ image.affine
    first = affine @ [*(shrunk / 2 - 0.5), k, 1]
    across, down, thick = image.spacing_mm
    ds.PixelSpacing = [_number(down * shrunk[1]), _number(across * shrunk[0])]
    ds.SliceThickness = ds.SpacingBetweenSlices = _number(thick)
    ds.ImagePositionPatient = [_number(mm) for mm in first[:3]]
    axes = affine[:3, 0] / across, affine[:3, 1] / down
    ds.ImageOrientationPatient = [_number(c) for axis in axes for c in axis]
    ds.PatientOrientation = [_letters(axis) for axis in axes]
    ds.pop("SourceImageSequence", None)
    place = series.slice_of(k)
    if place is not None:
        header, frame = place
        item, purpose = Dataset(), Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        if frame is not None:
            item.ReferencedFrameNumber = frame
        purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
        purpose.CodeMeaning = "Source image for image processing operation"
        item.PurposeOfReferenceCodeSequence = [purpose]
        ds.SourceImageSequence = [item]


def _letters(direction: np.ndarray) -> str:
    """'L' or 'PH', as PS3.3 C.7.6.1.1.1 writes a direction (LPS): its larger parts, the largest first."""
    parts = [(abs(part), letters[int(part < 0)]) for part, letters in zip(direction, ("LR", "PA", "HF"), strict=True) if abs(part) > 0.2]
    return "".join(letter for _, letter in sorted(parts, reverse=True))


def _number(value: float) -> str:
    """A decimal string of at most the 16 characters that DICOM allows."""
    return f"{float(value):.9f}".rstrip("0").rstrip(".")[:16]
