"""The tests that run inside Slicer (Reload and Test, or ctest). They press the panel's own buttons, and need the engine: without it they fail.

Everything is made up: the phantom of sample_data. The user's DICOM database is left alone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import slicer
import vtk

from . import dicom
from . import mrml_segmentation as segmentations
from .checks import INPUTS, ROLES
from .install import Installation
from .mrml_volumes import local_matrix, voxels
from .sample_data import load_phantom, make_phantom
from .self_test_steps import SelfTestSteps

__all__ = ["SelfTests"]


class SelfTests(SelfTestSteps):
    """Mixed into BrainTumorSegTest. Names hold 'test', by which Slicer finds them; they run in alphabetical order."""

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
        self._split_and_copy(result)

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
