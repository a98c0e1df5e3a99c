"""A case as training reads it: preprocessed once, on the disk as plain arrays of which a patch touches only the pages it needs.

NAME.channels.npy   (C, I, J, K) float16, normalised; mapped into memory, never read whole
NAME.labels.npy     (I, J, K) uint8
NAME.npz            the rest, small: cohort, patient, spots, ml, where it came from; a case counts as packed when this file is there
"""

from __future__ import annotations

import functools
import hashlib
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from braintumorseg.errors import InputError, OutputError
from braintumorseg.io.replacing import put
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.model_card import ModelCard
from braintumorseg.preprocess import prepare
from braintumorseg.resample import resample
from braintumorseg.study import Study
from braintumorseg.volume import Volume

from .case_table import PHANTOM, SYNTHETIC, UNLABELLED, patient_of

__all__ = ["PHANTOM", "SPOTS", "SYNTHETIC", "UNLABELLED", "PackedFacts", "digests_of", "fingerprint", "forget", "open_channels", "open_labels",
           "origin_of", "pack_case", "packed_names", "read_facts", "read_spots", "require_spacing"]

SPOTS = 2000  # voxels of each label whose places are kept, for patches around them
_ENDS = (".channels.npy", ".labels.npy", ".npz")
_SHOWN = 3
# What numpy and zipfile raise, depending on which byte is wrong.
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, RuntimeError, tokenize.TokenError, zipfile.BadZipFile, zlib.error)
_FORMAT = 2   # goes into the fingerprint: cases packed by an older version are packed again


@dataclass(frozen=True)
class PackedFacts:
    """What a packed case says of itself without its images.

    ml: NCR, ED, ET in ml. digests: of what each channel shows, wherever it is cropped; '' for an empty one. source: the fingerprint of the files
    that it was made from; origin: `origin_of` the folder that held them; '' for none and in what older versions packed. spacing_mm: of its voxels.
    """

    name: str
    cohort: str
    patient: str
    ml: tuple[float, float, float]
    digests: tuple[str, ...] = ()
    source: str = ""
    warnings: tuple[str, ...] = ()
    origin: str = ""
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def tumour_ml(self) -> float:
        return sum(self.ml)


def pack_case(name: str, cohort: str, study: Study, truth: Volume, card: ModelCard, out: Path, *, patient: str = "", source: str = "",
              origin: str = "", warnings: tuple[str, ...] = (), moved: Mapping[str, np.ndarray] | None = None,
              brain: Volume | None = None) -> PackedFacts:
    """Write one case as the network's own preprocessing leaves it, whole or not at all; one of this name that is there is replaced.

    `moved` and `brain` are what `preprocess.prepare` takes: none for images that are aligned and show the brain alone.

    Raises OutputError when the disk is full or may not be written.
    """
    ready = prepare(study, card, moved, brain)
    labels = resample(truth, ready.grid, linear=False).voxels.astype(np.uint8)  # (I, J, K)
    channels = ready.channels.astype(np.float16)                              # (C, I, J, K)
    rng = np.random.default_rng(0)
    spots = {str(value): rng.permutation(np.argwhere(labels == value))[:SPOTS].astype(np.int16) for value in (NCR, ED, ET)}
    ml = tuple(float(np.count_nonzero(labels == value)) * ready.grid.voxel_ml for value in (NCR, ED, ET))
    facts = PackedFacts(name, cohort, patient or patient_of(name), ml, digests_of(channels), source, warnings, origin, card.spacing_mm)
    _write(facts, channels, labels, spots, out)
    return facts


def digests_of(channels: np.ndarray) -> tuple[str, ...]:
    """Of (C, I, J, K) float16 as a packed case has them: what each shows, wherever it is cropped; '' of an empty one."""
    return tuple(hashlib.sha256(channel[channel != 0].tobytes()).hexdigest() if channel.any() else "" for channel in channels)


def packed_names(packed: Path) -> list[str]:
    """The names of all packed cases in a folder, sorted; made-up ones too."""
    return sorted(path.stem for path in packed.glob("*.npz") if not path.name.startswith("."))


def read_facts(packed: Path, name: str) -> PackedFacts:
    """What a packed case says of itself. Of one that an older version packed, the volumes are counted at 1 mm."""
    with _opened(packed, name) as file:
        cohort = str(file["cohort"])
        if "ml" not in file:
            return PackedFacts(name, cohort, patient_of(name), tuple(np.count_nonzero(file["labels"] == v) / 1000 for v in (NCR, ED, ET)))
        return PackedFacts(name, cohort, str(file["patient"]), tuple(float(n) for n in file["ml"]), tuple(str(d) for d in file["digests"]),
                           str(file["source"]), tuple(str(w) for w in file["warnings"]), str(file["origin"]) if "origin" in file else "",
                           _spacing_mm(file))


