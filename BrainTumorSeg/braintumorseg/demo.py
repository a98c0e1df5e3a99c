"""The demo: a made-up patient, segmented from start to end and held against its truth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .io.atomic import output_folder
from .io.nifti import write_nifti
from .labels import REGIONS, region_mask
from .metrics import dice
from .model_zoo import load_model
from .phantom import Phantom, make_phantom, write_dicom
from .pipeline import segment
from .progress import Progress
from .read import read_study
from .results import write_results
from .study import Study
from .verbs import summary

__all__ = ["demo_study", "run_demo", "write_patient"]


def run_demo(out: Path, *, seed: int = 0, force: bool = False) -> Iterator[str]:
    """Make patient `seed` (four DICOM series and NIfTI), segment it, write all results into `out`; yields lines for the terminal."""
    import pydicom

    began = time.monotonic()
    model = load_model()
    with output_folder(out, force) as folder:
        phantom = make_phantom(seed)
        yield f"Made up patient {seed}: a head with a tumour, as four DICOM series ({time.monotonic() - began:.0f} s)"
        series = write_patient(phantom, folder)
        progress = Progress()
        with progress.step("read"):
            study = read_study([folder / "brain_only"])
        segmentation = segment(study, model, progress=progress)
        report = write_results(study, segmentation, model.card, folder / "result",
                               dicom_source=[pydicom.dcmread(path) for path in series["t1ce"]], progress=progress)
        yield from summary(report)
        found, truth = segmentation.labels.voxels, phantom.truth_t1ce.voxels
        yield "Dice against the phantom's truth  " + "   ".join(
            f"{region} {dice(region_mask(truth, region), region_mask(found, region)):.3f}" for region in REGIONS)
        (folder / "report.json").write_bytes((folder / "result" / "report.json").read_bytes())  # marks the folder as ours for --force
    yield f"Look at {out / 'result' / 'report.html'} ({time.monotonic() - began:.0f} s in all)"


def write_patient(phantom: Phantom, folder: Path) -> dict[str, list[Path]]:
    """Write folder/dicom/ROLE/*.dcm (whole heads) and folder/brain_only/phantom_ROLE.nii.gz with truth.nii.gz; the DICOM files by role."""
    series = write_dicom(phantom, folder / "dicom")
    input_folder = folder / "brain_only"
    input_folder.mkdir()
    for role, volume in demo_study(phantom).volumes.items():
        write_nifti(volume, input_folder / f"phantom_{role}.nii.gz")
    write_nifti(phantom.truth_t1ce, input_folder / "truth.nii.gz")
    return series


def demo_study(phantom: Phantom) -> Study:
    """What is segmented: the T1ce on its own oblique grid, that of its DICOM series, and the other three on the registered one; brain only."""
    brain = phantom.brain_mask_t1ce.voxels > 0
    t1ce = phantom.raw.volumes["t1ce"]
    return Study({**phantom.registered.volumes, "t1ce": t1ce.with_voxels(np.where(brain, np.maximum(t1ce.voxels, 1), 0).astype(t1ce.voxels.dtype))})
