"""The command `braintumorseg`: a parser for its verbs, and the one place where errors become lines and exit codes.

Exit 0 done; 1 an error of ours, one line on stderr; 2 wrong usage; 130 cancelled.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import __version__
from .arguments import not_negative, some_path
from .cohort_options import add_cohort
from .errors import BrainTumorSegError, Cancelled, InputError
from .io.dicom_quiet import hush
from .labels import CONVENTIONS
from .terminal import Talk, escape_unknown_letters

__all__ = ["main"]

RESEARCH_ONLY = "For research use only; not a medical device."


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    escape_unknown_letters()
    args = _parser().parse_args(arguments)
    hush()
    talk = Talk(json_lines=getattr(args, "progress", None) == "json", json_result=getattr(args, "json", False),
                owns_process=arguments is None)
    try:
        with _terminated_like_interrupted():
            if hasattr(args, "out"):
                _remove_leftovers()
            args.run(args, talk)
    except KeyboardInterrupt:
        talk.error(Cancelled("The run was cancelled; nothing half-written is left."))
        return 130
    except Cancelled as error:
        talk.error(error)
        return 130
    except BrainTumorSegError as error:
        talk.error(error)
        return 1
    except BrokenPipeError:  # the reader of our output went away
        sys.stderr.close()
        return 1
    except OSError as error:  # the system's refusals are as many as paths; where we know better, we have said so before
        name = f"{Path(os.fsdecode(error.filename)).name} cannot be used" if isinstance(error.filename, (str, bytes)) else "The run failed"
        talk.error(InputError(f"{name}: {error.strerror or type(error).__name__}.", "Check the path, and that this user may read and write there."))
        return 1
    return 0


def _remove_leftovers() -> None:
    """Patients' files that killed runs left in the place for temporary files go with the next run that writes, whatever its verb."""
    from .io.private_temp import remove_leftovers

    remove_leftovers()


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, which a batch system or a shutdown sends, and SIGHUP, when a terminal closes, end a run like Ctrl-C: temporary folders go
    with it. One that is ignored (nohup) stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    for name in ("SIGTERM", "SIGHUP"):   # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="braintumorseg", description=f"Brain tumour segmentation on MR. {RESEARCH_ONLY}",
                                     epilog="'braintumorseg VERB --help' says more of each.")
    parser.add_argument("--version", action="version", version=f"braintumorseg {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_segment(verbs)
    _add_cohort(verbs)
    _add_study(verbs)
    _add_evaluate(verbs)
    _add_models(verbs)
    _add_export(verbs)
    _add_pacs(verbs)
    _add_anonymise(verbs)

    verb = verbs.add_parser("doctor", help="what hardware there is, which provider a real session used, what is missing")
    verb.add_argument("--json", action="store_true", help="one JSON line on stdout instead of text")
    verb.set_defaults(run=_lazily("doctor"))

    verb = verbs.add_parser("demo", help="make a synthetic patient, segment it, compare with its truth")
    verb.add_argument("--out", type=some_path, required=True, metavar="DIR", help="folder for the patient and the results")
    verb.add_argument("--seed", type=not_negative, default=0, help="which patient (default 0)")
    verb.add_argument("--force", action="store_true", help="replace the folder of an earlier demo")
    verb.set_defaults(run=_lazily("demo"))

    verb = verbs.add_parser("phantom", help="make a synthetic patient and nothing else: DICOM series and NIfTI files")
    verb.add_argument("--out", type=some_path, required=True, metavar="DIR", help="folder for the patient")
    verb.add_argument("--seed", type=not_negative, default=0, help="which patient (default 0)")
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
        epilog="DIR gets segmentation.nii.gz (labels 1 necrosis, 2 oedema, 3 enhancing; on the reference's own grid), overlay.png, steps.png "
               "(where something was aligned or cut out), report.json and report.html; for DICOM input segmentation.dcm, too.")
    _add_images(verb)
    verb.add_argument("--out", type=some_path, required=True, metavar="DIR", help="folder for the results; it must not exist yet (see --force)")
    _add_segment_options(verb)
    verb.set_defaults(run=_lazily("segment"))


