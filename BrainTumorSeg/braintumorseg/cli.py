"""The command `braintumorseg`: a parser for its verbs, and the one place where errors become lines and exit codes.

Exit 0 done; 1 an error of ours, one line on stderr; 2 wrong usage; 130 cancelled.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import __version__
from .errors import BrainTumorSegError, Cancelled
from .labels import CONVENTIONS
from .terminal import Talk

__all__ = ["main"]

RESEARCH_ONLY = "For research use only; not a medical device."


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    args = _parser().parse_args(arguments)
    talk = Talk(json_lines=getattr(args, "progress", None) == "json", json_result=getattr(args, "json", False),
                owns_process=arguments is None)
    try:
        args.run(args, talk)
    except (KeyboardInterrupt, Cancelled):
        talk.error(Cancelled("The run was cancelled; nothing was written."))
        return 130
    except BrainTumorSegError as error:
        talk.error(error)
        return 1
    except BrokenPipeError:  # the reader of our output went away
        sys.stderr.close()
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="braintumorseg", description=f"Brain tumour segmentation on MR. {RESEARCH_ONLY}",
                                     epilog="'braintumorseg VERB --help' says more of each.")
    parser.add_argument("--version", action="version", version=f"braintumorseg {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_segment(verbs)
    _add_study(verbs)
    _add_evaluate(verbs)
    _add_models(verbs)

    verb = verbs.add_parser("doctor", help="what hardware there is, which provider a real session used, what is missing")
    verb.add_argument("--json", action="store_true", help="one JSON line on stdout instead of text")
    verb.set_defaults(run=_lazily("doctor"))

    verb = verbs.add_parser("demo", help="make a synthetic patient, segment it, compare with its truth")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the patient and the results")
    verb.add_argument("--seed", type=int, default=0, help="which patient (default 0)")
    verb.add_argument("--force", action="store_true", help="replace the folder of an earlier demo")
    verb.set_defaults(run=_lazily("demo"))

    verb = verbs.add_parser("phantom", help="make a synthetic patient and nothing else: DICOM series and NIfTI files")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the patient")
    verb.add_argument("--seed", type=int, default=0, help="which patient (default 0)")
    verb.add_argument("--force", action="store_true", help="replace the folder of an earlier phantom")
    verb.add_argument("--json", action="store_true", help="one JSON line on stdout instead of text")
    verb.set_defaults(run=_lazily("phantom", "verbs_phantom"))
    return parser


def _add_segment(verbs) -> None:
    verb = verbs.add_parser(
        "segment", help="segment the tumour of one patient",
        description="Segment the tumour of one patient from T1, contrast-enhanced T1, T2 and FLAIR, or any of them. Which series is which is "
                    "told by its DICOM header, a file's name (*_t1ce.nii.gz, *-t2f.nii.gz), the image itself, or the options; 'braintumorseg study' "
                    f"shows it beforehand. {RESEARCH_ONLY}",
        epilog="DIR gets segmentation.nii.gz (labels 1 necrosis, 2 oedema, 3 enhancing; on the reference's own grid), overlay.png, "
               "report.json and report.html.")
    _add_images(verb)
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results; it must not exist yet (see --force)")
    verb.add_argument("--model", default="glioma", metavar="NAME", help="a network of 'braintumorseg models list', or an .onnx file (default glioma)")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the network runs (default auto)")
    verb.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads for the network (default: all cores)")
    verb.add_argument("--registered", action="store_true", help="the sequences share one grid and are aligned: move nothing")
    verb.add_argument("--stripped", action="store_true", help="the images show the brain alone, even if they do not look it")
    verb.add_argument("--json", action="store_true", help="print the report as one JSON line at the end of stdout")
    verb.add_argument("--progress", choices=("json",), help="one JSON object a line on stdout, for programs; closing stdin then cancels")
    verb.add_argument("--force", action="store_true", help="replace the results of an earlier run in DIR")
    verb.set_defaults(run=_lazily("segment"))


def _add_images(verb) -> None:
    verb.add_argument("paths", nargs="*", type=Path, metavar="PATH",
                      help="folders or files of DICOM series, images (NIfTI, NRRD, MHA), or folders of them")
    for role, words in (("t1", "T1 before contrast"), ("t1ce", "T1 after contrast"), ("t2", "T2"), ("flair", "T2-FLAIR")):
        verb.add_argument(f"--{role}", type=Path, metavar="WHICH", help=f"{words}: an image, a DICOM series' folder or a file of it, or its number")
    verb.add_argument("--study", type=int, metavar="N", help="which of several DICOM studies, 1 the earliest")


def _add_study(verbs) -> None:
    verb = verbs.add_parser("study", help="show which series is which sequence, without segmenting",
                            description="A table of every series and image: which sequence it is and why, or why it is left out, and its geometry.")
    _add_images(verb)
    verb.add_argument("--with-identity", action="store_true", help="show the series' descriptions, too: they may hold a patient's name")
    verb.add_argument("--json", action="store_true", help="one JSON line on stdout instead of the table")
    verb.set_defaults(run=_lazily("study", "verbs_study"))


def _add_evaluate(verbs) -> None:
    verb = verbs.add_parser("evaluate", help="compare a segmentation, or a folder of them, with the truth",
                            description="Dice, IoU, precision, recall, HD95, NSD at 1 mm, volume error and lesion-wise scores (BraTS 2023), "
                                        "per label and region.")
    verb.add_argument("--truth", type=Path, required=True, metavar="F", help="label map, or folder of cases")
    verb.add_argument("--found", type=Path, required=True, metavar="F", help="likewise; cases are matched by name")
    verb.add_argument("--labels", choices=tuple(CONVENTIONS), default="brats2023",
                      help="how the truth writes enhancing tumour: 4 in brats2021, 3 in brats2023 (default)")
    verb.add_argument("--found-labels", choices=tuple(CONVENTIONS), default="brats2023", help="likewise for what was found (default brats2023)")
    verb.add_argument("--csv", type=Path, metavar="FILE", help="also write every case and structure as a table")
    verb.add_argument("--plot", type=Path, metavar="FILE", help="also draw box plots of Dice as PNG (needs matplotlib)")
    verb.add_argument("--json", action="store_true", help="one JSON line on stdout instead of the table")
    verb.set_defaults(run=_lazily("evaluate"))


def _add_models(verbs) -> None:
    verb = verbs.add_parser("models", help="list, show, add or remove networks")
    actions = verb.add_subparsers(required=True, metavar="ACTION")
    action = actions.add_parser("list", help="the networks there are")
    action.set_defaults(run=_lazily("models_list"))
    action = actions.add_parser("show", help="everything about one: training data, licence, accuracy, limits")
    action.add_argument("name", metavar="NAME")
    action.set_defaults(run=_lazily("models_show"))
    action = actions.add_parser("add", help="install a network from a zip of NAME.onnx and NAME.json")
    action.add_argument("file", type=Path, metavar="FILE.zip")
    action.set_defaults(run=_lazily("models_add"))
    action = actions.add_parser("remove", help="delete a network that was added")
    action.add_argument("name", metavar="NAME")
    action.set_defaults(run=_lazily("models_remove"))
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="one JSON line on stdout instead of text")


def _lazily(name: str, module: str = "verbs"):
    """The function of that name in a module of verbs, imported when it runs: --help must not wait for scientific packages."""
    def run(args, talk: Talk) -> None:
        from importlib import import_module

        getattr(import_module(f".{module}", __package__), name)(args, talk)

    return run


if __name__ == "__main__":
    sys.exit(main())
