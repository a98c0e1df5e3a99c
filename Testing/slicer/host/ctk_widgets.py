"""Stand-ins for the ctk widgets that panels use: what they keep and say, not how they look. Only names that real ctk has."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

__all__ = ["WIDGETS"]


def _stored(type_, name: str, default, tell: str = ""):
    """A Qt property that is only kept; `tell` names the signal that carries a changed value."""
    key = f"_{name}"

    def get(self):
        return getattr(self, key, default)

    def put(self, value):
        if get(self) != value:
            setattr(self, key, value)
            if tell:
                getattr(self, tell).emit(value)

    return Property(type_, get, put)


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A header that folds the widgets in it."""

    contentsCollapsed = Signal(bool)
    toggled = Signal(bool)
    clicked = Signal(bool)

    def __init__(self, parent=None):
        text = parent if isinstance(parent, str) else ""
        super().__init__(None if isinstance(parent, str) else parent)
        self._collapsed = False
        self._button = QtWidgets.QToolButton(self)
        self._button.setText(text)
        self._button.setToolButtonStyle(QtCore.Qt.ToolButtonTextBesideIcon)
        self._button.setArrowType(QtCore.Qt.DownArrow)
        self._button.setAutoRaise(True)
        self._button.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._button.setFocusPolicy(QtCore.Qt.StrongFocus)
        self._button.clicked.connect(lambda: self._fold(not self._collapsed))
        self.setFocusProxy(self._button)
        self.setContentsMargins(0, 28, 0, 0)

    def click(self):
        self._button.click()

    def _fold(self, collapsed):
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self._button.setArrowType(QtCore.Qt.RightArrow if collapsed else QtCore.Qt.DownArrow)
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget) and child is not self._button:
                if collapsed:
                    child.setProperty("hostWasHidden", child.isHidden())
                    child.hide()
                else:
                    child.setVisible(not child.property("hostWasHidden"))
        self.contentsCollapsed.emit(collapsed)
        self.toggled.emit(not collapsed)

    def childEvent(self, event):
        super().childEvent(event)
        if self._collapsed and event.added() and isinstance(event.child(), QtWidgets.QWidget):
            event.child().hide()

    def resizeEvent(self, event):
        self._button.setGeometry(0, 0, self.width, 26)
        super().resizeEvent(event)

    collapsed = Property(bool, lambda self: self._collapsed, lambda self, value: self._fold(value))
    checked = Property(bool, lambda self: not self._collapsed, lambda self, value: self._fold(not value))
    text = Property(str, lambda self: self._button.text, lambda self, value: self._button.setText(value))
    collapsedHeight = _stored(int, "collapsed_height", 10)
    flat = _stored(bool, "flat", False)
    contentsFrameShape = _stored(int, "frame_shape", 0)
    contentsLineWidth = _stored(int, "line_width", 1)


class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A checkable group box whose check folds it."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setCheckable(True)
        self.toggled.connect(self._show_children)

    def _show_children(self, shown):
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(shown)

    collapsed = Property(bool, lambda self: not self.isChecked(), lambda self, value: self.setChecked(not value))
    collapsedHeight = _stored(int, "collapsed_height", 10)


