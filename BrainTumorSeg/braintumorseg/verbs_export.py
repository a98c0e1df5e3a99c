"""`braintumorseg export`: any label file and the series it belongs to, as DICOM objects."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .dicom_results import write_dicom_objects
from .errors import GridMismatch, InputError, MissingFile
from .io.dicom import read_stack, scan_dicom
from .io.dicom_grid import onto_grid
from .io.dicom_series import Scan, Stack
from .io.dicom_source import source_of_stack
from .io.output_paths import check_paths, output_paths
from .io.readers import is_seg, read_labels
from .labels import from_convention
from .measure import measure
from .model_card import Label
from .model_zoo import DEFAULT_MODEL, load_model
from .quality import Flag
from .resample import resample
from .segmentation import Provenance, Segmentation
from .terminal import Talk
from .volume import Grid, Volume

__all__ = ["export"]

_OURS = re.compile(r"overlay_\d{4}\.dcm")


def export(args, talk: Talk) -> None:
    outputs = [path for path in (args.out, args.sr, args.sc) if path is not None]
    check_paths(outputs, args.force, _ours)
    table, provenance, flags = _made_by(args)
    scan = scan_dicom(args.source, fill_gaps=args.fill_gaps)
    labels, stack = _placed(args, scan)
    segmentation = Segmentation(labels, table, provenance)
    with output_paths(outputs, args.force, _ours) as partials:
        place = dict(zip(outputs, partials, strict=True))
        written = write_dicom_objects(segmentation, measure(segmentation), source_of_stack(stack), place[args.out], sr=place.get(args.sr),
                                      sc=place.get(args.sc), reference_volume=read_stack(stack) if args.sc else None,
                                      flags=() if args.edited else flags, edited=args.edited, labelmap=args.labelmap)
    result = written.to_json(args.out, args.sr, args.sc)
    talk.text(*_summary(result))
    talk.result(result)


def _made_by(args) -> tuple[tuple[Label, ...], Provenance, tuple[Flag, ...]]:
    """The label table, who outlined the labels, a network by its report or its name, or a person, and the report's flags."""
    report = args.report or (args.labels.parent / "report.json" if not args.model and not args.manual else None)
    if report is not None and (args.report or report.is_file()):
        return _from_report(report)
    if not args.model and not args.manual:
        raise InputError("Nothing says who made these labels, and a SEG must.",
                         "Add --report report.json of the run, --model NAME, or --manual if they were drawn by hand.")
    card = load_model(args.model or DEFAULT_MODEL).card
    if card.finds != "tumour":
        raise InputError(f"The network {card.name} finds no tumours, so it did not make these labels.", "Give --model the one that did, or --manual.")
    return card.labels, Provenance(card.name, card.version, card.sha256, "") if args.model else Provenance("", "", "", ""), ()


def _from_report(path: Path) -> tuple[tuple[Label, ...], Provenance, tuple[Flag, ...]]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        model = report["model"]
        table = tuple(Label(one["value"], one["name"], tuple(one["code"]), tuple(one["rgb"])) for one in model["labels"])
        made = Provenance(str(model["name"]), str(model["version"]), str(model["sha256"]), "", missing=tuple(report.get("missing", ())))
        flags = tuple(Flag(str(one["code"]), one["severity"], str(one["text"])) for one in report.get("flags", ()))
        return table, made, tuple(flag for flag in flags if flag.code != "no_dicom_result")   # now there is one
    except FileNotFoundError:
        raise MissingFile(f"There is no file {path.name} at the place given.", "Check the path and its spelling.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path.name} is not a report of this program.", "Give the report.json of the run that made the labels.") from None


