"""The panel's result: volumes, flags, where it came from, what is shown, and the way to Segment Editor and back."""

from __future__ import annotations

from html import escape
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from .measurements import enhancing_words
from .messages import provider_name, show
from .mrml_display import go_to_tumour, set_opacity, show_alone, show_labels, shown_labels
from .mrml_outlines import label_values, outlines_of, segment_of_label
from .mrml_segmentation import is_ours, reference_of, report_of
from .mrml_tables import is_measured, table_as_text, table_of
from .steps import failure_of

__all__ = ["ResultSection"]

_WIDEST_NAME = 210  # pixels of the table's first column: the volumes are seen beside it in a panel of the usual width


class ResultSection:
    """`on_changed()` when another result is shown or its numbers changed."""

    def __init__(self, ui, logic, on_changed):
        self._ui, self._logic, self._on_changed = ui, logic, on_changed
        self.parameters = None
        self._shown_id = None
        self._came_unseen = False  # a result came while another module was shown
        self._boxes: list = []  # one check box a segment, in the order of the label table
        for button, call in ((ui.showReportButton, self._show_report), (ui.editButton, self._edit), (ui.recomputeButton, self._recompute),
                             (ui.copyTableButton, self._copy_table), (ui.saveTableButton, self._save_table), (ui.centreButton, self._centre)):
            button.connect("clicked(bool)", lambda checked=False, call=call: call())
        for button, region in ((ui.wholeTumourButton, "WT"), (ui.coreButton, "TC"), (ui.enhancingButton, "ET")):
            button.connect("clicked(bool)", lambda checked=False, region=region: self._show_region(region))
        ui.opacitySlider.connect("valueChanged(double)", lambda value: self._set_opacity(value))

    @property
    def segmentation(self):
        """The node shown, if it is one of ours, else None."""
        node = self.parameters.result if self.parameters is not None else None
        return node if is_ours(node) else None

    @property
    def seen(self) -> bool:
        """Whether the user has the panel before them, and not another module."""
        return self._ui.inputsCollapsibleButton.visible

    def refresh(self) -> None:
        """Show the chosen result; cheap when it is the one shown already."""
        node = self.segmentation
        chosen = self.parameters.result if self.parameters is not None else None
        shown = (node.GetID() if node is not None else "", chosen is not None)
        if shown == self._shown_id:
            return
        another = self._shown_id is not None  # and not the first look at a scene, which is shown as it was saved
        self._shown_id = shown if self.parameters is not None else None
        ui = self._ui
        for widget in (ui.showReportButton, ui.editButton, ui.recomputeButton, ui.copyTableButton, ui.saveTableButton, ui.centreButton,
                       ui.wholeTumourButton, ui.coreButton, ui.enhancingButton, ui.opacitySlider, ui.labelsGroupBox, ui.volumesTableView):
            widget.enabled = node is not None
        show(ui.resultMessage, _("This segmentation was not made by BrainTumorSeg, so there is no report on it.") if chosen is not None and
             node is None else "")
        ui.resultCollapsibleButton.collapsed = chosen is None
        self._came_unseen = node is not None and another
        if self._came_unseen and self.seen:
            self._show_alone(node)
        self._show_what_may_change(node)

    def look_again(self) -> None:
        """The result shown may have been edited, hidden or measured while another module was open."""
        node = self.segmentation
        if node is not None:
            if self._came_unseen:
                self._show_alone(node)
            self._show_what_may_change(node)

    def _show_alone(self, node) -> None:
        """Not before the user is back in the panel: in another module they may be at work on an earlier result."""
        show_alone(node)
        self._came_unseen = False

    def _show_what_may_change(self, node) -> None:
        if node is not None:
            reference_of(node)  # that of a copy is looked for now, while the one that it was copied from is there
        self._show_table(None if node is None else table_of(node) if is_measured(node) else self._logic.recompute(node))
        self._show_flags(node)
        self._show_provenance(node)
        self._make_boxes(node)
        self._on_changed()

    def forget(self) -> None:
        """The scene is closing."""
        self._shown_id, self._came_unseen = None, False
        self._ui.volumesTableView.setMRMLTableNode(None)

    def _show_table(self, table) -> None:
        view = self._ui.volumesTableView
        view.setMRMLTableNode(table)
        view.hideColumn(1)  # region or label: the names say it, and the volumes must be in sight in a narrow panel
        view.resizeColumnsToContents()
        view.setColumnWidth(0, min(view.columnWidth(0), _WIDEST_NAME))

    def _show_flags(self, node) -> None:
        self._ui.flagsLabel.visible = node is not None
        if node is None:
            self._ui.flagsLabel.text = ""
            return
        signs = {"warning": "\u26a0", "info": "\u2022"}
        items = [f"{signs.get(flag['severity'], '')} {escape(flag['text'])}" for flag in report_of(node)["flags"]]
        items = items or [_("No quality flags were raised.")]
        if outlines_of(node).edited:
            items = [_("The outlines were edited since; this and the report are about those that the network drew:"), *items]
        self._ui.flagsLabel.text = "".join(f"<p>{item}</p>" for item in items)

    def _show_provenance(self, node) -> None:
        self._show_others(node)
        if node is None:
            show(self._ui.provenanceLabel, "")
            return
        report, edited = report_of(node), _("Not edited.")
        if outlines_of(node).edited:
            edited = _("The outlines were edited; the volumes are those of the edited outlines.")
        missing = report.get("missing") or []
        text = _("{model} {version} on {provider}, {seconds:.0f} s.").format(
            model=report["model"]["name"], version=report["model"]["version"], provider=provider_name(report["provider"]),
            seconds=sum(report["seconds"].values()))
        if report.get("provider_note"):
            text += " " + report["provider_note"] + "."
        if missing:
            text += " " + _("Without {sequences}.").format(sequences=", ".join(missing))
        if enhancing_words(report) and not outlines_of(node).edited:
            text = f"{enhancing_words(report)}. {text}"
        show(self._ui.provenanceLabel, f"{text} {edited}")

    def _show_others(self, node) -> None:
        """What a person drew that is not in the volumes, and how it gets there."""
        others = outlines_of(node).others if node is not None else ()
        text = _("Not counted in WT, TC and ET, and in no NIfTI or DICOM of the labels: {names}. To count a segment, name it as one of the network's "
                 "with a number, such as {example}_2.")
        show(self._ui.othersMessage, text.format(names=", ".join(name for name, voxels in others),
                                                 example=report_of(node)["model"]["labels"][-1]["name"]) if others else "", warning=True)

    def _make_boxes(self, node) -> None:
        layout = self._ui.labelsGroupBox.layout()
        for box in self._boxes:
            layout.removeWidget(box)
            box.deleteLater()
        self._boxes = []
        if node is None:
            return
        present, visible = label_values(node).values(), shown_labels(node)
        for label in report_of(node)["model"]["labels"]:
            box = qt.QCheckBox(label["name"])
            box.enabled = label["value"] in present
            box.toolTip = (_("Show or hide {name}.") if box.enabled else _("{name} was removed from the segmentation.")).format(name=label["name"])
            box.checked = label["value"] in visible
            box.setProperty("labelValue", label["value"])
            box.connect("toggled(bool)", lambda checked: self._show_checked())
            layout.addWidget(box)
            qt.QWidget.setTabOrder(self._boxes[-1] if self._boxes else self._ui.centreButton, box)
            self._boxes.append(box)

    def _show_checked(self) -> None:
        if self.segmentation is not None:
            show_labels(self.segmentation, [int(box.property("labelValue")) for box in self._boxes if box.checked])

    def _show_region(self, region: str) -> None:
        from braintumorseg.labels import REGIONS

        if self.segmentation is not None:
            present = label_values(self.segmentation).values()
            for box in self._boxes:
                box.blockSignals(True)
                box.checked = int(box.property("labelValue")) in present and int(box.property("labelValue")) in REGIONS[region]
                box.blockSignals(False)
            self._show_checked()

    def _set_opacity(self, value: float) -> None:
        if self.segmentation is not None:
            set_opacity(self.segmentation, value)

    def _centre(self) -> None:
        if self.segmentation is not None and not go_to_tumour(self.segmentation):
            show(self._ui.resultMessage, _("There is no tumour to go to: the result is empty."))

    def _recompute(self) -> None:
        node = self.segmentation
        if node is None:
            return
        self._show_table(self._logic.recompute(node))
        self._show_flags(node)
        self._show_provenance(node)
        self._on_changed()

    def _edit(self) -> None:
        from braintumorseg.labels import ET

        node = self.segmentation
        if node is None:
            return
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        editor.setSegmentationNode(node)
        if reference_of(node) is not None:
            editor.setSourceVolumeNode(reference_of(node))
        segment_id = segment_of_label(node, ET) or next(iter(label_values(node)), "")
        if segment_id:
            editor.setCurrentSegmentID(segment_id)

    def _show_report(self) -> None:
        path = self._logic.report_page(self.segmentation) if self.segmentation is not None else None
        if path is None:
            show(self._ui.resultMessage, _("The report is no longer in the scene: its text node was removed."))
        else:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))

    def _measured_table(self):
        """The table of the outlines as they are now: made anew when they were edited since, or when it was removed."""
        if not is_measured(self.segmentation):
            self._recompute()
        return table_of(self.segmentation)

    def _copy_table(self) -> None:
        if self.segmentation is not None:
            slicer.app.clipboard().setText(table_as_text(self._measured_table()))

    def _save_table(self) -> None:
        if self.segmentation is None:
            return
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Save table"), "tumour_volumes.csv", "CSV (*.csv)")
        if path:
            try:
                Path(path).write_text(table_as_text(self._measured_table(), ","), encoding="utf-8")
            except OSError as error:
                failure = failure_of(error)
                show(self._ui.resultMessage, f"{failure.what} {failure.fix}", warning=True)
            else:
                show(self._ui.resultMessage, _("Saved {name}.").format(name=Path(path).name))
