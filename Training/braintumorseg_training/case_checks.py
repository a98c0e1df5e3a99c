"""A case read and checked: what cannot be trained on is refused with its reason, what only should be known is a warning."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braintumorseg.background import LARGEST_BRAIN_ML, brain_only_mask, is_brain_only
from braintumorseg.errors import BadImage, GridMismatch, InputError, MissingFile, NotAnImage
from braintumorseg.io.readers import read_volume
from braintumorseg.labels import CONVENTIONS, ED, ET, NCR, from_table
from braintumorseg.masks import bounding_box
from braintumorseg.study import ROLES, Study
from braintumorseg.volume import Volume

from .dataset_json import convention_called
from .layouts import Source

__all__ = ["ODD_LABELS", "Checked", "check_case", "check_files", "declared_table", "missing_roles"]

GRID_TOLERANCE_MM = 0.01  # files of other tools keep their affine in single precision
ODD_LABELS = "is the label convention right?"
_ENOUGH_ML = 1.0          # a smaller part says little about how it looks
_OUTSIDE_WARNING, _OUTSIDE_REFUSED = 0.02, 0.5  # share of the tumour's voxels in which every image is empty


@dataclass(frozen=True, eq=False)
class Checked:
    """A case that can be trained on: its images, its truth (1 NCR, 2 ED, 3 ET) on their grid, and what should be known of it."""

    study: Study
    truth: Volume
    warnings: tuple[str, ...]


def declared_table(source: Source, convention: str) -> tuple[Mapping[int, int], str]:
    """(value in the label file -> our value, what it is called). The user's word is `convention` ('' for none), the data's own source.table.

    Raises InputError when neither says it or the two contradict each other: nothing is guessed from the voxels.
    """
    if source.table is None:
        if not convention:
            raise InputError("its label convention is not declared.", f"Give --labels ({', '.join(CONVENTIONS)}) or --table.")
        return CONVENTIONS[convention], convention
    if convention and dict(CONVENTIONS[convention]) != dict(source.table):
        raise InputError(f"it is declared as {convention}, and dataset.json says {_shown(source.table)}.",
                         "Leave --labels out, or correct dataset.json if it is wrong.")
    return source.table, convention_called(source.table)


def missing_roles(source: Source) -> tuple[str, ...]:
    """The sequences that a case has no file for."""
    return tuple(role for role in ROLES if role not in source.images)


def check_files(source: Source, convention: str = "", *, missing_ok: bool = False) -> tuple[Mapping[int, int], str]:
    """Check what shows without reading an image: which files there are, and the label table, which is returned as by `declared_table`.

    Arguments and errors as in `check_case`.
    """
    if source.problem:
        raise InputError(f"{source.problem}.")
    declared = declared_table(source, convention)
    missing = missing_roles(source)
    if len(missing) == len(ROLES):
        raise MissingFile("it has none of the four sequences.")
    if missing and not missing_ok:
        raise MissingFile(f"it lacks {_and(missing)}.", "Find the file, or give --missing-ok to take such cases with an empty channel.")
    if source.seg is None:
        raise MissingFile("it has no label file.", "Only labelled cases are trained on and measured.")
    return declared


def check_case(source: Source, convention: str = "", *, missing_ok: bool = False) -> Checked:
    """Read a case and check its files, grids, labels and intensities.

    convention: the user's declaration, '' for none. missing_ok: take a case that lacks sequences, as long as it has one.

    Raises InputError (of which kind, errors.py tells) with the reason for the first thing that is wrong.
    """
    table, called = check_files(source, convention, missing_ok=missing_ok)
    missing = missing_roles(source)
    study = Study(_read_images(source))
    _check_grids(study)
    _check_alike(study)
    for role, volume in study.volumes.items():
        if not is_brain_only(volume):
            raise BadImage(f"{role} does not show the brain alone (empty space around it, at most {LARGEST_BRAIN_ML / 1000:g} l).",
                           "Strip its skull first; a network is trained on what it is given later.")
    truth, cavity_ml = _read_truth(source.seg, table, called, study)
    warnings = [*source.notes, *([f"lacks {_and(missing)}: packed with an empty channel"] if missing else [])]
    if cavity_ml:
        warnings.append(f"{cavity_ml:.1f} ml of resection cavity count as background")
    return Checked(study, truth, tuple(warnings) + _check_tumour(study, truth))


def _read_images(source: Source) -> dict[str, Volume]:
    read = {path: _read_channels(path) for path in {path for path, channel in source.images.values() if channel is not None}}
    images = {}
    for role, (path, channel) in source.images.items():
        if channel is None:
            images[role] = read_volume(path)
        elif channel < len(read[path]):
            images[role] = read[path][channel]
        else:
            raise BadImage(f"{path.name} holds {len(read[path])} channels, and dataset.json calls number {channel} {role}.")
    return images


def _read_channels(path: Path) -> list[Volume]:
    """The volumes (I, J, K) of a 4-D NIfTI file, in their order along its last axis. Raises NotAnImage or BadImage."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nibabel.load(path)
        if len(image.shape) != 4:
            raise BadImage(f"{path.name} has {len(image.shape)} dimensions; a Decathlon image has 4, the last for the sequences.")
        voxels = np.asanyarray(image.dataobj)
    except (ImageFileError, EOFError, OSError, ValueError, zlib.error) as error:
        raise NotAnImage(f"{path.name} is damaged or no NIfTI image ({type(error).__name__}).", "Copy or download it again.") from None
    return [Volume(voxels[..., channel], image.affine) for channel in range(voxels.shape[3])]


