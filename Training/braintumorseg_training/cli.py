"""braintumorseg-train: prepare, split, fit, export, validate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from braintumorseg.errors import BrainTumorSegError, Cancelled
from braintumorseg.labels import CONVENTIONS

from . import verbs_data, verbs_fit, verbs_reports, verbs_transfer, verbs_variants
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
    verb.add_argument("--best", action="store_true", help="the weights of the best validation, not the last ones")
    verb.add_argument("--validate", type=Path, metavar="CASES",
                      help="also measure it on the split's validation cases in this folder, and fill in its card")
    verb.add_argument("--labels", choices=tuple(CONVENTIONS), help="with --validate: label convention of every case")
    verb.add_argument("--table", type=Path, help="with --validate: CSV with columns case, labels")
    verb.add_argument("--zip", action="store_true", help="also pack OUT/NAME.zip for 'braintumorseg models add'")
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

    verbs_reports.add_verbs(verbs)

    verbs_transfer.add_verbs(verbs)

    verbs_variants.add_verbs(verbs)
    return parser


def _export(args) -> None:
    from .data import read_conventions, read_split
    from .export import export, pack_zip
    from .validate import validate

    split, conventions = read_split(args.split), read_conventions(args.table) if args.table else {}
    path = export(args.run_folder, args.data, split, args.out, args.name, args.version, say=print, remark=args.remark,
                  best=args.best)
    if args.validate:
        validate(path, args.validate, split, conventions, args.labels, args.out / f"validation_{args.name}", subsets=True, write=True, say=print)
    print(pack_zip(path, path.with_suffix(".zip")) if args.zip else path)


def _export_brain(args) -> None:
    from .data import read_split
    from .export_brain import export_brain

    split = read_split(args.split)
    print(export_brain(args.run_folder, args.maps, split, args.out, args.name, args.version, say=print, remark=args.remark))


if __name__ == "__main__":
    sys.exit(main())
