"""Keeps what pydicom has to say of odd headers out of logs and terminals: it quotes their values, a birth date too."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

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
    """Within it pydicom neither warns nor logs, in any thread."""
    logger = logging.getLogger("pydicom")
    disabled = logger.disabled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = disabled
