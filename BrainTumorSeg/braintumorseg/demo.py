"""The demo: a made-up patient's raw DICOM study, segmented from start to end and held against its truth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from .io.atomic import output_folder
from .io.dicom_grid import onto_grid
from .io.nifti import write_nifti
from .labels import REGIONS, region_mask
from .metrics import dice
from .model_zoo import load_model
from .phantom import make_phantom, write_dicom
from .pipeline import segment
from .progress import Progress
from .read import read_study
from .results import write_results
from .verbs import summary

__all__ = ["run_demo"]


def run_demo(out: Path, *, seed: int = 0, force: bool = False) -> Iterator[str]:
    """Make patient `seed` as a scanner would deliver it (four DICOM series of a whole head, each on its own grid, with motion between
    them), segment it, write all results into `out`; yields lines for the terminal."""
    began = time.monotonic()
    model = load_model()
    with output_folder(out, force) as folder:
        phantom = make_phantom(seed)
        write_dicom(phantom, folder / "dicom")
        write_nifti(phantom.truth_t1ce, folder / "truth.nii.gz")
        yield f"Made up patient {seed}: a head with a tumour, as four DICOM series ({time.monotonic() - began:.0f} s)"
        progress = Progress()
        with progress.step("read"):
            study = read_study([folder / "dicom"])
        segmentation = segment(study, model, progress=progress)
        report = write_results(study, segmentation, model.card, folder / "result", dicom_source=study.stacks["t1ce"],
                               sr=True, progress=progress)
        yield from summary(report)
        found = segmentation.labels
        truth = onto_grid(phantom.truth_t1ce, found.grid, "The truth").voxels
        yield "Dice against the phantom's truth  " + "   ".join(
            f"{region} {dice(region_mask(truth, region), region_mask(found.voxels, region)):.3f}" for region in REGIONS)
        (folder / "report.json").write_bytes((folder / "result" / "report.json").read_bytes())  # marks the folder as ours for --force
    yield f"Look at {out / 'result' / 'report.html'} ({time.monotonic() - began:.0f} s in all)"