def _add_cohort(verbs) -> None:
    verb = add_cohort(verbs, RESEARCH_ONLY)
    _add_segment_options(verb)
    verb.set_defaults(run=_lazily("cohort", "verbs_cohort"))


def _add_segment_options(verb) -> None:
    """What `segment`, `cohort` and `pacs segment` have in common."""
    verb.add_argument("--model", default="glioma", metavar="NAME", help="a network of 'braintumorseg models list', or an .onnx file (default glioma)")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the network runs (default auto)")
    verb.add_argument("--provider", choices=("tensorrt", "cuda", "openvino", "onnxruntime"),
                      help="what runs the network, and nothing else (default: the best of the device's)")
    verb.add_argument("--threads", type=not_negative, default=0, metavar="N", help="CPU threads for the network (default, and at most: all cores)")
    verb.add_argument("--registered", action="store_true", help="the sequences share one grid and are aligned: move nothing")
    verb.add_argument("--stripped", action="store_true", help="the images show the brain alone, even if they do not look it")
    verb.add_argument("--thorough", action="store_true",
                      help="look once with all sequences and once without each: takes the network up to five times as long, and says how sure it is")
    verb.add_argument("--sr", action="store_true", help="DICOM input: also a structured report (TID 1500) of volumes and diameters")
    verb.add_argument("--sc", action="store_true", help="DICOM input: also pictures with the outlines, for viewers that show no SEG")
    verb.add_argument("--with-identity", action="store_true", help="DICOM input: the patient's name, ID and dates in report.html and report.json")
    verb.add_argument("--json", action="store_true", help="print the report as one JSON line at the end of stdout")
    verb.add_argument("--progress", choices=("json",), help="one JSON object a line on stdout, for programs; closing stdin then cancels")
    verb.add_argument("--force", action="store_true", help="replace the results of an earlier run in DIR")


def _add_images(verb) -> None:
    verb.add_argument("paths", nargs="*", type=some_path, metavar="PATH",
                      help="folders or files of DICOM series, images (NIfTI, NRRD, MHA), or folders of them")
    _add_roles(verb, "an image, a DICOM series' folder or a file of it, or its number (7; 7.2 for its second volume)")
    verb.add_argument("--study", type=int, metavar="N", help="which of several DICOM studies, 1 the earliest")


def _add_roles(verb, which: str) -> None:
    for role, words in (("t1", "T1 before contrast"), ("t1ce", "T1 after contrast"), ("t2", "T2"), ("flair", "T2-FLAIR")):
        verb.add_argument(f"--{role}", type=some_path, metavar="WHICH", help=f"{words}: {which}")
    verb.add_argument("--fill-gaps", action="store_true", help="make up missing slices of a DICOM series from their neighbours, do not refuse it")


def _add_study(verbs) -> None:
    verb = verbs.add_parser("study", help="show which series is which sequence, without segmenting",
                            description="A table of every series and image: which sequence it is and why, or why it is left out, and its "
                                        f"geometry. {RESEARCH_ONLY}")
    _add_images(verb)
    verb.add_argument("--with-identity", action="store_true", help="show the series' descriptions, too: they may hold a patient's name")
    verb.add_argument("--json", action="store_true", help="one JSON line on stdout instead of the table")
    verb.set_defaults(run=_lazily("study", "verbs_study"))


