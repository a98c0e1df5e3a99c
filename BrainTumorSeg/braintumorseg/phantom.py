"""The phantom: a made-up patient with a brain tumour, from code and a seed alone. The demo's input and the tests' fixture.

Nothing in it was copied or learned from an image. One seed gives one patient, voxel by voxel, on every machine with the same
numpy and scipy. `make_phantom` gives the whole examination; `make_registered` only what a network reads, in half the time.

World coordinates: mm, RAS, origin near the anterior commissure, the head where it lay during the T1ce.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .phantom_anatomy import BOX, Brain, Patient, draw_patient, grow_brain
from .phantom_contrast import paint, protocol, scan, thick
from .phantom_tumour import Tumour, grow_tumour
from .study import ROLES, Study
from .volume import Grid, Volume

__all__ = ["Phantom", "make_phantom", "make_registered", "write_dicom", "write_nifti"]

# 240 x 240 x 155 voxels of 1 mm, LPS, as BraTS lays them out, but in the world of the T1ce.
_REGISTERED = Grid((240, 240, 155), np.array([[-1.0, 0, 0, 119], [0, -1, 0, 101], [0, 0, 1, -72], [0, 0, 0, 1]]))


@dataclass(frozen=True, eq=False)
class Phantom:
    """One made-up patient: the study as scanned, the same registered and brain-only, and what is true about both.

    raw:             four sequences of the whole head, int16, each on its own grid: T1ce 3-D, 1 mm, sagittal; T1, T2, FLAIR in
                     axial oblique slices 4 to 6 mm apart. The patient moved in between and the headers do not know it.
    registered:      the four on one grid (240, 240, 155) of 1 mm, LPS, int16, 0 outside the brain, without motion.
    truth:           uint8 labels 1 NCR, 2 ED, 3 ET on the registered grid.
    truth_t1ce:      the same labels on the raw T1ce's grid.
    brain_mask_t1ce: uint8, 1 in the brain (sulci and ventricles included), on the raw T1ce's grid.
    motion:          role -> 4x4 rigid in world mm (RAS). Anatomy that lies at p in the T1ce lies at motion[role] @ p in the raw
                     sequence `role`; resampling that sequence at motion[role] @ p brings it onto the T1ce. Identity for t1ce.
    """

    seed: int
    raw: Study
    registered: Study
    truth: Volume
    truth_t1ce: Volume
    brain_mask_t1ce: Volume
    motion: Mapping[str, np.ndarray]
    thickness_mm: Mapping[str, float]  # of the raw slices; the rest of their spacing is a gap


def make_phantom(seed: int = 0, *, progress: Callable[[float], None] | None = None) -> Phantom:
    """The patient of `seed` (a whole number, 0 or more); `progress` is told the share done, 0..1. About 10 s on one core."""
    from .phantom_head import grow_head
    from .phantom_scanner import acquire, on_grid, patient_motion, plan

    tell = progress or (lambda done: None)
    patient, brain, tumour = _grow(seed)
    tell(0.4)
    registered, truth = _register(patient, brain, tumour)
    tell(0.55)
    head = grow_head(patient, brain)
    tell(0.7)
    motion, slices, raw = patient_motion(patient), plan(patient), {}
    for number, (role, acquisition) in enumerate(slices.items(), 1):
        raw[role] = acquire(acquisition, patient, brain, tumour, head, motion[role])
        tell(0.7 + 0.3 * number / len(slices))
    native = slices["t1ce"].grid
    mask = _brain_mask(brain)
    return Phantom(seed, Study(raw, _sources(seed)), registered, truth, on_grid(np.where(mask, tumour.labels, 0), native),
                   on_grid(mask, native), motion, {role: a.thickness_mm for role, a in slices.items()})


def make_registered(seed: int = 0) -> tuple[Study, Volume]:
    """(study, truth): exactly make_phantom(seed).registered and .truth, without the rest; about 5 s on one core."""
    return _register(*_grow(seed))


def write_nifti(phantom: Phantom | Study, folder: Path | str) -> dict[str, Path]:
    """Write role.nii.gz for each sequence into `folder` (made if absent): a Phantom's registered study and its truth as
    seg.nii.gz, or a Study as it is. The paths by role, 'seg' included."""
    from .io.nifti import write_nifti as write

    study, extra = (phantom, {}) if isinstance(phantom, Study) else (phantom.registered, {"seg": phantom.truth})
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, volume in {**study.volumes, **extra}.items():
        paths[name] = folder / f"{name}.nii.gz"
        write(volume, paths[name])
    return paths


def write_dicom(phantom: Phantom, folder: Path | str) -> dict[str, list[Path]]:
    """Write the raw study as four DICOM series into folder/role/; the files by role, in slice order (see phantom_dicom)."""
    from .phantom_dicom import write_series

    return write_series(phantom, Path(folder))


def _grow(seed: int) -> tuple[Patient, Brain, Tumour]:
    patient = draw_patient(seed)
    brain = grow_brain(patient)
    return patient, brain, grow_tumour(patient, brain)


def _register(patient: Patient, brain: Brain, tumour: Tumour) -> tuple[Study, Volume]:
    """The study as if it had been registered and stripped of the skull without error."""
    g, mask, volumes = patient.generator("registered"), _brain_mask(brain), {}
    for role in ROLES:
        brightness = protocol(patient.generator("protocol " + role), role)
        image = paint(brain.layers + tumour.layers, brightness, np.zeros(BOX.shape, np.float32))
        if role != "t1ce":
            image = thick(image, float(g.uniform(2, 4.5)))
        image = scan(image, g, (1, 1, 1), noise=float(g.uniform(1.2, 3.5)), bias=float(g.uniform(0.03, 0.09)))
        gain = float(g.uniform(2.5, 6))
        volumes[role] = _placed(np.where(mask, np.clip(np.rint(image * gain), 1, 4095), 0).astype(np.int16))
    return Study(volumes, _sources(patient.seed)), _placed(np.where(mask, tumour.labels, 0).astype(np.uint8))


def _brain_mask(brain: Brain) -> np.ndarray:
    """(I, J, K) bool on BOX: what skull stripping leaves, with the CSF of sulci, cisterns and ventricles."""
    return (brain.tissue_mm < 1.0) & (brain.cavity_mm < -0.7)


def _placed(box: np.ndarray) -> Volume:
    """Voxels on BOX put on the registered grid: flips and whole-voxel shifts only; what lies beyond is cut off."""
    corner = np.linalg.inv(_REGISTERED.affine) @ BOX.affine @ np.array([BOX.shape[0] - 1, BOX.shape[1] - 1, 0, 1])
    i, j, k = np.rint(corner[:3]).astype(int)
    full = np.zeros(_REGISTERED.shape, box.dtype)
    full[i:i + BOX.shape[0], j:j + BOX.shape[1], k:k + BOX.shape[2]] = box[::-1, ::-1]
    return Volume(full, _REGISTERED.affine)


def _sources(seed: int) -> dict[str, str]:
    return dict.fromkeys(ROLES, f"phantom, seed {seed}")
