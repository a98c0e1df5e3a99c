"""The folder that `segment` leaves: labels, picture, report, and a DICOM-SEG when the reference came as DICOM."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .io.atomic import output_folder
from .io.nifti import write_nifti
from .measure import measure
from .model_card import ModelCard
from .overlay import draw_overlay
from .progress import Progress
from .quality import check
from .report import build_report
from .report_html import write_report_html
from .segmentation import Segmentation
from .steps_picture import draw_steps
from .study import Study

__all__ = ["write_results"]


def write_results(study: Study, segmentation: Segmentation, card: ModelCard, out: Path, *, force: bool = False,
                  dicom_source: Sequence = (), progress: Progress | None = None) -> dict:
    """Write segmentation.nii.gz, overlay.png, report.json, report.html (steps.png, segmentation.dcm) into `out`; returns the report.

    All or nothing: the folder appears when everything in it is complete. `dicom_source` are the slices (pydicom datasets) of the
    reference series. Raises OutputError, or Cancelled.
    """
    progress = progress or Progress()
    with output_folder(out, force) as folder:
        with progress.step("measure"):
            measurements, flags = measure(segmentation), check(study, segmentation)
        with progress.step("draw"):
            draw_overlay(study, segmentation, folder / "overlay.png")
            steps = folder / "steps.png" if draw_steps(study, segmentation, folder / "steps.png") else None
        with progress.step("write"):
            write_nifti(segmentation.labels, folder / "segmentation.nii.gz")
            if dicom_source:
                _write_seg(segmentation, dicom_source, folder / "segmentation.dcm")
        report = build_report(study, segmentation, measurements, flags)
        (folder / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        write_report_html(report, folder / "overlay.png", folder / "report.html", card, steps)
    return report


def _write_seg(segmentation: Segmentation, source: Sequence, path: Path) -> None:
    from .io.dicom_seg import write_dicom_seg

    made_by = segmentation.provenance
    write_dicom_seg(segmentation.labels, source, segmentation.table, path,
                    algorithm=f"BrainTumorSeg {made_by.model}", version=made_by.version, sha256=made_by.sha256)
