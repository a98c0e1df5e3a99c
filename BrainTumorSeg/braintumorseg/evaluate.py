"""Found segmentations against the truth: one pair of volumes, one pair of files, or two folders matched by case name."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from . import metrics
from .errors import GridMismatch, InputError, MissingFile, UnknownLabels
from .io.readers import is_seg, label_suffix, read_labels
from .labels import ED, NCR, REGIONS, from_convention
from .lesions import DILATION_VOXELS, LesionScores, lesion_wise
from .masks import bounding_box
from .volume import Volume

__all__ = ["STRUCTURES", "CaseResult", "Evaluation", "Scores", "evaluate", "evaluate_folders", "evaluate_pair"]

# What is scored: the regions, then the labels that are not a region themselves (the label ET is the region ET).
STRUCTURES = MappingProxyType({**REGIONS, "NCR": (NCR,), "ED": (ED,)})
NSD_TOLERANCE_MM = 1.0
# Label maps of other tools keep their affine in single precision: a hundredth of a millimetre moves no voxel.
GRID_TOLERANCE_MM = 0.01
# What our own output, BraTS and others append to a case's name, or call the file in a case's folder.
_SEGMENTATION_WORDS = ("segmentation", "seg")


@dataclass(frozen=True)
class Scores:
    """One structure of one case. Overlaps 0..1; empty masks as in `metrics`: `hd95_mm` is infinite when exactly one is empty."""

    truth_ml: float
    found_ml: float
    volume_error_ml: float
    dice: float
    iou: float
    precision: float
    recall: float
    hd95_mm: float
    nsd_1mm: float
    lesions: LesionScores

    @property
    def empty(self) -> str:
        """Which of the two masks is empty: 'both', 'truth', 'found' or ''."""
        if not self.truth_ml:
            return "truth" if self.found_ml else "both"
        return "" if self.found_ml else "found"


@dataclass(frozen=True)
class CaseResult:
    """One case: `scores` by structure, in the order of STRUCTURES."""

    case: str
    scores: Mapping[str, Scores]


@dataclass(frozen=True)
class Evaluation:
    """All cases that were scored and, so that no mean is silently over fewer, all that were not.

    `truth_only` and `found_only` name cases without a partner; `refused` holds (case, reason) of pairs that cannot be compared.
    """

    results: tuple[CaseResult, ...]
    truth_only: tuple[str, ...] = ()
    found_only: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    truth_labels: str = "brats2023"
    found_labels: str = "brats2023"


def evaluate(truth: Path | str, found: Path | str, truth_labels: str = "brats2023", found_labels: str = "brats2023",
             progress: Callable[[float], None] = lambda done: None) -> Evaluation:
    """Score `found` against `truth`: two label maps, two folders that each hold one, or two folders of cases.

    Raises InputError when one is a file and the other a folder, or when nothing matches; else as `evaluate_pair`.
    """
    truth, found = _file_or_folder(truth, "truth"), _file_or_folder(found, "found")
    if truth.is_dir() != found.is_dir():
        raise InputError("The truth is a folder of cases and the found segmentation is one file, or the other way round.",
                         "Give two files or two folders.")
    if truth.is_dir():
        return evaluate_folders(truth, found, truth_labels, found_labels, progress)
    result = _evaluate_files(truth, found, _case_name(truth), truth_labels, found_labels)
    return Evaluation((result,), truth_labels=truth_labels, found_labels=found_labels)


def evaluate_folders(truth_folder: Path | str, found_folder: Path | str, convention: str = "brats2023",
                     found_labels: str = "brats2023", progress: Callable[[float], None] = lambda done: None) -> Evaluation:
    """Score every case that both folders hold; `convention` is the truth's. `progress` is told the share done, 0..1.

    Reads CASE.nii.gz, CASE_seg.nii.gz, CASE-seg.nii.gz and CASE/seg.nii.gz, CASE/segmentation.nii.gz, CASE/CASE_seg.nii.gz
    (also .nii, .nrrd, .mha, and .dcm for a DICOM SEG where there is no other). A pair that cannot be compared is kept with its reason in `refused`.
    Raises MissingFile for a folder that is not there; InputError when no case matches or two files claim one case; and the
    first pair's reason when no pair can be compared.
    """
    truths, founds = _cases(Path(truth_folder)), _cases(Path(found_folder))
    both = sorted(truths.keys() & founds.keys())
    if not both:
        raise InputError(f"No case is in both folders: the truth has {_some(truths)}, found has {_some(founds)}.",
                         "Name the files alike: CASE.nii.gz, CASE_seg.nii.gz, CASE/seg.nii.gz or CASE/segmentation.nii.gz.")
    results, refused = [], []
    for number, case in enumerate(both):
        progress(number / len(both))
        try:
            results.append(_evaluate_files(truths[case], founds[case], case, convention, found_labels))
        except InputError as error:
            refused.append((case, error))
    if not results:
        case, error = refused[0]
        raise type(error)(f"None of the {len(refused)} pairs can be compared. {case}: {error.what}", error.fix)
    progress(1.0)
    return Evaluation(tuple(results), tuple(sorted(truths.keys() - founds.keys())), tuple(sorted(founds.keys() - truths.keys())),
                      tuple((case, str(error)) for case, error in refused), convention, found_labels)


def evaluate_pair(truth: Volume, found: Volume, case: str = "case", truth_labels: str = "brats2023",
                  found_labels: str = "brats2023") -> CaseResult:
    """Score one label map (I, J, K) against another on the same grid; axes stored in another order or direction are turned.

    Raises GridMismatch for different grids, UnknownLabels for values outside the declared conventions.
    """
    truth, found = _on_one_grid(truth, found)
    true_labels = from_convention(truth.voxels, truth_labels, "The truth")  # (I, J, K) uint8
    try:
        labels = from_convention(found.voxels, found_labels, "The found segmentation")  # (I, J, K) uint8
    except UnknownLabels as error:
        raise UnknownLabels(error.what, error.fix.replace("--labels", "--found-labels")) from None
    # Only the box around the tumour is looked at; the margin leaves room for the dilation of lesions.
    box = bounding_box(true_labels | labels, margin=DILATION_VOXELS) or (slice(0, 1),) * 3
    true_labels, labels = true_labels[box], labels[box]
    return CaseResult(case, MappingProxyType({
        name: _scores(np.isin(true_labels, values), np.isin(labels, values), truth) for name, values in STRUCTURES.items()}))


def _evaluate_files(truth: Path, found: Path, case: str, truth_labels: str, found_labels: str) -> CaseResult:
    """Score two label files. What a DICOM SEG holds is told by codes, so no convention applies to it; and it may hold only some slices of
    the series, so it is put on the other's grid, or two of them on one that holds both."""
    images = {path: read_labels(path) for path in {truth, found} if not is_seg(path)}
    segs = {path: read_labels(path) for path in {truth, found} if is_seg(path)}
    if segs:
        from .io.dicom_grid import onto_grid
        from .io.dicom_seg_reader import joint_grid

        try:
            grid = next((image.grid for image in images.values()), None) or joint_grid(segs[truth].grid, segs[found].grid)
            segs = {path: onto_grid(volume, grid, path.name, part=True) for path, volume in segs.items()}
        except GridMismatch as error:
            raise GridMismatch(f"The two segmentations do not share voxels: {error.what}", "Give two of one series.") from None
    volumes = images | segs
    return evaluate_pair(volumes[truth], volumes[found], case, "brats2023" if truth in segs else truth_labels,
                         "brats2023" if found in segs else found_labels)


