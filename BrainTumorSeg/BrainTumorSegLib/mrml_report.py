"""The engine's report page, kept in the scene beside its segmentation."""

from __future__ import annotations

import slicer

__all__ = ["keep_report_page", "report_page_node", "report_page_of"]

_PAGE = "BrainTumorSeg.ReportPage"  # reference role on the segmentation node


def keep_report_page(segmentation, html: str):
    """A text node that holds the page, so that it is saved with the scene."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", f"{segmentation.GetName()} report")
    node.SetText(html)
    segmentation.SetNodeReferenceID(_PAGE, node.GetID())
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(segmentation) if hierarchy is not None else 0
    if item:
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), hierarchy.GetItemParent(item))
    return node


def report_page_node(segmentation):
    """The text node, or None when it was removed."""
    return segmentation.GetNodeReference(_PAGE)


def report_page_of(segmentation) -> str:
    """The page's HTML; '' when its node was removed."""
    node = report_page_node(segmentation)
    return node.GetText() if node is not None else ""
