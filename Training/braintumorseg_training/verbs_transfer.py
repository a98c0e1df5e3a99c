"""The verbs around a run's start: prepare-unlabelled, pretrain, preview."""

from __future__ import annotations

from pathlib import Path

from .verbs_fit import OWN_SPLIT, add_common, configuration, say

__all__ = ["add_verbs"]


def add_verbs(verbs) -> None:
    """Add the verbs to argparse's sub-parsers."""
    verb = verbs.add_parser("prepare-unlabelled", help="pack studies without labels for pretrain; aligned and cut to the brain on the way")
    verb.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="folder of one patient: DICOM, NIfTI, NRRD or MHA, any of the sequences")
    verb.add_argument("--out", type=Path, required=True, help="folder for the packed studies")
    verb.set_defaults(run=_prepare_unlabelled)

    verb = verbs.add_parser("pretrain", help="train a network to fill in what was hidden of brains, without labels; fit --init takes up its weights")
    verb.add_argument("--data", type=Path, required=True, action="append", metavar="FOLDER",
                      help="folder that prepare or prepare-unlabelled wrote (may be repeated); labels are not looked at")
    verb.add_argument("--split", type=Path, default=OWN_SPLIT, help="the split that fit will be given: its validation cases are left out")
    add_common(verb)
    verb.set_defaults(run=_pretrain)


def _prepare_unlabelled(args) -> None:
    from .export import draft_card
    from .unlabelled import pack_unlabelled

    refused = pack_unlabelled(args.studies, args.out, draft_card(), print)
    if refused:
        print(f"{len(refused)} refused:", *refused, sep="\n  ")


def _pretrain(args) -> None:
    from .config import PretrainConfig
    from .data import read_split
    from .distributed import together
    from .pretrain import pretrain

    with together():
        pretrain(configuration(args, PretrainConfig), args.data, read_split(args.split), args.out, device=args.device, say=say)
