"""What the panel remembers in the scene. The names are those of the property SlicerParameterName in Resources/UI/BrainTumorSeg.ui."""

from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

__all__ = ["BrainTumorSegParameterNode"]


@parameterNodeWrapper
class BrainTumorSegParameterNode:
    """The panel's choices.

    t1, t1ce, t2, flair: the sequences; any of them may be None.
    model: name of a network; device: 'auto', 'cpu' or 'cuda'.
    registered: the sequences are aligned and share one grid. brainOnly: skull and face are removed already.
    thorough: look several times, each sequence withheld once.
    showSurfaces: show closed surfaces when a run ends. opacity: of the overlay, 0..1.
    result: the segmentation that the panel shows. compareFirst, compareSecond: the two to compare.
    """

    t1: vtkMRMLScalarVolumeNode
    t1ce: vtkMRMLScalarVolumeNode
    t2: vtkMRMLScalarVolumeNode
    flair: vtkMRMLScalarVolumeNode
    model: str = "glioma"
    device: str = "auto"
    registered: bool = False
    brainOnly: bool = False
    thorough: bool = False
    showSurfaces: bool = True
    opacity: Annotated[float, WithinRange(0, 1)] = 0.5
    result: vtkMRMLSegmentationNode
    compareFirst: vtkMRMLSegmentationNode
    compareSecond: vtkMRMLSegmentationNode
