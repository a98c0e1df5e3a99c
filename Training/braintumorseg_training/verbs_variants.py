"""The verb that makes the faster variants of an exported network: variants."""

from __future__ import annotations

import argparse
from pathlib import Path

from braintumorseg.errors import InputError

from .verbs_data import add_case_options, case_folder
from .verbs_fit import HEADS_SPLIT, OWN_SPLIT, say

__all__ = ["add_verbs"]

KINDS = ("bfloat16", "int8")


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Define the verb on the command line's parser."""
    verb = verbs.add_parser(
        "variants", help="make an exported network's faster variants, and name those in its card that lose next to nothing",
        description="bfloat16: the same file, run so on processors with AMX; on others it is judged by imitation, and the card says so. int8: "
                    "another file, for processors with VNNI (made on one that has AVX2 alone: for those too), its ranges from training cases; "
                    "judged without AMX, which its users lack. Each is held against the float32 network on the validation cases: where the mean "
                    "Dice of a region falls by more than 0.3 points it is not used.")
    verb.add_argument("model", type=Path, metavar="NAME.onnx", help="with NAME.json beside it; the variants are written beside them")
    verb.add_argument("--data", type=Path, help="a tumour network: folder that prepare wrote; the split's training cases calibrate INT8")
    verb.add_argument("--cases", type=Path, help="a tumour network: the folder that prepare was given; the split's validation cases judge")
    add_case_options(verb)
    verb.add_argument("--maps", type=Path, help="a brain network: folder of the label maps")
    verb.add_argument("--split", type=Path, help="the split that the network was trained with (default: the shipped ones)")
    verb.add_argument("--kind", action="append", choices=KINDS, help="which (may be repeated; default: both)")
    verb.set_defaults(run=_variants)


def _variants(args) -> None:
    from braintumorseg.model_zoo import load_model

    from .data import read_split
    from .variants import brain_trial, make_variants, tumour_trial

    card = load_model(args.model).card
    if card.finds == "brain":
        if args.maps is None:
            raise InputError(f"{card.name} finds the brain, and is judged on label maps of heads.", "Give --maps.")
        trial = brain_trial(card, args.maps, read_split(args.split or HEADS_SPLIT))
    else:
        if args.data is None or args.cases is None:
            raise InputError(f"{card.name} finds tumours, and is calibrated on packed cases and judged on cases.", "Give --data and --cases.")
        trial = tumour_trial(card, args.data, case_folder(args, args.cases), read_split(args.split or OWN_SPLIT))
    make_variants(args.model, trial, args.kind or KINDS, say)
