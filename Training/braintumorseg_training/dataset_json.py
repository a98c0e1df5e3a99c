"""What a dataset.json says: which channel is which sequence, and which value is which part of the tumour.

The Medical Segmentation Decathlon (Antonelli et al. 2022, Nat Commun 13:4128) writes `modality` and `labels`; nnU-Net v2 (Isensee et al. 2021)
`channel_names` and `labels`, with labels either as values or, for nested regions, as lists of values, the innermost also as its one value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from braintumorseg.errors import InputError, MissingFile
from braintumorseg.labels import CONVENTIONS, ED, ET, NCR
from braintumorseg.study import ROLES

__all__ = ["ROLE_WORDS", "convention_called", "label_table", "read_dataset_json", "role_channels"]

# How data sets name the four sequences, in lower case and without any but letters and digits.
ROLE_WORDS = {
    "t1": ("t1", "t1n", "t1w", "t1native", "t1pre"),
    "t1ce": ("t1ce", "t1c", "t1gd", "t1ceweighted", "t1post", "t1contrast", "t1wce"),
    "t2": ("t2", "t2w"),
    "flair": ("flair", "t2f", "fla", "t2flair", "flairw"),
}
_ROLE_OF = {word: role for role, words in ROLE_WORDS.items() for word in words}
# Words that name a part; tried in this order, for "non-enhancing" holds "enhancing" and "tumor core" may be "necrotic tumor core".
_PARTS = (
    (0, r"background|resection cavity|\brc\b"),
    (ED, r"o?edema|\bed\b|snfh"),
    (NCR, r"necro|\bncr\b|non[\s_-]?enh|\bnetc?\b"),
    (ET, r"enhanc|\bet\b|active"),
)
_REGION_WORDS = {"WT": r"whole|\bwt\b", "TC": r"core|\btc\b", "ET": r"enhanc|\bet\b"}
_LARGEST = 65535  # value of a label
_FIX = "Correct dataset.json, as its makers describe the data."


def read_dataset_json(folder: Path) -> dict:
    """The object in folder/dataset.json. Raises MissingFile or InputError."""
    path = folder / "dataset.json"
    try:
        given = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise MissingFile(f"There is no dataset.json in {folder.name}.", "It says which channel is which sequence; copy it there.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"dataset.json in {folder.name} cannot be read ({type(error).__name__}).", "Check that it is JSON.") from None
    if not isinstance(given, dict):
        raise InputError(f"dataset.json in {folder.name} is no JSON object.", _FIX)
    return given


def role_channels(given: Mapping) -> dict[str, int]:
    """Role -> channel number, from `channel_names` or `modality`. Raises InputError for a name that is none of the four sequences."""
    names = given.get("channel_names", given.get("modality"))
    if not isinstance(names, Mapping) or not names:
        raise InputError("dataset.json has neither channel_names nor modality.", _FIX)
    channels: dict[str, int] = {}
    for number, name in names.items():
        role = _ROLE_OF.get(re.sub(r"[^a-z0-9]", "", str(name).lower()))
        if role is None or not str(number).isdigit():
            raise InputError(f"Channel {number} of dataset.json is called {name!r}, which is none of {', '.join(ROLES)}.", _FIX)
        if role in channels:
            raise InputError(f"Channels {channels[role]} and {number} of dataset.json are both {role}.", _FIX)
        channels[role] = int(number)
    return channels


def label_table(given: Mapping) -> dict[int, int]:
    """Value in the label files -> our value, from `labels`. Raises InputError when a name or the nesting of regions is not clear."""
    try:
        return _label_table(given.get("labels"))
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"The labels of dataset.json are not whole numbers from 0 to {_LARGEST}.", _FIX) from None


def _label_table(labels: object) -> dict[int, int]:
    if not isinstance(labels, Mapping) or not labels:
        raise InputError("dataset.json has no labels.", _FIX)
    if all(str(key).lstrip("-").isdigit() for key in labels):  # the Decathlon: value -> name
        labels = {name: _whole(value) for value, name in labels.items()}
    nested = {str(name): value for name, value in labels.items() if isinstance(value, list)}
    if nested:  # nnU-Net lets a region of one value do without its list, and only the innermost has one
        nested |= {str(name): [value] for name, value in labels.items() if not isinstance(value, list) and _part(str(name)) == ET}
    table = _from_regions(nested) if nested else {}
    for name, value in labels.items():
        if not isinstance(value, list):
            table[_whole(value)] = _part(str(name))
    if sorted(value for value in table.values() if value) != sorted((NCR, ED, ET)):
        raise InputError("dataset.json does not name oedema, non-enhancing core and enhancing tumour once each.", _FIX)
    return {0: 0, **table}


def convention_called(table: Mapping[int, int]) -> str:
    """The name of the convention that this table is, 'dataset.json' for one that has no name."""
    return next((name for name, known in CONVENTIONS.items() if dict(known) == dict(table)), "dataset.json")


def _whole(value: object) -> int:
    """The value of a label. Raises what `label_table` answers for one that is none, as 2.5 or true."""
    if isinstance(value, bool) or int(value) != float(value) or not 0 <= int(value) <= _LARGEST:
        raise ValueError(value)
    return int(value)


def _part(name: str) -> int:
    for value, words in _PARTS:
        if re.search(words, name.lower()):
            return value
    raise InputError(f"dataset.json has a label {name!r}, which is no part of a glioma known here.", _FIX)


def _from_regions(nested: Mapping[str, list]) -> dict[int, int]:
    """Whole tumour, core and enhancing tumour as sets of values, each inside the one before -> value by value."""
    sets = {}
    for region, words in _REGION_WORDS.items():
        fitting = [name for name in nested if re.search(words, name.lower())]
        if len(fitting) != 1:
            raise InputError(f"dataset.json names {len(fitting)} regions that may be {region} ({', '.join(nested)}).", _FIX)
        sets[region] = {_whole(value) for value in nested[fitting[0]]}
    parts = {ET: sets["ET"], NCR: sets["TC"] - sets["ET"], ED: sets["WT"] - sets["TC"]}
    if not sets["ET"] < sets["TC"] < sets["WT"] or any(len(values) != 1 for values in parts.values()):
        raise InputError("The regions of dataset.json do not lie inside one another with one value each.", _FIX)
    return {values.pop(): part for part, values in parts.items()}
