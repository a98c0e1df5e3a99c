"""What a cohort has done: a file of JSON lines that only grows, each line on the disk before the next study begins.

The first line says what made the results; then come {"id", "number", "state": "begun" | "done" | "failed", ...}, of which a study's
last counts. A kill at any moment leaves at most a torn last line, which is cut off, and studies that have begun and not ended. Every
shard has a file of its own, so that no two processes write to one, and all of them together are the cohort.

A study that was cancelled is written down once more as begun, as often as it was before.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TypedDict

from . import __version__
from .cohort_list import SYSTEM_NAMES
from .cohort_shard import Shard
from .declared import misfit, shaped
from .errors import ConfigError, MissingFile, OutputError
from .io.lock import hold
from .labels import REGIONS
from .measure import estimated

__all__ = ["FORMAT", "Manifest", "Record", "manifests_in", "open_manifest", "read_records", "refused"]

FORMAT = "braintumorseg cohort 1"
_MANIFEST = r"manifest(-\d+-of-\d+)?\.jsonl"
_LOCK = ".cohort.lock"
_STATES = ("begun", "done", "failed")
_BEGIN_ANEW = "Choose another --out, or add --force to do all of it again."


class Told(TypedDict):
    """A flag of a study's report."""

    code: str
    severity: str
    text: str


@dataclass(frozen=True)
class Record:
    """The last that is known of a study. `at`: when, in s since 1970; `begun`: how often it was begun without an end, which a
    cancel takes back; `files`: its fingerprint when it was begun.

    ml: region or label -> volume, estimated: which of them without T1ce, flags as in report.json, seconds from its files to its results; for
    what failed the error's kind, and why with the fix.
    """

    id: str
    number: int
    state: str
    at: float
    files: str = ""
    begun: int = 0
    seconds: float = 0.0
    ml: Mapping[str, float] = field(default_factory=dict)
    estimated: tuple[str, ...] = ()
    flags: tuple[Told, ...] = ()
    provider: str = ""
    kind: str = ""
    reason: str = ""


_FIELDS = tuple(one.name for one in fields(Record))   # a later version may write more


class Manifest:
    """An open manifest that this process holds: `records` of the whole cohort, other shards' too, and `write` for its own."""

    def __init__(self, stream, records: dict[str, Record]):
        self._stream = stream
        self.records = records

    def write(self, *records: Record) -> None:
        """Add a line for each, all at once; they are on the disk when this returns. Raises OutputError."""
        try:
            _put(self._stream, *map(_as_written, records))
            self.records.update((record.id, record) for record in records)   # before the disk is waited for: an interrupt does not unwrite them
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise refused(error) from error


@contextmanager
def open_manifest(folder: Path, made: Mapping[str, object], shard: Shard = Shard(), force: bool = False) -> Iterator[Manifest]:  # noqa: B008, frozen
    """The manifest of a cohort in `folder`, which is made where it is not there.

    Args:
        made: what makes the results: network and options, plain types. A cohort has one of it.
        shard: of which part of the cohort.
        force: begin anew; what was done before is done again, whatever made it.

    Raises OutputError when `folder` is not a cohort's, when another process is at it, or when it cannot be written; ConfigError when
    what was done before was made otherwise.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _require_ours(folder)
            gate = stack.enter_context((folder / _LOCK).open("a+"))
            stream = stack.enter_context((folder / _name(shard)).open("a+b"))
            if not hold(gate, shared=shard.count > 1) or not hold(stream):
                raise OutputError(f"Another run is at work on this cohort{f', shard {shard}' if shard.count > 1 else ''}.",
                                  "Wait for its end; to share the work give each its own --shard.")
            _require_one_count(folder, shard)
            if force:
                _forget(folder, stream, shard)
            _cut_torn_line(stream)
            records = {} if force else _agreeing(folder, made)
            if not stream.tell():
                _put(stream, {"format": FORMAT, "engine": __version__, "shard": str(shard), "made": dict(made)})
                os.fsync(stream.fileno())
        except OSError as error:
            raise refused(error) from error
        yield Manifest(stream, records)


def manifests_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("manifest*.jsonl") if re.fullmatch(_MANIFEST, path.name))


def read_records(folder: Path) -> dict[str, Record]:
    """Id -> latest record over all shards. Raises MissingFile where there is no cohort, ConfigError for a damaged manifest."""
    if not manifests_in(folder):
        raise MissingFile("There is no cohort in that folder: it has no manifest.", "Give the --out of an earlier run.")
    records: dict[str, Record] = {}
    for path in manifests_in(folder):
        for name, record in _read(path)[1].items():
            if name not in records or record.at >= records[name].at:
                records[name] = record
    return records


def _agreeing(folder: Path, made: Mapping[str, object]) -> dict[str, Record]:
    for path in manifests_in(folder):
        before = _read(path)[0].get("made", made)
        # An option that an earlier version did not have was off.
        changed = [name for name in (*before, *(set(made) - set(before))) if (before.get(name) or False) != (made.get(name) or False)]
        if changed:
            name = changed[0]
            raise ConfigError(f"This cohort was begun with {_said(name, before.get(name))}, and now it is {_said(name, made.get(name))}: its "
                              "results would not be comparable.", f"Use the same as before. {_BEGIN_ANEW}")
    return read_records(folder)


def _said(name: str, value: object) -> str:
    return f"{'' if value else 'no '}--{name.replace('_', '-')}" if isinstance(value, bool) else f"{name} {str(value)[:40]}"


def _read(path: Path) -> tuple[dict, dict[str, Record]]:
    """(first line, id -> last record); a torn last line does not count. Raises ConfigError."""
    header, records = {}, {}
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            value = json.loads(line)
            if number == 1:
                if value["format"] != FORMAT:
                    raise ConfigError(f"{path.name} is in the format {str(value['format'])[:40]}, and this is {FORMAT}.", _BEGIN_ANEW)
                _require(isinstance(value.get("made", {}), Mapping))
                header = value
                continue
            record = shaped(Record, {name: value[name] for name in _FIELDS if name in value})
            _require(not misfit(record, Record) and _stays_within(record.id) and record.state in _STATES)
            _require(record.state != "done" or record.ml.keys() >= REGIONS.keys())
            if record.state == "done" and "estimated" not in value:
                record = replace(record, estimated=_estimated_in(path.parent / record.id))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ConfigError(f"{path.name} is damaged at line {number}.", f"Put back a copy of it. {_BEGIN_ANEW}") from None
        records[record.id] = record
    return header, records


def _require(sound: bool) -> None:
    """Raises ValueError for a line that is not: another program's, or damaged."""
    if not sound:
        raise ValueError