def _add_evaluate(verbs) -> None:
    verb = verbs.add_parser("evaluate", help="compare a segmentation, or a folder of them, with the truth",
                            description="Dice, IoU, precision, recall, HD95, NSD at 1 mm, volume error and lesion-wise scores (BraTS 2023), "
                                        "per label and region.")
    verb.add_argument("--truth", type=some_path, required=True, metavar="F", help="label map, or folder of cases")
    verb.add_argument("--found", type=some_path, required=True, metavar="F", help="likewise; cases are matched by name")
    verb.add_argument("--labels", choices=tuple(CONVENTIONS), default="brats2023",
                      help="how the truth writes enhancing tumour: 4 in brats2021, 3 in brats2023 (default)")
    verb.add_argument("--found-labels", choices=tuple(CONVENTIONS), default="brats2023", help="likewise for what was found (default brats2023)")
    verb.add_argument("--csv", type=some_path, metavar="FILE", help="also write every case and structure as a table")
    verb.add_argument("--plot", type=some_path, metavar="FILE", help="also draw box plots of Dice as PNG (needs matplotlib)")
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
    action.add_argument("file", type=some_path, metavar="FILE.zip")
    action.set_defaults(run=_lazily("models_add"))
    action = actions.add_parser("remove", help="delete a network that was added")
    action.add_argument("name", metavar="NAME")
    action.set_defaults(run=_lazily("models_remove"))
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="one JSON line on stdout instead of text")


def _add_export(verbs) -> None:
    verb = verbs.add_parser(
        "export", help="turn a label file and its DICOM series into a DICOM-SEG",
        description="Write a label file as a DICOM Segmentation that refers to the series it was made in, and where asked for a structured "
                    f"report of volumes and diameters and a series of pictures. {RESEARCH_ONLY}",
        epilog="Who made the labels is taken from the report.json beside them, or from --report, --model or --manual.")
    verb.add_argument("labels", type=some_path, metavar="LABELS", help="label map (NIfTI, NRRD, MHA): 1 NCR, 2 ED, 3 ET; or a DICOM-SEG")
    verb.add_argument("--source", nargs="+", type=some_path, required=True, metavar="PATH", help="the DICOM series: its folder or files")
    verb.add_argument("--out", type=some_path, required=True, metavar="FILE.dcm", help="the SEG; it must not exist yet (see --force)")
    verb.add_argument("--series", type=int, metavar="NUMBER", help="which series of the source, by its number, when several have the labels' voxels")
    verb.add_argument("--labels", dest="convention", choices=tuple(CONVENTIONS), default="brats2023",
                      help="how the label map writes enhancing tumour: 4 in brats2021, 3 in brats2023 (default)")
    maker = verb.add_mutually_exclusive_group()
    maker.add_argument("--report", type=some_path, metavar="FILE", help="report.json of the run that made the labels")
    maker.add_argument("--model", metavar="NAME", help="the network that made them")
    maker.add_argument("--manual", action="store_true", help="they were drawn by hand")
    verb.add_argument("--edited", action="store_true", help="a person has corrected them: the SEG says SEMIAUTOMATIC")
    verb.add_argument("--labelmap", action="store_true", help="a LABELMAP SEG: a tenth of the size, but many viewers do not read it yet")
    verb.add_argument("--fill-gaps", action="store_true", help="the series lacks slices, and the labels were made with `segment --fill-gaps`")
    verb.add_argument("--resample", action="store_true", help="labels on another grid: give each voxel of the series the nearest label")
    verb.add_argument("--sr", type=some_path, metavar="FILE.dcm", help="also a structured report (TID 1500) of volumes and diameters")
    verb.add_argument("--sc", type=some_path, metavar="DIR", help="also pictures with the outlines (secondary capture), for viewers that show no SEG")
    verb.add_argument("--force", action="store_true", help="replace outputs that exist")
    verb.add_argument("--json", action="store_true", help="one JSON line on stdout instead of text")
    verb.set_defaults(run=_lazily("export", "verbs_export"))


