"""Equal parts of a cohort, for array jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Shard"]

_Study = TypeVar("_Study")


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 1) of `count` equal parts of a cohort. Raises ValueError for one that there is not."""

    index: int = 1
    count: int = 1

    def __post_init__(self):
        if not 1 <= self.index <= self.count:
            raise ValueError(f"there is no part {self.index} of {self.count}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, studies: Sequence[_Study], by: Callable[[_Study], str]) -> list[_Study]:
        """Every `count`th study, sorted `by` its id; all shards together have each study once."""
        return sorted(studies, key=by)[self.index - 1::self.count]
