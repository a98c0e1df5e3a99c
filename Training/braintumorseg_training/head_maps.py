"""Label maps of whole heads, read into tissues and into the brain as the engine is to find it.

The maps are those that SynthSeg was trained from (Billot 2023, Med Image Anal 86:102789; 20 heads of 1 mm): FreeSurfer's values below 200 in the
skull, and around it those of SimNIBS' head atlas (Puonti 2020, NeuroImage 219:117044) less 300: 202 artery, 206 eye, 207 other soft tissue,
208 eye muscle, 209 mucosa, 211 skin, 212 spinal cord, 214 vein, 215 compact bone, 216 marrow, 230 optic nerve.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from braintumorseg.errors import MissingFile, UnknownLabels
from braintumorseg.io.readers import read_volume
from braintumorseg.masks import bounding_box, largest_piece

__all__ = ["TISSUES", "Head", "brain_of", "read_head", "read_heads"]

# A tissue's place in this list is its value in Head.tissues.
TISSUES = ("air", "white", "cerebellar_white", "stem", "cortex", "cerebellar_cortex", "deep_grey", "thalamus", "ventricle", "csf", "artery", "vein",
           "dura", "bone", "marrow", "skin", "outer_soft", "middle_soft", "deep_soft", "strands", "orbit_fat", "eye", "eye_muscle", "mucosa", "cord",
           "optic_nerve", "oedema", "tumour", "rim", "necrosis", "cavity")

_FROM_LABELS = {
    "white": (2, 41, 85), "cerebellar_white": (7, 46), "stem": (16, 28, 60), "cortex": (3, 42), "cerebellar_cortex": (8, 47),
    "thalamus": (10, 49), "deep_grey": (11, 12, 13, 17, 18, 25, 26, 50, 51, 52, 53, 54, 57, 58, 136, 137, 163, 164),
    "ventricle": (4, 5, 14, 15, 43, 44, 72), "csf": (24,), "artery": (30, 62, 202), "vein": (214,), "bone": (215,), "marrow": (216,),
    "skin": (211,), "deep_soft": (207,), "eye": (206,), "eye_muscle": (208,), "mucosa": (209,), "cord": (212,), "optic_nerve": (230,),
}
_CSF, _SMALLEST_BRAIN_LABEL, _FIRST_OUTER = 24, 1, 200
# Soft tissue lies at these depths under the skin's outer face; the scalp's fat ends within the first two.
_OUTER_MM, _MIDDLE_MM, _ORBIT_MM = 6.0, 10.0, 11.0
# Sulci up to twice as wide are closed over, and a thin coat of fluid is kept, where there is any: a mask that ends on the cortex itself
# cuts into it as soon as it is a voxel off, and HD-BET's outline runs there too.
_CLOSING_MM, _COAT_MM = 4.0, 1.0


@dataclass(frozen=True, eq=False)
class Head:
    """tissues (I, J, K) uint8, places in TISSUES; brain (I, J, K) bool; 1 mm voxels, axes growing right, anterior, superior; sides even.

    halved: (2, I/2, J/2, K/2) float32: the shares of brain and of anything but air in voxels of 2 mm.
    """

    name: str
    tissues: np.ndarray
    brain: np.ndarray
    halved: np.ndarray


def read_heads(folder: Path, names: Iterable[str]) -> list[Head]:
    """The heads NAME.nii.gz of a folder. Raises MissingFile or UnknownLabels."""
    missing = [name for name in names if not (folder / f"{name}.nii.gz").is_file()]
    if missing:
        raise MissingFile(f"{folder.name} lacks the label maps {', '.join(missing[:5])}.", "Give the folder of SynthSeg's label maps of heads.")
    return [read_head(folder / f"{name}.nii.gz") for name in names]


def read_head(path: Path) -> Head:
    """One head; takes about 5 s. Raises UnknownLabels for a value that is none of the maps'."""
    volume = read_volume(path).canonical()
    labels = np.pad(volume.voxels.astype(np.uint8), [(8, 8 + side % 2) for side in volume.shape])
    rng = np.random.default_rng(0)  # strands of fat in the muscle are part of a head, not of a sample
    tissues, brain = _tissues(labels, path.name, rng), brain_of(labels)
    return Head(path.name.removesuffix(".nii.gz"), tissues, brain, np.stack([_halved(brain), _halved(tissues > 0)]))


def brain_of(labels: np.ndarray) -> np.ndarray:
    """(I, J, K) bool of 1 mm labels: all brain with its ventricles, sulci closed over, in one smooth piece, as tools that strip skulls cut it."""
    everything, box = np.zeros(labels.shape, bool), bounding_box((labels >= _SMALLEST_BRAIN_LABEL) & (labels < _FIRST_OUTER), 8)
    labels = labels[box]
    inside = (labels >= _SMALLEST_BRAIN_LABEL) & (labels < _FIRST_OUTER)
    away = ndimage.distance_transform_edt(~(inside & (labels != _CSF)))
    closed = ndimage.distance_transform_edt(away <= _CLOSING_MM) > _CLOSING_MM - _COAT_MM
    closed &= inside | np.isin(labels, (202, 214))  # vessels between folds
    smooth = ndimage.gaussian_filter(ndimage.binary_fill_holes(closed).astype(np.float32), 1.0) > 0.5
    everything[box] = ndimage.binary_fill_holes(largest_piece(smooth))
    return everything


def _halved(mask: np.ndarray) -> np.ndarray:
    i, j, k = (side // 2 for side in mask.shape)
    return mask.reshape(i, 2, j, 2, k, 2).mean((1, 3, 5), dtype=np.float32)


def _tissues(labels: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    table = np.full(256, 255, np.uint8)
    table[0] = 0
    for tissue, values in _FROM_LABELS.items():
        table[list(values)] = TISSUES.index(tissue)
    tissues = table[labels]
    if (tissues == 255).any():
        raise UnknownLabels(f"{name} has the labels {np.unique(labels[tissues == 255]).tolist()}, which no tissue is known for.",
                            "Give SynthSeg's label maps of heads.")
    soft = tissues == TISSUES.index("deep_soft")
    # At 2 mm and back: the depths are rough figures.
    depth = 2 * ndimage.distance_transform_edt(ndimage.binary_fill_holes(labels[::2, ::2, ::2] > 0)).astype(np.float32)
    depth = depth.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    coarse = rng.normal(size=[-(-n // 3) for n in labels.shape]).astype(np.float32)
    strands = ndimage.zoom(ndimage.gaussian_filter(coarse, 1.2), 3, order=1)[tuple(slice(n) for n in labels.shape)]
    tissues[soft & (strands > strands.std() * 0.6)] = TISSUES.index("strands")
    tissues[soft & (depth < _MIDDLE_MM)] = TISSUES.index("middle_soft")
    tissues[soft & (depth < _OUTER_MM)] = TISSUES.index("outer_soft")
    eyes = labels == 206
    if eyes.any():
        box = bounding_box(eyes, 12)
        tissues[box][soft[box] & (ndimage.distance_transform_edt(~eyes[box]) < _ORBIT_MM)] = TISSUES.index("orbit_fat")
    within = (labels >= _SMALLEST_BRAIN_LABEL) & (labels < _FIRST_OUTER)
    tissues[ndimage.binary_dilation(within) & (tissues == TISSUES.index("bone"))] = TISSUES.index("dura")
    return tissues
