"""What the tests inside Slicer do and look at, again and again; the tests themselves are in self_test."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import qt
import slicer
import vtk

from . import mrml_outlines as outlines
from . import mrml_segmentation as segmentations
from .checks import ROLES
from .label_file import read_labels
from .measurements import dice
from .mrml_tables import table_of
from .mrml_volumes import Placement, local_matrix, world_matrix
from .sample_data import load_phantom, make_phantom

__all__ = ["SelfTestSteps"]

_LONGEST_RUN_S = 600  # on a slow machine with others at work
_LONGEST_BLOCK_MS = 100      # while the images are handed over and the engine runs
_LONGEST_SURFACE_MS = 500    # after it: the closed surface of one large segment is made by Slicer in one piece


class SelfTestSteps:
    """Beneath the tests, which are mixed into a test case of Slicer's."""

    def setUp(self):
        self.widget = slicer.util.getModuleWidget("BrainTumorSeg")
        self.widget.logic.cancel_all()
        self._wait(lambda: not self.widget.busy, 60)
        slicer.mrmlScene.Clear()
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule("BrainTumorSeg")
        self.widget.enter()
        self.ui, self.panel = self.widget.ui, self.widget.panel

    def tearDown(self):
        slicer.mrmlScene.Clear()

    def _segment_and_wait(self):
        gaps = _Gaps(lambda: self.ui.progressLabel.text)
        self.ui.segmentButton.click()
        self.assertTrue(self.widget.busy, self.ui.runWarning.text)
        self.assertEqual(self.ui.segmentButton.text, "Cancel")
        ended = self._wait(lambda: not self.widget.busy, _LONGEST_RUN_S)
        gaps.stop()
        self.assertTrue(ended, "The run did not end.")
        result = self.panel.result.segmentation
        self.assertIsNotNone(result, self.ui.runWarning.text + self.ui.copyErrorButton.toolTip)
        self.delayDisplay(f"Longest stop of the window: {gaps.longest_ms:.0f} ms by the clock ({gaps.where}), "
                          f"{gaps.longest_cpu_ms:.0f} ms of its own during the run, {gaps.showing_cpu_ms:.0f} ms while showing the result")
        # Of this thread's own time: on a busy computer the clock also counts what others take.
        self.assertLess(gaps.longest_cpu_ms, _LONGEST_BLOCK_MS, f"the window stood still during '{gaps.where_cpu}'")
        self.assertLess(gaps.showing_cpu_ms, _LONGEST_SURFACE_MS)
        return result

    def _look_at(self, result, reference) -> None:
        self._same_grid(result, reference)
        segments = result.GetSegmentation()
        table = segmentations.report_of(result)["model"]["labels"]
        self.assertEqual([segments.GetSegment(one).GetName() for one in segments.GetSegmentIDs()], [label["name"] for label in table])
        for segment_id, label in zip(segments.GetSegmentIDs(), table):  # noqa: B905
            term = vtk.reference("")
            self.assertTrue(segments.GetSegment(segment_id).GetTag("TerminologyEntry", term))
            self.assertIn("^".join((label["code"][1], label["code"][0], label["code"][2])), str(term.get()))
            self.assertEqual([round(255 * channel) for channel in segments.GetSegment(segment_id).GetColor()], label["rgb"])
        labels = outlines.labels_on(result, outlines.label_values(result))
        ml = abs(np.linalg.det(world_matrix(reference)[:3, :3])) / 1000
        shown = table_of(result)
        self.assertAlmostEqual(float(shown.GetCellText(0, 2)), np.count_nonzero(labels) * ml, delta=0.06)  # it shows tenths
        self.assertTrue(segments.ContainsRepresentation("Closed surface"))
        self.assertFalse(outlines.is_edited(result))
        self.assertIsNotNone(self.widget.logic.report_page(result))
        bounds = [0.0] * 6
        result.GetRASBounds(bounds)
        for camera in slicer.util.getNodesByClass("vtkMRMLCameraNode"):
            self.assertTrue(all(bounds[2 * axis] < camera.GetFocalPoint()[axis] < bounds[2 * axis + 1] for axis in range(3)),
                            "the 3-D view looks past the tumour")

    def _compare_with_truth(self, result) -> None:
        truth = _truth(make_phantom(self.widget.logic.engine))
        labels = outlines.labels_on(result, outlines.label_values(result))
        self.assertGreater(dice(truth > 0, labels > 0), 0.5)
        second = segmentations.make_segmentation(truth, segmentations.placement_of(result), segmentations.report_of(result),
                                                 segmentations.reference_of(result), "Truth")
        self.panel.compare.parameters.compareFirst = result
        self.panel.compare.parameters.compareSecond = second
        self.ui.compareButton.click()
        table = self.ui.comparisonTableView.mrmlTableNode()
        self.assertAlmostEqual(float(table.GetCellText(0, 4)), dice(truth > 0, labels > 0), places=3)

    def _edit(self, result) -> None:
        """As the eraser does: voxels of one segment go."""
        oedema = outlines.segment_of_label(result, 2)
        array = slicer.util.arrayFromSegmentBinaryLabelmap(result, oedema, segmentations.reference_of(result))
        before = float(table_of(result).GetCellText(0, 2))
        places = np.argwhere(array)
        array[tuple(places[: len(places) // 2].T)] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, result, oedema, segmentations.reference_of(result))
        self.ui.recomputeButton.click()
        self.assertLess(float(table_of(result).GetCellText(0, 2)), before)
        self.assertTrue(outlines.is_edited(result))
        self.assertIn("edited", self.ui.provenanceLabel.text)

    def _split_and_copy(self, result) -> None:
        """As Segment Editor's Islands splits a segment and Data clones a node: no voxel, no volume, no reference is lost."""
        before = outlines.outlines_of(result).labels
        editor = slicer.qMRMLSegmentEditorWidget()
        editor.setMRMLScene(slicer.mrmlScene)
        editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
        editor.setSegmentationNode(result)
        editor.setSourceVolumeNode(segmentations.reference_of(result))
        editor.setCurrentSegmentID(outlines.segment_of_label(result, 2))
        editor.setActiveEffectByName("Islands")
        effect = editor.activeEffect()
        effect.setParameter("Operation", "SPLIT_ISLANDS_TO_SEGMENTS")
        effect.setParameter("MinimumSize", 0)
        effect.self().onApply()
        editor.setActiveEffect(None)
        self.assertGreater(result.GetSegmentation().GetNumberOfSegments(), 3)
        self.assertEqual(outlines.outlines_of(result).others, ())
        self.assertTrue(np.array_equal(outlines.outlines_of(result).labels, before))
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        clone = slicer.modules.subjecthierarchy.logic().CloneSubjectHierarchyItem(hierarchy, hierarchy.GetItemByDataNode(result), "copy")
        copy = hierarchy.GetItemDataNode(clone)
        self.panel.result.parameters.result = copy
        self.assertEqual(self.ui.volumesTableView.mrmlTableNode().GetCellText(0, 2), table_of(result).GetCellText(0, 2))
        self.assertIs(segmentations.reference_of(copy), segmentations.reference_of(result))
        self.assertIsNotNone(self.widget.logic.report_page(copy))

    def _same_grid(self, result, reference) -> None:
        placement = segmentations.placement_of(result)
        self.assertEqual(placement.size, reference.GetImageData().GetDimensions())
        self.assertLess(np.abs(placement.local - local_matrix(reference)).max(), 1e-6)
        self.assertLess(np.abs(placement.world - world_matrix(reference)).max(), 1e-6)
        self.assertEqual(result.GetTransformNodeID(), reference.GetTransformNodeID())

    def _start_on_flair(self) -> None:
        volumes = load_phantom(self.widget.logic.engine)
        self._choose(flair=volumes[3])
        self.ui.segmentButton.click()
        self.folders = [self.widget.logic.runs[0].folder]
        self.assertTrue(self._wait(lambda: self.ui.progressBar.value > 0, 120), self.ui.runWarning.text)

    def _nothing_left(self) -> None:
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")), 0)
        self.assertEqual([folder for folder in self.folders if folder.exists()], [])

    def _truth_as_result(self, folder: Path, reference):
        """The phantom's truth as if a run had found it: it lies on the grid of its T1ce series."""
        from braintumorseg.model_zoo import list_models

        card = next(model.card for model in list_models() if model.card.finds == "tumour")
        labels = [{"value": one.value, "name": one.name, "code": list(one.code), "rgb": list(one.rgb)} for one in card.labels]
        report = {"format": "braintumorseg report 1", "lesions": [], "flags": [], "missing": [], "provider": "CPUExecutionProvider", "seconds": {},
                  "model": {"name": card.name, "version": card.version, "sha256": card.sha256, "labels": labels},
                  "volumes_ml": {"labels": {}, "regions": {}}}
        grid = Placement(reference.GetImageData().GetDimensions(), local_matrix(reference), world_matrix(reference))
        return segmentations.make_segmentation(_onto(reference, _truth_file(folder)), grid, report, reference, "Truth")

    def _saved_scene(self) -> str:
        slicer.mrmlScene.SetSaveToXMLString(1)
        slicer.mrmlScene.Commit()
        slicer.mrmlScene.SetSaveToXMLString(0)
        return slicer.mrmlScene.GetSceneXMLString()

    def _is_chosen(self, **names) -> None:
        """By the selectors and by the parameters."""
        shown = {role: getattr(self.ui, f"{role}Selector").currentNode() for role in ROLES}
        self.assertEqual({role: node.GetName() for role, node in shown.items() if node is not None}, names)
        self.assertEqual({role: node.GetName() for role, node in self.panel.inputs.chosen.items()}, names)

    def _choose(self, **nodes) -> None:
        """Choose exactly these in the selectors, by the widgets."""
        for role in ROLES:
            getattr(self.ui, f"{role}Selector").setCurrentNode(nodes.get(role))
        slicer.app.processEvents()

    def _message(self, field: str) -> str:
        return getattr(self.ui, f"{field}Warning").text

    def _volume(self, name: str, shape=(20, 20, 20), components: int = 1, kind: str = ""):
        kind = kind or ("vtkMRMLVectorVolumeNode" if components > 1 else "vtkMRMLScalarVolumeNode")
        node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
        if shape is not None:
            image = vtk.vtkImageData()
            image.SetDimensions(*shape)
            image.AllocateScalars(vtk.VTK_SHORT, components)
            image.GetPointData().GetScalars().Fill(7)
            node.SetAndObserveImageData(image)
        return node

    def _wait(self, until, seconds: float) -> bool:
        """Let events run until `until()`; False when it took longer."""
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            loop = qt.QEventLoop()
            qt.QTimer.singleShot(20, loop.quit)
            loop.exec_()
        return bool(until())


class _Gaps:
    """How long the event loop did not come round: by the clock, and by the time that this thread itself computed."""

    _SHOWING = "Showing the result"

    def __init__(self, where):
        self._where = where
        self.longest_ms = self.longest_cpu_ms = self.showing_cpu_ms = 0.0
        self.where = self.where_cpu = ""
        self._last = (time.perf_counter(), time.thread_time())
        self._timer = qt.QTimer()
        self._timer.connect("timeout()", self._tick)
        self._timer.start(5)

    def _tick(self) -> None:
        now = (time.perf_counter(), time.thread_time())
        gap, cpu = (1000 * (b - a) for a, b in zip(self._last, now))  # noqa: B905
        if gap > self.longest_ms:
            self.longest_ms, self.where = gap, self._where()
        if self._where() == self._SHOWING:
            self.showing_cpu_ms = max(self.showing_cpu_ms, cpu)
        elif cpu > self.longest_cpu_ms and self._where():
            self.longest_cpu_ms, self.where_cpu = cpu, self._where()
        self._last = now

    def stop(self) -> None:
        self._timer.stop()


def _truth_file(folder: Path):
    files: list = []
    for _ in read_labels(folder / "brain_only" / "truth.nii.gz", files):
        pass
    return files[0]


def _truth(folder: Path) -> np.ndarray:
    return _truth_file(folder).labels


def _onto(reference, file) -> np.ndarray:
    """The labels of a file in the order of the reference's voxels: axes may run the other way after DICOM."""
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in reference.GetImageData().GetDimensions()), indexing="ij"), -1).reshape(-1, 3)
    matrix = np.linalg.inv(file.affine) @ local_matrix(reference)
    i, j, k = np.rint(indices @ matrix[:3, :3].T + matrix[:3, 3]).astype(int).T
    return np.ascontiguousarray(file.labels[k, j, i].reshape(reference.GetImageData().GetDimensions()).transpose(2, 1, 0))