def _scores(truth: np.ndarray, found: np.ndarray, place: Volume) -> Scores:
    surfaces = metrics.surface_distances(truth, found, place.spacing_mm)
    return Scores(
        truth_ml=np.count_nonzero(truth) * place.voxel_ml,
        found_ml=np.count_nonzero(found) * place.voxel_ml,
        volume_error_ml=metrics.volume_error_ml(truth, found, place.voxel_ml),
        dice=metrics.dice(truth, found),
        iou=metrics.iou(truth, found),
        precision=metrics.precision(truth, found),
        recall=metrics.recall(truth, found),
        hd95_mm=surfaces.hd95_mm,
        nsd_1mm=surfaces.nsd(NSD_TOLERANCE_MM),
        lesions=lesion_wise(truth, found, place.spacing_mm))


def _on_one_grid(truth: Volume, found: Volume) -> tuple[Volume, Volume]:
    if truth.grid.same_as(found.grid, GRID_TOLERANCE_MM):
        return truth, found
    turned = truth.canonical(), found.canonical()
    if turned[0].grid.same_as(turned[1].grid, GRID_TOLERANCE_MM):
        return turned
    if turned[0].shape == turned[1].shape and np.allclose(turned[0].affine[:3, :3], turned[1].affine[:3, :3], atol=1e-4):
        apart = np.linalg.norm(turned[0].affine[:3, 3] - turned[1].affine[:3, 3])
        difference = f"they lie {apart:.2f} mm apart"
    else:
        difference = f"the truth is {truth.grid.describe()} and the found one is {found.grid.describe()}"
    raise GridMismatch(f"The two segmentations do not share one grid, and they are compared voxel by voxel: {difference}.",
                       "Segment the images on which the truth was drawn, or resample it to their grid (nearest neighbour).")


