"""What a cohort has done: a file of JSON lines that only grows, each line on the disk before the next study begins.

The first line says what made the results; then come {"id", "number", "state": "begun" | "done" | "failed", ...}, of which a study's
last counts. A line {"listed": {id: number}} names studies that were given to a run and that nobody had begun then. A kill at any moment leaves
at most a torn last line, which is cut off, and studies that have begun and not ended. Every shard has a file of its own, so that no two processes
write to one, and all of them together are the cohort.

A study that was cancelled is written down once more as begun, as often as it was before.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from . import __version__
from .cohort_list import SYSTEM_NAMES, Entry
from .cohort_records import BEGIN_ANEW, FORMAT, MANIFEST, Record, as_written, latest, listed, manifests_in, read_manifest, read_records
from .cohort_shard import Shard
from .errors import ConfigError, OutputError
from .io.lock import hold

__all__ = ["FORMAT", "Manifest", "Record", "manifests_in", "open_manifest", "read_records", "refused"]

_LOCK = ".cohort.lock"
_LOOKS, _LOOK_S = 5, 0.05   # at one's own manifest: another shard may look at it for a moment


class Manifest:
    """An open manifest that this process holds: `records` of the whole cohort, other shards' too, and `write` for its own.

    homes: id -> the manifest with the record. forced: all that there is is to be done anew.
    """

    def __init__(self, stream: IO[bytes], path: Path, records: dict[str, Record], homes: Mapping[str, Path], forced: bool = False):
        self._stream, self._path, self._homes, self._forced = stream, path, dict(homes), forced
        self.records = records

    @property
    def folder(self) -> Path:
        return self._path.parent

    def enlist(self, entries: Iterable[Entry]) -> None:
        """Write down those of `entries` that nobody has begun, so that none is forgotten if nobody ever does. Raises OutputError."""
        new = listed({entry.id: entry.number for entry in entries if self._forced or entry.id not in self.records}, self._forced)
        if new:
            with _refusals():
                _put(self._stream, {"listed": {record.id: record.number for record in new.values()}, "forced": self._forced})
                os.fsync(self._stream.fileno())
            self.records |= {name: replace(record, at=self.records[name].at) if name in self.records else record for name, record in new.items()}

    def write(self, *records: Record) -> None:
        """Add a line for each, all at once; they are on the disk when this returns. Raises OutputError.

        Each is made later than what was known of its study: the latest counts, and the clock of the machine that wrote it may have been ahead.
        """
        later = [replace(one, at=max(one.at, self.records[one.id].at + 0.001)) if one.id in self.records else one for one in records]
        with _refusals():
            _put(self._stream, *map(as_written, later))
            self.records.update((record.id, record) for record in later)   # before the disk is waited for: an interrupt does not unwrite them
            self._homes.update((record.id, self._path) for record in later)
            os.fsync(self._stream.fileno())

    def is_free(self, name: str) -> bool:
        """Whether nobody else is at the study `name`: what is known of it stands here, or where no process writes any more."""
        home = self._homes.get(name, self._path)
        if home == self._path or not home.exists():
            return True
        with _refusals(), home.open("rb") as stream:
            return hold(stream, shared=True)

    def is_superseded(self, name: str) -> bool:
        """Whether what results there are of the study `name`, which is taken up now, are of other files or were made otherwise."""
        record = self.records.get(name)
        return record is not None and (record.state == "done" or record.forced)


@contextmanager
def open_manifest(folder: Path, made: Mapping[str, object], shard: Shard = Shard(), force: bool = False) -> Iterator[Manifest]:  # noqa: B008, frozen
    """The manifest of a cohort in `folder`, which is made where it is not there.

    Args:
        made: what makes the results: network and options, plain types. A cohort has one of it, and one version of this engine.
        shard: of which part of the cohort.
        force: begin anew; what was done before is done again, whatever made it.

    Raises OutputError when `folder` is not a cohort's, when another process is at it, or when it cannot be written; ConfigError when
    what was done before was made otherwise.
    """
    with ExitStack() as stack:
        with _refusals():
            folder.mkdir(parents=True, exist_ok=True)
            _require_ours(folder)
            path = folder / _name(shard)
            gate = stack.enter_context((folder / _LOCK).open("a+"))
            stream = stack.enter_context(path.open("a+b"))
            if not hold(gate, shared=shard.count > 1) or not _hold_patiently(stream):
                raise OutputError(f"Another run is at work on this cohort{f', shard {shard}' if shard.count > 1 else ''}.",
                                  "Wait for its end; to share the work give each its own --shard.")
            _require_one_count(folder, shard)
            known = _forget(folder, stream, shard, made) if force else {}
            _cut_torn_line(stream)
            if not force:
                _require_made_so(folder, made)
                known = latest(folder)
            if not stream.tell():
                _put(stream, {"format": FORMAT, "engine": __version__, "shard": str(shard), "made": dict(made)})
                os.fsync(stream.fileno())
        yield Manifest(stream, path, {name: record for name, (record, _) in known.items()}, {name: home for name, (_, home) in known.items()}, force)


def _hold_patiently(stream: IO[bytes]) -> bool:
    for _ in range(_LOOKS):
        if hold(stream):
            return True
        time.sleep(_LOOK_S)
    return False


def _require_made_so(folder: Path, made: Mapping[str, object]) -> None:
    for path in manifests_in(folder):
        if found := _difference(read_manifest(path)[0], made):
            before, now = found
            raise ConfigError(f"This cohort was begun with {before}, and now it is {now}: its results would not be comparable.",
                              f"Use the same as before. {BEGIN_ANEW}")


def _difference(header: Mapping[str, object], made: Mapping[str, object]) -> tuple[str, str] | None:
    """How the first thing was that is not as before, and how it is now, in words; None where all is as before."""
    if "made" not in header:   # nothing has been made yet
        return None
    return _first_difference({"engine": header.get("engine", __version__), **header["made"]}, {"engine": __version__, **made})


def _first_difference(before: Mapping[str, object], now: Mapping[str, object], within: str = "") -> tuple[str, str] | None:
    for name in (*before, *(name for name in now if name not in before)):
        one, other = before.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            if found := _first_difference(one, other, f"{within}{name} "):
                return found
        # An option that an earlier version did not have was off; what else it did not tell is not known.
        elif (one or False) != (other or False) and (name in before or isinstance(other, bool)):
            return _said(within + name, one), _said(within + name, other)
    return None


def _said(name: str, value: object) -> str:
    if isinstance(value, bool) and " " not in name:
        return f"{'' if value else 'no '}--{name.replace('_', '-')}"
    return f"{name} {str(value)[:40]}"


def _require_ours(folder: Path) -> None:
    names = [entry.name for entry in folder.iterdir()   # listed once: shards begin at one moment
             if not entry.name.startswith(".") and entry.name.lower() not in SYSTEM_NAMES]
    if names and not any(re.fullmatch(MANIFEST, name) for name in names):
        raise OutputError(f"The folder {folder.name} holds files but no manifest: it is not a cohort of ours and is left alone.",
                          "Choose another --out.")


def _require_one_count(folder: Path, shard: Shard) -> None:
    """Shards of another count deal the studies out otherwise: two would be at one study."""
    for path in manifests_in(folder):
        if not _is_of(path, shard) and path.name != _name(shard):
            with path.open("rb") as stream:
                if not hold(stream, shared=True):   # shared: shards that look at the same moment do not take each other for it
                    raise OutputError("Another run is at work on this cohort, with another number of shards.",
                                      "Wait for its end, or share the work by its number: --shard I/N with the same N.")


def _name(shard: Shard) -> str:
    return "manifest.jsonl" if shard.count == 1 else f"manifest-{shard.index}-of-{shard.count}.jsonl"


def _is_of(path: Path, shard: Shard) -> bool:
    return path.name.endswith(f"-of-{shard.count}.jsonl")


def _forget(folder: Path, stream: IO[bytes], shard: Shard, made: Mapping[str, object]) -> dict[str, tuple[Record, Path]]:
    """Empty this run's manifest, and whichever of the others it could not be gone on with beside: those of another number of shards, and of this
    number those that were made otherwise, unless a process is at them. A run over the whole cohort, which is alone here, removes all.

    What is known after it, for what it is worth: numbers and times.
    """
    try:
        known = latest(folder)
    except ConfigError:   # a damaged one, which goes now
        known = {}
    stream.truncate(0)
    for path in manifests_in(folder):
        if path.name == _name(shard):
            continue
        if shard.count == 1:
            path.unlink()
        elif not _may_stay(path, shard, made):
            with path.open("r+b") as other:
                # Looked at again, now that it is held: its shard may have begun anew just now.
                if hold(other) and not _may_stay(path, shard, made):
                    other.truncate(0)
    return {name: (Record(name, record.number, "listed", record.at, forced=True), home) for name, (record, home) in known.items()}


def _may_stay(path: Path, shard: Shard, made: Mapping[str, object]) -> bool:
    try:
        return _is_of(path, shard) and _difference(read_manifest(path)[0], made) is None
    except ConfigError:
        return False


def _cut_torn_line(stream: IO[bytes]) -> None:
    stream.seek(0)
    content = stream.read()
    stream.truncate(content.rfind(b"\n") + 1)
    stream.seek(0, os.SEEK_END)


def _put(stream: IO[bytes], *values: Mapping[str, object]) -> None:
    stream.write(b"".join(json.dumps(value, ensure_ascii=True, allow_nan=False).encode() + b"\n" for value in values))
    stream.flush()


@contextmanager
def _refusals() -> Iterator[None]:
    """What the system refuses within is an OutputError."""
    try:
        yield
    except OSError as error:
        raise refused(error) from error


def refused(error: OSError) -> OutputError:
    """What the system's refusal to write to a cohort's folder is to a user."""
    return OutputError(f"The cohort's folder cannot be written ({error.strerror or type(error).__name__}).",
                       "Free some space there, or make it yours to write. The same command goes on from there.")
