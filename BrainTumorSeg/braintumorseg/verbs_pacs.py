"""The verbs of `braintumorseg pacs`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from .errors import BrainTumorSegError, Cancelled, ConfigError, MissingFile
from .io.atomic import check_output, output_folder
from .pacs.config import load_settings
from .pacs.node import Node, Query, StudyFound, check_uid, open_node
from .progress import Progress
from .terminal import Talk

__all__ = ["pacs_echo", "pacs_find", "pacs_retrieve", "pacs_segment", "pacs_send"]

# What --send-back names, by SOP class (PS3.6 A): segmentations, structured reports, secondary captures.
_RESULTS = {"seg": ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"),
            "sr": ("1.2.840.10008.5.1.4.1.1.88.",), "sc": ("1.2.840.10008.5.1.4.1.1.7",)}
_FETCHED, _SEGMENTED = 0.2, 0.95   # shares of a `pacs segment`


def pacs_echo(args, talk: Talk) -> None:
    node = _node(args)
    node.echo()
    talk.text(f"{node.name} answers.")
    talk.result({"node": node.name, "answers": True})


def pacs_find(args, talk: Talk) -> None:
    begin, dash, end = args.date.partition("-")
    query = Query(patient_id=_secret(args.patient_id_file), accession=_secret(args.accession_file), study_uid=args.study_uid,
                  date_from=begin, date_to=end if dash else begin, modality=args.modality)
    studies = _node(args).find(query)
    for study in studies:
        talk.text(_line(study, args.with_identity))
    if not studies:
        talk.text("No study fits.")
    talk.result([_as_json(study, args.with_identity) for study in studies])


def pacs_retrieve(args, talk: Talk) -> None:
    node, progress = _node(args), talk.progress()
    with output_folder(args.out) as folder, progress.part(0, 1, "retrieve").step("retrieve") as tell:
        count = node.retrieve(args.study_uid, folder, modality=args.modality, progress=tell, cancel=progress.cancel)
    talk.text(f"{count} images in {args.out}")
    talk.result({"images": count})


def pacs_send(args, talk: Talk) -> None:
    from .io.files import existing_file

    node, progress = _node(args), talk.progress()
    files = [existing_file(file) for file in args.files]
    with progress.part(0, 1, "send").step("send") as tell:
        node.store(files, progress=tell, cancel=progress.cancel)
    talk.text(f"{node.name} has taken {len(files)} file{'s' * (len(files) > 1)}.")
    talk.result({"sent": len(files)})


def pacs_segment(args, talk: Talk) -> None:
    """Retrieve into a private folder, run `segment` on it, store the chosen results."""
    from .io.private_temp import private_folder
    from .verbs import segment

    wanted = _send_back(args.send_back)
    check_uid(args.study_uid)
    check_output(args.out, args.force)
    node, progress = _node(args), talk.progress()
    with private_folder("pacs") as folder:
        with progress.part(0, _FETCHED, "retrieve").step("retrieve") as tell:
            node.retrieve(args.study_uid, folder, modality="MR", progress=tell, cancel=progress.cancel)
        inner = _Within(talk, progress.part(_FETCHED, _SEGMENTED))
        asked = {"sr": args.sr or "sr" in wanted, "sc": args.sc or "sc" in wanted}
        segment(argparse.Namespace(**(vars(args) | asked), paths=[folder], study=None), inner)
    sent, lacking = [], []
    if wanted:
        files = _results(args.out)
        lacking = [name for name in wanted if not files[name]]
        sent = [file for name in wanted for file in files[name]]
        _store(node, sent, args.out, progress.part(_SEGMENTED, 1, "send"))
        talk.text(f"Sent to {node.name}: {', '.join(file.name for file in sent) or 'nothing'}",
                  *(f"Not sent: this run wrote no {name.upper()}." for name in lacking))
    talk.result({"report": inner.report, "sent": [file.name for file in sent], "not_written": lacking})


class _Within(Talk):
    """How `segment` talks as a part of `pacs segment`: its text goes on, its result is kept for ours."""

    def __init__(self, outer: Talk, progress: Progress):
        super().__init__(outer.json_lines, outer.json_result)
        self.text = outer.text
        self.report: object = None
        self._progress = progress

    def progress(self) -> Progress:
        return self._progress

    def result(self, value: object) -> None:
        self.report = value


def _node(args) -> Node:
    settings = load_settings(args.config)
    if args.node not in settings:
        known = f"it has {', '.join(settings)}" if settings else "it is empty"
        raise ConfigError(f"The settings file has no archive {args.node}; {known}.", "Choose one of them, or add it.")
    return open_node(settings[args.node])


def _secret(file: str | None) -> str:
    """The one line of a file, or of stdin for '-': what must not stand on a command line, where every user of the machine sees it."""
    if file is None:
        return ""
    try:
        text = sys.stdin.read().removeprefix("\ufeff") if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MissingFile(f"There is no file {Path(file).name} at the place given.", "Check the path and its spelling.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{Path(file).name} cannot be read ({error.__class__.__name__}).", "It must be text in UTF-8.") from None
    lines = text.strip().splitlines()
    if len(lines) != 1:
        raise ConfigError(f"{'stdin' if file == '-' else Path(file).name} must hold exactly one line.")
    return lines[0].strip()


def _send_back(listed: str) -> list[str]:
    names = [name.strip() for name in listed.lower().split(",") if name.strip()]
    for name in names:
        if name not in _RESULTS:
            raise ConfigError(f"--send-back does not know {name}.", f"Name any of {', '.join(_RESULTS)}, joined by commas.")
    return list(dict.fromkeys(names))


def _results(folder: Path) -> dict[str, list[Path]]:
    """The DICOM files of a results folder by kind."""
    from pydicom import dcmread

    found: dict[str, list[Path]] = {name: [] for name in _RESULTS}
    for file in sorted(folder.rglob("*.dcm")):
        sop_class = str(dcmread(file, stop_before_pixels=True, specific_tags=["SOPClassUID"]).SOPClassUID)
        for name, classes in _RESULTS.items():
            if any(sop_class == one or (one.endswith(".") and sop_class.startswith(one)) for one in classes) or (
                    name == "sc" and sop_class.startswith("1.2.840.10008.5.1.4.1.1.7.")):
                found[name].append(file)
    return found


def _store(node: Node, files: list[Path], out: Path, progress: Progress) -> None:
    where = f"The results are in {out.name}, and not all of them are in the archive."
    try:
        with progress.step("send") as tell:
            if files:
                node.store(files, progress=tell, cancel=progress.cancel)
    except (KeyboardInterrupt, Cancelled):
        raise Cancelled(f"Sending was cancelled. {where}", "Send them with 'braintumorseg pacs send'.") from None
    except BrainTumorSegError as error:
        raise type(error)(f"{error.what} {where}", error.fix or "Send them with 'braintumorseg pacs send'.") from error


def _line(study: StudyFound, with_identity: bool) -> str:
    line = f"{study.date or 'no date':<9} {len(study.series):>3} series  {'/'.join(study.modalities) or '-':<10} {study.uid}"
    if with_identity:
        line += "".join(f"\n{'':<10}{key.replace('_', ' ')}: {value}" for key, value in study.identity.items() if value)
        line += "".join(f"\n{'':<10}series {one.number if one.number is not None else '-'}: {one.description} ({one.images} images)"
                        for one in study.series)
    return line


def _as_json(study: StudyFound, with_identity: bool) -> dict:
    series = [asdict(one) for one in study.series]
    if not with_identity:
        for one in series:
            del one["description"]
    return {"study_uid": study.uid, "date": study.date, "modalities": list(study.modalities), "series": series} | (
        {"identity": study.identity} if with_identity else {})
