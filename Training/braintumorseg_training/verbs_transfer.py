"""The verbs around a run's start: prepare-unlabelled, pretrain, preview."""

from __future__ import annotations

from pathlib import Path

from .verbs_data import add_spacing
from .verbs_fit import OWN_SPLIT, add_common, add_workers, configuration, say

__all__ = ["add_verbs"]


def add_verbs(verbs) -> None:
    """Add the verbs to argparse's sub-parsers."""
    verb = verbs.add_parser("prepare-unlabelled", help="pack studies without labels for pretrain; aligned and cut to the brain on the way")
    verb.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="folder of one patient: DICOM, NIfTI, NRRD or MHA, any of the sequences")
    verb.add_argument("--out", type=Path, required=True, help="folder for the packed studies")
    add_spacing(verb)
    verb.set_defaults(run=_prepare_unlabelled)

    verb = verbs.add_parser("pretrain", help="train a network to fill in what was hidden of brains, without labels; fit --init takes up its weights")
    verb.add_argument("--data", type=Path, required=True, action="append", metavar="FOLDER",
                      help="folder that prepare or prepare-unlabelled wrote (may be repeated); labels are not looked at")
    verb.add_argument("--split", type=Path, default=OWN_SPLIT,
                      help="the split that fit will be given: its validation and test cases are left out, under their names in every folder")
    add_common(verb)
    add_workers(verb)
    verb.set_defaults(run=_pretrain)

    verb = verbs.add_parser("preview", help="draw what a network will see in training: patches with their labels, or made-up heads")
    source = verb.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="FOLDER", help="folder that prepare wrote: patches as fit takes them")
    source.add_argument("--maps", type=Path, metavar="FOLDER", help="folder of label maps: heads as fit-brain makes them")
    verb.add_argument("--split", type=Path, help="draw from its training cases (default: from all that are there)")
    verb.add_argument("--config", type=Path, help="JSON with fields of the configuration (default: the shipped recipe)")
    verb.add_argument("--set", dest="settings", action="append", default=[], metavar="FIELD=VALUE",
                      help="one field, over the configuration's (may be repeated)")
    verb.add_argument("--count", type=_count, default=8, help="rows, 1 to 20 (default: 8)")
    verb.add_argument("--seed", type=int, help="over the configuration's, to see others")
    verb.add_argument("--out", type=Path, required=True, help="the PNG")
    verb.set_defaults(run=_preview, steps=None)


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 20:
        raise ValueError
    return count


def _prepare_unlabelled(args) -> None:
    from .export import draft_card
    from .unlabelled import pack_unlabelled

    refused = pack_unlabelled(args.studies, args.out, draft_card(spacing_mm=(args.spacing,) * 3), say)
    if refused:
        say("\n  ".join([f"{len(refused)} refused:", *refused]))


def _pretrain(args) -> None:
    from .config import PretrainConfig
    from .data import read_split
    from .distributed import together
    from .pretrain import pretrain

    with together(args.device):
        pretrain(configuration(args, PretrainConfig), args.data, read_split(args.split), args.out, device=args.device, say=say,
                 workers=args.workers)


def _preview(args) -> None:
    from .config import BrainConfig, Config
    from .data import read_split
    from .preview import draw_heads, draw_patches

    split = read_split(args.split) if args.split else None
    if args.maps:
        draw_heads(configuration(args, BrainConfig), args.maps, split, args.out, count=args.count, seed=args.seed)
    else:
        draw_patches(configuration(args, Config), args.data, split, args.out, count=args.count, seed=args.seed)
    print(args.out)