def _check_grids(study: Study) -> None:
    reference = study.reference
    for role, volume in study.volumes.items():
        if not volume.grid.same_as(reference.grid, GRID_TOLERANCE_MM):
            raise GridMismatch(f"{_mismatch(role, volume, study.reference_role, reference)}; patches are cut from all at once.",
                               "Register the sequences onto one grid first.")


def _check_alike(study: Study) -> None:
    roles = list(study.volumes)
    for index, role in enumerate(roles):
        for other in roles[:index]:
            if np.array_equal(study.volumes[role].voxels, study.volumes[other].voxels):
                raise BadImage(f"{other} and {role} are the same image.", "Find the file that was copied under the wrong name.")


def _read_truth(path: Path, table: Mapping[int, int], called: str, study: Study) -> tuple[Volume, float]:
    """(truth in our values, turned as the images where only its axes run otherwise; ml of resection cavity)."""
    seg = read_volume(path)
    if not seg.grid.same_as(study.reference.grid, GRID_TOLERANCE_MM):
        turned = seg.canonical()
        if not turned.grid.same_as(study.reference.grid.canonical(), GRID_TOLERANCE_MM):
            raise GridMismatch(f"{_mismatch(path.name, seg, study.reference_role, study.reference)}; labels are read voxel by voxel.",
                               "Resample them onto the images' grid (nearest neighbour).")
        seg = turned
    labels = from_table(seg.voxels, table, called, path.name)
    no_tumour = [value for value, ours in table.items() if value and not ours]  # a resection cavity
    return seg.with_voxels(labels), np.count_nonzero(np.isin(seg.voxels, no_tumour)) * seg.voxel_ml


def _check_tumour(study: Study, truth: Volume) -> tuple[str, ...]:
    tumour = truth.canonical()
    box = bounding_box(tumour.voxels > 0, margin=1)
    if box is None:
        return ("no tumour in it",)
    labels = tumour.voxels[box]                                                       # (I, J, K)
    shown = np.logical_or.reduce([brain_only_mask(volume.canonical())[box] for volume in study.volumes.values()])
    outside = np.mean(~shown[labels > 0])
    if outside > _OUTSIDE_REFUSED:
        raise GridMismatch(f"{outside:.0%} of its tumour lies where all images are empty: the labels are not of these images.",
                           "Check that both are of one patient and orientation.")
    t1ce = study.volumes["t1ce"].canonical().voxels[box] if "t1ce" in study.volumes else None
    told = (f"{outside:.0%} of its tumour lies where all images are empty",) if outside > _OUTSIDE_WARNING else ()
    return told + _odd_labels(labels, t1ce, truth.voxel_ml)


def _odd_labels(labels: np.ndarray, t1ce: np.ndarray | None, voxel_ml: float) -> tuple[str, ...]:
    """What does not look like a glioma labelled as declared: the same three values mean other parts in other conventions.

    labels, t1ce: (I, J, K) around the tumour. Of 24 real cases, oedema makes up more of the tumour's surface than the core in all 24, and
    enhancing tumour of at least 1 ml is the brightest part on T1ce in 16 of 17.
    """
    from scipy import ndimage

    enough = {value for value in (NCR, ED, ET) if np.count_nonzero(labels == value) * voxel_ml >= _ENOUGH_ML}
    odd = []
    if {NCR, ED} <= enough:
        tumour = np.pad(labels, 1) > 0
        surface = labels[(tumour & ~ndimage.binary_erosion(tumour))[1:-1, 1:-1, 1:-1]]
        if _share(surface, labels, NCR) > _share(surface, labels, ED):
            odd.append("what is labelled oedema lies within the core")
    if t1ce is not None and ET in enough and len(enough) > 1:
        brightest = max(enough, key=lambda value: float(t1ce[labels == value].mean(dtype=np.float64)))
        if brightest != ET:
            odd.append("what is labelled enhancing is not the brightest part on T1ce")
    return tuple(f"{words}; {ODD_LABELS}" for words in odd)


def _share(surface: np.ndarray, labels: np.ndarray, value: int) -> float:
    """How much of the part of that value lies on the tumour's surface, 0..1."""
    return np.count_nonzero(surface == value) / np.count_nonzero(labels == value)


def _mismatch(name: str, volume: Volume, reference_name: str, reference: Volume) -> str:
    """How two grids differ: in size, spacing or orientation, or only in their place."""
    if volume.grid.describe() != reference.grid.describe():
        return f"{name} is {volume.grid.describe()} and {reference_name} is {reference.grid.describe()}"
    last = np.array([*(n - 1 for n in volume.shape), 1])
    apart = max(np.linalg.norm((volume.affine - reference.affine) @ corner) for corner in (np.array([0, 0, 0, 1]), last))
    return f"{name} lies {apart:.2f} mm away from {reference_name}"


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)


def _shown(table: Mapping[int, int]) -> str:
    names = {0: "background", 1: "NCR", 2: "ED", 3: "ET"}
    return ", ".join(f"{value} {names[ours]}" for value, ours in table.items() if value)
