"""Keeps what pydicom has to say of odd headers out of logs and terminals: it quotes their values, a birth date too."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["hush", "quiet"]


def hush() -> None:
    """For the whole of a process that exists for a run: warnings of the DICOM libraries must not reach its terminal or its log."""
    warnings.simplefilter("ignore", UserWarning)
    for library in ("pydicom", "highdicom", "pynetdicom"):
        logger = logging.getLogger(library)
        logger.propagate = False
        if not logger.handlers:  # without one Python prints warnings itself
            logger.addHandler(logging.NullHandler())


@contextmanager
def quiet() -> Iterator[None]:
    """Within it pydicom neither warns nor logs, in any thread; several threads may be within it, and leave in any order."""
    _silence.enter()
    try:
        yield
    finally:
        _silence.leave()


class _Silence:
    """Warnings and loggers belong to the whole process: the first thread to enter silences them, the last to leave puts them back."""

    def __init__(self):
        self._turn, self._within, self._undo = threading.Lock(), 0, ExitStack()

    def enter(self) -> None:
        with self._turn:
            self._within += 1
            if self._within == 1:
                logger = logging.getLogger("pydicom")
                self._undo.enter_context(warnings.catch_warnings())
                self._undo.callback(setattr, logger, "disabled", logger.disabled)
                warnings.simplefilter("ignore")
                logger.disabled = True

    def leave(self) -> None:
        with self._turn:
            self._within -= 1
            if self._within == 0:
                self._undo.close()


_silence = _Silence()
