"""The tests that run inside Slicer (Reload and Test, or ctest). They press the panel's own buttons, and need the engine: without it they fail.

Everything is made up: the phantom of sample_data. The user's DICOM database is left alone.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import qt
import slicer
import vtk

from . import dicom
from . import mrml_segmentation as segmentations
from .checks import INPUTS, ROLES
from .install import Installation
from .label_file import read_labels
from .measurements import dice
from .mrml_tables import table_of
from .mrml_volumes import local_matrix, voxels, world_matrix
from .sample_data import load_phantom, make_phantom

__all__ = ["SelfTests"]

_LONGEST_RUN_S = 600  # on a slow machine with others at work
_LONGEST_BLOCK_MS = 100      # while the images are handed over and the engine runs
_LONGEST_SURFACE_MS = 500    # after it: the closed surface of one large segment is made by Slicer in one piece


class SelfTests:
    """Mixed into BrainTumorSegTest. Names hold 'test', by which Slicer finds them; they run in alphabetical order."""

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

    def test_01_the_engine_is_there(self):
        self.delayDisplay("The engine is there")
        state = self.widget.logic.engine.state()
        self.assertTrue(state.ready, f"The engine is not installed, so nothing can be tested: {state.text}")

    def test_02_the_panel_is_light(self):
        self.delayDisplay("The panel is light")
        self.assertEqual([name for name in ("onnxruntime", "torch", "highdicom", "nibabel") if name in sys.modules], [])

    def test_03_bad_input_has_a_message_by_its_field(self):
        self.delayDisplay("Bad input has a message by its field")
        self.assertIn("No volume is chosen", self._message(INPUTS))
        self.assertFalse(self.ui.segmentButton.enabled)
        plain = self._volume("plain")
        self._choose(t1=plain, t1ce=plain)
        self.assertIn("same volume", self._message("t1ce"))
        self._choose(t1=self._volume("vector", components=3))
        self.assertIn("3 values a voxel", self._message("t1"))
        self._choose(flair=self._volume("empty", shape=None))
        self.assertIn("no voxels", self._message("flair"))
        self._choose(t2=self._volume("labels", kind="vtkMRMLLabelMapVolumeNode"))
        self.assertIn("label map", self._message("t2"))
        self._choose(t2=self._volume("slice", shape=(20, 20, 1)))
        self.assertIn("single slice", self._message("t2"))
        sheared = self._volume("sheared")
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 1, 0.4)
        transform.SetMatrixTransformToParent(matrix)
        sheared.SetAndObserveTransformNodeID(transform.GetID())
        self._choose(t2=sheared)
        self.assertIn("shears", self._message("t2"))
        self._choose(t2=plain)
        self.assertEqual([self._message(field) for field in (*ROLES, INPUTS)], [""] * 5)
        self.assertTrue(self.ui.segmentButton.enabled)

    def test_04_a_missing_engine_is_said(self):
        self.delayDisplay("A missing engine is said")
        self._choose(t1ce=self._volume("plain"))
        engine = self.widget.logic.engine
        with tempfile.TemporaryDirectory() as folder:
            self.widget.logic.engine = Installation(Path(folder) / "engine", Path(__file__).resolve().parents[1], engine.python)
            try:
                self.ui.segmentButton.click()
                self.assertFalse(self.widget.busy)
                self.assertFalse(self.ui.engineCollapsibleButton.collapsed)
                self.assertIn("not installed", self.ui.engineStateLabel.text)
            finally:
                self.widget.logic.engine = engine
                self.panel.engine.refresh()

    def test_05_a_phantom_is_recognised_segmented_edited_and_compared(self):
        self.delayDisplay("Recognise, segment, edit, compare")
        volumes = dict(zip(ROLES, load_phantom(self.widget.logic.engine)))  # noqa: B905
        self._choose(**dict.fromkeys(ROLES))
        self.ui.recogniseButton.click()
        self.assertEqual({role: node.GetName() for role, node in self.panel.inputs.chosen.items()}, {role: f"Phantom_{role}" for role in ROLES})
        result = self._segment_and_wait()
        self._look_at(result, volumes["t1ce"])
        self._compare_with_truth(result)
        self._edit(result)

    def test_06_missing_sequences_and_a_moved_reference(self):
        self.delayDisplay("Missing sequences; the reference flipped and under a transform")
        phantom = dict(zip(ROLES, load_phantom(self.widget.logic.engine)))  # noqa: B905
        flair = phantom["flair"]
        flipped = np.array(voxels(flair)[:, :, ::-1])
        matrix = local_matrix(flair)
        matrix[:3, 3] += matrix[:3, 0] * (flipped.shape[2] - 1)
        matrix[:3, 0] *= -1
        slicer.util.updateVolumeFromArray(flair, flipped)
        flair.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        turn = vtk.vtkTransform()
        turn.RotateZ(25)
        turn.RotateX(10)
        turn.Translate(12, -7, 5)
        transform.SetMatrixTransformToParent(turn.GetMatrix())
        flair.SetAndObserveTransformNodeID(transform.GetID())
        self._choose(flair=flair)
        result = self._segment_and_wait()
        self._same_grid(result, flair)
        self.assertEqual(set(segmentations.report_of(result)["missing"]), {"t1", "t1ce", "t2"})
        self.assertIn("T1 after contrast", self.ui.flagsLabel.text)

    def test_07_a_run_is_cancelled(self):
        self.delayDisplay("Cancel")
        self._start_on_flair()
        self.ui.segmentButton.click()
        self.assertTrue(self._wait(lambda: not self.widget.busy, 60))
        self.assertIn("cancelled", self.ui.runWarning.text)
        self.assertEqual(self.ui.segmentButton.text, "Segment")
        self._nothing_left()

    def test_08_the_scene_is_closed_in_the_middle(self):
        self.delayDisplay("Scene closed in the middle of a run")
        self._start_on_flair()
        slicer.mrmlScene.Clear()
        self.assertTrue(self._wait(lambda: not self.widget.busy, 60))
        self._nothing_left()
        self.assertIn("No volume is chosen", self._message(INPUTS))

    def test_09_runs_queue(self):
        self.delayDisplay("A second run waits for the first; both are cancelled")
        self._start_on_flair()
        self.ui.queueButton.click()
        self.assertTrue(self._wait(lambda: len(self.widget.logic.queue.waiting) == 1, 60))
        self.assertIn("Phantom_flair", self.ui.queueLabel.text)
        self.folders.append(self.widget.logic.runs[1].folder)
        self.widget.logic.cancel_all()
        self.assertTrue(self._wait(lambda: not self.widget.busy, 60))
        self._nothing_left()

    def test_10_dicom_is_exported_and_read_back(self):
        self.delayDisplay("DICOM export")
        from DICOMLib import DICOMUtils

        folder = make_phantom(self.widget.logic.engine)
        with tempfile.TemporaryDirectory() as database, DICOMUtils.TemporaryDICOMDatabase(database):
            reference = load_phantom(self.widget.logic.engine, dicom=True)[1]
            result = self._truth_as_result(folder, reference)
            self.panel.result.parameters.result = result
            self.ui.exportCollapsibleButton.collapsed = False
            self.assertTrue(self.ui.exportDicomButton.enabled, self.ui.preflightLabel.text)
            self.ui.exportDicomButton.click()
            self.assertTrue(self._wait(lambda: "Writing" not in self.ui.exportMessage.text, 120))
            self.assertIn("read them back", self.ui.exportMessage.text)
            self.assertIn("in Slicer's DICOM database", self.ui.exportMessage.text)
            study = slicer.dicomDatabase.studyForSeries(dicom.series_uid_of(reference))
            modalities = [slicer.dicomDatabase.fileValue(slicer.dicomDatabase.filesForSeries(series)[0], "0008,0060")
                          for series in slicer.dicomDatabase.seriesForStudy(study)]
            self.assertEqual(modalities.count("SEG"), 1)
            slicer.mrmlScene.Clear()

    def test_11_a_removed_volume_and_a_saved_scene(self):
        self.delayDisplay("A chosen volume is removed; the choice of a saved scene")
        first, second = self._volume("a_t1ce"), self._volume("b_flair")
        self._choose(t1ce=first, flair=second)
        slicer.mrmlScene.RemoveNode(second)
        self._is_chosen(t1ce="a_t1ce")
        saved = self._saved_scene()
        slicer.mrmlScene.Clear()
        slicer.mrmlScene.SetLoadFromXMLString(1)
        slicer.mrmlScene.SetSceneXMLString(saved)
        slicer.mrmlScene.Import()
        slicer.mrmlScene.SetLoadFromXMLString(0)
        self._wait(lambda: False, 0.2)
        self._is_chosen(t1ce="a_t1ce")

    # -- parts of tests

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
        labels = segmentations.labels_on(result, segmentations.label_values(result))
        ml = abs(np.linalg.det(world_matrix(reference)[:3, :3])) / 1000
        shown = table_of(result)
        self.assertAlmostEqual(float(shown.GetCellText(0, 2)), np.count_nonzero(labels) * ml, delta=0.01)
        self.assertTrue(segments.ContainsRepresentation("Closed surface"))
        self.assertFalse(segmentations.is_edited(result))
        self.assertIsNotNone(self.widget.logic.report_page(result))
        bounds = [0.0] * 6
        result.GetRASBounds(bounds)
        for camera in slicer.util.getNodesByClass("vtkMRMLCameraNode"):
            self.assertTrue(all(bounds[2 * axis] < camera.GetFocalPoint()[axis] < bounds[2 * axis + 1] for axis in range(3)),
                            "the 3-D view looks past the tumour")

    def _compare_with_truth(self, result) -> None:
        truth = _truth(make_phantom(self.widget.logic.engine))
        labels = segmentations.labels_on(result, segmentations.label_values(result))
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
        oedema = segmentations.segment_of_label(result, 2)
        array = slicer.util.arrayFromSegmentBinaryLabelmap(result, oedema, segmentations.reference_of(result))
        before = float(table_of(result).GetCellText(0, 2))
        places = np.argwhere(array)
        array[tuple(places[: len(places) // 2].T)] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, result, oedema, segmentations.reference_of(result))
        self.ui.recomputeButton.click()
        self.assertLess(float(table_of(result).GetCellText(0, 2)), before)
        self.assertTrue(segmentations.is_edited(result))
        self.assertIn("edited", self.ui.provenanceLabel.text)

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
        grid = segmentations.Placement(reference.GetImageData().GetDimensions(), local_matrix(reference), world_matrix(reference))
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

