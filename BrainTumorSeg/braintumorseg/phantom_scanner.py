"""The phantom's examination: which slices each sequence takes, how the patient moved between them, and what the scanner sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .phantom_anatomy import BOX, Brain, Patient
from .phantom_contrast import BRIGHTNESS, paint, protocol, scan
from .phantom_head import HEAD, within_head
from .phantom_tumour import Tumour
from .study import ROLES
from .volume import Grid, Volume

__all__ = ["Acquisition", "acquire", "on_grid", "patient_motion", "plan"]

# Axes of an image in world RAS, as columns: along a row, along a column, from slice to slice (right-handed, as DICOM readers
# order them).
_AXIAL = np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])
_SAGITTAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


@dataclass(frozen=True, eq=False)
class Acquisition:
    """One sequence's slices: their grid, and how thick each is (the rest of the spacing is a gap)."""

    role: str
    grid: Grid
    thickness_mm: float
    volumetric: bool  # 3-D, without a gap


def plan(patient: Patient) -> dict[str, Acquisition]:
    """Role -> slices: a sagittal 1 mm 3-D T1ce, and T1, T2 and FLAIR in thick oblique axial slices, each tilted its own way."""
    slices = {"t1ce": Acquisition("t1ce", _grid(patient, "t1ce", _SAGITTAL, (240, 240, 172), (1.0, 1.0, 1.0), 3.0), 1.0, True)}
    for role in ("t1", "t2", "flair"):
        g = patient.generator("plan " + role)
        thickness, gap = float(g.choice([4.0, 4.5, 5.0])), float(g.choice([0.0, 0.5, 1.0]))
        matrix = int(g.choice([272, 288, 304]))
        number = int(np.ceil(164 / (thickness + gap)))
        spacing = (232 / matrix, 232 / matrix, thickness + gap)
        slices[role] = Acquisition(role, _grid(patient, role, _AXIAL, (matrix, matrix, number), spacing, 12.0), thickness, False)
    return {role: slices[role] for role in ROLES}


def patient_motion(patient: Patient) -> dict[str, np.ndarray]:
    """Role -> 4x4 rigid (world mm, RAS): where a point that lies at p in the T1ce lies in that sequence is motion @ p."""
    motion = {}
    for role in ROLES:
        g = patient.generator("motion " + role)
        moved = np.eye(4)
        if role != "t1ce":
            moved[:3, :3] = _turn(g.normal(0, 1.6, 3))
            pivot = np.array([0, -30, -40])  # a head nods and turns about the neck
            moved[:3, 3] = pivot - moved[:3, :3] @ pivot + g.normal(0, 1.3, 3)
        motion[role] = moved
    return motion


def acquire(acquisition: Acquisition, patient: Patient, brain: Brain, tumour: Tumour, head, motion: np.ndarray) -> Volume:
    """The int16 images of one sequence: whole head, noise and bias field in, the patient where `motion` put him."""
    role = acquisition.role
    brightness = protocol(patient.generator("protocol " + role), role)
    image = np.full(HEAD.shape, BRIGHTNESS["air"][0], np.float32)
    paint(head, brightness, image)
    paint(brain.layers + tumour.layers, brightness, image[within_head()])
    scene = _itk(Volume(image, motion @ HEAD.affine))
    shares = [0.0] if acquisition.volumetric else [-0.375, -0.125, 0.125, 0.375]
    seen = sum(_sample(scene, _shifted(acquisition.grid, share * acquisition.thickness_mm)) for share in shares) / len(shares)
    g = patient.generator("scan " + role)
    noisy = scan(seen, g, acquisition.grid.spacing_mm, noise=float(g.uniform(2, 4)), bias=float(g.uniform(0.06, 0.14)))
    gain = float(g.uniform(2.5, 6))
    return Volume(np.clip(np.rint(noisy * gain), 0, 4095).astype(np.int16), acquisition.grid.affine)


def on_grid(box: np.ndarray, grid: Grid) -> Volume:
    """Labels or a mask on the brain's BOX, by nearest neighbour on another grid of the same world, as uint8."""
    sampled = _sample(_itk(Volume(box.astype(np.uint8), BOX.affine)), grid, nearest=True)
    return Volume(sampled, grid.affine)


def _grid(patient: Patient, role: str, axes, shape, spacing, tilt_deg: float) -> Grid:
    g = patient.generator("slices " + role)
    nod = g.uniform(0.3, 1.0) * tilt_deg  # slices are laid along the skull base
    directions = _turn([nod, *g.normal(0, 2, 2)]) @ axes * np.array(spacing)
    affine = np.eye(4)
    affine[:3, :3] = directions
    centre = np.array([0, -13, 0 if role != "t1ce" else -8]) + g.normal(0, 2, 3)
    affine[:3, 3] = centre - directions @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def _turn(degrees) -> np.ndarray:
    """3x3 rotation about right, anterior and superior, in that order."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        c, s = np.cos(angle), np.sin(angle)
        first, second = [a for a in range(3) if a != axis]
        one = np.eye(3)
        one[first, first] = one[second, second] = c
        one[first, second], one[second, first] = (-s, s) if axis != 1 else (s, -s)
        turned = one @ turned
    return turned


def _shifted(grid: Grid, along_mm: float) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += along_mm * affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    return Grid(grid.shape, affine)


def _itk(volume: Volume):
    from .io.itk import to_itk

    return to_itk(volume)


def _sample(image, grid: Grid, nearest: bool = False) -> np.ndarray:
    """`image` (SimpleITK) at the voxels of `grid` (I, J, K); air beyond it."""
    import SimpleITK as sitk

    from .io.itk import itk_geometry

    origin, spacing, direction = itk_geometry(grid)
    kind = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    outside = 0 if nearest else BRIGHTNESS["air"][0]
    found = sitk.Resample(image, grid.shape, sitk.Transform(), kind, origin, spacing, direction, outside, image.GetPixelID())
    return sitk.GetArrayFromImage(found).transpose(2, 1, 0)
