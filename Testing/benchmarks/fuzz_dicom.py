"""Damage many small DICOM folders at random and look what becomes of each: it must never crash, hang, or come out at a wrong place in silence.

    python Testing/benchmarks/fuzz_dicom.py            500 folders, writes results/fuzz_dicom.md and .json
    python Testing/benchmarks/fuzz_dicom.py --seed 17  one folder, and what was done to it

A folder holds two series of one study. Everything in it follows from its seed. Every voxel has a value of its own, so the truth says
where each must lie. Each folder is read in a process of its own with 60 s and 2 GB.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import JPEGLSLossless, RLELossless, generate_uid

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from braintumorseg.errors import InputError
from braintumorseg.io.dicom import read_stack, scan_dicom
from braintumorseg.io.dicom_facts import damage as damage_of_bytes
from braintumorseg.volume import Volume
from dicom_toys import enhanced, oblique, save, slices_of_volume, toy_volume

__all__ = ["BAD", "DAMAGES", "GOOD", "STUDIES", "damaged_folder", "judge", "outcome_of", "truths"]

LIMIT_S = 60
MEMORY_BYTES = 2 << 30
RESULTS = Path(__file__).parent / "results"

# What can become of a folder.
RIGHT = "all read, at the right place"
VALUES = "all read, at the right place; some values differ (DICOM has no checksum of pixels)"
PART = "a part read at the right place, the rest left aside with its reason"
STATED = "read on another grid, and a note says so"
GONE = "all that was not deleted read at the right place"
REFUSED = "refused, with its reason"
WRONG = "WRONG: another place in silence"
LOST = "WRONG: slices lost in silence"
CRASH = "WRONG: crash"
HANG = f"WRONG: over {LIMIT_S} s"
GOOD = (RIGHT, VALUES, PART, GONE, STATED, REFUSED)
BAD = (WRONG, LOST, CRASH, HANG)

_IN_ONE = ("Rows/Columns", "PixelSpacing", "ImageOrientationPatient", "SliceThickness/SpacingBetweenSlices", "BitsAllocated/BitsStored",
           "SeriesInstanceUID/StudyInstanceUID", "EchoTime/RepetitionTime", "SliceLocation/InstanceNumber", "ImagePositionPatient")
_BETWEEN = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SeriesInstanceUID", "SOPInstanceUID", "InstanceNumber",
            "SliceLocation", "FrameOfReferenceUID", "PatientID", "StudyInstanceUID", "Rows", "EchoTime", "ImageType")


# --- whole studies

def truths() -> list[Volume]:
    """The two volumes of every folder: an oblique one, and one with other values that lies apart."""
    one, other = toy_volume((18, 16, 14), (0.8, 1.1, 2.5), oblique()), toy_volume((12, 16, 9), (1.0, 1.0, 4.0), origin=(-15.0, 30.0, -40.0))
    return [one, other.with_voxels(other.voxels + np.uint16(20000))]


def _classic(folder: Path, chance: random.Random, syntax: str = "") -> list[Path]:
    paths = []
    uids = _uids(chance)
    study, frame = next(uids), next(uids)
    for number, (volume, echo) in enumerate(zip(truths(), (5.0, 90.0), strict=True), start=2):
        slices = slices_of_volume(volume, study=study, series=next(uids), frame=frame, SeriesNumber=number, EchoTime=echo, BitsStored=16, HighBit=15,
                                  SpacingBetweenSlices=volume.spacing_mm[2])
        for one in slices:
            one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = next(uids)
            normal = np.cross(*np.array(one.ImageOrientationPatient, float).reshape(2, 3))
            one.SliceLocation = f"{normal @ np.array(one.ImagePositionPatient, float):.6f}"
            if syntax:
                one.compress(syntax, generate_instance_uid=False)
        paths += save(slices, folder / f"series{number}", "IM{:03d}")
    return paths


def _enhanced(folder: Path, chance: random.Random, syntax: str = "", shared: bool = False) -> list[Path]:
    paths = []
    uids = _uids(chance)
    study, frame = next(uids), next(uids)
    for number, volume in enumerate(truths(), start=2):
        one = enhanced([volume], SeriesNumber=number, StudyInstanceUID=study, FrameOfReferenceUID=frame, SeriesInstanceUID=next(uids),
                       SOPInstanceUID=next(uids), BitsStored=16, HighBit=15)
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        for name in ("PixelMeasuresSequence", "PlaneOrientationSequence") if shared else ():
            one.SharedFunctionalGroupsSequence[0][name] = deepcopy(one.PerFrameFunctionalGroupsSequence[0][name])
            for group in one.PerFrameFunctionalGroupsSequence:
                del group[name]
        if syntax:
            one.compress(syntax, generate_instance_uid=False)
        paths += save(one, folder, f"IM{number}")
    return paths


STUDIES = {
    "classic": _classic,
    "classic, RLE": lambda folder, chance: _classic(folder, chance, RLELossless),
    "classic, JPEG-LS": lambda folder, chance: _classic(folder, chance, JPEGLSLossless),
    "enhanced": _enhanced,
    "enhanced, shared groups": lambda folder, chance: _enhanced(folder, chance, shared=True),
    "enhanced, RLE": lambda folder, chance: _enhanced(folder, chance, RLELossless),
}


def _uids(chance: random.Random):
    while True:
        yield generate_uid(entropy_srcs=[str(chance.getrandbits(64))])


# --- damages: each changes files in place and says what it did

def _flip_in_headers(paths: list[Path], chance: random.Random) -> str:
    return _flip(paths, chance, lambda size, path: min(size, _header_bytes(path)))


def _flip_anywhere(paths: list[Path], chance: random.Random) -> str:
    return _flip(paths, chance, lambda size, path: size)


def _flip(paths: list[Path], chance: random.Random, room) -> str:
    told = []
    for path in chance.sample(paths, chance.choice([1, 1, 2, len(paths)])):
        content = bytearray(path.read_bytes())
        for _ in range(chance.choice([1, 2, 8, 40])):
            at = 132 + chance.randrange(room(len(content), path) - 132)
            content[at] ^= chance.randrange(1, 256)
            told.append(f"{path.name}@{at}")
        path.write_bytes(content)
    return "bytes flipped: " + ", ".join(told[:8])


def _truncate(paths: list[Path], chance: random.Random) -> str:
    chosen = chance.sample(paths, min(len(paths), chance.choice([1, 1, 2, 5])))
    for path in chosen:
        content = path.read_bytes()
        path.write_bytes(content[:chance.choice([0, 1, 131, chance.randrange(len(content)), chance.randrange(len(content)),
                                                 len(content) - chance.randrange(1, 40)])])
    return "truncated: " + ", ".join(path.name for path in chosen)


def _delete(paths: list[Path], chance: random.Random) -> str:
    chosen = chance.sample(paths, min(len(paths) - 1, chance.choice([1, 1, 2, 6])))
    for path in chosen:
        path.unlink()
    return "deleted: " + ", ".join(f"{path.parent.name}/{path.name}" for path in chosen)


def _swap_in_a_file(paths: list[Path], chance: random.Random) -> str:
    path, what = chance.choice(paths), chance.choice(_IN_ONE)
    dataset = dcmread(path)
    for holder in _holders(dataset, what.split("/")[0], chance):
        names = what.split("/")
        if len(names) == 2 and all(name in holder for name in names):
            a, b = (holder[name].value for name in names)
            holder[names[0]].value, holder[names[1]].value = b, a
        elif len(names) == 1 and names[0] in holder:
            values = list(holder[names[0]].value)
            holder[names[0]].value = values[len(values) // 2:] + values[:len(values) // 2]
    _rewrite(dataset, path)
    return f"swapped within {path.name}: {what}"


def _swap_between_files(paths: list[Path], chance: random.Random) -> str:
    a, b = chance.sample(paths, 2)
    name = chance.choice(_BETWEEN)
    first, second = dcmread(a), dcmread(b)
    one, other = (next(iter(_holders(dataset, name, chance)), {}) for dataset in (first, second))
    if name in one and name in other:
        one[name].value, other[name].value = deepcopy(other[name].value), deepcopy(one[name].value)
    _rewrite(first, a)
    _rewrite(second, b)
    return f"swapped between {a.parent.name}/{a.name} and {b.parent.name}/{b.name}: {name}"


def _several(paths: list[Path], chance: random.Random) -> str:
    damages = [damage for damage in DAMAGES.values() if damage is not _several]
    told = []
    for damage in [_swap_in_a_file, chance.choice(damages), chance.choice(damages)]:  # a swap needs whole files, so it comes first
        try:
            told.append(damage([path for path in paths if path.exists()], chance))
        except (*damage_of_bytes(), InvalidDicomError) as error:
            told.append(f"(not possible any more: {type(error).__name__})")
    return "; ".join(told)


DAMAGES = {
    "bytes flipped in headers": _flip_in_headers,
    "bytes flipped anywhere": _flip_anywhere,
    "files truncated": _truncate,
    "files deleted": _delete,
    "tags swapped within a file": _swap_in_a_file,
    "tags swapped between files": _swap_between_files,
    "several of these": _several,
}


def _holders(dataset: Dataset, name: str, chance: random.Random) -> list[Dataset]:
    """The data sets that hold an attribute: the top, or the item of one frame of an Enhanced file."""
    if name in dataset:
        return [dataset]
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    items = [element.value[0] for group in chance.sample(groups, len(groups)) for element in group if element.VR == "SQ" and element.value]
    return [item for item in items if name in item][:1]


def _header_bytes(path: Path) -> int:
    with path.open("rb") as file:
        dcmread(file, stop_before_pixels=True, force=True)
        return max(file.tell(), 133)


def _rewrite(dataset: Dataset, path: Path) -> None:
    """As it is, however wrong."""
    dataset.save_as(path, enforce_file_format=False)


# --- what becomes of a folder

def damaged_folder(folder: Path, seed: int) -> tuple[str, str, str]:
    """Make the folder of a seed; (kind of study, kind of damage, what was done)."""
    chance = random.Random(seed)
    study, damage = list(STUDIES)[seed % len(STUDIES)], list(DAMAGES)[seed // len(STUDIES) % len(DAMAGES)]
    paths = STUDIES[study](folder, chance)
    return study, damage, DAMAGES[damage](paths, chance)


def outcome_of(folder: Path, deleted: bool = False) -> tuple[str, str]:
    """(one of GOOD and BAD, details) of scanning a folder and reading all that it offers; `deleted`: whether files were taken out of it."""
    scan = scan_dicom([folder])
    excuses = [one.why for one in scan.left_aside]
    found: list[tuple[Volume, tuple[str, ...]]] = []
    for stack in scan.stacks:
        try:
            found.append((read_stack(stack), stack.notes))
        except InputError as error:
            excuses.append(str(error))
    return judge(found, excuses, deleted)


def judge(found: list[tuple[Volume, tuple[str, ...]]], excuses: list[str], deleted: bool = False) -> tuple[str, str]:
    """(outcome, details) of what was read, with its notes, against the truth of all folders."""
    covered, differing = 0, 0
    for volume, notes in found:
        verdicts = [_compare(volume, truth) for truth in truths()]
        (wrong, same, off) = min(verdicts)
        if wrong:
            told = [note for note in notes if "tilted" in note]
            return (STATED, told[0]) if told else (WRONG, volume.grid.describe())
        covered += same + off
        differing += off
    missing = sum(truth.voxels.size for truth in truths()) - covered
    if missing > 0:
        if not excuses:  # of a series that ends early, or is not there at all, nothing in the rest tells
            return (GONE if deleted else LOST), f"{missing} voxels"
        return (PART if found else REFUSED), "; ".join(excuses)[:300]
    if missing < 0:
        return WRONG, "more voxels than there were"
    return (VALUES, f"{differing} voxels") if differing else (RIGHT, "; ".join(excuses)[:300])


def _compare(volume: Volume, truth: Volume) -> tuple[bool, int, int]:
    """(at a wrong place?, voxels as in truth, voxels at the right place with another value)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in volume.shape), indexing="ij"), -1).reshape(-1, 3)
    world = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    inverse = np.linalg.inv(truth.affine)
    exact = world @ inverse[:3, :3].T + inverse[:3, 3]
    at = np.rint(exact).astype(int)
    if np.abs(exact - at).max() > 0.05 or (at < 0).any() or (at >= truth.shape).any():
        return True, 0, 0
    there = truth.voxels[tuple(at.T)].reshape(volume.shape)
    equal = there == volume.voxels
    for k in range(volume.shape[2]):
        if equal[:, :, k].mean() > 0.5:
            continue
        # Not this slice's voxels: noise that a damaged stream left, or a part of the truth in a wrong place?
        if np.isin(volume.voxels[:, :, k], truth.voxels).mean() > 0.5 and len(np.unique(volume.voxels[:, :, k])) > 9:
            return True, 0, 0
    return False, int(equal.sum()), int((~equal).sum())


