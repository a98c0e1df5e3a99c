"""braintumorseg-train: prepare, split, fit, export, validate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from braintumorseg.errors import BrainTumorSegError, Cancelled

from . import verbs_data, verbs_fit, verbs_transfer
from .verbs_fit import HEADS_SPLIT, OWN_SPLIT

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one verb. Exit 0 done, 1 an error of ours (one line on stderr), 2 wrong usage, 130 interrupted."""
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
    except BrainTumorSegError as error:
        print(f"braintumorseg-train: {error}", file=sys.stderr)
        return 130 if isinstance(error, Cancelled) else 1
    except KeyboardInterrupt:
        print("braintumorseg-train: interrupted; fit goes on from its last checkpoint and prepare from its last case when run again", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="braintumorseg-train", description="Make and export the networks that braintumorseg runs.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verbs_data.add_verbs(verbs)

    verbs_fit.add_verbs(verbs)

    verb = verbs.add_parser("export", help="write a run's network as ONNX with its card, after checking it against torch")
    verb.add_argument("run_folder", type=Path, metavar="RUN", help="folder that fit wrote")
    verb.add_argument("--data", type=Path, required=True, help="folder that prepare wrote; one crop of it is the check")
    verb.add_argument("--out", type=Path, required=True, help="folder for NAME.onnx and NAME.json")
    verb.add_argument("--split", type=Path, default=OWN_SPLIT, help="the split that fit was given")
    verb.add_argument("--name", default="glioma")
    verb.add_argument("--version", default="0.1.0")
    verb.add_argument("--remark", default="", help="what else the card should say of the training")
    verb.set_defaults(run=_export)

    verb = verbs.add_parser("export-brain", help="the same for a run of fit-brain")
    verb.add_argument("run_folder", type=Path, metavar="RUN", help="folder that fit-brain wrote")
    verb.add_argument("--maps", type=Path, required=True, help="folder of the label maps; an image made from one is the check")
    verb.add_argument("--out", type=Path, required=True, help="folder for NAME.onnx and NAME.json")
    verb.add_argument("--split", type=Path, default=HEADS_SPLIT, help="the split that fit-brain was given")
    verb.add_argument("--name", default="brain")
    verb.add_argument("--version", default="0.1.0")
    verb.add_argument("--remark", default="", help="what else the card should say of the training")
    verb.set_defaults(run=_export_brain)

    verb = verbs.add_parser("validate", help="run an exported network through the engine on the validation cases and fill in its card")
    verb.add_argument("cases", type=Path, help="folder with one folder a patient")
    verb.add_argument("--model", type=Path, required=True, help="NAME.onnx with NAME.json beside it")
    verb.add_argument("--split", type=Path, default=OWN_SPLIT)
    verb.add_argument("--labels", choices=("brats2021", "brats2023"))
    verb.add_argument("--table", type=Path)
    verb.add_argument("--out", type=Path, required=True, help="folder for tables and pictures")
    verb.add_argument("--subsets", action="store_true", help="also every one of the 15 subsets of sequences")
    verb.add_argument("--write-card", action="store_true", help="write the numbers into NAME.json")
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
    verbs_transfer.add_verbs(verbs)
    return parser


def _export(args) -> None:
    from .data import read_split
    from .export import export

    path = export(args.run_folder, args.data, read_split(args.split), args.out, args.name, args.version, say=print, remark=args.remark)
    print(path)


def _export_brain(args) -> None:
    from .data import read_split
    from .export_brain import export_brain

    split = read_split(args.split)
    print(export_brain(args.run_folder, args.maps, split, args.out, args.name, args.version, say=print, remark=args.remark))


def _validate(args) -> None:
    from .data import read_conventions, read_split
    from .validate import validate

    conventions = read_conventions(args.table) if args.table else {}
    validate(args.model, args.cases, read_split(args.split), conventions, args.labels, args.out,
             subsets=args.subsets, write=args.write_card, say=print)


def _validate_brain(args) -> None:
    from .data import read_split
    from .validate_brain import validate_brain

    validate_brain(args.model, args.maps, read_split(args.split), args.head, args.out, write=args.write_card, say=print)


if __name__ == "__main__":
    sys.exit(main())
