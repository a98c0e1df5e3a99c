"""Many studies, one after another and a few at a time: the session stays open, and one study is read while another is in the network.

A worker takes a study from its files to its folder of results. Threads of this process are workers (`Lanes`), and so are actors on a
Ray cluster (cohort_ray); `run_cohort` hands the studies out and keeps the manifest. The network takes one study at a time; what comes
before and after it (reading, aligning, drawing, writing) is mostly done by one core and leaves the others free for the network.
"""

from __future__ import annotations

import os
import re
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from .cohort_list import Entry, fingerprint
from .cohort_manifest import Manifest, Record
from .errors import BrainTumorSegError, Cancelled, OutputError
from .io.atomic import MARKER, check_output
from .io.owner import remove_folder
from .model_zoo import Model
from .progress import Progress, Update

__all__ = ["LOST", "Lanes", "Options", "Outcome", "Workers", "at_once_here", "left_to_do", "numbered", "run_cohort",
           "segment_entry"]

# A study that was begun so often without an end, because the run or its worker died each time, is taken to be why.
MOST_DEATHS = 3
_PER_LANE_BYTES = 1.5e9
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Options:
    """How every study of a cohort is segmented, as `segment` takes it. `device`, `threads` and `provider` change only how fast."""

    model: str = "glioma"
    device: str = "auto"
    threads: int = 0
    registered: bool = False
    stripped: bool = False
    fill_gaps: bool = False
    sr: bool = False
    sc: bool = False
    with_identity: bool = False
    provider: str | None = None

    def made(self, model: Model) -> dict[str, object]:
        """What makes the results, for the manifest."""
        return {"model": model.card.name, "version": model.card.version, "sha256": model.card.sha256,
                **{name: getattr(self, name) for name in ("registered", "stripped", "fill_gaps", "sr", "sc", "with_identity")}}


@dataclass(frozen=True)
class Outcome:
    """What became of a study: the fields of its `Record`; `state` is 'done', 'failed', or 'lost' with the worker that had it."""

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
        kind, reason = error.kind, str(error)
    except MemoryError:
        kind, reason = "ResourceError", "It does not fit into this machine's memory. Close other programs, or use a machine with more."
    except Exception as error:  # a fault of ours must not cost the other studies; its words may quote a header
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind, reason = type(error).__name__, (f"A fault of this program ({type(error).__name__} at {Path(place.filename).name}:{place.lineno}). "
                                              "Please report it.")
    else:
        return Outcome("done", {"seconds": round(time.monotonic() - began, 2), "provider": report["provider"], "flags": tuple(report["flags"]),
                                "ml": {**report["volumes_ml"]["labels"], **report["volumes_ml"]["regions"]}})
    return Outcome("failed", {"seconds": round(time.monotonic() - began, 2), "kind": kind, "reason": _nameless(reason, entry)})


