"""braintumorseg-train: prepare, split, fit, export, validate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from braintumorseg.errors import BrainTumorSegError, Cancelled
from braintumorseg.terminal import escape_unknown_letters

from . import verbs_data, verbs_fit, verbs_reports, verbs_transfer, verbs_variants
from .verbs_data import add_case_options, case_folder
from .verbs_fit import HEADS_SPLIT, OWN_SPLIT, print_nowhere, say

__all__ = ["main"]

_EXTRA = ("torch", "monai", "onnx", "onnxscript", "matplotlib", "nncf")   # packages of pyproject's extra 'training', which a plain installation lacks


def main(arguments: list[str] | None = None) -> int:
    """Run one verb. Exit 0 done, 1 an error of ours (one line on stderr), 2 wrong usage, 130 interrupted."""
    escape_unknown_letters()
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
        print(end="", flush=True)    # here, where it is answered, when nobody reads what a verb said at its end
    except BrainTumorSegError as error:
        print(f"braintumorseg-train: {error}", file=sys.stderr)
        return 130 if isinstance(error, Cancelled) else 1
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        print(f"braintumorseg-train: Training needs the package {package}, which is not installed. "
              f"Run in a clone of BrainTumorSeg: pip install \".[cpu,training]\"", file=sys.stderr)
        return 1
    except BrokenPipeError:
        print_nowhere()
        return 1
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
    verb.add_argument("--split", type=Path, help="the split that fit was given (default: the one in the run's folder; in older runs without "
                                                 "one, the 24 cases' own)")
    verb.add_argument("--name", default="mine", help="of the network and its files (default: mine)")
    verb.add_argument("--version", default="0.1.0", help="of the network, for its card (default: 0.1.0)")
    verb.add_argument("--card", type=Path, metavar="WORDS.json",
                      help="what its card says in words: task, licence, intended_use, limits, and data_sets (cohort -> name, licence, citation)")
    verb.add_argument("--remark", default="", help="what else the card should say of the training")
    verb.add_argument("--best", action="store_true", help="the weights of the best validation, not the last ones")
    verb.add_argument("--validate", type=Path, metavar="CASES",
                      help="also measure it on the split's validation cases in this folder, the one that prepare was given, and fill in its card")
    add_case_options(verb.add_argument_group("with --validate"))
    verb.add_argument("--zip", action="store_true", help="also pack OUT/NAME.zip for 'braintumorseg models add'")
    verb.set_defaults(run=_export)

    verb = verbs.add_parser("average", help="make the mean of several networks' weights (Wortsman 2022), which export takes like a run")
    verb.add_argument("parts", type=Path, nargs="+", metavar="RUN", help="folders that fit wrote; after the first also NAME.onnx that export wrote")
    verb.add_argument("--out", type=Path, required=True, help="folder of the mean")
    verb.set_defaults(run=_average)

    verb = verbs.add_parser("export-brain", help="export for a run of fit-brain")
    verb.add_argument("run_folder", type=Path, metavar="RUN", help="folder that fit-brain wrote")
    verb.add_argument("--maps", type=Path, required=True, help="folder of the label maps; an image made from one is the check")
    verb.add_argument("--out", type=Path, required=True, help="folder for NAME.onnx and NAME.json")
    verb.add_argument("--split", type=Path, help="the split that fit-brain was given (default: the one in the run's folder, else 17 and 3 of "
                                                 "the 20 heads)")
    verb.add_argument("--name", default="brain", help="of the network and its files (default: brain)")
    verb.add_argument("--version", default="0.1.0", help="of the network, for its card (default: 0.1.0)")
    verb.add_argument("--remark", default="", help="what else the card should say of the training")
    verb.set_defaults(run=_export_brain)

    verbs_reports.add_verbs(verbs)

    verbs_transfer.add_verbs(verbs)

    verbs_variants.add_verbs(verbs)
    return parser


def _export(args) -> None:
    from .card_words import read_words
    from .export import export, pack_zip
    from .validate import cases_of_part, validate

    split = _split_of(args, OWN_SPLIT)
    words = read_words(args.card) if args.card else None
    if args.validate:
        folder = case_folder(args, args.validate)
        cases_of_part(folder, split, "validation")    # what lacks is said before the export
    path = export(args.run_folder, args.data, split, args.out, args.name, args.version, say=say, remark=args.remark,
                  best=args.best, words=words)
    if args.validate:
        validate(path, folder, split, args.out / f"validation_{args.name}", subsets=True, write=True, say=say)
    say(str(pack_zip(path, path.with_suffix(".zip")) if args.zip else path))


def _average(args) -> None:
    from .average import average

    average(args.parts, args.out, say)


def _export_brain(args) -> None:
    from .export_brain import export_brain

    say(str(export_brain(args.run_folder, args.maps, _split_of(args, HEADS_SPLIT), args.out, args.name, args.version, say=say, remark=args.remark)))


def _split_of(args, default: Path):
    """The split that is asked for, else the run's own, else `default`."""
    from .run_split import split_of_run
    from .splits import read_split

    return read_split(args.split) if args.split else split_of_run(args.run_folder) or read_split(default)


if __name__ == "__main__":
    sys.exit(main())