# --- many folders

def _child(seed: int, pipe) -> None:
    import resource  # not on Windows

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        study, damage, done = damaged_folder(Path(folder), seed)
        pipe.send((study, damage, done))
        pipe.send(outcome_of(Path(folder), "deleted: " in done))


def run(seed: int, context) -> dict:
    """What becomes of the folder of a seed, in a process of its own."""
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(seed, there))
    began = time.monotonic()
    child.start()
    there.close()
    study, damage, done = "", "", ""
    try:
        study, damage, done = here.recv()  # the folder is made; the clock of the reader starts
        outcome = here.recv() if here.poll(LIMIT_S) else (HANG, "")
    except EOFError:
        child.join()
        outcome = (CRASH, f"exit {child.exitcode}")
    if outcome[0] == HANG:
        child.kill()
    child.join()
    return dict(seed=seed, study=study, damage=damage, done=done, outcome=outcome[0], details=outcome[1], seconds=round(time.monotonic() - began, 2))


def table(results: list[dict]) -> str:
    """Outcomes by kind of damage and by kind of study, as Markdown."""
    lines = [f"# {len(results)} damaged DICOM folders", "",
             f"Made by `fuzz_dicom.py`, seeds 0 to {len(results) - 1}. No outcome that begins with WRONG may occur.",
             "What a file says once only cannot be checked against anything: a flipped digit in the PixelSpacing that all frames of an Enhanced",
             "file share makes another valid header, and would count as WRONG here.", ""]
    for by in ("damage", "study"):
        columns = sorted({one[by] for one in results}, key=[*DAMAGES, *STUDIES].index)
        counts = Counter((one["outcome"], one[by]) for one in results)
        lines += [f"| outcome | {' | '.join(columns)} | all |", "|---" * (len(columns) + 2) + "|"]
        for outcome in (*GOOD, *BAD):
            row = [counts[outcome, column] for column in columns]
            lines.append(f"| {outcome} | {' | '.join(map(str, row))} | {sum(row)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folders", type=int, default=500)
    parser.add_argument("--seed", type=int, help="only this folder")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fuzz_dicom", "highdicom", "gdcm", "pydicom.pixels", "scipy.ndimage"])
    if options.seed is not None:
        print(json.dumps(run(options.seed, context), indent=1))
        return
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda seed: run(seed, context), range(options.folders)))
    options.out.mkdir(exist_ok=True)
    (options.out / "fuzz_dicom.md").write_text(table(results), encoding="utf-8")
    (options.out / "fuzz_dicom.json").write_text("[\n" + ",\n".join(json.dumps(one) for one in results) + "\n]\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
