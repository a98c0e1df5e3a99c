"""The verbs that train: fit, fit-brain, and curves."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError
from pathlib import Path

__all__ = ["HEADS_SPLIT", "OWN_SPLIT", "add_common", "add_verbs", "add_workers", "configuration", "print_nowhere", "say"]

OWN_SPLIT = Path(__file__).parent / "split_24.json"
HEADS_SPLIT = Path(__file__).parent / "split_heads.json"


def add_verbs(verbs) -> None:
    """Add the verbs to argparse's sub-parsers."""
    verb = verbs.add_parser("fit", help="train a network; the same command again goes on from the last checkpoint",
                            epilog="On several GPUs: torchrun --nproc-per-node N -m braintumorseg_training.cli fit ...")
    verb.add_argument("--data", type=Path, required=True, help="folder that prepare wrote")
    verb.add_argument("--split", type=Path, default=OWN_SPLIT, help="JSON with train and validation (default: the 24 cases' own)")
    add_common(verb)
    verb.add_argument("--init", type=Path, metavar="WEIGHTS",
                      help="start from these: checkpoint.pt of fit or pretrain, a torch state dict (.pt, .pth), or an .onnx that export wrote; "
                           "refused where they are known to have learned from patients of the split's validation or test (by images, or by name)")
    add_workers(verb)
    verb.set_defaults(run=_fit)

    verb = verbs.add_parser("fit-brain", help="train the network that finds the brain, from label maps of heads; goes on like fit")
    verb.add_argument("maps", type=Path, help="folder of SynthSeg's label maps of whole heads (.nii.gz)")
    verb.add_argument("--split", type=Path, default=HEADS_SPLIT, help="JSON with train and validation (default: 17 and 3 of the 20 heads)")
    add_common(verb)
    add_workers(verb)
    verb.set_defaults(run=_fit_brain)

    verb = verbs.add_parser("curves", help="draw loss, Dice and learning rate of one run, or of several over each other")
    verb.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder that fit wrote")
    verb.add_argument("--out", type=Path, help="the PNG (default: curves.png in the first run's folder)")
    verb.set_defaults(run=_curves)


def add_common(verb) -> None:
    """The options of every verb that trains."""
    verb.add_argument("--out", type=Path, required=True, help="folder of the run")
    verb.add_argument("--config", type=Path, help="JSON with fields of the configuration (default: the shipped recipe)")
    verb.add_argument("--set", dest="settings", action="append", default=[], metavar="FIELD=VALUE",
                      help="one field, over the configuration's (may be repeated)")
    verb.add_argument("--steps", type=int, help="short for --set steps=N")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def add_workers(verb) -> None:
    """How many processes make what the network sees."""
    verb.add_argument("--workers", type=_count, metavar="N",
                      help="processes beside this one that make the patches; 0: this one makes them (default: as many as the cores that it may use, "
                           "less one, with a GPU, and half of them without; shared out among processes of one run; at most 16)")


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= 1024:
        raise ArgumentTypeError(f"{text} is not between 0 and 1024")
    return count


def _fit(args) -> None:
    from .config import Config
    from .data import read_split
    from .distributed import join, together
    from .fold import folded_start, typical_images
    from .train import fit
    from .transfer import begin_from, inherit

    with together(args.device):
        asked, split = configuration(args, Config), inherit(read_split(args.split), args.init, args.data, say)
        where, images = join(args.device).device, lambda: typical_images(args.data, split.train, asked, say)
        config, start = begin_from(asked, args.init, args.out, say, lambda found: folded_start(asked, found, args.init.name, images, say, where))
        fit(config, args.data, split, args.out, device=args.device, workers=args.workers, say=say, start=start)


def _fit_brain(args) -> None:
    from .config import BrainConfig
    from .data import read_split
    from .distributed import together
    from .fit_brain import fit_brain

    with together(args.device):
        fit_brain(configuration(args, BrainConfig), args.maps, read_split(args.split), args.out, device=args.device, workers=args.workers, say=say)


def _curves(args) -> None:
    from .curves import CURVES, draw_curves

    path = args.out or args.runs[0] / CURVES
    draw_curves(args.runs, path)
    print(path)


def configuration(args, kind: type):
    """The configuration that the options of `add_common` ask for."""
    from .config import override, read_config

    config = read_config(args.config, kind) if args.config else kind()
    return override(config, args.settings + ([f"steps={args.steps}"] if args.steps is not None else []))


def say(line: str) -> None:
    """Print a line at once, in the first of several processes. Long work goes on though nobody reads it any more (`fit ... | head`)."""
    from .distributed import is_first

    if is_first():
        try:
            print(line, flush=True)
        except BrokenPipeError:
            print_nowhere()


def print_nowhere() -> None:
    """Whoever read stdout has gone: from now on what is printed there is lost, and no error at every line or when the process ends."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
