"""One press of Segment, from nodes to nodes: volumes into files, the engine as a child, its labels and report into the scene."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from .checks import ROLES
from .gpus import device_options
from .label_file import BadLabelFile, read_labels
from .measurements import reported_rows
from .mrml_display import make_surfaces, set_opacity, show_surfaces
from .mrml_report import keep_report_page, report_page_node
from .mrml_segmentation import make_segmentation
from .mrml_tables import table_of, volume_table
from .mrml_volumes import Placement, placed, placement_now, write_nrrd
from .private_folder import PrivateFolder
from .process import Outcome
from .run_queue import RunQueue
from .steps import failure_of, pump

__all__ = ["Options", "SegmentationRun"]

_GRID_TOLERANCE_MM = 0.01  # the engine's file holds the grid in float32


@dataclass(frozen=True)
class Options:
    """`device`: 'auto', 'cpu', 'cuda', or 'cuda:1' for one GPU of several. `surfaces`: also make and show closed surfaces. `opacity` of the
    overlay, 0..1."""

    model: str = "glioma"
    device: str = "auto"
    registered: bool = False
    brain_only: bool = False
    thorough: bool = False
    surfaces: bool = True
    opacity: float = 0.5

    def __post_init__(self):
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"There is no device {self.device!r}: use 'auto', 'cpu', 'cuda', or 'cuda:1' for the second of several GPUs.")


class _VolumeRemoved(Exception):
    """The volume that the result belongs to is no longer in the scene."""


class _VolumeChanged(Exception):
    """It is there, but with other voxels or under another deformation."""


class SegmentationRun:
    """`state`: 'preparing', 'waiting' (for an earlier run), 'running', 'showing', 'ended'.

    `on_progress(step, done, eta_s)`; `on_finished(outcome, segmentation)` once, with None for the node unless the outcome is ok. The
    private folder is gone by then, whatever happened. Made by `Logic.segment`.
    """

    def __init__(self, nodes: Mapping, options: Options, engine, queue: RunQueue, later: Callable, on_progress: Callable, on_finished: Callable):
        self.label = next(node.GetName() for role, node in nodes.items())
        self.state = "preparing"
        self._nodes, self._options, self._engine, self._queue, self._later = dict(nodes), options, engine, queue, later
        self._on_progress, self._on_finished = on_progress, on_finished
        self._placements: dict[str, Placement] = {}
        self._folder: PrivateFolder | None = None
        self._queued = None
        self._segmentation = None

    def start(self) -> None:
        try:
            self._folder = PrivateFolder()
        except OSError as error:
            self._end(failure_of(error))
            return
        pump(self._hand_over(), self._later, self._enqueue, lambda error: self._end(failure_of(error)), stopped=self._is_over)

    def cancel(self) -> None:
        """`on_finished` follows: at once before the engine started, else as soon as it has stopped."""
        if self._queued is not None and self.state in ("waiting", "running"):
            self._queued.cancel()
        elif self.state != "ended":
            self._discard()
            self._end(Outcome(cancelled=True, what=_("The run was cancelled.")))

    @property
    def folder(self) -> Path | None:
        """The private folder; gone from the disk once the run has ended."""
        return self._folder.path if self._folder is not None else None

    def _is_over(self) -> bool:
        return self.state == "ended"

    def _hand_over(self) -> Iterator:
        """Each volume into a file named by its role: names and folders of patients stay in Slicer."""
        self._on_progress("hand over", 0.0, None)
        for role in ROLES:
            if role in self._nodes:
                with placed(self._nodes[role]) as (node, placement):
                    self._placements[role] = placement
                    yield from write_nrrd(node, self._path(role))

    def _enqueue(self) -> None:
        self.state = "waiting"
        options = self._options
        device, extra = device_options(options.device)
        arguments = ["segment", "--out", str(self._out), "--model", options.model, "--device", device, "--progress", "json"]
        for role in self._placements:
            arguments += [f"--{role}", str(self._path(role))]
        arguments += ["--registered"] * options.registered + ["--stripped"] * options.brain_only + ["--thorough"] * options.thorough
        self._queued = self._queue.add([*self._engine.command(), *arguments], {**self._engine.environment(), **extra},
                                       on_progress=self._progress, on_finished=self._engine_ended)

    def _progress(self, step: str, done: float, eta_s: float | None) -> None:
        self.state = "running"
        self._on_progress(step, done, eta_s)

    def _engine_ended(self, outcome: Outcome) -> None:
        if not outcome.ok or self._is_over():
            self._end(outcome)
            return
        self.state = "showing"
        self._on_progress("show", 1.0, None)
        pump(self._show(outcome.result), self._later, lambda: self._end(outcome), self._failed_to_show,
             failures=(OSError, BadLabelFile, _VolumeRemoved, _VolumeChanged), stopped=self._is_over)

    def _show(self, report: Mapping) -> Iterator:
        files: list = []
        yield from read_labels(self._out / "segmentation.nii.gz", files)
        page = (self._out / "report.html").read_text(encoding="utf-8")
        role = report["reference"]
        placement, reference = self._placements[role], self._nodes[role]
        _require_same_grid(files[0], placement)
        yield
        if not slicer.mrmlScene.IsNodePresent(reference):
            raise _VolumeRemoved
        placement = placement_now(reference, placement)  # it may have been moved while the engine ran
        if placement is None:
            raise _VolumeChanged
        name = _("{name} tumour").format(name=reference.GetName())
        self._segmentation = segmentation = make_segmentation(files[0].labels, placement, report, reference, name)
        set_opacity(segmentation, self._options.opacity)
        yield
        volume_table(segmentation, reported_rows(report))
        keep_report_page(segmentation, page)
        if self._options.surfaces:
            yield from make_surfaces(segmentation)
            show_surfaces(segmentation)

    def _failed_to_show(self, error: Exception) -> None:
        self._discard()
        if isinstance(error, _VolumeRemoved):
            self._end(Outcome(error_kind="VolumeRemoved", what=_("The volume was removed while the run went on, so its result was dropped."),
                              fix=_("Load the volume again and press Segment.")))
        elif isinstance(error, _VolumeChanged):
            self._end(Outcome(error_kind="VolumeChanged", what=_("The volume was changed, resampled or deformed while the run went on, so its "
                                                                 "result no longer fits it and was dropped."), fix=_("Press Segment again.")))
        else:
            self._end(failure_of(error))

    def _discard(self) -> None:
        """Nothing half-made stays in the scene."""
        made, self._segmentation = self._segmentation, None
        if made is not None:
            for node in (report_page_node(made), table_of(made), made):
                if node is not None and slicer.mrmlScene.IsNodePresent(node):
                    slicer.mrmlScene.RemoveNode(node)

    def _end(self, outcome: Outcome) -> None:
        if self._is_over():
            return
        self.state = "ended"
        if self._folder is not None:
            self._folder.remove()
        self._nodes = {}
        alive = self._segmentation is not None and slicer.mrmlScene.IsNodePresent(self._segmentation)
        if outcome.ok and not alive:
            outcome = replace(outcome, cancelled=True, what=_("The scene was closed."))
        self._on_finished(outcome, self._segmentation if outcome.ok else None)

    def _path(self, role: str) -> Path:
        return self._folder.path / f"{role}.nrrd"

    @property
    def _out(self) -> Path:
        return self._folder.path / "result"


def _require_same_grid(file, placement: Placement) -> None:
    """Labels on another grid would be shown in the wrong place, silently."""
    corners = np.array([[i, j, k, 1] for i in (0, placement.size[0]) for j in (0, placement.size[1]) for k in (0, placement.size[2])], float)
    far = np.abs(corners @ (file.affine - placement.world).T).max()
    if file.labels.shape[::-1] != placement.size or far > _GRID_TOLERANCE_MM:
        raise BadLabelFile(_("The engine's result is not on the grid of the volume."))
