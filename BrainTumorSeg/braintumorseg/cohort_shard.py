"""Parts of a cohort, for array jobs."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Shard"]

_Study = TypeVar("_Study")


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 1) of `count` parts of a cohort. Raises ValueError for one that there is not."""

    index: int = 1
    count: int = 1

    def __post_init__(self):
        if not 1 <= self.index <= self.count:
            raise ValueError(f"there is no part {self.index} of {self.count}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, studies: Sequence[_Study], by: Callable[[_Study], str]) -> list[_Study]:
        """Those of `studies` that fall to this part, sorted `by` their ids; all parts together have each study once.

        A study's part hangs on its id alone, not on the others: a folder may grow between the starts of two parts. So they are equal only by
        and large, and one of few studies may be empty.
        """
        return [study for study in sorted(studies, key=by) if _part(by(study), self.count) == self.index - 1]


def _part(name: str, count: int) -> int:
    """Disks spell one name in two ways."""
    spelt = unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(spelt).digest(), "big") % count
