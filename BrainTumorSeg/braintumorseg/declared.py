"""Values held against what a dataclass declares of its fields: for files that anybody may have written."""

from __future__ import annotations

import collections.abc
import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Union, get_args, get_origin, get_type_hints

__all__ = ["misfit", "shaped", "walk"]

_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number", type(None): "nothing"}

_hints = lru_cache(maxsize=None)(get_type_hints)


def shaped(kind: type, value: object) -> object:
    """A value as JSON has it in the shape that `kind` declares: objects as dataclasses, lists as tuples; what has another shape stays as it is.

    Raises TypeError for a field that is unknown or missing.
    """
    if is_dataclass(kind) and isinstance(value, Mapping):
        return kind(**{name: shaped(_hints(kind).get(name, object), one) for name, one in value.items()})
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(shaped(one_kind, one) for one_kind, one in zip(_kinds_within(kind, len(value)), value))  # noqa: B905, for Slicer 5.8's Python
    return value


def misfit(value: object, kind: type) -> str:
    """What is wrong with the first value that is not as `kind` declares, in words; '' where all fit.

    kind: str, bool, int, float, object, a dataclass, a TypedDict, a Union, or a tuple or Mapping of such. A whole number will do for float;
    all numbers must be finite, also where anything may be.
    """
    for one, its_kind, name in walk(value, kind):
        if isinstance(one, float) and not math.isfinite(one):
            return f"{name} is {one}, which is no number"
        if not _is(one, its_kind):
            return f"{name} is {reprlib.repr(one)}, not {_words(its_kind)}"
    return ""


def walk(value: object, kind: type = object, name: str = "") -> Iterator[tuple[object, type, str]]:
    """(value, what it should be, its name) of a value and all that is within it, names of a Mapping too; of what is wrong nothing may be asked
    any more."""
    yield value, kind, name
    for part in _parts(value, kind, name):
        yield from walk(*part)


def _is(value: object, kind: type) -> bool:
    """Whether the value itself is of that kind; what is within it aside."""
    if kind is float or kind is int:
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if get_origin(kind) is Union:
        return any(_is(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and len(_kinds_within(kind, len(value))) == len(value)
    if _is_table(kind):
        return isinstance(value, Mapping) and all(isinstance(key, str) for key in value) and getattr(kind, "__required_keys__", set()) <= value.keys()
    return isinstance(value, kind)


def _parts(value: object, kind: type, name: str) -> Iterator[tuple[object, type, str]]:
    """(value, kind, name) of everything within."""
    if is_dataclass(kind):
        yield from ((getattr(value, field), one, f"{name}.{field}".lstrip(".")) for field, one in _hints(kind).items())
    elif isinstance(value, Mapping):
        yield from ((key, str, f"a name in {name}") for key in value if isinstance(key, str))
        known = _hints(kind) if hasattr(kind, "__total__") else dict.fromkeys(value, (get_args(kind) or (str, object))[1])
        yield from ((one, known.get(key, object), f"{name}.{key}") for key, one in value.items())
    elif isinstance(value, (tuple, list)):
        kinds = _kinds_within(kind, len(value)) if get_args(kind) else [object] * len(value)
        yield from ((one, kinds[number], f"{name}[{number}]") for number, one in enumerate(value))


def _kinds_within(kind: type, count: int) -> list[type]:
    """Of a tuple's items; as many as it has, or `count` where any number will do."""
    kinds = get_args(kind)
    return [kinds[0]] * count if kinds[1:] == (...,) else list(kinds)


def _is_table(kind: type) -> bool:
    return hasattr(kind, "__total__") or get_origin(kind) is collections.abc.Mapping


def _words(kind: type) -> str:
    if get_origin(kind) is Union:
        return " or ".join(map(_words, get_args(kind)))
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        return "a list" if kinds[1:] == (...,) else f"a list of {len(kinds)}"
    if _is_table(kind) or is_dataclass(kind):
        required = sorted(getattr(kind, "__required_keys__", ()))
        return "values with names" + (f", {', '.join(required)} among them" if required else "")
    return _WORDS.get(kind, "a " + getattr(kind, "__name__", str(kind)))
