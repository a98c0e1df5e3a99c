"""A result on its way out: what must be true before a DICOM export, the export itself, and the two plain formats."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from . import dicom
from .dicom_place import departure
from .label_file import write_labels
from .mrml_outlines import algorithm_type, label_values, labels_on, mark_edited, outlines_of
from .mrml_segmentation import SEMIAUTOMATIC, is_ours, lies_on_reference, placement_of, reference_of, report_of
from .private_folder import PrivateFolder
from .process import EngineProcess, Outcome
from .steps import failure_of

__all__ = ["Check", "DicomExport", "Exported", "preflight", "write_nifti", "write_seg_nrrd"]

_SEG, _SR = "segmentation.dcm", "measurements.dcm"
_OPTION = re.compile(r"[^.]*\s--\w[^.]*\.")  # a sentence of the engine's that names an option of its command line


@dataclass(frozen=True)
class Check:
    """One line of the list before an export. `ok` False stops it; None is a remark."""

    text: str
    ok: bool | None


@dataclass(frozen=True)
class Exported:
    """`paths`: the files that the user asked for; `stored`: Slicer's DICOM database has everything that was written and gave it back."""

    paths: tuple
    stored: bool
    segments: int
    left_out: tuple = ()
    measured: bool = False   # with a structured report


def preflight(segmentation) -> list:
    """Everything that a DICOM export needs, each with its fix where it is missing."""
    if not is_ours(segmentation):
        return [Check(_("Choose a segmentation that BrainTumorSeg made (the field Result)."), False)]
    labels = outlines_of(segmentation).labels
    table = report_of(segmentation)["model"]["labels"]
    kind = algorithm_type(segmentation)
    return [_source_check(reference_of(segmentation), lies_on_reference(segmentation)),
            *_segment_checks(segmentation, table),
            Check(_("Voxels: {count} are labelled.").format(count=int(np.count_nonzero(labels))), True) if labels.any() else
            Check(_("The segmentation is empty. DICOM has no empty segmentation: export NIfTI, or draw something first."), False),
            Check(_("Algorithm type: SEMIAUTOMATIC, for the outlines were edited.") if kind == SEMIAUTOMATIC else
                  _("Algorithm type: AUTOMATIC, for nobody edited the outlines."), None)]


def _source_check(reference, on_it: bool) -> Check:
    if reference is None:
        return Check(_("The volume that was segmented is no longer in the scene. Load its DICOM series again and segment it."), False)
    if not on_it:
        return Check(_("{name} lay under a deforming transform when it was segmented, so the outlines do not lie on the slices of its series. "
                       "Export NIfTI; or, if the transform is your own, take the volume out of it and segment again.").format(
                           name=reference.GetName()), False)
    if not dicom.is_open():
        return Check(_("Slicer's DICOM database is not open. Open the module DICOM once to create it."), False)
    if not dicom.instance_uids(reference):
        return Check(_("{name} was not loaded from Slicer's DICOM database, so no DICOM object can refer to it. Add the series with the "
                       "module DICOM and segment that, or export NIfTI.").format(name=reference.GetName()), False)
    files = dicom.files_of(reference)
    if not files:
        return Check(_("Files of the series of {name} are no longer in Slicer's DICOM database. Import them again.").format(
            name=reference.GetName()), False)
    moved = departure(reference, files)
    if moved:
        return Check(moved, False)
    return Check(_("Source series: {count} files in Slicer's DICOM database.").format(count=len(files)), True)


def _segment_checks(segmentation, table) -> list:
    values, segments = label_values(segmentation), segmentation.GetSegmentation()
    found = [Check(_("Segments with their codes: {names}.").format(names=", ".join(label["name"] for label in table
                                                                                   if label["value"] in values.values())), bool(values))]
    strangers = [segments.GetSegment(segment_id).GetName() for segment_id in segments.GetSegmentIDs() if segment_id not in values]
    if strangers:
        found.append(Check(_("Not exported, for the model's table has no code for them: {names}. To export a segment, name it as one of the "
                             "network's with a number, such as {example}_2.").format(names=", ".join(strangers), example=table[-1]["name"]), None))
    return found


def write_nifti(segmentation, path: Path) -> None:
    """The labels on the grid of the source volume's own file, as .nii.gz. Raises OSError."""
    from braintumorseg.io.replacing import replacing

    with replacing(path) as partial:
        write_labels(labels_on(segmentation, label_values(segmentation)), placement_of(segmentation).local, partial)