def _nameless(reason: str, entry: Entry) -> str:
    """`reason` with the study's number for its id: folders are named for patients now and then, and reasons end in logs."""
    if len(entry.id) < 2:
        return reason
    return re.sub(rf"(?<![^\W_]){re.escape(entry.id)}(?![^\W_])", f"study {entry.number}", reason)


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
                           stripped=options.stripped, progress=progress, turn=turn)
    return write_results(study, segmentation, model.card, out, force=True, dicom_source=series or (), sr=options.sr, sc=options.sc,
                         identity=identity, progress=progress)


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
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1   # of a batch job: those it was given
    fit = int(psutil.virtual_memory().available // _PER_LANE_BYTES)
    return max(1, min(8, max(2, cores // 2), fit))


def left_to_do(entries: Sequence[Entry], manifest: Manifest, out: Path, retry_failed: bool = False) -> list[Entry]:
    """Those of `entries` to segment now: not those that are done, nor those that failed unless `retry_failed`; whose files have changed
    since or whose results are gone, in any case. What a killed run left of them is removed.
    """
    todo = []
    for entry in entries:
        known = manifest.records.get(entry.id)
        if known is not None and known.state == "begun":
            _clear(out / entry.id)
            if known.begun >= MOST_DEATHS and not retry_failed:
                manifest.write(_died(known))
                continue
        elif known is not None and known.files == fingerprint(entry) and (
                (out / entry.id / MARKER).is_file() if known.state == "done" else not retry_failed):
            continue
        todo.append(entry)
    return todo


def _clear(folder: Path) -> None:
    """Remove what runs that were killed left beside a study's results: no live one is at this study, for we hold its manifest."""
    with suppress(OutputError):   # a folder that is not ours: segmenting says so
        check_output(folder, force=True)   # puts back an earlier result that was just moved aside
    for partial in folder.parent.iterdir():
        if partial.name.startswith(f".{folder.name}.partial-"):
            remove_folder(partial)


def run_cohort(entries: Sequence[Entry], workers: Workers, manifest: Manifest, *, listener: Callable[[Update], None] = lambda update: None,
               ended: Callable[[Record], None] = lambda record: None, cancel: threading.Event | None = None) -> None:
    """Have every one of `entries` segmented by `workers`, and write down what becomes of each.

    One that does not fit into memory beside others is tried again alone; one whose worker is lost, by another. `listener` is told how
    far all are, `ended` of each study that ended. Raises Cancelled; the workers have stopped then, in any case, and what they finished
    meanwhile is written down too.
    """
    run = _Run(entries, manifest, ended)
    try:
        while not run.over:
            while (entry := run.next(workers.has_room)) is not None:
                workers.submit(entry)
            for entry, outcome in workers.finished(_LOOK_EVERY_S):
                run.settle(entry, outcome)
            listener(run.update(workers.share()))
            if cancel is not None and cancel.is_set():
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        run.settle_last(workers.stop())
        raise Cancelled(f"The run was cancelled; {run.done} of {len(entries)} studies are done and kept.",
                        "The same command goes on from there.") from None
    except BaseException:
        run.settle_last(workers.stop())
        raise
    workers.stop()


class _Run:
    """Which studies wait, are in work and have ended, and the manifest that says so."""

    def __init__(self, entries: Sequence[Entry], manifest: Manifest, ended: Callable[[Record], None]):
        self._waiting, self._alone, self._in_work = deque(entries), deque(), set()
        self._manifest, self._ended = manifest, ended
        self._total, self._began = len(entries), time.monotonic()
        self.done = self.failed = 0

    @property
    def over(self) -> bool:
        return not (self._waiting or self._alone or self._in_work)

    def next(self, has_room: Callable[[], bool]) -> Entry | None:
        """The study to begin now, written down as begun; None where none waits or there is no room."""
        if not (self._waiting or (self._alone and not self._in_work)) or not has_room():
            return None
        entry = (self._waiting or self._alone).popleft()
        self._manifest.write(_begun(entry, self._manifest.records.get(entry.id)))
        self._in_work.add(entry.id)
        return entry

    def settle(self, entry: Entry, outcome: Outcome) -> None:
        """Write down what became of a study, or have it tried again."""
        self._in_work.discard(entry.id)
        begun = self._manifest.records[entry.id]
        if outcome.state == "lost" and begun.begun < MOST_DEATHS:
            self._waiting.append(entry)
        elif outcome.fields.get("kind") in _OF_MEMORY and self._in_work:
            self._alone.append(entry)
            self._manifest.write(replace(begun, begun=0, at=time.time()))
        else:
            record = _died(begun) if outcome.state == "lost" else replace(begun, state=outcome.state, begun=0, at=time.time(), **outcome.fields)
            self._manifest.write(record)
            self.done, self.failed = self.done + (record.state == "done"), self.failed + (record.state == "failed")
            self._ended(record)

    def settle_last(self, ended: Iterable[tuple[Entry, Outcome]]) -> None:
        """Of a run that stops early: write down those that are done and not known to be."""
        for entry, outcome in ended:
            if outcome.state == "done" and self._manifest.records[entry.id].state == "begun":
                self.settle(entry, outcome)

    def update(self, share: float) -> Update:
        """How far all are; `share`: what is done of those in work."""
        finished = self.done + self.failed
        part = min((finished + share) / self._total, 1.0)
        left = (time.monotonic() - self._began) * (1 - part) / part if part else None
        return Update("cohort", part, left, {"studies": self._total, "finished": finished, "failed": self.failed})


_OF_MEMORY = ("ResourceError", "OutOfMemory")


def _begun(entry: Entry, before: Record | None) -> Record:
    deaths = before.begun if before is not None and before.state == "begun" else 0
    return Record(entry.id, entry.number, "begun", time.time(), files=fingerprint(entry), begun=deaths + 1)


def _died(begun: Record) -> Record:
    return replace(begun, state="failed", begun=0, at=time.time(), kind="Died",
                   reason=f"The program died {begun.begun} times while it was at this study. Look at its files, or segment it alone.")


def numbered(entries: Sequence[Entry], records: dict[str, Record]) -> list[Entry]:
    """`entries` (sorted by id) with their numbers: those that have one keep it, the others get what is free, in order."""
    known = {entry.id: records[entry.id].number for entry in entries if entry.id in records}
    taken = {record.number for record in records.values()}
    free = (number for number in range(1, len(entries) + len(taken) + 1) if number not in taken)
    return [replace(entry, number=known.get(entry.id) or next(free)) for entry in entries]
