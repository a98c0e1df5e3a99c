"""The folder that `segment` leaves: labels, picture, report, and a DICOM-SEG when the reference came as DICOM."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError, OutputError
from .io.atomic import output_folder
from .io.nifti import write_nifti
from .io.replacing import put
from .measure import Measurements, measure
from .model_card import ModelCard
from .overlay import draw_overlay
from .parallel import at_once
from .progress import Progress
from .quality import Flag, check
from .report import build_report
from .report_html import write_report_html
from .segmentation import Segmentation
from .sight import grey_windows
from .steps_picture import draw_steps
from .study import Study

if TYPE_CHECKING:
    from pydicom import Dataset

    from .io.dicom_series import Stack
    from .io.dicom_source import SourceSeries

__all__ = ["write_results"]


def write_results(study: Study, segmentation: Segmentation, card: ModelCard, out: Path, *, force: bool = False,
                  dicom_source: Stack | SourceSeries | Sequence[Dataset] = (), sr: bool = False, sc: bool = False,
                  identity: Mapping[str, str] | None = None, thumbnail: str = "", progress: Progress | None = None) -> dict:
    """Write segmentation.nii.gz, overlay.png, report.json, report.html (steps.png, DICOM results) into `out`; returns the report.

    All or nothing: the folder appears when everything in it is complete. `dicom_source` is the reference's series or the headers of its
    slices: with it segmentation.dcm is written, with `sr` measurements.dcm and with `sc` overlay/*.dcm too. A series to which DICOM
    results cannot refer costs those, and a flag says why; the rest is written. `identity` is whose result it is, where the report shall say
    so; `thumbnail` names a small JPEG of the outlines, which pages of many studies want. Raises OutputError, or Cancelled.
    """
    progress = progress or Progress()
    with output_folder(out, force) as folder:
        with progress.step("measure"):
            measurements = measure(segmentation)
            flags = check(study, segmentation, card, measurements)
        with progress.step("draw"):
            windows, small = grey_windows(study, segmentation), folder / thumbnail if thumbnail else None
            draws = [lambda: draw_overlay(study, segmentation, folder / "overlay.png", windows, measurements, thumbnail=small),
                     lambda: draw_steps(study, segmentation, folder / "steps.png", windows)]
            _, with_steps = at_once(lambda draw: draw(), draws)
            steps = folder / "steps.png" if with_steps else None
        with progress.step("write"):
            write_nifti(segmentation.labels, folder / "segmentation.nii.gz")
            if dicom_source:
                flags = (*flags, *_write_dicom(study, segmentation, measurements, flags, dicom_source, folder, sr, sc))
        with progress.timed("measure"):   # the diameters, among others
            report = build_report(study, segmentation, measurements, flags, identity)
        report["seconds"] = {step: round(took, 3) for step, took in segmentation.provenance.seconds.items()}
        (folder / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="backslashreplace")
        write_report_html(report, folder / "overlay.png", folder / "report.html", card, steps)
    return report


def _write_dicom(study: Study, segmentation: Segmentation, measurements: Measurements, flags: Sequence[Flag],
                 source: Stack | SourceSeries | Sequence[Dataset], folder: Path, sr: bool, sc: bool) -> tuple[Flag, ...]:
    """Write the DICOM results; the flag that tells why not when the series cannot carry them: minutes of work are not thrown away for it."""
    from .dicom_results import write_dicom_results

    partial = folder / ".dicom"
    partial.mkdir()
    try:
        write_dicom_results(segmentation, measurements, source, partial, sr=sr, sc=sc, reference_volume=study.reference, flags=flags)
    except (InputError, OutputError) as error:
        shutil.rmtree(partial)
        return (Flag("no_dicom_result", "warning", f"No DICOM result was written. {error}"),)
    for path in partial.iterdir():
        put(path, folder / path.name)
    partial.rmdir()
    return ()
