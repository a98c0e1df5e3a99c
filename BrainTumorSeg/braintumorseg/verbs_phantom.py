"""The verb `phantom`: a made-up patient as files, to try things on; nothing is segmented."""

from __future__ import annotations

import json

from .io.atomic import MARKER, check_output, output_folder
from .terminal import Talk

__all__ = ["FORMAT", "phantom"]

FORMAT = "braintumorseg phantom 1"


def phantom(args, talk: Talk) -> None:
    check_output(args.out, args.force)
    from .demo import write_patient
    from .phantom import make_phantom

    with output_folder(args.out, args.force) as folder:
        series = write_patient(make_phantom(args.seed), folder)
        found = {
            "format": FORMAT,
            "seed": args.seed,
            "dicom": {role: files[0].parent.relative_to(folder).as_posix() for role, files in series.items()},
            "brain_only": {role: f"brain_only/phantom_{role}.nii.gz" for role in series},
            "truth": "brain_only/truth.nii.gz",
        }
        (folder / MARKER).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")  # marks the folder as ours for --force
    talk.text(f"Made up patient {args.seed}: four DICOM series and brain-only NIfTI files in {args.out}")
    talk.result(found)
