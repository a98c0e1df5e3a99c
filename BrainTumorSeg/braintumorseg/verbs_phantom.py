"""The verb `phantom`: a made-up patient as files, to try things on; nothing is segmented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from .io.atomic import MARKER, check_output, output_folder
from .terminal import Talk

if TYPE_CHECKING:
    from .phantom import Phantom

__all__ = ["FORMAT", "phantom", "write_patient"]

FORMAT = "braintumorseg phantom 1"


def phantom(args, talk: Talk) -> None:
    check_output(args.out, args.force)
    from .phantom import make_phantom

    with output_folder(args.out, args.force) as folder:
        found = {"format": FORMAT, "seed": args.seed, **write_patient(make_phantom(args.seed), folder)}
        (folder / MARKER).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")  # marks the folder as ours for --force
    talk.text(f"Made up patient {args.seed}: four DICOM series and brain-only NIfTI files in {args.out}")
    talk.result(found)


def write_patient(made: Phantom, folder: Path) -> dict:
    """Write the raw study of whole heads as DICOM, and a brain-only one as NIfTI with the truth; what is where, below `folder`.

    Brain only: the T1ce on its own oblique grid, that of its DICOM series, and the other three on the registered one.
    """
    import numpy as np

    from .io.nifti import write_nifti
    from .phantom import write_dicom

    series = write_dicom(made, folder / "dicom")
    t1ce = made.raw.volumes["t1ce"]
    brain = np.where(made.brain_mask_t1ce.voxels > 0, np.maximum(t1ce.voxels, 1), 0).astype(t1ce.voxels.dtype)
    (folder / "brain_only").mkdir()
    images = {role: f"brain_only/phantom_{role}.nii.gz" for role in series}
    for role, volume in {**made.registered.volumes, "t1ce": t1ce.with_voxels(brain)}.items():
        write_nifti(volume, folder / images[role])
    write_nifti(made.truth_t1ce, folder / "brain_only" / "truth.nii.gz")
    return {"dicom": {role: files[0].parent.relative_to(folder).as_posix() for role, files in series.items()}, "brain_only": images,
            "truth": "brain_only/truth.nii.gz"}
