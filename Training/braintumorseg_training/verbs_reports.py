"""The verbs that measure networks: validate, validate-brain, compare, calibrate."""

from __future__ import annotations

import argparse
from pathlib import Path

from .verbs_data import add_case_options, case_folder
from .verbs_fit import HEADS_SPLIT, OWN_SPLIT, say

__all__ = ["add_verbs"]


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Define the verbs of this file on the command line's parser."""
    verb = verbs.add_parser("validate", help="run an exported network through the engine on held-out cases: tables, pictures, its card")
    _add_cases(verb)
    verb.add_argument("--model", type=Path, required=True, help="NAME.onnx with NAME.json beside it")
    verb.add_argument("--split", type=Path, default=OWN_SPLIT, help="the split that fit was given (default: the 24 cases' own)")
    verb.add_argument("--part", choices=("validation", "test", "train"), default="validation",
                      help="which of its cases; 'train' shows how well they were learned, not accuracy")
    verb.add_argument("--out", type=Path, required=True, help="folder for report.md, tables and pictures")
    verb.add_argument("--subsets", action="store_true", help="also every one of the 15 subsets of sequences")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    verb.add_argument("--write-card", action="store_true", help="write the numbers into NAME.json, and NAME.md for people")
    verb.add_argument("--write-card-of", type=Path, metavar="OTHER.json",
                      help="write them into this card, of a network of the same recipe that was trained on more cases, and say so there")
    verb.add_argument("--zip", type=Path, metavar="FILE.zip", help="also pack the network for 'braintumorseg models add'")
    verb.set_defaults(run=_validate)

    verb = verbs.add_parser("validate-brain", help="the same for a brain network, on label maps held out and on real heads")
    verb.add_argument("maps", type=Path, help="folder of the label maps")
    verb.add_argument("--model", type=Path, required=True, help="NAME.onnx with NAME.json beside it")
    verb.add_argument("--split", type=Path, default=HEADS_SPLIT, help="the split that fit-brain was given")
    verb.add_argument("--head", type=Path, action="append", default=[], metavar="FOLDER",
                      help="a real head: ROLE.nii.gz and brainmask_ROLE.nii.gz, another tool's mask (may be repeated)")
    verb.add_argument("--out", type=Path, required=True, help="folder for the table")
    verb.add_argument("--write-card", action="store_true", help="write the numbers into NAME.json")
    verb.set_defaults(run=_validate_brain)

    verb = verbs.add_parser("compare", help="several outputs of validate side by side, with paired differences")
    verb.add_argument("folders", type=Path, nargs="*", metavar="VALIDATION_DIR", help="folders that validate wrote; the first is compared against")
    verb.add_argument("--group", action="append", default=[], metavar="NAME=DIR,DIR,...",
                      help="several seeds of one recipe, as one row with its spread (may be repeated)")
    verb.add_argument("--out", type=Path, required=True, help="folder for compare.md, .csv, .json and .png")
    verb.set_defaults(run=_compare)

    verb = verbs.add_parser("calibrate", help="choose a card's thresholds and smallest volumes on cases that its networks did not learn from")
    _add_cases(verb)
    verb.add_argument("--fold", action="append", required=True, metavar="MODEL.onnx=SPLIT.json",
                      help="a network and the split it was trained with; its validation cases are used (repeat for each fold)")
    verb.add_argument("--fixed", type=Path, required=True,
                      help="the split of the final numbers, whose validation and test cases are refused; split --folds K --within it makes the folds")
    verb.add_argument("--part", choices=("validation", "train"), default="validation",
                      help="'train': the cases that were learned from, which flatters; for want of folds only")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    verb.add_argument("--out", type=Path, required=True, help="folder for calibration.json, .md and .png")
    verb.add_argument("--write-card", type=Path, action="append", default=[], metavar="NAME.json",
                      help="also write the numbers into this card, whose metrics are then gone (may be repeated)")
    verb.set_defaults(run=_calibrate)


def _add_cases(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("cases", type=Path, help="the folder that prepare was given, in any layout that it reads")
    add_case_options(verb)


def _validate(args) -> None:
    from .data import read_split
    from .export import pack_zip
    from .validate import validate

    validate(args.model, case_folder(args, args.cases), read_split(args.split), args.out, subsets=args.subsets, write=args.write_card,
             write_of=args.write_card_of, part=args.part, device=args.device, say=say)
    if args.zip:
        say(pack_zip(args.write_card_of.with_suffix(".onnx") if args.write_card_of else args.model, args.zip))


def _validate_brain(args) -> None:
    from .data import read_split
    from .validate_brain import validate_brain

    validate_brain(args.model, args.maps, read_split(args.split), args.head, args.out, write=args.write_card, say=say)


def _compare(args) -> None:
    from .compare import compare, read_groups

    compare(read_groups(args.folders, args.group), args.out, say=say)


def _calibrate(args) -> None:
    from .calibrate import calibrate, read_fold
    from .data import read_split

    calibrate([read_fold(one) for one in args.fold], case_folder(args, args.cases), args.out, fixed=read_split(args.fixed), part=args.part,
              cards=args.write_card, device=args.device, say=say)