def _add_pacs(verbs) -> None:
    verb = verbs.add_parser(
        "pacs", help="find, fetch, segment and send back studies of a DICOM archive",
        description=f"Talk to a DICOM archive (PACS), over the classic network or DICOMweb. {RESEARCH_ONLY}",
        epilog="Archives and their credentials are in a settings file (~/.config/braintumorseg/pacs.toml, or BRAINTUMORSEG_PACS, or --config), "
               "never on the command line. Needs two packages: pip install pynetdicom requests.")
    actions = verb.add_subparsers(required=True, metavar="ACTION")

    def add(name: str, words: str, with_json: bool = True):
        action = actions.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        action.add_argument("node", metavar="NODE", help="an archive of the settings file")
        action.add_argument("--config", type=some_path, metavar="FILE", help="another settings file")
        if with_json:
            action.add_argument("--json", action="store_true", help="one JSON line on stdout instead of text")
        action.set_defaults(run=_lazily(f"pacs_{name}", "verbs_pacs"))
        return action

    add("echo", "ask the archive for a sign of life")
    action = add("find", "list studies: date, number of series, modalities and UID")
    action.add_argument("--patient-id-file", metavar="F", help="file that holds the patient's ID; - reads it from stdin, unseen by other users")
    action.add_argument("--accession-file", metavar="F", help="likewise for the accession number")
    action.add_argument("--study-uid", default="", metavar="UID")
    action.add_argument("--date", default="", metavar="YYYYMMDD[-YYYYMMDD]", help="a day, or a range with either side left open")
    action.add_argument("--modality", default="", metavar="MR", help="only studies with a series of this modality")
    action.add_argument("--with-identity", action="store_true", help="show names, IDs and descriptions too")
    action = add("retrieve", "fetch a study into a new folder")
    action.add_argument("study_uid", metavar="STUDY_UID")
    action.add_argument("--out", type=some_path, required=True, metavar="DIR", help="a folder that does not exist yet")
    action.add_argument("--modality", default="", metavar="MR", help="only its series of this modality")
    action = add("send", "send DICOM files")
    action.add_argument("files", nargs="+", type=some_path, metavar="FILE")
    action = add("segment", "fetch a study, segment it, and send results back", with_json=False)
    action.add_argument("study_uid", metavar="STUDY_UID")
    action.add_argument("--out", type=some_path, required=True, metavar="DIR", help="folder for the results; it must not exist yet (see --force)")
    action.add_argument("--send-back", default="", metavar="seg,sr,sc", help="which results go to the archive: segmentation, measurements, pictures")
    _add_roles(action, "the series' number")
    _add_segment_options(action)


def _add_anonymise(verbs) -> None:
    verb = verbs.add_parser(
        "anonymise", help="write a copy of DICOM files for research, without identity",
        description="Write a copy of DICOM images without identity (DICOM PS3.15, Basic Profile): names, numbers, free text and private "
                    "attributes removed, UIDs replaced consistently, dates shifted by one number of days per patient.",
        epilog="The face can be seen in images of the head, and this does not remove it: share only under an agreement that says so.")
    verb.add_argument("paths", nargs="+", type=some_path, metavar="IN", help="DICOM files or folders, of one patient or many")
    verb.add_argument("--out", type=some_path, required=True, metavar="DIR", help="a folder that does not exist yet")
    verb.add_argument("--seed-file", type=some_path, metavar="F", help="secret from which pseudonyms are made (written if it is not there): the same "
                      "file gives the same patient the same pseudonym next time. Keep it as safe as the names themselves")
    verb.add_argument("--keep-dates", action="store_true", help="leave dates as they are (Retain Full Dates Option)")
    verb.add_argument("--keep-age-sex", action="store_true",
                      help="keep sex and age in years, 90 for all who are older (Retain Patient Characteristics Option)")
    verb.add_argument("--json", action="store_true", help="one JSON line on stdout instead of text")
    verb.set_defaults(run=_lazily("anonymise", "verbs_anonymise"))


def _lazily(name: str, module: str = "verbs"):
    """The function of that name in `module`, imported when it runs: --help must not wait for scientific packages."""
    def run(args, talk: Talk) -> None:
        getattr(importlib.import_module(f".{module}", __package__), name)(args, talk)

    return run


if __name__ == "__main__":
    sys.exit(main())
