"""Who takes a cohort's studies, from its files to its folder of results: threads of this process here, actors on a Ray cluster in cohort_ray.

The network takes one study at a time; what comes before and after it (reading, aligning, drawing, writing) is mostly done by one core and
leaves the others free for the network.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from .cohort_files import nameless
from .cohort_list import Entry
from .cores import granted_cores
from .errors import BrainTumorSegError, Cancelled, OutputError
from .memory import free_bytes
from .model_zoo import Model
from .progress import Progress, Update

__all__ = ["LOST", "THUMBNAIL", "Lanes", "Options", "Outcome", "Workers", "at_once_here", "segment_entry"]

THUMBNAIL = "thumbnail.jpg"   # of a study, beside its results
_PER_LANE_BYTES = 1.5e9
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_CLOSED = (errno.EACCES, errno.EPERM)
# What of a card decides nothing of an outline, or is said beside the card.
_TOLD_OF_A_NETWORK = frozenset({"name", "version", "sha256", "task", "licence", "intended_use", "limits", "training_data", "training", "metrics",
                                "minimum_onnxruntime", "variants"})


@dataclass(frozen=True)
class Options:
    """How every study of a cohort is segmented, as `segment` takes it. `device`, `threads` and `provider` change only how fast."""

    model: str = "glioma"
    _: KW_ONLY
    device: str = "auto"
    threads: int = 0
    registered: bool = False
    stripped: bool = False
    fill_gaps: bool = False
    sr: bool = False
    sc: bool = False
    with_identity: bool = False
    provider: str | None = None
    thorough: bool = False

    def made(self, model: Model) -> dict[str, object]:
        """What makes the results, for the manifest."""
        card = {name: value for name, value in asdict(model.card).items() if name not in _TOLD_OF_A_NETWORK}
        return {"model": model.card.name, "version": model.card.version, "sha256": model.card.sha256,
                **{name: getattr(self, name) for name in ("registered", "stripped", "thorough", "fill_gaps", "sr", "sc", "with_identity")},
                "card": json.loads(json.dumps(card))}   # as the manifest will have it


@dataclass(frozen=True)
class Outcome:
    """What became of a study: the fields of its `Record`; `state` is 'done', 'failed', or 'lost' with the worker that had it; or 'barred',
    with the system's `errno`: the cohort's folder takes no results, and the study has nothing to do with it."""

    state: str
    fields: dict = field(default_factory=dict)


LOST = Outcome("lost")


class Workers(Protocol):
    """Whoever takes studies."""

    def has_room(self) -> bool: ...

    def submit(self, entry: Entry) -> None: ...

    def finished(self, seconds: float) -> list[tuple[Entry, Outcome]]:
        """Those that ended since the last call; waits up to `seconds` for one."""

    def share(self) -> float:
        """How much of what was submitted and has not ended is done, in studies; 0 where that is not known."""

    def stop(self) -> list[tuple[Entry, Outcome]]:
        """End them, at the latest between two steps of a study, with nothing half-written. Those that came to their end nevertheless, and
        perhaps some that `finished` has told of."""


def segment_entry(entry: Entry, model: Model, options: Options, out: Path, progress: Progress | None = None,
                  turn: AbstractContextManager | None = None) -> Outcome:
    """Segment one study into the folder `out`/id, and say what became of it. Raises only Cancelled."""
    began = time.monotonic()
    try:
        report = _segment(entry, model, options, out / entry.id, progress or Progress(), turn)
    except Cancelled:
        raise
    except BrainTumorSegError as error:
        if (number := _bar(error, out)) is not None:
            return Outcome("barred", {"errno": number})
        kind, reason = error.kind, str(error)
    except MemoryError:
        kind, reason = "ResourceError", "It does not fit into this machine's memory. Close other programs, or use a machine with more."
    except Exception as error:  # a fault of ours must not cost the other studies; its words may quote a header
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind, reason = type(error).__name__, (f"A fault of this program ({type(error).__name__} at {Path(place.filename).name}:{place.lineno}). "
                                              "Please report it.")
    else:
        return Outcome("done", {"seconds": round(time.monotonic() - began, 2), "provider": report["provider"], "flags": tuple(report["flags"]),
                                "ml": {**report["volumes_ml"]["labels"], **report["volumes_ml"]["regions"]},
                                "estimated": tuple(report["estimated_without_t1ce"])})
    return Outcome("failed", {"seconds": round(time.monotonic() - began, 2), "kind": kind, "reason": nameless(reason, entry)})


def _bar(error: BrainTumorSegError, out: Path) -> int | None:
    """The system's number for why no study's results can be written into `out`; None where that is not what is wrong."""
    number = getattr(error.__cause__, "errno", None) if isinstance(error, OutputError) else None
    return number if number in _FULL or (number in _CLOSED and not os.access(out, os.W_OK)) else None


def _segment(entry: Entry, model: Model, options: Options, out: Path, progress: Progress, turn: AbstractContextManager | None) -> dict:
    from .io.dicom_identity import identity_asked_for
    from .pipeline import segment
    from .read import read_study
    from .results import write_results

    with progress.step("read") as tell:
        study = read_study(entry.paths, **entry.roles, study=entry.study, fill_gaps=options.fill_gaps, progress=tell, cancel=progress.cancel)
    series = study.stacks.get(study.reference_role)
    identity = identity_asked_for(series) if options.with_identity else None
    segmentation = segment(study, model, device=options.device, threads=options.threads, provider=options.provider, registered=options.registered,
                           stripped=options.stripped, thorough=options.thorough, progress=progress, turn=turn)
    return write_results(study, segmentation, model.card, out, force=True, dicom_source=series or (), sr=options.sr, sc=options.sc,
                         identity=identity, thumbnail=THUMBNAIL, progress=progress)


class Lanes:
    """Threads of this process, `at_once` of them, that share what `work` holds (session, turn)."""

    def __init__(self, at_once: int, work: Callable[[Entry, Progress], Outcome]):
        self._pool = ThreadPoolExecutor(at_once)
        self._at_once = at_once
        self._work = work
        self._cancel = threading.Event()
        self._in_work: dict[Future, Entry] = {}
        self._told: dict[Future, Entry] = {}   # at the last call: an interrupt may have kept it from being written down
        self._shares: dict[str, float] = {}

    def has_room(self) -> bool:
        return len(self._in_work) < self._at_once

    def submit(self, entry: Entry) -> None:
        def tell(update: Update) -> None:
            self._shares[entry.id] = update.done

        self._in_work[self._pool.submit(self._work, entry, Progress(tell, self._cancel))] = entry

    def finished(self, seconds: float) -> list[tuple[Entry, Outcome]]:
        ended = [(future, self._in_work[future], future.result()) for future in wait(self._in_work, seconds, FIRST_COMPLETED).done]
        self._told = {future: self._in_work.pop(future) for future, _, _ in ended}
        for _, entry, _ in ended:
            self._shares.pop(entry.id, None)
        return [(entry, outcome) for _, entry, outcome in ended]

    def share(self) -> float:
        return sum(list(self._shares.values()))

    def stop(self) -> list[tuple[Entry, Outcome]]:
        self._cancel.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        return [(entry, future.result()) for future, entry in {**self._told, **self._in_work}.items()
                if not future.cancelled() and future.exception() is None]


def at_once_here() -> int:
    """How many studies to have in work on this machine: half of its cores, at least 2 (if one has its memory), at most 8."""
    fit = int(free_bytes() // _PER_LANE_BYTES)
    return max(1, min(8, max(2, granted_cores() // 2), fit))