def _file_or_folder(path: Path | str, name: str) -> Path:
    """`path`, or the one segmentation in it when it is a single case's folder."""
    path = Path(path)
    if not path.exists():
        raise MissingFile(f"There is no file or folder {path.name}, given as --{name}.", "Check the path and its spelling.")
    if not path.is_dir():
        return path
    own = [file for file in _images(path) if _stem(file).lower() in _SEGMENTATION_WORDS]
    return _only(own, path.name) if own else path


def _cases(folder: Path) -> dict[str, Path]:
    """Case name -> its label map, of everything in the folder that looks like one."""
    if not folder.is_dir():
        raise MissingFile(f"There is no folder {folder.name}.", "Check the path and its spelling.")
    claims: dict[str, list[Path]] = {}
    for file in _images(folder):
        claims.setdefault(_alike(_case_name(file)), []).append(file)
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            for file in _images(entry):
                if _without_word(_stem(file)) != _stem(file):
                    claims.setdefault(_alike(entry.name), []).append(file)
    return {case: _only(files, case) for case, files in claims.items()}


def _only(files: list[Path], case: str) -> Path:
    files = [file for file in files if not is_seg(file)] or files  # our own results hold both, and both say the same
    if len(files) > 1:
        raise InputError(f"{len(files)} files claim to be the segmentation of {case}: {', '.join(file.name for file in files)}.",
                         "Keep one of them there.")
    return files[0]


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if label_suffix(file) and file.is_file() and not file.name.startswith("."))


def _stem(file: Path) -> str:
    return file.name[:len(file.name) - len(label_suffix(file))]


def _without_word(stem: str) -> str:
    """'CASE' of 'CASE', 'CASE_seg', 'CASE-seg' and 'CASE_segmentation'; '' of 'seg'."""
    for word in _SEGMENTATION_WORDS:
        if stem.lower() == word:
            return ""
        if stem.lower().endswith((f"_{word}", f"-{word}")):
            return stem[:-len(word) - 1]
    return stem


def _case_name(file: Path) -> str:
    return _without_word(_stem(file)) or file.absolute().parent.name


def _alike(name: str) -> str:
    """One spelling of a name, whichever system wrote it: a Mac keeps ü as u and two dots."""
    return unicodedata.normalize("NFC", name)


def _some(cases: Mapping[str, Path]) -> str:
    names = sorted(cases)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "no label map at all"
