"""Which studies a cohort has: the folders in a folder, or the rows of a table."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ConfigError, MissingFile
from .study import ROLES

__all__ = ["COLUMNS", "SYSTEM_NAMES", "Entry", "list_folder", "read_list"]

COLUMNS = ("id", "path", *ROLES, "study")
# What systems leave in folders and at the root of a disk, in lower case: Windows, macOS, Linux, and the servers of Synology and QNAP.
SYSTEM_NAMES = frozenset({"$recycle.bin", "recycler", "system volume information", "desktop.ini", "thumbs.db", "__macosx", "lost+found",
                          "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"})
_NAMES_OF_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)   # on Windows, with any ending


@dataclass(frozen=True)
class Entry:
    """One study to segment: where it lies, as `read_study` takes it. `id` names its folder of results, and may be a patient's name:
    nothing that reaches a terminal or a log says it; there a study is its `number`, from 1.
    """

    id: str
    paths: tuple[Path, ...] = ()
    roles: Mapping[str, Path | str] = field(default_factory=dict)
    study: int | None = None
    number: int = 0


def list_folder(folder: Path, but: Path | None = None) -> list[Entry]:
    """A study for every folder in `folder`, sorted by name; hidden ones, SYSTEM_NAMES and `but` (the results) are none. Raises MissingFile."""
    if not folder.is_dir():
        raise MissingFile("There is no folder of studies at the place given.", "Check the path, or give a table with --list.")
    but = but and but.resolve()
    folders = [entry for entry in folder.absolute().iterdir()
               if not entry.name.startswith(".") and entry.name.lower() not in SYSTEM_NAMES and entry.is_dir() and entry.resolve() != but]
    if not folders:
        raise MissingFile("The folder given holds no folders; each study must have its own.", "Give the folder above the studies' folders.")
    return [Entry(entry.name, (entry,)) for entry in sorted(folders)]


def read_list(table: Path) -> list[Entry]:
    """A study for every row of a CSV file with the columns id, path, t1, t1ce, t2, flair, study: the id, and what `segment` takes.

    Paths count from the table's folder. A row needs a path or a sequence; columns that no row needs may be absent. Raises MissingFile
    or ConfigError, which name the row.
    """
    table = table.absolute()
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            columns, rows = rows.fieldnames or [], list(rows)
    except FileNotFoundError:
        raise MissingFile(f"There is no file {table.name} at the place given.", "Check the path and its spelling.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{table.name} cannot be read ({type(error).__name__}).", "It must be a CSV file in UTF-8.") from None
    unknown = [name for name in columns if name not in COLUMNS]
    twice = [name for name in columns if columns.count(name) > 1]
    if unknown or twice or "id" not in columns:
        wrong = f"a column {unknown[0]!r}" if unknown else f"two columns {twice[0]!r}" if twice else "no column 'id'"
        raise ConfigError(f"{table.name} has {wrong}.", f"Its first line names the columns, of {', '.join(COLUMNS)}, separated by commas.")
    entries = [_entry(table, number, row) for number, row in enumerate(rows, start=1)]
    if not entries:
        raise ConfigError(f"{table.name} lists no study.", "Add a row for each.")
    first: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        other = first.setdefault(unicodedata.normalize("NFC", entry.id).casefold(), number)  # as some disks see them
        if other != number:
            raise ConfigError(f"Rows {other} and {number} of {table.name} have one id.", "Each study needs its own.")
    return sorted(entries, key=lambda entry: entry.id)


def _entry(table: Path, number: int, row: Mapping[str, str | None]) -> Entry:
    where = f"Row {number} of {table.name}"
    if None in row:
        raise ConfigError(f"{where} has more values than there are columns.", "Put values that hold commas in quotes.")
    values = {name: (value or "").strip() for name, value in row.items()}
    if any("\0" in value for value in values.values()):
        raise ConfigError(f"{where} holds a character that no path can have.", "Write the table anew: it was damaged, or is not in UTF-8.")
    name = values["id"]
    if not name or name.startswith(".") or set(name) & set('/\\:*?"<>|') or not name.isprintable() or not _for_windows(name):
        raise ConfigError(f"{where} has an id that cannot name a folder.", "Use letters, digits, - and _.")
    if values.get("study") and not values["study"].isdecimal():
        raise ConfigError(f"{where}: the column 'study' counts the DICOM studies of a folder from 1.", "Give a number, or leave it empty.")
    roles = {role: values[role] if values[role].isdecimal() else table.parent / values[role] for role in ROLES if values.get(role)}
    paths = (table.parent / values["path"],) if values.get("path") else ()
    if not paths and not roles:
        raise ConfigError(f"{where} has neither a path nor a sequence.", "Give the study's folder, or its images.")
    return Entry(name, paths, roles, int(values["study"]) if values.get("study") else None)


def _for_windows(name: str) -> bool:
    """False for what Windows takes for another name, or for a device; results may go there later."""
    return not name.endswith((".", " ")) and not _NAMES_OF_DEVICES.fullmatch(name)
