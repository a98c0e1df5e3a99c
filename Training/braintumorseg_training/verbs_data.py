"""braintumorseg-train prepare and split: from a data set as it was downloaded to packed cases and the files that say which trains."""

from __future__ import annotations

import argparse
from pathlib import Path

from braintumorseg.cores import granted_cores
from braintumorseg.labels import CONVENTIONS

__all__ = ["add_case_options", "add_verbs", "case_folder"]

LAYOUT_NAMES = ("brats", "msd", "nnunet", "plain")  # those of layouts.LAYOUTS, which is not imported so that --help is instant
_SHARE = 0.15


def add_verbs(verbs) -> None:
    """Add `prepare` and `split` to the parser's verbs."""
    verb = verbs.add_parser("prepare", help="check and pack labelled cases (and made-up ones) once, so that training reads them fast")
    verb.add_argument("cases", type=Path, nargs="?",
                      help="folder of a data set: BraTS 2017 to 2024, Decathlon Task01, nnU-Net, or one folder a patient: t1, t1ce, t2, flair, seg")
    verb.add_argument("--out", type=Path, required=True, help="folder for the packed cases and prepare.csv")
    add_case_options(verb)
    add_spacing(verb)
    verb.add_argument("--phantoms", type=int, default=0, metavar="N", help="also make N made-up patients")
    verb.add_argument("--heads", type=Path, metavar="MAPS", help="also make brains from SynthSeg's label maps of heads (.nii.gz) in this folder")
    verb.add_argument("--each", type=_count, default=2, metavar="N", help="with --heads: brains of each label map (default 2)")
    verb.add_argument("--workers", type=_count, default=granted_cores(), metavar="N",
                      help="processes (default: one for each core that this one may use)")
    verb.add_argument("--force", action="store_true", help="pack again what is packed already, from another folder too")
    verb.add_argument("--prune", action="store_true", help="remove cases that were packed from the folder and are in it no more")
    verb.set_defaults(run=_prepare, refuse=verb.error)

    verb = verbs.add_parser("split", help="deal the packed cases into training, validation and test, by patient")
    verb.add_argument("--data", type=Path, required=True, help="folder that prepare wrote")
    verb.add_argument("--out", type=Path, required=True, help="the split, a JSON file; with --folds NAME_fold0.json and so on")
    verb.add_argument("--validation", type=_share, help=f"share of the patients (default {_SHARE:g})")
    verb.add_argument("--test", type=_share, help=f"share of the patients (default {_SHARE:g}; 0 with --folds)")
    verb.add_argument("--within", type=Path, metavar="SPLIT",
                      help="with --folds: of this split's training cases alone; what it holds out is the test of every fold (for calibrate)")
    ways = verb.add_mutually_exclusive_group()
    ways.add_argument("--folds", type=_folds, metavar="K", help="K splits; every patient is in validation once")
    ways.add_argument("--leave-out", metavar="COHORT", help="test is this whole cohort; validation is a share of the others")
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--cohorts", type=Path, metavar="TABLE", help="CSV with the column case and any of cohort, patient, over what prepare knew")
    verb.add_argument("--force", action="store_true", help="overwrite a split of that name")
    verb.set_defaults(run=_split, refuse=verb.error)


def add_case_options(verb: argparse._ActionsContainer) -> None:
    """The options that say of a folder of cases what its files do not say: the same for `prepare` and for whatever measures on the folder."""
    verb.add_argument("--labels", choices=tuple(CONVENTIONS), default="",
                      help="label convention of every case: ET is 4 in brats2021 and 3 in the others, 4 is a resection cavity in brats2024 and "
                           "1 is oedema in msd (not needed where a dataset.json says it)")
    verb.add_argument("--table", type=Path, help="CSV with the column case and any of labels, cohort, patient: what is known case by case")
    verb.add_argument("--layout", choices=LAYOUT_NAMES, help="how the folder is laid out (default: recognised)")
    verb.add_argument("--missing-ok", action="store_true", help="take cases that lack sequences; their channels are empty")


def add_spacing(verb) -> None:
    verb.add_argument("--spacing", type=_mm, default=1.0, metavar="MM",
                      help="side of the voxels (default: 1); fit and pretrain then take --set spacing_mm=[MM,MM,MM]")


def case_folder(args, folder: Path):
    """The folder with what the options of `add_case_options` say of its cases."""
    from .case_folder import CaseFolder
    from .case_table import read_table

    return CaseFolder(folder, args.labels, read_table(args.table) if args.table else {}, args.layout, args.missing_ok)


def _prepare(args) -> None:
    from .case_table import read_table
    from .export import draft_card
    from .phantoms import pack_phantoms
    from .prepare import prepare_folder, summary
    from .verbs_fit import say

    if not args.cases and args.phantoms < 1 and not args.heads:
        args.refuse("give a folder of cases, --phantoms N or --heads MAPS")
    card = draft_card(spacing_mm=(args.spacing,) * 3)
    table = read_table(args.table) if args.table else {}
    outcomes = []
    if args.cases:
        outcomes = prepare_folder(args.cases, args.out, card, table=table, labels=args.labels, layout=args.layout, missing_ok=args.missing_ok,
                                  workers=args.workers, force=args.force, prune=args.prune, say=say)
    pack_phantoms(args.phantoms, args.out, card, say, force=args.force)
    if args.heads:
        from .synthetic_brains import pack_synthetic_brains

        pack_synthetic_brains(args.heads, args.each, args.out, card, say, force=args.force)
    for line in summary(outcomes) if outcomes else ():
        say(line)


def _split(args) -> None:
    from .case_table import read_table
    from .splits import folds_within, leave_out, make_folds, make_split, read_split, split_cases, write_splits

    if args.folds and args.validation is not None:
        args.refuse("argument --validation: not with --folds, whose number says it")
    if args.within and not args.folds:
        args.refuse("argument --within: only with --folds")
    if args.within and args.test is not None:
        args.refuse("argument --test: not with --within, whose validation and test cases are the test")
    if args.leave_out and args.test is not None:
        args.refuse("argument --test: not with --leave-out, whose cohort is the test")
    cases = split_cases(args.data, read_table(args.cohorts) if args.cohorts else None)
    validation = _SHARE if args.validation is None else args.validation
    if args.within:
        splits = folds_within(cases, read_split(args.within), args.folds, seed=args.seed)
    elif args.folds:
        splits = make_folds(cases, args.folds, test=args.test or 0.0, seed=args.seed)
    elif args.leave_out:
        splits = [leave_out(cases, args.leave_out, validation=validation, seed=args.seed)]
    else:
        splits = [make_split(cases, validation=validation, test=_SHARE if args.test is None else args.test, seed=args.seed)]
    for path, split in zip(write_splits(splits, args.out, force=args.force), splits, strict=True):
        print(f"{path.name}: {split.reason}")


def _count(text: str) -> int:
    return _within(int(text), 1, 1024, text)


def _folds(text: str) -> int:
    return _within(int(text), 2, 1000, text)


def _mm(text: str) -> float:
    return _within(float(text), 0.2, 10.0, text)  # as in a model card


def _share(text: str) -> float:
    return _within(float(text), 0.0, 0.9, text)


def _within(value, low, high, text: str):
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
    return value
