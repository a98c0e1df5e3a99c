"""Tiny data sets in the layouts in which the real ones are handed out."""

import json
from pathlib import Path

import nibabel
import numpy as np

from braintumorseg.io.nifti import write_nifti
from braintumorseg.study import ROLES
from braintumorseg.volume import Volume
from toys import make_toy_study

__all__ = ["BRATS2021", "BRATS2023", "MSD_JSON", "NNUNET_JSON", "toy_case", "write_brats", "write_msd", "write_nnunet", "write_plain"]

BRATS2021 = {role: f"_{role}.nii.gz" for role in (*ROLES, "seg")}
BRATS2023 = {"t1": "-t1n.nii.gz", "t1ce": "-t1c.nii.gz", "t2": "-t2w.nii.gz", "flair": "-t2f.nii.gz", "seg": "-seg.nii.gz"}
MSD_JSON = {"name": "BRATS", "tensorImageSize": "4D", "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
            "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}}
NNUNET_JSON = {"channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"}, "file_ending": ".nii.gz",
               "labels": {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}, "regions_class_order": [1, 2, 3]}


def toy_case(seed: int = 0, shape=(40, 44, 36)) -> dict[str, Volume]:
    """Role and 'seg' (1 NCR, 2 ED, 3 ET: 1744, 3088 and 1000 voxels, from the middle outwards ET, NCR, ED) -> volume; other images for every seed."""
    rng = np.random.default_rng(seed)
    study = make_toy_study(shape)
    case = {role: volume.with_voxels(volume.voxels + np.where(volume.voxels > 0, rng.integers(0, 9, shape), 0).astype(np.int16))
            for role, volume in study.volumes.items()}
    labels = np.zeros(shape, np.uint8)
    for label, half in ((2, 9), (1, 7), (3, 5)):
        labels[tuple(slice(n // 2 - half, n // 2 + half) for n in shape)] = label
    return case | {"seg": study.reference.with_voxels(labels)}


def write_plain(folder: Path, case: dict[str, Volume], et: int = 3) -> Path:
    return _write(folder, {role: f"{role}.nii.gz" for role in case}, case, et)


def write_brats(folder: Path, case: dict[str, Volume], ends=BRATS2021, et: int = 4) -> Path:
    """folder/{NAME}{end}, where NAME is the folder's own."""
    return _write(folder, {role: f"{folder.name}{ends[role]}" for role in case}, case, et)


def write_msd(folder: Path, cases: dict[str, dict[str, Volume]], described=MSD_JSON) -> Path:
    """Task01_BrainTumour: 4-D images FLAIR, T1w, t1gd, T2w; labels 1 oedema, 2 core, 3 enhancing. With the stray files of the real archive."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for name, case in cases.items():
        voxels = np.stack([case[role].voxels for role in ("flair", "t1", "t1ce", "t2")], -1)
        nibabel.save(nibabel.Nifti1Image(voxels, case["t1"].affine), folder / "imagesTr" / f"{name}.nii.gz")
        write_nifti(_from_outside_in(case["seg"]), folder / "labelsTr" / f"{name}.nii.gz")
        (folder / "imagesTr" / f"._{name}.nii.gz").write_bytes(b"what macOS leaves in archives")
    pairs = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in cases]
    (folder / "dataset.json").write_text(json.dumps({**described, "training": pairs, "test": []}))
    return folder


def write_nnunet(folder: Path, cases: dict[str, dict[str, Volume]], described=NNUNET_JSON) -> Path:
    """As nnU-Net's own conversion of BraTS 2021 writes it: channels T1, T1ce, T2, FLAIR; labels 1 oedema, 2 core, 3 enhancing."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for name, case in cases.items():
        for channel, role in enumerate(ROLES):
            if role in case:
                write_nifti(case[role], folder / "imagesTr" / f"{name}_{channel:04}.nii.gz")
        write_nifti(_from_outside_in(case["seg"]), folder / "labelsTr" / f"{name}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


def _write(folder: Path, names: dict[str, str], case: dict[str, Volume], et: int) -> Path:
    folder.mkdir(parents=True)
    for role, volume in case.items():
        if role == "seg":
            volume = volume.with_voxels(np.where(volume.voxels == 3, et, volume.voxels).astype(np.uint8))
        write_nifti(volume, folder / names[role])
    return folder


def _from_outside_in(seg: Volume) -> Volume:
    return seg.with_voxels(np.array([0, 2, 1, 3], np.uint8)[seg.voxels])
