"""Several sequences at once. numpy, zlib, ITK and ONNX Runtime let other threads run while they compute, so plain threads are enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["at_once"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def at_once(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """[work(item) for item in items], each in a thread of its own: the system shares the cores out among them.

    What the first of them (in their order) raises is raised here, once all that had begun have ended.
    """
    items = list(items)
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(len(items)) as threads:
        return list(threads.map(work, items))
