"""Many studies, one after another and a few at a time: the session stays open, and one study is read while another is in the network.

`run_cohort` hands the studies out to workers (cohort_workers) and keeps the manifest.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from .cohort_files import fingerprint, unchanged
from .cohort_list import Entry
from .cohort_manifest import Manifest, Record, refused
from .cohort_workers import Outcome, Workers
from .errors import Cancelled, OutputError
from .io.atomic import MARKER, check_output
from .io.owner import MARK, owner_mark, remove_folder
from .io.replacing import put
from .progress import Update

__all__ = ["MOST_DEATHS", "left_to_do", "numbered", "run_cohort"]

# A study that was begun so often without an end, because the run or its worker died each time, is taken to be why. A cancel is no death.
MOST_DEATHS = 3
_LOOK_EVERY_S = 0.5


def left_to_do(entries: Sequence[Entry], manifest: Manifest, out: Path, retry_failed: bool = False) -> list[Entry]:
    """Those of `entries` to segment now: not those that are done, nor those that failed unless `retry_failed`; whose files have changed
    since or whose results are gone, in any case. What a killed run left of them is removed. One that another process is at stays with it.
    """
    todo = []
    for entry in entries:
        known = manifest.records.get(entry.id)
        if known is not None and known.state == "begun":
            if not manifest.is_free(entry.id):   # of a shard that an earlier version, which dealt otherwise, began
                continue
            _clear(out / entry.id)
            if known.begun >= MOST_DEATHS and not retry_failed:
                manifest.write(_died(known))
                continue
        elif known is not None and known.state != "listed" and unchanged(entry, known.files) and (
                (out / entry.id / MARKER).is_file() if known.state == "done" else not retry_failed):
            continue
        todo.append(entry)
    return todo


def _clear(folder: Path) -> None:
    """Remove what runs that were killed left beside a study's results. Those of this machine are asked whether they live; one of another
    machine does not, for we hold the study's manifest.
    """
    with suppress(OutputError):   # a folder that is not ours: segmenting says so
        check_output(folder, force=True)   # clears up after this machine's, and puts back an earlier result that was just moved aside
    here = owner_mark().partition("-")[0]
    others = re.compile(rf"\.{re.escape(folder.name)}\.partial-(?!{here}-){MARK}-[0-9a-f]{{8}}")
    for partial in folder.parent.iterdir():
        if others.fullmatch(partial.name):
            remove_folder(partial)


def _remove_superseded(folder: Path) -> None:
    """Remove results that the manifest will not speak of any more. By way of another name: a kill leaves all or nothing, and `_clear` finds it."""
    if (folder / MARKER).is_file():
        aside = folder.with_name(f".{folder.name}.partial-{owner_mark()}-{secrets.token_hex(4)}")
        with suppress(OSError):   # they may not be moved: then they are replaced, if all goes well
            put(folder, aside)
            remove_folder(aside)


def run_cohort(entries: Sequence[Entry], workers: Workers, manifest: Manifest, *, listener: Callable[[Update], None] = lambda update: None,
               ended: Callable[[Record], None] = lambda record: None, cancel: threading.Event | None = None) -> None:
    """Have every one of `entries` segmented by `workers`, and write down what becomes of each.

    One that does not fit into memory beside others is tried again alone; one whose worker is lost, by another; one that a run or two
    workers ended at, alone, so that no other pays for what it does. `listener` is told how
    far all are, `ended` of each study that ended. Raises Cancelled, or OutputError when the cohort's folder takes no more results; the
    workers have stopped then, in any case, what they finished meanwhile is written down too, and what they did not is as it was before.
    """
    run = _Run(entries, manifest, ended)
    try:
        while not run.over:
            while (entry := run.next(workers.has_room)) is not None:
                workers.submit(entry)
            for entry, outcome in workers.finished(_LOOK_EVERY_S):
                run.settle(entry, outcome)
            if run.barred is not None:
                raise run.barred
            listener(run.update(workers.share()))
            if cancel is not None and cancel.is_set():
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        with suppress(KeyboardInterrupt):   # a second one: nobody waits for the workers any more
            run.stop(workers)
        raise Cancelled(f"The run was cancelled; {run.done} of {len(entries)} studies are done and kept.",
                        "The same command goes on from there.") from None
    except BaseException:
        run.stop(workers)
        raise
    workers.stop()


class _Run:
    """Which studies wait, are in work and have ended, and the manifest that says so."""

    def __init__(self, entries: Sequence[Entry], manifest: Manifest, ended: Callable[[Record], None]):
        suspects = {entry.id: record.begun for entry in entries if _suspect(record := manifest.records.get(entry.id))}
        self._waiting = deque(entry for entry in entries if entry.id not in suspects)
        # After the others, one at a time, first those that were there at fewest deaths.
        self._alone = deque(sorted((entry for entry in entries if entry.id in suspects), key=lambda entry: suspects[entry.id]))
        self._in_work: dict[str, Record] = {}   # id -> what is written down of it if the run is cancelled now
        self.barred: OutputError | None = None  # why no study can be written any more
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
        if self._manifest.is_superseded(entry.id):   # if it fails now, they must not lie there as if they were of the files that there are
            _remove_superseded(self._manifest.folder / entry.id)
        begun = _begun(entry, self._manifest.records.get(entry.id))
        self._in_work[entry.id] = replace(begun, begun=begun.begun - 1)
        self._manifest.write(begun)
        return entry

    def settle(self, entry: Entry, outcome: Outcome) -> None:
        """Write down what became of a study, or have it tried again."""
        if outcome.state == "barred":   # still in work for all that is known: nothing is wrong with it
            self.barred = refused(OSError(outcome.fields["errno"], os.strerror(outcome.fields["errno"])))
            return
        begun, others = self._manifest.records[entry.id], self._in_work.keys() - {entry.id}
        if outcome.state == "lost" and begun.begun < MOST_DEATHS:   # the first time its node may just have gone
            (self._waiting if begun.begun == 1 else self._alone).append(entry)
        elif outcome.fields.get("kind") in _OF_MEMORY and others:
            self._alone.append(entry)
            self._manifest.write(replace(begun, begun=0, at=time.time()))
        else:
            record = _died(begun) if outcome.state == "lost" else replace(begun, state=outcome.state, begun=0, at=time.time(), **outcome.fields)
            self._manifest.write(record)
            self.done, self.failed = self.done + (record.state == "done"), self.failed + (record.state == "failed")
            self._ended(record)
        self._in_work.pop(entry.id, None)

    def stop(self, workers: Workers) -> None:
        """Stop early: write down that no study in work died of it, first of all, for this may be killed before the workers have stopped; then
        those that are done and not known to be."""
        try:
            self._let_go()
        finally:
            ended = workers.stop()
        for entry, outcome in ended:
            if outcome.state == "done" and self._manifest.records[entry.id].state == "begun":
                self.settle(entry, outcome)

    def _let_go(self) -> None:
        with suppress(OutputError):   # the disk is full: they count as begun once more
            self._manifest.write(*(before for name, before in self._in_work.items()
                                   if self._manifest.records.get(name, before).state == "begun"))

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


def _suspect(before: Record | None) -> bool:
    """Whether the program died at this study, or at one beside it."""
    return before is not None and (before.kind == "Died" or (before.state == "begun" and before.begun > 0))


def _died(begun: Record) -> Record:
    return replace(begun, state="failed", begun=0, at=time.time(), kind="Died",
                   reason=f"The program died {begun.begun} times while it was at this study. Look at its files, or segment it alone.")


def numbered(entries: Sequence[Entry], records: dict[str, Record]) -> list[Entry]:
    """`entries` (sorted by id) with their numbers: those that have one keep it, the others get what is free, in order."""
    known = {entry.id: records[entry.id].number for entry in entries if entry.id in records}
    taken = {record.number for record in records.values()}
    free = (number for number in range(1, len(entries) + len(taken) + 1) if number not in taken)
    return [replace(entry, number=known.get(entry.id) or next(free)) for entry in entries]
