"""What torch raises when memory runs out, or when a process that makes patches fails, as errors of ours: one line each, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from braintumorseg import errors
from braintumorseg.errors import BrainTumorSegError, InputError, ResourceError

__all__ = ["failure_of", "naming_failures"]

_AGAIN = "; the same command goes on from the last checkpoint."
_SMALLER = " A smaller patch or batch makes another run, with another --out."
_FROM_WORKER = re.compile(r"Caught \w+ in DataLoader worker")   # its traceback follows, with what was raised at the end
_GPU_FULL = re.compile(r"CUDA[^\n]*out of memory|CU\w+_STATUS_ALLOC_FAILED")
_KILLED = r"DataLoader worker \(pid.*(exited unexpectedly|killed by signal)"
_CUT_OFF = (ConnectionResetError, ConnectionRefusedError, EOFError)   # of a worker that was killed while it handed something over
_WORDS = (
    (r"shared memory\(shm\)|workers are out of shared memory", "Patches are handed over in shared memory (/dev/shm), and that is full.",
     f"Give a smaller --workers (0 needs none of it), or the container more of it (docker run --shm-size){_AGAIN}"),
    (_KILLED, "A process that makes patches was killed, most likely because the memory was full.",
     f"Give a smaller --workers, or the job more memory{_AGAIN}"),
    (r"DefaultCPUAllocator|Unable to allocate|Cannot allocate memory", "The run does not fit into this machine's memory.",
     f"Give a smaller --workers, or the job more memory{_AGAIN}{_SMALLER}"))


@contextmanager
def naming_failures() -> Iterator[None]:
    """Around what torch does: such a failure within the block is raised as `failure_of` says it."""
    try:
        yield
    except (RuntimeError, MemoryError, BrainTumorSegError, *_CUT_OFF) as error:
        named = failure_of(error)
        if named is None:
            raise
        raise named from error


def failure_of(error: BaseException) -> BrainTumorSegError | None:
    """The error of ours that says what `error` is about; None where it is about something else, or says it well itself."""
    text = "\n".join(str(one) for one in (error, error.__cause__) if one is not None)
    if isinstance(error, BrainTumorSegError):
        return _raised_by_worker(error.what)
    if isinstance(error, torch.OutOfMemoryError) or _GPU_FULL.search(text):
        return ResourceError(f"The run does not fit into the GPU's memory ({str(error).partition('. GPU')[0].splitlines()[0].rstrip('.')}).",
                             f"End what else runs there{_AGAIN}{_SMALLER}")
    for words, what, fix in _WORDS:
        if re.search(words, text) or (words == _KILLED and isinstance(error, _CUT_OFF)):
            return ResourceError(what, fix)
    return ResourceError(*_WORDS[-1][1:]) if isinstance(error, MemoryError) else None


def _raised_by_worker(text: str) -> BrainTumorSegError | None:
    """An error of ours that a worker raised, which torch hands on with the worker's traceback as its words."""
    found = re.search(r"\S*\berrors\.(\w+): ([^\n]+)\s*$", text) if _FROM_WORKER.match(text) else None
    return getattr(errors, found[1], InputError)(found[2]) if found else None
