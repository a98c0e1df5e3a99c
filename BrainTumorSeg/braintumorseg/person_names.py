"""Whether names in DICOM headers may be those of one person."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["are_several_people", "words_of_name"]

# What stands for a name that is not told.
_NOBODY = frozenset({"anon", "anonym", "anonymous", "anonymized", "anonymised", "anonymize", "anonymise", "deidentified", "removed", "hidden",
                     "unknown", "none", "noname", "nobody", "no", "name", "patient", "subject"})


def words_of_name(name: str) -> frozenset[str]:
    """The family, given and middle names of a person name (PS3.5 6.2) in all its scripts, lower case without accents; initials are none.

    A name of several words, and one with a mark in it, counts in one word too (O'Brien, van der Berg), and one with ae, oe or ue as with an umlaut.
    """
    words: set[str] = set()
    for part in (part for group in str(name).split("=") for part in group.split("^")[:3]):
        plain = "".join(letter for letter in unicodedata.normalize("NFKD", part.casefold()) if not unicodedata.combining(letter))
        split = [word for word in re.split(r"[\W_]+", plain) if len(word) > 1 or not word.isascii()]
        joined = [re.sub(r"[\W_]+", "", plain)] if split and _NOBODY.isdisjoint(split) else []
        words.update(split, joined)
    return frozenset(words | {re.sub("([aou])e", r"\1", word) for word in words}) - _NOBODY - {""}


def are_several_people(records: Iterable[tuple[frozenset[str], str]]) -> bool:
    """True when (words of a name, birth date or '') of images with one patient ID fall apart: one person's share a word or the birth date.

    A record without a name says nothing.
    """
    people: list[set[str]] = []
    for words, birth in {record for record in records if record[0]}:
        mine = {*words, *([f"born {birth}"] if birth else [])}
        for other in [one for one in people if one & mine]:
            people.remove(other)
            mine |= other
        people.append(mine)
    return len(people) > 1
