"""Measurements as table nodes, which Slicer shows, plots and saves as CSV."""

from __future__ import annotations

from collections.abc import Sequence

import slicer
import vtk

from .measurements import rounded_ml
from .mrml_outlines import outlines_of
from .mrml_segmentation import first_outlines_of, is_ours, put_beside, report_of

__all__ = ["comparison_table", "is_measured", "table_as_text", "table_of", "volume_table"]

_TABLE = "BrainTumorSeg.Table"  # reference role on the segmentation node
_MEASURED = "BrainTumorSeg.Measured"  # attribute of the table: the outlines whose volumes it holds; absent for those of the engine
_ESTIMATED = "estimated without T1ce"


def table_of(segmentation):
    """The table of volumes that belongs to a segmentation node, or None."""
    return segmentation.GetNodeReference(_TABLE)


def is_measured(segmentation) -> bool:
    """True when there is a table and its volumes are those of the outlines as they are now."""
    table = table_of(segmentation)
    return table is not None and outlines_of(segmentation).checksum == (table.GetAttribute(_MEASURED) or first_outlines_of(segmentation))


def volume_table(segmentation, rows: Sequence, outlines: str | None = None):
    """Write `rows` (measurements.Row) into the segmentation's table node, which is made if there is none.

    `outlines` is the checksum of those that were measured (see `outlines_of`), None for the engine's own. A column of remarks is there only
    where a number needs one.
    """
    table = table_of(segmentation)
    if table is None:
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", f"{segmentation.GetName()} volumes")
        segmentation.SetNodeReferenceID(_TABLE, table.GetID())
        put_beside(table, segmentation)
    columns = {"Structure": [row.structure for row in rows], "Kind": [row.kind for row in rows],
               "Volume (ml)": [rounded_ml(row.ml[0]) for row in rows]}
    estimated = _estimated(segmentation)
    remarks = [(_ESTIMATED if row.key in estimated and row.kind != "other" else "", row.remark) for row in rows]
    _fill(table, columns, ["; ".join(remark for remark in both if remark) for both in remarks])
    table.SetAttribute(_MEASURED, outlines)
    return table


def comparison_table(first, second, rows: Sequence, table=None, remarks: Sequence = ()):
    """Write a comparison of two segmentation nodes into `table`, or into a new table node; `remarks` has one text a row, '' for none."""
    if table is None or not slicer.mrmlScene.IsNodePresent(table):  # the user may have deleted it
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Comparison of segmentations")
    names = [f"{node.GetName()} (ml)" for node in (first, second)]
    if names[0] == names[1]:
        names[1] += " 2"
    columns = {"Structure": [row.structure for row in rows], names[0]: [rounded_ml(row.ml[0]) for row in rows],
               names[1]: [rounded_ml(row.ml[1]) for row in rows],
               "Difference (ml)": [rounded_ml(row.ml[1] - row.ml[0]) for row in rows], "Dice": [row.dice for row in rows]}
    said = [[remark] if remark else [] for remark in remarks] or [[] for row in rows]
    for node in (first, second):
        estimated = _estimated(node)
        for row, words in zip(rows, said):  # noqa: B905
            words += [f"{node.GetName()}: {_ESTIMATED}"] * (row.key in estimated)
    _fill(table, columns, ["; ".join(words) for words in said])
    return table


def table_as_text(table, separator: str = "\t") -> str:
    """The table with its column names, one line a row, for the clipboard (tabs) or a CSV file (commas)."""
    columns = [table.GetTable().GetColumn(number) for number in range(table.GetNumberOfColumns())]
    lines = [[column.GetName() for column in columns]]
    lines += [[_text(column.GetValue(row)) for column in columns] for row in range(table.GetNumberOfRows())]
    return "\n".join(separator.join(_quoted(cell, separator) for cell in line) for line in lines) + "\n"


def _estimated(node) -> list:
    """The regions and labels whose volumes the engine could only guess: there was no image with contrast."""
    report = report_of(node) if is_ours(node) else {}
    return report.get("estimated_without_t1ce", ["TC", "ET", "NCR"] if "t1ce" in report.get("missing", ()) else [])  # the latter: of earlier versions


def _fill(table, columns: dict, remarks: Sequence) -> None:
    if any(remarks):
        columns = {**columns, "Remark": list(remarks)}
    with slicer.util.NodeModify(table):
        table.RemoveAllColumns()
        for name, values in columns.items():
            array = vtk.vtkStringArray() if isinstance(values[0], str) else vtk.vtkDoubleArray()
            array.SetName(name)
            for value in values:
                array.InsertNextValue(value)
            table.AddColumn(array)
    table.SetUseColumnTitleAsColumnHeader(True)  # else Slicer shows the names as a first row below A, B, C


def _text(value) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"


def _quoted(cell: str, separator: str) -> str:
    if separator == "\t":
        return cell.replace("\t", " ")
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\n') else cell
