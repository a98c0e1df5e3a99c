"""One case as every tool finds the same images in it, made from a study; and a tiny study for trying a benchmark out."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_shared(case: Path, folder: Path) -> Path:
    """`folder` with case_0000.nii.gz ... for nnU-Net and named/case_ROLE.nii.gz for ours: axes growing right, anterior, superior, and clipped
    within the brain to the card's percentiles, which nnU-Net does not do."""
    from braintumorseg.background import brain_only_mask
    from braintumorseg.io.nifti import write_nifti
    from braintumorseg.model_zoo import load_model
    from braintumorseg.read import read_study

    card, study = load_model().card, read_study([case])
    (folder / "named").mkdir(parents=True)
    for number, role in enumerate(card.roles):
        volume = study.volumes[role].canonical()
        inside = brain_only_mask(volume)
        values = volume.voxels[inside].astype(np.float32)
        low, high = np.percentile(values, card.normalisation.clip_percentiles)
        voxels = np.zeros(volume.shape, np.float32)
        voxels[inside] = values.clip(low, high)
        write_nifti(volume.with_voxels(voxels), folder / "named" / f"case_{role}.nii.gz")
        write_nifti(volume.with_voxels(voxels), folder / f"case_{number:04d}.nii.gz")
    return folder


def write_tiny(folder: Path, side: int = 56) -> Path:
    """Four sequences (side, side, side) of 1 mm: a ball of brain with a bright ball in it. The network takes it for whatever it likes."""
    from braintumorseg.io.nifti import write_nifti
    from braintumorseg.volume import Volume

    folder.mkdir(parents=True)
    index = np.stack(np.meshgrid(*[np.arange(side) - side / 2 + 0.5] * 3, indexing="ij"), -1)
    brain = (index**2).sum(-1) < (side / 2 - 3) ** 2
    lesion = ((index - side / 8) ** 2).sum(-1) < (side / 6) ** 2
    rng = np.random.default_rng(0)
    for role, bright in (("t1", 0.8), ("t1ce", 1.5), ("t2", 1.6), ("flair", 1.8)):
        image = 400 * rng.normal(1, 0.1, brain.shape).clip(0.5) * np.where(lesion, bright, 1)
        write_nifti(Volume(np.where(brain, image, 0).astype(np.uint16), np.eye(4)), folder / f"case_{role}.nii.gz")
    return folder
