"""What the panel can do, without a widget: the same calls serve scripts and batch work in Slicer's Python.

    logic = slicer.util.getModuleLogic("BrainTumorSeg")
    logic.segment({"t1ce": node}, on_finished=lambda outcome, segmentation: ...)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from slicer.i18n import tr as _

from . import dicom, export
from .checks import Problem, find_problems
from .measurements import Row, comparison_rows, rounded_ml, volume_rows, with_diameters
from .mrml_outlines import is_edited, label_named, label_values, labels_on, mark_edited, outlines_of
from .mrml_report import report_page_node, report_page_of, with_banner
from .mrml_segmentation import copies_of, is_ours, placement_of, reference_of, report_of, results
from .mrml_tables import comparison_table, table_of, volume_table
from .mrml_volumes import examine
from .private_folder import PrivateFolder
from .process import EngineProcess, Outcome
from .qt_process import QtProcess, not_when_quitting, when_quitting
from .recognise import Candidate, Recognition, from_study, recognise
from .run import Options, SegmentationRun
from .run_queue import RunQueue
from .script_inputs import nodes_by_role
from .slicer_python import installation_of_slicer
from .steps import event_loop

__all__ = ["Logic"]


class Logic:
    """`engine` says how the engine is started (an install.Installation); `make_process` and `later` are faked in tests."""

    def __init__(self, engine=None, *, make_process=QtProcess, later: Callable = event_loop):
        self.engine = engine or installation_of_slicer()
        self.queue = RunQueue(make_process=make_process)
        self.runs: list[SegmentationRun] = []  # not ended yet, in the order in which they were asked for
        self.on_changed: Callable[[], None] = lambda: None  # the panel's: a run joined or ended
        self._make_process, self._later = make_process, later
        self._side: list = []  # child processes beside the queue
        self._looking: EngineProcess | None = None  # the last of them that recognises
        self._upkeep: list = []  # children that install, remove or test the engine: they outlive a scene
        self.closed = False  # then the panel's widgets may be gone
        self._pages: PrivateFolder | None = None
        when_quitting(self.close)

    # -- inputs

    def problems(self, chosen: Mapping) -> dict[str, Problem]:
        """Field -> problem of the volumes chosen per role (nodes; None where there is none)."""
        return find_problems({role: examine(node, *dicom.identity_of(node)) for role, node in chosen.items() if node is not None})

    def recognise(self, nodes: Iterable) -> Recognition:
        """At once, by names and headers."""
        return recognise(Candidate(node.GetID(), node.GetName() or "", dicom.facts_of(node)) for node in nodes)

    def recognise_by_engine(self, nodes: Iterable, on_finished: Callable[[Recognition], None]) -> bool:
        """By the engine's verb `study`, from the files; False when no file of the volumes is known or the engine is not ready.

        One look at a time: a newer one ends the one before it, which does not answer any more.
        """
        nodes = list(nodes)
        files = {node.GetID(): dicom.files_of(node) for node in nodes}
        folders = sorted({str(file.parent) for paths in files.values() for file in paths})
        if not folders or not self.engine.state().ready:
            return False
        series = {node.GetID(): dicom.series_uid_of(node) for node in nodes}

        def finished(outcome: Outcome) -> None:
            if outcome.ok and isinstance(outcome.result, dict):
                on_finished(from_study(outcome.result, series))

        if self._looking is not None:
            self._looking.cancel()
        self._looking = self.call_engine(["study", *folders, "--json"], finished)
        return True

    # -- runs

    def segment(self, chosen: Mapping, options: Options | None = None, *, on_progress: Callable = lambda step, done, eta_s: None,
                on_finished: Callable = lambda outcome, segmentation: None) -> SegmentationRun:
        """Start a run, or let it wait for those before it. `chosen`: see `nodes_by_role`. Raises ValueError with the message of the first
        blocking problem."""
        nodes = nodes_by_role(chosen)
        blocking = [problem.text for problem in self.problems(nodes).values() if problem.blocking]
        if blocking:
            raise ValueError(blocking[0])

        def finished(outcome: Outcome, segmentation) -> None:
            if run in self.runs:
                self.runs.remove(run)
            on_finished(outcome, segmentation)
            self._tell()

        run = SegmentationRun(nodes, options or Options(), self.engine, self.queue, self._later, on_progress, finished)
        self.runs.append(run)
        run.start()
        self._tell()
        return run

    def cancel_all(self) -> None:
        """Stop everything that runs or waits; each run still reports its end."""
        for run in reversed(list(self.runs)):  # the waiting ones first, or they would start
            run.cancel()
        for process in list(self._side):
            process.cancel()

    def call_engine(self, arguments: Iterable, on_finished: Callable[[Outcome], None], on_progress: Callable | None = None) -> EngineProcess:
        """Run another verb of the engine beside the queue."""
        def finished(outcome: Outcome) -> None:
            self._side.remove(process)
            on_finished(outcome)

        process = EngineProcess([*self.engine.command(), *arguments], self.engine.environment(), on_progress=on_progress, on_finished=finished,
                                make_process=self._make_process)
        self._side.append(process)
        process.start()
        return process

    # -- the engine's packages

    def install_engine(self, on_progress: Callable, on_finished: Callable[[Outcome], None], *, wheels: Path | None = None) -> EngineProcess:
        """See Installation.install. Like the next two it goes on when the scene is closed, and ends with `close`."""
        return self._keep_up(lambda ended: self.engine.install(on_progress, ended, wheels=wheels), on_finished)

    def remove_engine(self, on_progress: Callable, on_finished: Callable[[Outcome], None]) -> EngineProcess:
        return self._keep_up(lambda ended: self.engine.remove(on_progress, ended), on_finished)

    def test_engine(self, on_finished: Callable[[Outcome], None]) -> EngineProcess:
        return self._keep_up(self.engine.self_test, on_finished)

    def _keep_up(self, start: Callable, on_finished: Callable[[Outcome], None]) -> EngineProcess:
        def ended(outcome: Outcome) -> None:
            self._upkeep = [one for one in self._upkeep if one.running]
            if not self.closed:
                on_finished(outcome)

        process = start(ended)
        if process.running:  # Windows tells within start() that a program cannot be started
            self._upkeep.append(process)
        return process

    # -- results

    def recompute(self, segmentation):
        """Measure the segmentation as it is now, write its table and mark it as edited if it was. Returns the table node."""
        found = outlines_of(segmentation)
        mark_edited(segmentation, found.edited)
        return volume_table(segmentation, _rows(segmentation), found.checksum)

    def compare(self, first, second, table=None):
        """A table node with the volumes of both and their Dice, on the grid of `first`; what only one of them has is said in its row.

        Raises ValueError when they have no common labels.
        """
        labels = _common_labels(first, second)
        values = [_values_by_name(node, labels) for node in (first, second)]
        arrays = [labels_on(node, found, grid=first) for node, found in zip((first, second), values)]  # noqa: B905
        rows = comparison_rows(*arrays, _voxel_ml(placement_of(first)), labels)
        lacking = [(node.GetName(), {one["value"]: one["name"] for one in labels if one["value"] not in found.values()})
                   for node, found in zip((first, second), values)]  # noqa: B905
        rows, remarks = _remarked(rows, labels, lacking)
        return comparison_table(first, second, rows, table, remarks)

    def report_page(self, segmentation) -> Path | None:
        """The report as a file for the browser, in a private folder that lives as long as this logic; None when it is gone."""
        html = report_page_of(segmentation)
        if not html:
            return None
        if is_edited(segmentation):
            now = ", ".join(f"{row.structure} {rounded_ml(row.ml[0]):g} ml" + (f" ({row.remark})" if row.remark else "")
                            for row in _rows(segmentation) if row.kind != "label")
            html = with_banner(html, _("The outlines were edited after this report was made. Volumes of the outlines as they are now: {volumes}. "
                                       "Everything below is about the outlines as the network drew them.").format(volumes=now))
        self._pages = self._pages or PrivateFolder()
        path = self._pages.path / f"{segmentation.GetID()}.html"
        path.write_text(html, encoding="utf-8")
        return path

    def export_dicom(self, segmentation, path: Path | None, on_finished: Callable, sr: bool = False) -> export.DicomExport:
        """See export.DicomExport."""
        def finished(outcome: Outcome, exported) -> None:
            if job in self._side:
                self._side.remove(job)
            on_finished(outcome, exported)

        job = export.DicomExport(segmentation, path, sr, self.engine, finished, self._make_process)
        self._side.append(job)
        job.start()
        return job

    def belongings_of(self, segmentation) -> list:
        """The table and the report page that nobody needs once this result goes: no other refers to them."""
        for other in copies_of(segmentation):  # a copy learns from the others what is its own, as long as they are there
            reference_of(other)
            report_page_node(other)
        others = [other for other in results() if other is not segmentation]
        found = (table_of(segmentation), report_page_node(segmentation))
        return [node for node in found if node is not None and not any(node in (table_of(other), report_page_node(other)) for other in others)]

    def close(self) -> None:
        """Before Slicer quits or the module is reloaded; nothing can be started afterwards. Runs still report that they were cancelled."""
        self.closed = True
        not_when_quitting(self.close)
        self.queue.close()
        self.cancel_all()
        for process in list(self._upkeep):
            process.cancel()
        if self._pages is not None:
            self._pages.remove()
            self._pages = None

    def _tell(self) -> None:
        if not self.closed:
            self.on_changed()


def _rows(segmentation) -> list:
    """The volumes of the outlines as they are now, what else was drawn among them, and the diameters while they are still those of the outlines."""
    found, report, voxel_ml = outlines_of(segmentation), report_of(segmentation), _voxel_ml(placement_of(segmentation))
    rows = volume_rows(found.labels, voxel_ml, report["model"]["labels"])
    if not found.edited:
        rows = with_diameters(rows, report)
    remark = _("not counted in WT, TC and ET")
    return rows + [Row(name, "other", name, (round(voxel_ml * voxels, 3),), remark=remark) for name, voxels in found.others]


def _voxel_ml(placement) -> float:
    import numpy as np

    return float(abs(np.linalg.det(placement.world[:3, :3]))) / 1000.0


def _common_labels(first, second) -> list:
    """The label table to compare by: that of our result, or one made of the names that both have."""
    for node in (first, second):
        if is_ours(node):
            labels = report_of(node)["model"]["labels"]
            break
    else:
        names = [_names(node) for node in (first, second)]
        labels = [{"value": 10 + number, "name": name} for number, name in enumerate(name for name in names[0] if name in names[1])]
    values = [set(_values_by_name(node, labels).values()) for node in (first, second)]
    if not values[0] & values[1]:
        names = ", ".join(label["name"] for label in labels) or "alike in both"
        raise ValueError(f"{first.GetName()} and {second.GetName()} have no segment in common, so there is nothing to compare. "
                         f"Name the segments in Segment Editor: {names}.")
    return labels


def _remarked(rows, labels, lacking) -> tuple:
    """The rows that can be compared and a remark on each ('' where both have all of it); `lacking` is (name, label value -> its name) a node."""
    from braintumorseg.labels import REGIONS

    parts = [*REGIONS.values(), *((label["value"],) for label in labels)]  # of each row, in the order of comparison_rows
    known = {label["value"] for label in labels}
    kept = [(row, part) for row, part in zip(rows, parts) if known.intersection(part)]  # noqa: B905  regions need our labels
    remarks = ["; ".join(f"{node} has no segment {', '.join(found[value] for value in part if value in found)}" for node, found in lacking
                         if found.keys() & set(part)) for _, part in kept]
    return [row for row, _ in kept], remarks


def _names(node) -> dict:
    segments = node.GetSegmentation()
    return {segments.GetSegment(segment_id).GetName(): segment_id for segment_id in segments.GetSegmentIDs()}


def _values_by_name(node, labels) -> dict:
    """Segment ID -> value: by our own marks, else by the names of the table, of which only our own has codes."""
    if is_ours(node):
        return label_values(node)
    exact, ours = {label["name"]: label["value"] for label in labels}, any("code" in label for label in labels)
    named = {segment_id: label_named(name, labels) if ours else exact.get(name) for name, segment_id in _names(node).items()}
    return {segment_id: value for segment_id, value in named.items() if value is not None}