def _placed(args, scan: Scan) -> tuple[Volume, Stack]:
    """The labels on the grid of the one stack that they belong to."""
    stacks = [stack for stack in scan.stacks if args.series is None or stack.facts.number == args.series]
    if not stacks:
        raise InputError(_why_none(args, scan), "Give the folder of the series in which the segmentation was made.")
    labels = None if is_seg(args.labels) else _ours_values(read_labels(args.labels), args)
    fits = [(placed, stack) for stack in stacks if (placed := _onto(labels, args.labels, stack.grid)) is not None]
    if len(fits) == 1:
        return fits[0]
    if len(fits) > 1 or len(stacks) > 1:
        some = [stack for _, stack in fits] or stacks
        raise InputError(f"{len(some)} series {'have these voxels' if fits else 'were found, and none has these voxels'}: {_named(some)}.",
                         "Say which with --series NUMBER, or give its folder alone." if fits or args.resample else
                         "Give the series in which the segmentation was made, or add --series NUMBER --resample.")
    stack, = stacks
    if args.resample:
        return resample(read_labels(args.labels) if labels is None else labels, stack.grid, linear=False), stack
    where = (read_labels(args.labels) if labels is None else labels).grid
    what = f"The labels are {where.describe()}, and the series {stack.grid.describe()}: their voxels differ."
    sizes = [sorted(zip(grid.shape, np.round(grid.spacing_mm, 2).tolist(), strict=True)) for grid in (where, stack.grid)]
    if sizes[0] == sizes[1]:
        what = f"The labels have the voxels of the series ({where.describe()}), but lie up to {_apart_mm(where, stack.grid):.2g} mm apart from it."
    raise GridMismatch(what, "Give the series in which they were made, or add --resample (each voxel takes the nearest label).")


def _ours_values(labels: Volume, args) -> Volume:
    return labels.with_voxels(from_convention(labels.voxels, args.convention, args.labels.name))


def _onto(labels: Volume | None, path: Path, grid: Grid) -> Volume | None:
    """The labels (those of the SEG at `path` when None) on `grid`, None when their voxels are not those of the grid."""
    try:
        return read_labels(path, grid) if labels is None else onto_grid(labels, grid, path.name)
    except GridMismatch:
        return None


def _apart_mm(one: Grid, other: Grid) -> float:
    """How far a corner of one grid lies from the nearest corner of another, at most; their axes may run in other directions."""
    here, there = ((grid.corners @ grid.affine.T)[:, :3] for grid in (one, other))     # (8, 3) mm
    return float(np.linalg.norm(here[:, None] - there[None], axis=2).min(axis=1).max())


def _why_none(args, scan: Scan) -> str:
    if scan.stacks:
        return f"There is no series {args.series} in what was given: {_named(scan.stacks)}."
    reasons = "; ".join(f"{one.what}: {one.why}" for one in scan.left_aside[:3])
    return f"No DICOM series was found that a result can refer to ({reasons or 'no DICOM files'})."


def _named(stacks: Sequence[Stack]) -> str:
    """'series 4 (240 x 240 x 23 voxels ...)': the number alone, for descriptions are free text."""
    return ", ".join(f"series {'?' if stack.facts.number is None else stack.facts.number} ({stack.grid.describe()})"
                     for stack in sorted(stacks, key=lambda stack: stack.facts.number or 0))


def _ours(file: Path) -> bool:
    return _OURS.fullmatch(file.name) is not None


def _summary(result: dict) -> list[str]:
    seg, sr, sc = result["seg"], result["sr"], result["sc"]
    if not seg["path"]:
        lines = ["The label map is empty: no SEG was written."]
    else:
        lines = [f"{seg['path']}: " + ", ".join(f"{one['number']} {one['name']} ({one['voxels']} voxels)" for one in seg["segments"])]
        if seg["left_out"]:
            lines.append(f"Left out, because they are empty: {', '.join(seg['left_out'])}")
    if sr:
        axes = f"enhancing lesion {sr['long_axis_mm']} x {sr['short_axis_mm']} mm" if sr["long_axis_mm"] else "no enhancing lesion measured"
        lines.append(f"{sr['path']}: volumes, {axes}")
    if sc and sc["path"]:
        lines.append(f"{sc['path']}: {sc['files']} pictures")
    return [*lines, "Research use only; not a medical device."]
