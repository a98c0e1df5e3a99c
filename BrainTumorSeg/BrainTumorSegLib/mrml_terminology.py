"""What a segment is, in Slicer's terminology: our own list of codes, for Slicer's lists lack that of enhancing tumour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import slicer
import vtk

__all__ = ["load_terminology", "term_of"]

_FILE = Path(__file__).resolve().parents[1] / "Resources" / "BrainTumorSeg.term.json"
_CONTEXT = "Brain tumour parts - BrainTumorSeg"      # the name in that file
_CATEGORY = ("49755003", "SCT", "Morphologically Abnormal Structure")
_ANATOMY = "Anatomic codes - DICOM master list"      # every Slicer has it
_BRAIN = ("12738006", "SCT", "Brain")
_NOTHING = ("", "", "")


def load_terminology() -> bool:
    """Make our codes known to Slicer, once; False when this Slicer has no Terminologies module."""
    logic = slicer.app.applicationLogic().GetModuleLogic("Terminologies")
    if logic is None:
        return False
    names = vtk.vtkStringArray()
    logic.GetLoadedTerminologyNames(names)
    if _CONTEXT not in [names.GetValue(index) for index in range(names.GetNumberOfValues())]:
        logic.LoadTerminologyFromFile(str(_FILE))
    return True


def term_of(code: Sequence) -> str:
    """Slicer's string for a segment of the brain: a code (value, scheme, meaning) of the report's label table."""
    return slicer.vtkSlicerTerminologiesModuleLogic.SerializeTerminologyEntry(_CONTEXT, *_CATEGORY, *code, *_NOTHING, _ANATOMY, *_BRAIN, *_NOTHING)
