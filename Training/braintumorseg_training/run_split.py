"""The split that a run was trained with, kept as split.json in its folder: what it may go on with, and what its card says of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from braintumorseg.errors import ModelError

from .lineage import Learned, Lineage, joined, learned_by_name
from .splits import Split, read_split, some_of, write_splits

__all__ = ["RUN_SPLIT", "init_of", "keep_split", "learned_by", "refuse_another_split", "refuse_untrained_split", "split_of_run", "trained_split"]

RUN_SPLIT = "split.json"


def init_of(run: Path) -> str:
    """The weights that a run began from, as its configuration says; '' for none."""
    with suppress(OSError, ValueError, AttributeError):
        return str(json.loads((run / "config.json").read_text(encoding="utf-8-sig")).get("init", ""))
    return ""


def keep_split(out: Path, split: Split) -> None:
    """Write out/split.json, for a run that begins. Raises OutputError."""
    write_splits([split], out / RUN_SPLIT, force=True)


def split_of_run(run: Path) -> Split | None:
    """The split in a run's folder; None where there is none, for older runs kept none. Raises InputError when it is damaged.

    What an older run, which began from weights, does not say of them is not known: a lineage that is not complete.
    """
    if not (run / RUN_SPLIT).is_file():
        return None
    split, begun = read_split(run / RUN_SPLIT), init_of(run)
    return replace(split, inherited=Lineage(complete=False)) if split.inherited is None and begun else split


def learned_by(run: Path, own: Sequence[Learned] = ()) -> Lineage | None:
    """What a run learned from (`own`, where its cases are at hand), and the weights that it began from; None for older runs, which kept no split."""
    was = split_of_run(run)
    if was is None:
        return None
    return joined([Lineage(tuple(own) or tuple(learned_by_name(name) for name in was.train)), was.inherited or Lineage()])


def refuse_another_split(out: Path, split: Split) -> None:
    """Raises ModelError unless the run in `out` learns from and watches these cases, in this order: patches are drawn by number."""
    was = split_of_run(out)
    if was is None:
        return
    if different := _difference(was, split, ("train", "validation")):
        raise ModelError(f"The run in {out.name} was made with another split: {different}.",
                         f"Give another --out, or the --split and --data that it began with; {RUN_SPLIT} in its folder names the cases.")
    if was.made_up is not None and split.made_up is not None and (different := _difference(was, split, ("made_up",))):
        raise ModelError(f"The run in {out.name} was made with other made-up cases: {different}.",
                         "Give another --out, or a --data folder that holds those it began with and no more: patches are drawn by number.")


def trained_split(run: Path, split: Split) -> Split:
    """The split with what the run's own says besides: inherited and made-up cases. Raises ModelError as `refuse_untrained_split` does."""
    refuse_untrained_split(run, split)
    was = split_of_run(run)
    return split if was is None else replace(split, inherited=was.inherited, made_up=was.made_up)


def refuse_untrained_split(run: Path, split: Split) -> None:
    """Raises ModelError when the run was trained on other cases than the split says, whatever their order: its card would be wrong of them."""
    was = split_of_run(run)
    if was and set(was.train) != set(split.train):
        raise ModelError(f"The run in {run.name} was trained on other cases than the split says: {_difference(was, split, ('train',))}.",
                         "Leave --split out, and the run's own is taken.")


def _difference(was: Split, now: Split, parts: tuple[str, ...]) -> str:
    """'train lacks a, b and adds c', for the parts that are not the same."""
    told = []
    for part in parts:
        old, new = getattr(was, part), getattr(now, part)
        lacking, besides = [name for name in old if name not in new], [name for name in new if name not in old]
        words = [f"{verb} {some_of(names)}" for verb, names in (("lacks", lacking), ("adds", besides)) if names]
        if old != new:
            told.append(f"{part.replace('_', '-')} {' and '.join(words) or 'has its cases in another order'}")
    return "; ".join(told)
