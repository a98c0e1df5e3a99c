"""braintumorseg-train: prepare, fit, export, validate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from braintumorseg.errors import BrainTumorSegError

from . import verbs_reports

__all__ = ["main"]

OWN_SPLIT = Path(__file__).parent / "split_24.json"
HEADS_SPLIT = Path(__file__).parent / "split_heads.json"


def main(arguments: list[str] | None = None) -> int:
    """Run one verb. Exit 0 done, 1 an error of ours (one line on stderr), 2 wrong usage, 130 interrupted."""
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
    except BrainTumorSegError as error:
        print(f"braintumorseg-train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("braintumorseg-train: interrupted; fit goes on from its last checkpoint when run again", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="braintumorseg-train", description="Make and export the networks that braintumorseg runs.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verb = verbs.add_parser("prepare", help="pack labelled cases (and made-up ones) once, so that training reads them fast")
    verb.add_argument("cases", type=Path, nargs="?", help="folder with one folder a patient: t1, t1ce, t2, flair, seg (.nii.gz)")
    verb.add_argument("--out", type=Path, required=True, help="folder for the packed cases")
    verb.add_argument("--labels", choices=("brats2021", "brats2023"), help="label convention of every case (ET is 4 in brats2021, 3 in brats2023)")
    verb.add_argument("--table", type=Path, help="CSV with columns case, labels: the convention case by case")
    verb.add_argument("--phantoms", type=int, default=0, metavar="N", help="also make N made-up patients")
    verb.set_defaults(run=_prepare)

    verb = verbs.add_parser("fit", help="train a network; the same command again goes on from the last checkpoint")
    verb.add_argument("--data", type=Path, required=True, help="folder that prepare wrote")
    verb.add_argument("--out", type=Path, required=True, help="folder of the run")
    verb.add_argument("--split", type=Path, default=OWN_SPLIT, help="JSON with train and validation (default: the 24 cases' own)")
    verb.add_argument("--config", type=Path, help="JSON with fields of the configuration (default: the shipped recipe)")
    verb.add_argument("--steps", type=int, help="number of steps, over the configuration's")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    verb.set_defaults(run=_fit)

    verb = verbs.add_parser("fit-brain", help="train the network that finds the brain, from label maps of heads; goes on like fit")
    verb.add_argument("maps", type=Path, help="folder of SynthSeg's label maps of whole heads (.nii.gz)")
    verb.add_argument("--out", type=Path, required=True, help="folder of the run")
    verb.add_argument("--split", type=Path, default=HEADS_SPLIT, help="JSON with train and validation (default: 17 and 3 of the 20 heads)")
    verb.add_argument("--config", type=Path, help="JSON with fields of the configuration (default: the shipped recipe)")
    verb.add_argument("--steps", type=int, help="number of steps, over the configuration's")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    verb.set_defaults(run=_fit_brain)

    verb = verbs.add_parser("export", help="write a run's network as ONNX with its card, after checking it against torch")
    verb.add_argument("run_folder", type=Path, metavar="RUN", help="folder that fit wrote")
    verb.add_argument("--data", type=Path, required=True, help="folder that prepare wrote; one crop of it is the check")
    verb.add_argument("--out", type=Path, required=True, help="folder for NAME.onnx and NAME.json")
    verb.add_argument("--split", type=Path, default=OWN_SPLIT, help="the split that fit was given")
    verb.add_argument("--name", default="glioma")
    verb.add_argument("--version", default="0.1.0")
    verb.add_argument("--remark", default="", help="what else the card should say of the training")
    verb.add_argument("--validate", type=Path, metavar="CASES",
                      help="also measure it on the split's validation cases in this folder, and fill in its card")
    verb.add_argument("--labels", choices=("brats2021", "brats2023"), help="with --validate: label convention of every case")
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
    return parser


def _prepare(args) -> None:
    from .data import pack_folder, read_conventions
    from .export import draft_card
    from .phantoms import pack_phantoms

    card = draft_card()
    refused = []
    if args.cases:
        conventions = read_conventions(args.table) if args.table else {}
        refused = pack_folder(args.cases, args.out, card, conventions, args.labels, print)
    pack_phantoms(args.phantoms, args.out, card, print)
    if refused:
        print(f"{len(refused)} refused:", *refused, sep="\n  ")


def _fit(args) -> None:
    from dataclasses import replace

    from .config import Config, read_config
    from .data import read_split
    from .train import fit

    config = read_config(args.config) if args.config else Config()
    if args.steps:
        config = replace(config, steps=args.steps)
    fit(config, args.data, read_split(args.split), args.out, device=args.device, say=lambda line: print(line, flush=True))


def _fit_brain(args) -> None:
    from dataclasses import replace

    from .config import BrainConfig, read_config
    from .data import read_split
    from .fit_brain import fit_brain

    config = read_config(args.config, BrainConfig) if args.config else BrainConfig()
    if args.steps:
        config = replace(config, steps=args.steps)
    fit_brain(config, args.maps, read_split(args.split), args.out, device=args.device, say=lambda line: print(line, flush=True))


def _export(args) -> None:
    from .data import read_conventions, read_split
    from .export import export, pack_zip
    from .validate import validate

    split, conventions = read_split(args.split), read_conventions(args.table) if args.table else {}
    path = export(args.run_folder, args.data, split, args.out, args.name, args.version, say=print, remark=args.remark)
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