class ctkPathLineEdit(QtWidgets.QWidget):
    """A line for a path with a button that opens a file dialog."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    Files, Dirs, Writable = 2, 1, 0x20

    def __init__(self, parent=None):
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._line = QtWidgets.QLineEdit(self)
        self._button = QtWidgets.QToolButton(self)
        self._button.setText("...")
        row.addWidget(self._line)
        row.addWidget(self._button)
        self._line.textChanged.connect(self.currentPathChanged.emit)
        self.setFocusProxy(self._line)

    def addCurrentPathToHistory(self):
        pass

    def setCurrentPath(self, path):
        self._line.setText(path)

    currentPath = Property(str, lambda self: self._line.text, lambda self, value: self._line.setText(value))
    filters = _stored(int, "filters", 0)
    nameFilters = _stored("QStringList", "name_filters", [])
    settingKey = _stored(str, "setting_key", "")
    label = _stored(str, "label", "")
    showHistoryButton = _stored(bool, "show_history", True)
    showBrowseButton = _stored(bool, "show_browse", True)


class ctkDirectoryButton(QtWidgets.QPushButton):
    directoryChanged = Signal(str)
    directorySelected = Signal(str)
    directory = _stored(str, "directory", "", "directoryChanged")
    caption = _stored(str, "caption", "")


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider beside a spin box."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        self._slider.setRange(0, 1000)
        self._box = QtWidgets.QDoubleSpinBox(self)
        self._box.setRange(0, 99)
        row.addWidget(self._slider)
        row.addWidget(self._box)
        self._slider.sliderMoved.connect(lambda step: self._box.setValue(self._box.minimum + step / 1000 * (self._box.maximum - self._box.minimum)))
        self._box.valueChanged.connect(self._moved)
        self.setFocusProxy(self._box)

    def _moved(self, value):
        span = self._box.maximum - self._box.minimum
        self._slider.setValue(round(1000 * (value - self._box.minimum) / span) if span else 0)
        self.valueChanged.emit(value)

    def setValue(self, value):
        self._box.setValue(value)

    value = Property(float, lambda self: self._box.value, lambda self, value: self._box.setValue(value))
    minimum = Property(float, lambda self: self._box.minimum, lambda self, value: self._box.setMinimum(value))
    maximum = Property(float, lambda self: self._box.maximum, lambda self, value: self._box.setMaximum(value))
    singleStep = Property(float, lambda self: self._box.singleStep, lambda self, value: self._box.setSingleStep(value))
    decimals = Property(int, lambda self: self._box.decimals, lambda self, value: self._box.setDecimals(value))
    suffix = Property(str, lambda self: self._box.suffix, lambda self, value: self._box.setSuffix(value))
    prefix = Property(str, lambda self: self._box.prefix, lambda self, value: self._box.setPrefix(value))
    pageStep = _stored(float, "page_step", 1.0)
    tracking = _stored(bool, "tracking", True)


class ctkComboBox(QtWidgets.QComboBox):
    defaultText = _stored(str, "default_text", "")
    elideMode = _stored(int, "elide_mode", 0)


class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    collapsed = _stored(bool, "collapsed", True)
    collapsibleText = _stored(str, "collapsible_text", "")

    def setCollapsibleText(self, text):
        self.setHtml(text)


class ctkCheckablePushButton(QtWidgets.QPushButton):
    checkBoxToggled = Signal(bool)
    checkBoxUserCheckable = _stored(bool, "user_checkable", True)


class ctkPushButton(QtWidgets.QPushButton):
    pass


class ctkMenuButton(QtWidgets.QPushButton):
    pass


class ctkSearchBox(QtWidgets.QLineEdit):
    pass


class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    pass


class ctkCheckBox(QtWidgets.QCheckBox):
    pass


class ctkDynamicSpacer(QtWidgets.QWidget):
    pass


class ctkMessageBox(QtWidgets.QMessageBox):
    dontShowAgainVisible = _stored(bool, "dont_show_again_visible", False)
    dontShowAgain = _stored(bool, "dont_show_again", False)
    dontShowAgainSettingsKey = _stored(str, "dont_show_again_key", "")


WIDGETS = {cls.__name__: cls for cls in (
    ctkCollapsibleButton, ctkCollapsibleGroupBox, ctkPathLineEdit, ctkDirectoryButton, ctkSliderWidget, ctkComboBox, ctkFittedTextBrowser,
    ctkCheckablePushButton, ctkPushButton, ctkMenuButton, ctkSearchBox, ctkDoubleSpinBox, ctkCheckBox, ctkDynamicSpacer, ctkMessageBox)}
