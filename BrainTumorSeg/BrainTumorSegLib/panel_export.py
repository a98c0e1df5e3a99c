"""The panel's export: what is checked before, the ways out, and what came of them."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from .export import preflight, write_nifti, write_seg_nrrd
from .messages import show
from .mrml_outlines import outlines_of
from .panel_report import ErrorReport
from .process import Outcome
from .steps import failure_of

__all__ = ["ExportSection"]

_SIGNS = {True: "\u2713", False: "\u2717", None: "\u2022"}


class ExportSection:
    """`result` is the ResultSection. The list is made anew when the section is opened, for it looks at every voxel."""

    def __init__(self, ui, logic, result):
        self._ui, self._logic, self._result = ui, logic, result
        self._report = ErrorReport(ui.copyExportErrorButton)
        self._spoken_of = None  # the ID of the result that the message is about
        ui.exportCollapsibleButton.connect("contentsCollapsed(bool)", lambda collapsed: self.refresh())
        ui.exportDicomButton.connect("clicked(bool)", lambda: self._export_dicom(None))
        for button, title, name, kind, write in (
                (ui.saveDicomButton, _("Save DICOM Segmentation"), "segmentation.dcm", "DICOM (*.dcm)", self._export_dicom),
                (ui.exportNiftiButton, _("Save labels"), "segmentation.nii.gz", "NIfTI (*.nii.gz)", self._write(write_nifti)),
                (ui.exportNrrdButton, _("Save segmentation"), "segmentation.seg.nrrd", "Segmentation (*.seg.nrrd)", self._write(write_seg_nrrd))):
            button.connect("clicked(bool)", lambda checked=False, what=(title, name, kind, write): self._save(*what))

    def forget(self) -> None:
        """The scene is closing, or another result is shown."""
        show(self._ui.exportMessage, "")
        self._report.forget()

    def refresh(self) -> None:
        node = self._result.segmentation
        shown, self._spoken_of = self._spoken_of, node.GetID() if node is not None else None
        if shown != self._spoken_of:
            self.forget()
        if self._ui.exportCollapsibleButton.collapsed:
            return
        checks = preflight(node)
        self._ui.preflightLabel.text = "".join(f"<p>{_SIGNS[check.ok]} {escape(check.text, quote=False)}</p>" for check in checks)
        for button in (self._ui.exportDicomButton, self._ui.saveDicomButton):
            button.enabled = all(check.ok is not False for check in checks)
        for button in (self._ui.exportNiftiButton, self._ui.exportNrrdButton):
            button.enabled = node is not None

    def _save(self, title: str, name: str, kind: str, write) -> None:
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, kind)
        if path:
            self._report.forget()
            suffix = name[name.index("."):]
            write(Path(path) if path.endswith(suffix) else Path(path + suffix))

    def _write(self, write):
        def to(path: Path) -> None:
            try:
                write(self._result.segmentation, path)
            except OSError as error:
                self._say_failure(replace(failure_of(error), paths=(str(path), path.name)))
            else:
                left_out = self._not_in_it() if write is write_nifti else ""
                show(self._ui.exportMessage, _("Saved {name}.").format(name=path.name) + left_out, warning=bool(left_out))
        return to

    def _not_in_it(self) -> str:
        """What a person drew that labels cannot hold."""
        node = self._result.segmentation
        names = ", ".join(name for name, voxels in outlines_of(node).others) if node is not None else ""
        return " " + _("Not in it, for they are none of the network's labels: {names}.").format(names=names) if names else ""

    def _export_dicom(self, path: Path | None) -> None:
        if not self._logic.engine.state().ready:
            show(self._ui.exportMessage, _("The engine writes DICOM, and it is not ready: see the section Engine below."), warning=True)
            return
        for button in (self._ui.exportDicomButton, self._ui.saveDicomButton):
            button.enabled = False
        self._report.forget()
        show(self._ui.exportMessage, _("Writing the DICOM Segmentation ..."))
        self._logic.export_dicom(self._result.segmentation, path, self._exported, sr=self._ui.exportMeasurementsCheckBox.checked)

    def _exported(self, outcome: Outcome, exported) -> None:
        if self._logic.closed:
            return
        self.refresh()
        if outcome.cancelled:  # the scene was closed
            self.forget()
            return
        if exported is None:
            self._say_failure(outcome)
            return
        text = (_("Wrote {count} segments and their measurements.") if exported.measured else
                _("Wrote {count} segments and read them back.")).format(count=exported.segments)
        if exported.left_out:
            text += " " + _("Left out, for they are empty: {names}.").format(names=", ".join(exported.left_out))
        if exported.paths:
            text += " " + _("Saved {name}.").format(name=", ".join(path.name for path in exported.paths))
        left_out = self._not_in_it()
        text += left_out + " " + (_("It is in Slicer's DICOM database, beside its source series.") if exported.stored else
                       _("Slicer's DICOM database did not take it: save it to a file and import that with the module DICOM."))
        show(self._ui.exportMessage, text, warning=bool(left_out) or not exported.stored)

    def _say_failure(self, outcome: Outcome) -> None:
        show(self._ui.exportMessage, f"{outcome.what} {outcome.fix}".strip(), warning=True)
        if outcome.error_kind not in ("", "NotReady"):  # that is for the user to put right, and it names the volume
            self._report.offer(outcome)
