"""What a cohort's manifests say: of each study the last that is known, over all shards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TypedDict

from .declared import misfit, shaped
from .errors import ConfigError, MissingFile
from .labels import REGIONS
from .measure import estimated

__all__ = ["BEGIN_ANEW", "FORMAT", "MANIFEST", "Record", "as_written", "latest", "listed", "manifests_in", "read_manifest", "read_records"]

FORMAT = "braintumorseg cohort 1"
MANIFEST = r"manifest(-\d+-of-\d+)?\.jsonl"
BEGIN_ANEW = "Choose another --out, or add --force to do all of it again."
_STATES = ("begun", "done", "failed")


class Told(TypedDict):
    """A flag of a study's report."""

    code: str
    severity: str
    text: str


@dataclass(frozen=True)
class Record:
    """The last that is known of a study. `state` is also 'listed', of one that nobody has begun. `at`: when, in s since 1970, and later than all that
    was known before; `begun`: how often it was begun without an end, which a cancel takes back; `files`: its fingerprint when it was begun.

    ml: region or label -> volume, estimated: which of them without T1ce, flags as in report.json, seconds from its files to its results; for
    what failed the error's kind, and why with the fix. forced: listed to be done anew, whatever results there are.
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
    forced: bool = False


_FIELDS = tuple(one.name for one in fields(Record))   # a later version may write more


def manifests_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("manifest*.jsonl") if re.fullmatch(MANIFEST, path.name))


def read_records(folder: Path) -> dict[str, Record]:
    """Id -> latest record over all shards. Raises MissingFile where there is no cohort, ConfigError for a damaged manifest."""
    if not manifests_in(folder):
        raise MissingFile("There is no cohort in that folder: it has no manifest.", "Give the --out of an earlier run.")
    return {name: record for name, (record, _) in latest(folder).items()}


def latest(folder: Path) -> dict[str, tuple[Record, Path]]:
    """Id -> latest record, and the manifest that has it. Raises ConfigError for a damaged manifest."""
    found: dict[str, tuple[Record, Path]] = {}
    for path in manifests_in(folder):
        for name, record in read_manifest(path)[1].items():
            if name not in found or record.at >= found[name][0].at:
                found[name] = record, path
    return found


def listed(numbers: Mapping[str, int], forced: bool = False) -> dict[str, Record]:
    """Id -> record of studies that nobody has begun. forced: since all was to be done anew."""
    return {name: Record(name, number, "listed", 0.0, forced=forced, reason="not begun") for name, number in numbers.items()}


def read_manifest(path: Path) -> tuple[dict, dict[str, Record]]:
    """(first line, id -> last record); a torn last line does not count. Raises ConfigError."""
    header, records = {}, {}
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            value = json.loads(line)
            if number == 1:
                if value["format"] != FORMAT:
                    raise ConfigError(f"{path.name} is in the format {str(value['format'])[:40]}, and this is {FORMAT}.", BEGIN_ANEW)
                _require(isinstance(value.get("made", {}), Mapping))
                header = value
                continue
            if "listed" in value:
                found = listed(value["listed"], bool(value.get("forced")))
                _require(not any(misfit(one, Record) or not _stays_within(one.id) for one in found.values()))
                records = found | records
                continue
            record = shaped(Record, {name: value[name] for name in _FIELDS if name in value})
            _require(not misfit(record, Record) and _stays_within(record.id) and record.state in _STATES)
            _require(record.state != "done" or record.ml.keys() >= REGIONS.keys())
            if record.state == "done" and "estimated" not in value:
                record = replace(record, estimated=_estimated_in(path.parent / record.id))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ConfigError(f"{path.name} is damaged at line {number}.", f"Put back a copy of it. {BEGIN_ANEW}") from None
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


def as_written(record: Record) -> dict:
    """What is not empty; of what is done also that nothing was estimated, which earlier versions did not tell."""
    return {name: value for name, value in asdict(record).items() if value or (name == "estimated" and record.state == "done")}


def _estimated_in(folder: Path) -> tuple[str, ...]:
    """For a result of an earlier version."""
    try:
        return estimated(json.loads((folder / "report.json").read_bytes())["missing"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


