"""What an argument of the command line must be, as argparse's types."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["not_negative", "some_path"]


def some_path(words: str) -> Path:
    """Not an empty text, which would be the folder at hand with whatever patient is in it."""
    if not words:
        raise argparse.ArgumentTypeError("an empty path was given; in a script a variable may be unset")
    return Path(words)


def not_negative(words: str) -> int:
    if not words.isdecimal():
        raise argparse.ArgumentTypeError(f"'{words}' is not a whole number from 0 on")
    return int(words)
