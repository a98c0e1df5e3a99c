"""The engine's report page, kept in the scene beside its segmentation, and what is put on top of it when the outlines are no longer its own."""

from __future__ import annotations

import re
from html import escape

import slicer

from .mrml_segmentation import copies_of, put_beside, run_of

__all__ = ["keep_report_page", "report_page_node", "report_page_of", "with_banner"]

_PAGE = "BrainTumorSeg.ReportPage"  # reference role on the segmentation node
_RUN = "BrainTumorSeg.Run"          # attribute of the text node: the run that it is about, for copies of the segmentation


def keep_report_page(segmentation, html: str):
    """A text node that holds the page, so that it is saved with the scene."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", f"{segmentation.GetName()} report")
    node.SetText(html)
    node.SetAttribute(_RUN, run_of(segmentation))
    segmentation.SetNodeReferenceID(_PAGE, node.GetID())
    put_beside(node, segmentation)
    return node


def report_page_node(segmentation):
    """The text node, or None when it was removed."""
    found = segmentation.GetNodeReference(_PAGE)
    if found is None:  # of a copy, which Slicer makes without references
        run = run_of(segmentation)
        pages = [node for node in slicer.util.getNodesByClass("vtkMRMLTextNode") if node.GetAttribute(_RUN) == run]
        found = next((page for page in (*pages, *(other.GetNodeReference(_PAGE) for other in copies_of(segmentation))) if page is not None), None)
        if found is not None:
            segmentation.SetNodeReferenceID(_PAGE, found.GetID())
    return found


def report_page_of(segmentation) -> str:
    """The page's HTML; '' when its node was removed."""
    node = report_page_node(segmentation)
    return node.GetText() if node is not None else ""


def with_banner(html: str, text: str) -> str:
    """The page with `text` above everything else on it."""
    banner = f'<p role="alert" style="border: 3px solid; padding: 0.6em; font-weight: bold">{escape(text)}</p>'
    top = re.search(r"<body\b[^>]*>", html)
    return html[:top.end()] + banner + html[top.end():] if top else banner + html
