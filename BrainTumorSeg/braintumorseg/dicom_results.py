"""A segmentation as DICOM objects: SEG, and where asked for a structured report and the overlay as secondary capture."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BrainTumorSegError, OutputError
from .io.dicom_sc import ScSummary, write_dicom_sc
from .io.dicom_seg import SegSummary, write_dicom_seg
from .io.dicom_series import Stack
from .io.dicom_source import SourceSeries, source_of_stack, source_series
from .io.dicom_sr import SrSummary, write_dicom_sr
from .measure import Measurements
from .segmentation import Segmentation
from .volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

    from .quality import Flag

__all__ = ["SC_FOLDER", "SEG_FILE", "SR_FILE", "DicomResults", "write_dicom_objects", "write_dicom_results"]

SEG_FILE, SR_FILE, SC_FOLDER = "segmentation.dcm", "measurements.dcm", "overlay"


@dataclass(frozen=True)
class DicomResults:
    """What was written; `sr` and `sc` are None when they were not asked for. With nothing found there is no SEG and no picture."""

    seg: SegSummary
    sr: SrSummary | None = None
    sc: ScSummary | None = None

    def to_json(self, seg: Path | str, sr: Path | str | None = None, sc: Path | str | None = None) -> dict:
        """Plain types for a result line; the paths are those at which the objects lie in the end."""
        told: dict = {"seg": {
            "path": str(seg) if self.seg.path else None, "series_uid": self.seg.series_uid, "sop_uid": self.seg.sop_uid,
            "segments": [{"number": s.number, "value": s.value, "name": s.name, "voxels": s.voxels, "tracking_uid": s.tracking_uid}
                         for s in self.seg.segments],
            "left_out": list(self.seg.left_out)}, "sr": None, "sc": None}
        if self.sr is not None:
            axes = self.sr.diameters
            told["sr"] = {"path": str(sr), "series_uid": self.sr.series_uid, "sop_uid": self.sr.sop_uid,
                          "long_axis_mm": round(axes.long.mm, 1) if axes else None, "short_axis_mm": round(axes.short.mm, 1) if axes else None}
        if self.sc is not None:
            told["sc"] = {"path": str(sc) if self.sc.paths else None, "series_uid": self.sc.series_uid, "files": len(self.sc.paths)}
        return told


def write_dicom_results(segmentation: Segmentation, measurements: Measurements, source: Stack | SourceSeries | Sequence[Dataset], folder: Path, *,
                        sr: bool = False, sc: bool = False, reference_volume: Volume | None = None, flags: Sequence[Flag] = ()) -> DicomResults:
    """Write segmentation.dcm, with `sr` measurements.dcm and with `sc` overlay/overlay_0001.dcm ... into an existing folder.

    Args:
        segmentation: on the grid of the source series.
        measurements: of it.
        source: the series, as it was scanned or as `source_series` has it, or the headers of its slices.
        folder: is not left half filled only if the caller takes care of it (`output_folder`).
        reference_volume: the source series as it was read; needed for `sc`.
        flags: of the result; each object tells its reader that there are warnings among them.

    Raises GridMismatch, BadImage, InputError or OutputError, as the writers do; OutputError too for headers that nobody foresaw.
    """
    return write_dicom_objects(segmentation, measurements, source, folder / SEG_FILE, sr=folder / SR_FILE if sr else None,
                               sc=folder / SC_FOLDER if sc else None, reference_volume=reference_volume, flags=flags)


def write_dicom_objects(segmentation: Segmentation, measurements: Measurements, source: Stack | SourceSeries | Sequence[Dataset], seg: Path, *,
                        sr: Path | None = None, sc: Path | None = None, reference_volume: Volume | None = None, flags: Sequence[Flag] = (),
                        edited: bool = False, labelmap: bool = False) -> DicomResults:
    """As `write_dicom_results`, each to a path of its own: the SEG and the report a file, the pictures a folder that is made. `edited` and `labelmap`
    as for `write_dicom_seg`."""
    if sc is not None and reference_volume is None:
        raise ValueError("pictures are drawn on the source series: give reference_volume")
    made = segmentation.provenance
    algorithm = f"BrainTumorSeg {made.model}" if made.model else ""
    report = pictures = None
    with _foreseen():
        series = source_of_stack(source) if isinstance(source, Stack) else source
        series = series if isinstance(series, SourceSeries) else source_series(series)
        written = write_dicom_seg(segmentation.labels, series, segmentation.table, seg, algorithm=algorithm, version=made.version,
                                  sha256=made.sha256, edited=edited, labelmap=labelmap, missing=made.missing, flags=flags)
        if sr is not None:
            report = write_dicom_sr(segmentation.labels, measurements, series, written, segmentation.table, sr, algorithm=algorithm,
                                    version=made.version, sha256=made.sha256, missing=made.missing, flags=flags)
        if sc is not None:
            sc.mkdir()
            pictures = write_dicom_sc(segmentation.labels, reference_volume, series, segmentation.table, sc, algorithm=algorithm,
                                      version=made.version, missing=made.missing, flags=flags)
            if not pictures.paths:
                sc.rmdir()
    return DicomResults(written, report, pictures)


@contextmanager
def _foreseen() -> Iterator[None]:
    """What the DICOM libraries raise for headers that nobody foresaw, as an OutputError: their own words may quote the patient's name."""
    try:
        yield
    except (BrainTumorSegError, OSError):  # the system's refusals are about the disk
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise OutputError(f"Something in the headers of the DICOM series was not foreseen ({type(error).__name__} at {Path(place.filename).name}:"
                          f"{place.lineno}), so no DICOM result can refer to it.",
                          "Export the series from the PACS again, or report this with the scanner's make.") from None