def _stays_within(name: str) -> bool:
    """Whether a study's folder of this name is one in the cohort's."""
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and not path.drive and ".." not in path.parts


def _require_ours(folder: Path) -> None:
    names = [entry.name for entry in folder.iterdir()   # listed once: shards begin at one moment
             if not entry.name.startswith(".") and entry.name.lower() not in SYSTEM_NAMES]
    if names and not any(re.fullmatch(_MANIFEST, name) for name in names):
        raise OutputError(f"The folder {folder.name} holds files but no manifest: it is not a cohort of ours and is left alone.",
                          "Choose another --out.")


def _require_one_count(folder: Path, shard: Shard) -> None:
    """Shards of another count deal the studies out otherwise: two would be at one study."""
    for path in manifests_in(folder):
        if not path.name.endswith(f"-of-{shard.count}.jsonl") and path.name != _name(shard):
            with path.open("rb") as stream:
                if not hold(stream, shared=True):   # shared: shards that look at the same moment do not take each other for it
                    raise OutputError("Another run is at work on this cohort, with another number of shards.",
                                      "Wait for its end, or share the work by its number: --shard I/N with the same N.")


def _name(shard: Shard) -> str:
    return "manifest.jsonl" if shard.count == 1 else f"manifest-{shard.index}-of-{shard.count}.jsonl"


def _forget(folder: Path, stream, shard: Shard) -> None:
    """Empty this run's manifest; a run over the whole cohort, which is alone here, removes the shards' too."""
    stream.truncate(0)
    for path in manifests_in(folder) if shard.count == 1 else ():
        if path.name != _name(shard):
            path.unlink()


def _cut_torn_line(stream) -> None:
    stream.seek(0)
    content = stream.read()
    stream.truncate(content.rfind(b"\n") + 1)
    stream.seek(0, os.SEEK_END)


def _put(stream, *values: Mapping[str, object]) -> None:
    stream.write(b"".join(json.dumps(value, ensure_ascii=True, allow_nan=False).encode() + b"\n" for value in values))
    stream.flush()


def _as_written(record: Record) -> dict:
    """What is not empty; of what is done also that nothing was estimated, which earlier versions did not tell."""
    return {name: value for name, value in asdict(record).items() if value or (name == "estimated" and record.state == "done")}


def _estimated_in(folder: Path) -> tuple[str, ...]:
    """For a result of an earlier version."""
    try:
        return estimated(json.loads((folder / "report.json").read_bytes())["missing"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def refused(error: OSError) -> OutputError:
    """What the system's refusal to write to a cohort's folder is to a user."""
    return OutputError(f"The cohort's folder cannot be written ({error.strerror or type(error).__name__}).",
                       "Free some space there, or make it yours to write. The same command goes on from there.")
