"""Dialogs that a test answers beforehand. A dialog that nobody expected is answered by its refusal and remembered as a failure."""

from __future__ import annotations

from PySide6 import QtWidgets

__all__ = ["Dialogs"]


class Dialogs:
    """`expect("part of its text", button)` before the click that opens a message box; `expect_file(path)` before a file dialog.

    `shown` holds the text of every message box there was, `unexpected` what came unasked: a test ends with `assert not unexpected`.
    """

    def __init__(self):
        self.shown: list[str] = []
        self.unexpected: list[str] = []
        self._boxes: list[tuple[str, int]] = []
        self._files: list[str] = []

    def expect(self, text: str, button=QtWidgets.QMessageBox.Ok) -> None:
        self._boxes.append((text, button))

    def expect_file(self, path) -> None:
        """What the next file or folder dialog returns; "" for a dialog that the user closes."""
        self._files.append(str(path))

    @property
    def pending(self) -> bool:
        """True while an expected dialog has not come."""
        return bool(self._boxes or self._files)

    def install(self) -> None:
        """Put these in the place of Qt's own, which would wait for a person."""
        box = QtWidgets.QMessageBox
        box.exec = box.exec_ = lambda instance: self._answer(f"{instance.text} {instance.informativeText}".strip())
        for name in ("question", "warning", "information", "critical"):
            setattr(box, name, staticmethod(lambda parent, title, text, *_: self._answer(text)))
        files = QtWidgets.QFileDialog
        files.getOpenFileName = files.getSaveFileName = staticmethod(lambda *_, **__: self._file())
        files.getExistingDirectory = staticmethod(lambda *_, **__: self._file())
        files.getOpenFileNames = staticmethod(lambda *_, **__: [one for one in [self._file()] if one])

    def _answer(self, text: str):
        self.shown.append(text)
        for index, (part, button) in enumerate(self._boxes):
            if part in text:
                del self._boxes[index]
                return button
        self.unexpected.append(text)
        return QtWidgets.QMessageBox.Cancel

    def _file(self) -> str:  # PythonQt returns the path alone, without the filter
        if self._files:
            return self._files.pop(0)
        self.unexpected.append("a file dialog")
        return ""