def read_spots(packed: Path, name: str) -> tuple[str, dict[int, np.ndarray], tuple[int, ...]]:
    """(cohort, label -> (N, 3) some of its voxels, numbers of the channels that are not empty) of a packed case whose arrays are looked at, too.

    Raises InputError when one is damaged.
    """
    channels = open_channels(packed, name)
    if open_labels(packed, name).shape != channels.shape[1:]:
        raise _damaged(name, ValueError())
    with _opened(packed, name) as file:
        digests = file["digests"] if "digests" in file else ["of an older version, which took whole cases only"] * len(channels)
        return (str(file["cohort"]), {value: file[str(value)] for value in (NCR, ED, ET)},
                tuple(number for number, digest in enumerate(digests) if str(digest)))


def require_spacing(packed: Path, names: Iterable[str], spacing_mm: tuple[float, float, float]) -> None:
    """Raises InputError when one of these packed cases has voxels of another size than a run that is to learn from it says."""
    found = {}
    for name in names:
        with _opened(packed, name) as file:
            found[name] = _spacing_mm(file)
    if other := [name for name, there in found.items() if there != tuple(spacing_mm)]:
        more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
        there = found[other[0]]
        raise InputError(f"{', '.join(other[:_SHOWN])}{more} of {packed.name}: packed at {_mm(there)} mm, and spacing_mm is {_mm(spacing_mm)} mm, "
                         "at which the network would be run later without having learned it.",
                         f"Set spacing_mm to {list(there)}, or pack the cases with prepare --spacing into another folder.")


def _spacing_mm(file: Mapping[str, np.ndarray]) -> tuple[float, ...]:
    return tuple(float(mm) for mm in file["spacing_mm"]) if "spacing_mm" in file else PackedFacts.spacing_mm


def _mm(spacing_mm: tuple[float, ...]) -> str:
    return " x ".join(f"{mm:g}" for mm in spacing_mm)


def open_channels(packed: Path, name: str) -> np.ndarray:
    """(C, I, J, K) float16 on the disk, read where it is touched. Mapped privately: whoever writes to it changes a copy, never the disk."""
    return _mapped(packed, name, ".channels.npy")


def open_labels(packed: Path, name: str) -> np.ndarray:
    """(I, J, K) uint8, likewise; in memory for a case that an older version packed."""
    if (packed / f"{name}.labels.npy").is_file():
        return _mapped(packed, name, ".labels.npy")
    return _old_labels(packed / f"{name}.npz", name)


@functools.cache
def _old_labels(path: Path, name: str) -> np.ndarray:
    with _opened(path.parent, name) as file:
        if "labels" not in file:
            raise _damaged(name, FileNotFoundError())
        return file["labels"]


def _mapped(packed: Path, name: str, end: str) -> np.ndarray:
    try:
        return np.load(packed / f"{name}{end}", mmap_mode="c")
    except _UNREADABLE as error:
        raise _damaged(name, error) from None


def forget(packed: Path, name: str) -> None:
    """Remove a packed case, if there is one of this name."""
    for end in reversed(_ENDS):  # the .npz first: without it the case no longer counts
        (packed / f"{name}{end}").unlink(missing_ok=True)


def fingerprint(files: tuple[Path, ...], declared: str, card: ModelCard) -> str:
    """What a packed case is a function of: its files (name, size, time of change), its label convention, and the preprocessing."""
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    how = (card.roles, card.spacing_mm, card.size_multiple, asdict(card.normalisation), _FORMAT)
    return hashlib.sha256(repr((facts, declared, how)).encode()).hexdigest()


def origin_of(folder: Path) -> str:
    """What tells the folder that a case came from apart from others. No path: packed cases are handed on."""
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()


def _write(facts: PackedFacts, channels: np.ndarray, labels: np.ndarray, spots: dict[str, np.ndarray], out: Path) -> None:
    partial = {end: out / f".{facts.name}.partial{end}" for end in _ENDS}
    try:
        out.mkdir(parents=True, exist_ok=True)
        np.save(partial[".channels.npy"], channels)
        np.save(partial[".labels.npy"], labels)
        np.savez_compressed(partial[".npz"], cohort=facts.cohort, patient=facts.patient, ml=facts.ml, digests=facts.digests,
                            source=facts.source, warnings=np.array(facts.warnings, str), origin=facts.origin, spacing_mm=facts.spacing_mm, **spots)
        (out / f"{facts.name}.npz").unlink(missing_ok=True)  # while its arrays are exchanged the case is not packed
        for end in _ENDS:
            put(partial[end], out / f"{facts.name}{end}")
    except OSError as error:
        raise OutputError(f"{facts.name} cannot be written to {out.name}: {error.strerror or error}.",
                          "Make room there, or choose another --out; the same command again goes on where this one stopped.") from None
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


@contextmanager
def _opened(packed: Path, name: str) -> Iterator[Mapping[str, np.ndarray]]:
    """The .npz of a packed case. Each array is read, and damage found, when it is asked for: so ask within the `with`."""
    try:
        with np.load(packed / f"{name}.npz") as file:
            yield file
    except _UNREADABLE as error:
        raise _damaged(name, error) from None


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(f"The packed case {name} is damaged or incomplete ({type(error).__name__}).",
                      "Run braintumorseg-train prepare again with --force.")
