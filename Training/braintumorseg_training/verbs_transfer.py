"""The verbs around a run's start: prepare-unlabelled, pretrain, preview."""

from __future__ import annotations

from pathlib import Path

__all__ = ["add_verbs"]

_OWN_SPLIT = Path(__file__).parent / "split_24.json"


def add_verbs(verbs) -> None:
    """Add the verbs to argparse's sub-parsers."""
    verb = verbs.add_parser("prepare-unlabelled", help="pack studies without labels for pretrain; aligned and cut to the brain on the way")
    verb.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="folder of one patient: DICOM, NIfTI, NRRD or MHA, any of the sequences")
    verb.add_argument("--out", type=Path, required=True, help="folder for the packed studies")
    verb.set_defaults(run=_prepare_unlabelled)

    verb = verbs.add_parser("pretrain", help="train a network to fill in what was hidden of brains, without labels; fit --init takes up its weights")
    verb.add_argument("--data", type=Path, required=True, action="append", metavar="FOLDER",
                      help="folder that prepare or prepare-unlabelled wrote (may be repeated); labels are not looked at")
    verb.add_argument("--split", type=Path, default=_OWN_SPLIT, help="the split that fit will be given: its validation cases are left out")
    verb.add_argument("--out", type=Path, required=True, help="folder of the run")
    verb.add_argument("--config", type=Path, help="JSON with fields of the configuration; channels as fit will have them")
    verb.add_argument("--steps", type=int, help="number of steps, over the configuration's")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    verb.set_defaults(run=_pretrain)


def _prepare_unlabelled(args) -> None:
    from .export import draft_card
    from .unlabelled import pack_unlabelled

    refused = pack_unlabelled(args.studies, args.out, draft_card(), print)
    if refused:
        print(f"{len(refused)} refused:", *refused, sep="\n  ")


def _pretrain(args) -> None:
    from dataclasses import replace

    from .config import PretrainConfig, read_config
    from .data import read_split
    from .pretrain import pretrain

    config = read_config(args.config, PretrainConfig) if args.config else PretrainConfig()
    if args.steps:
        config = replace(config, steps=args.steps)
    pretrain(config, args.data, read_split(args.split), args.out, device=args.device, say=lambda line: print(line, flush=True))