def write_seg_nrrd(segmentation, path: Path) -> None:
    """The segmentation as Slicer keeps it (names, colours, terminology), as .seg.nrrd. Raises OSError."""
    from braintumorseg.io.replacing import replacing

    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    try:
        with replacing(path) as partial:
            storage.SetFileName(str(partial))
            if not storage.WriteData(segmentation):
                raise OSError(None, _("Slicer could not write {name}").format(name=path.name))
    finally:
        slicer.mrmlScene.RemoveNode(storage)


class DicomExport:
    """Writes a DICOM-SEG through the engine, puts it into Slicer's DICOM database and asks for it back; with `sr` a structured report, too.

    `on_finished(outcome, exported)` once; `exported` is None unless the outcome is ok. `path` is where the user wants a copy, or None;
    that of the report lies beside it, as NAME_measurements.dcm.
    """

    def __init__(self, segmentation, path: Path | None, sr: bool, engine, on_finished: Callable, make_process):
        self._segmentation, self._path, self._sr, self._engine = segmentation, path, sr, engine
        self._on_finished, self._make_process = on_finished, make_process
        self._folder: PrivateFolder | None = None
        self._process: EngineProcess | None = None

    def start(self) -> None:
        """Files are written before it returns; the engine then runs beside."""
        blocking = [check.text for check in preflight(self._segmentation) if check.ok is False]
        if blocking:
            self._end(Outcome(error_kind="NotReady", what=" ".join(blocking)))
            return
        try:
            self._folder = PrivateFolder()
            arguments = self._write_inputs()
        except OSError as error:
            self._end(failure_of(error))
            return
        self._process = EngineProcess([*self._engine.command(), *arguments], self._engine.environment(), on_finished=self._engine_ended,
                                      make_process=self._make_process)
        self._process.start()

    def cancel(self) -> None:
        if self._process is not None:
            self._process.cancel()

    def _write_inputs(self) -> list:
        segmentation, folder = self._segmentation, self._folder.path
        write_nifti(segmentation, folder / "labels.nii.gz")
        (folder / "report.json").write_text(json.dumps(report_of(segmentation)), encoding="utf-8")
        edited = algorithm_type(segmentation) == SEMIAUTOMATIC
        mark_edited(segmentation, edited)
        # A list of files may be longer than a command line can be; links or copies of them make one folder.
        source = folder / "source"
        source.mkdir()
        for number, file in enumerate(dicom.files_of(reference_of(segmentation))):
            _link(file, source / f"{number:05d}.dcm")
        return ["export", str(folder / "labels.nii.gz"), "--source", str(source), "--out", str(folder / _SEG),
                "--report", str(folder / "report.json"), *["--edited"] * edited,
                *["--sr", str(folder / _SR)] * self._sr, "--json"]

    def _engine_ended(self, outcome: Outcome) -> None:
        if _OPTION.search(outcome.what):
            outcome = replace(outcome, what=_OPTION.sub("", outcome.what).strip(), fix=_("Load the series again and segment that, or export NIfTI."))
        if not outcome.ok:
            self._end(outcome)
            return
        try:
            self._end(outcome, self._keep(outcome.result))
        except OSError as error:
            self._end(failure_of(error))

    def _keep(self, written: Mapping) -> Exported:
        from braintumorseg.io.replacing import replacing

        seg, sr = written["seg"], written["sr"]
        objects = {_SEG: seg, **({_SR: sr} if sr else {})}
        copies = {_SEG: self._path, _SR: self._path.with_name(f"{self._path.stem}_measurements.dcm")} if self._path is not None else {}
        for name in copies and objects:
            with replacing(copies[name]) as partial:
                partial.write_bytes((self._folder.path / name).read_bytes())
        stored = [dicom.add_file(self._folder.path / name, one["sop_uid"]) for name, one in objects.items()]
        return Exported(tuple(copies[name] for name in copies and objects), all(stored), len(seg["segments"]),
                        tuple(seg.get("left_out", ())), bool(sr))

    def _end(self, outcome: Outcome, exported: Exported | None = None) -> None:
        if self._folder is not None:
            self._folder.remove()
        self._on_finished(outcome, exported)


def _link(file: Path, place: Path) -> None:
    try:
        os.symlink(file, place)
    except (OSError, NotImplementedError):  # Windows asks for a privilege
        place.write_bytes(file.read_bytes())
