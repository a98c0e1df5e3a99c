"""Stand-ins for the qMRML widgets that panels use, fed by the real MRML scene. Only names that the real ones have."""

from __future__ import annotations

import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .ctk_widgets import _stored, ctkCollapsibleButton, ctkSliderWidget

__all__ = ["WIDGETS"]

_NODE = {"currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged(PyObject)", "nodeAdded(vtkMRMLNode*)": "nodeAdded(PyObject)",
         "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser(PyObject)", "mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)",
         "nodeActivated(vtkMRMLNode*)": "nodeActivated(PyObject)"}


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that knows the scene and tells its children."""

    mrmlSceneChanged = Signal(object)
    host_signals = _NODE

    def mrmlScene(self):
        return getattr(self, "_scene", None)

    def setMRMLScene(self, scene):
        if scene is not self.mrmlScene():
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)
    host_signals = _NODE

    def setMRMLScene(self, scene):
        if scene is not getattr(self, "_scene", None):
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A combo box of the scene's nodes of some classes."""

    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    currentNodeRenamed = Signal(str)
    host_signals = _NODE

    def __init__(self, parent=None):
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._box = QtWidgets.QComboBox(self)
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Fixed)
        row.addWidget(self._box)
        self._scene, self._tags, self._attributes, self._current = None, [], [], ""
        self._box.currentIndexChanged.connect(lambda index: self._select(self._box.itemData(index) or ""))
        self.setFocusProxy(self._box)

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene, self._tags = scene, []
        if scene is not None:
            @vtk.calldata_type(vtk.VTK_OBJECT)
            def added(caller, event, node):
                if scene.IsImporting():  # these are listed when the import ends
                    return
                self._refill()
                if self._suits(node):
                    self.nodeAdded.emit(node)

            @vtk.calldata_type(vtk.VTK_OBJECT)
            def goes(caller, event, node):
                if not scene.IsClosing():
                    self._leave(node)

            def imported(caller, event):
                self._select("")  # the list is made anew, so that nothing is chosen for a moment
                self._refill()

            for event in (slicer.vtkMRMLScene.NodeRemovedEvent, slicer.vtkMRMLScene.EndBatchProcessEvent, slicer.vtkMRMLScene.EndCloseEvent):
                self._tags.append(scene.AddObserver(event, lambda *_: self._refill()))
            self._tags.append(scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, added))
            self._tags.append(scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, goes, -10.0))
            self._tags.append(scene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, imported))
        self._refill()

    def _suits(self, node) -> bool:
        classes = list(self.nodeTypes)
        if not any(node.IsA(name) if self.showChildNodeTypes else node.GetClassName() == name for name in classes):
            return False
        if any(node.IsA(name) for name in self.hideChildNodeTypes) and node.GetClassName() not in classes:
            return False
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        return all(not node.IsA(kind) or (node.GetAttribute(name) is not None if value is None else node.GetAttribute(name) == str(value))
                   for kind, name, value in self._attributes)

    def _nodes(self) -> list:
        if self._scene is None:
            return []
        return [node for node in (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())) if self._suits(node)]

    def _refill(self, *_):
        nodes = self._nodes()
        self._box.blockSignals(True)
        self._box.clear()
        if self.noneEnabled:
            self._box.addItem(self.noneDisplay, "")
        for node in nodes:
            self._box.addItem(node.GetName() or "", node.GetID())
        self._box.blockSignals(False)
        ids = [node.GetID() for node in nodes]
        keep = self._current if self._current in ids else ("" if self.noneEnabled or not ids else ids[0])
        self._show(keep)
        self._select(keep)

    def _leave(self, node):
        """As Qt does it with the current row of a list: the row before it becomes the current one, whichever node that is."""
        row = self._box.findData(node.GetID())
        if row < 0:
            return
        self._box.blockSignals(True)
        current = self._box.currentIndex
        self._box.removeItem(row)
        if current == row:
            self._box.setCurrentIndex(min(self._box.count - 1, max(row - 1, 0)))
        self._box.blockSignals(False)
        self._select(self._box.itemData(self._box.currentIndex) or "")

    def _show(self, node_id):
        self._box.blockSignals(True)
        self._box.setCurrentIndex(self._box.findData(node_id))
        self._box.blockSignals(False)

    def _select(self, node_id):
        if node_id != self._current:
            self._current = node_id
            node = self.currentNode()
            self.currentNodeChanged[object].emit(node)
            self.currentNodeChanged[bool].emit(node is not None)
            self.currentNodeIDChanged.emit(node_id)

    def currentNode(self):
        return self._scene.GetNodeByID(self._current) if self._scene is not None and self._current else None

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if node else "")

    def setCurrentNodeID(self, node_id):
        node_id = node_id if node_id and self._box.findData(node_id) >= 0 else ""
        self._show(node_id)
        self._select(node_id)

    def setCurrentNodeIndex(self, index):
        self._box.setCurrentIndex(index + bool(self.noneEnabled))

    def nodeCount(self):
        return len(self._nodes())

    def nodeFromIndex(self, index):
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def addAttribute(self, node_type, name, value=None):
        self._attributes.append((node_type, name, value))
        self._refill()

    def removeAttribute(self, node_type, name):
        self._attributes = [one for one in self._attributes if one[:2] != (node_type, name)]
        self._refill()

    def addNode(self, node_type=""):
        node = self._scene.AddNewNodeByClass(node_type or next(iter(self.nodeTypes)), self.baseName)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _put_types(self, types):
        self._types = list(types)
        self._refill()

    def _put_hidden(self, types):
        self._hidden_types = list(types)
        self._refill()

    def _put_none_enabled(self, value):
        self._none_enabled = value
        self._refill()

    def _put_none_display(self, value):
        self._none_display = value
        self._refill()

    nodeTypes = Property("QStringList", lambda self: getattr(self, "_types", []), _put_types)
    hideChildNodeTypes = Property("QStringList", lambda self: getattr(self, "_hidden_types", []), _put_hidden)
    noneEnabled = Property(bool, lambda self: getattr(self, "_none_enabled", False), _put_none_enabled)
    noneDisplay = Property(str, lambda self: getattr(self, "_none_display", "None"), _put_none_display)
    currentNodeID = Property(str, lambda self: self._current, setCurrentNodeID)
    showChildNodeTypes = _stored(bool, "show_child_types", True)
    showHidden = _stored(bool, "show_hidden", False)
    selectNodeUponCreation = _stored(bool, "select_new", True)
    addEnabled = _stored(bool, "add_enabled", True)
    removeEnabled = _stored(bool, "remove_enabled", True)
    editEnabled = _stored(bool, "edit_enabled", False)
    renameEnabled = _stored(bool, "rename_enabled", False)
    baseName = _stored(str, "base_name", "")


class qMRMLTableView(QtWidgets.QTableView):
    """Shows a table node's columns."""

    mrmlSceneChanged = Signal(object)
    host_signals = _NODE

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node, self._tag = None, None
        self.setModel(_TableModel(self))

    def setMRMLScene(self, scene):
        self._scene = scene

    def mrmlScene(self):
        return getattr(self, "_scene", None)

    def mrmlTableNode(self):
        return self._node

    def setMRMLTableNode(self, node):
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        if node is not None:
            self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.model().show(self._node))
        self.model().show(node)

    firstRowLocked = _stored(bool, "first_row_locked", False)
    firstColumnLocked = _stored(bool, "first_column_locked", False)
    transposed = _stored(bool, "transposed", False)


class _TableModel(QtCore.QAbstractTableModel):
    def show(self, node):
        self.beginResetModel()
        table = node.GetTable() if node else None
        columns = [table.GetColumn(index) for index in range(table.GetNumberOfColumns())] if table else []
        self._header = [column.GetName() or "" for column in columns]
        self._rows = [[str(column.GetVariantValue(row).ToString()) for column in columns] for row in range(table.GetNumberOfRows())] if table else []
        if node and not node.GetUseColumnTitleAsColumnHeader():
            self._rows.insert(0, self._header)
            self._header = [chr(ord("A") + index) for index in range(len(columns))]
        self.endResetModel()

    def rowCount(self, parent=None):
        return len(getattr(self, "_rows", []))

    def columnCount(self, parent=None):
        return len(getattr(self, "_header", []))

    def data(self, index, role=QtCore.Qt.DisplayRole):
        return self._rows[index.row()][index.column()] if role == QtCore.Qt.DisplayRole else None

    def headerData(self, section, orientation, role=QtCore.Qt.DisplayRole):
        if role != QtCore.Qt.DisplayRole:
            return None
        return self._header[section] if orientation == QtCore.Qt.Horizontal else str(section + 1)


class qMRMLSegmentsTableView(qMRMLWidget):
    """The segments of a segmentation node, with their colours."""

    selectionChanged = Signal()

    def __init__(self, parent=None):
        super().__init__(parent)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        self._list = QtWidgets.QListWidget(self)
        self._list.setSelectionMode(QtWidgets.QAbstractItemView.ExtendedSelection)
        box.addWidget(self._list)
        self._node = None
        self._list.itemSelectionChanged.connect(self.selectionChanged.emit)

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node):
        from PySide6 import QtGui

        self._node = node
        self._list.clear()
        segmentation = node.GetSegmentation() if node else None
        for segment_id in segmentation.GetSegmentIDs() if segmentation else ():
            segment = segmentation.GetSegment(segment_id)
            item = QtWidgets.QListWidgetItem(segment.GetName(), self._list)
            item.setData(QtCore.Qt.UserRole, segment_id)
            item.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))

    def segmentCount(self):
        return self._list.count

    def selectedSegmentIDs(self):
        return [item.data(QtCore.Qt.UserRole) for item in self._list.selectedItems()]

    def setSelectedSegmentIDs(self, ids):
        for row in range(self._list.count):
            self._list.item(row).setSelected(self._list.item(row).data(QtCore.Qt.UserRole) in ids)

    def clearSelection(self):
        self._list.clearSelection()

    def setHeaderVisible(self, shown):
        self.headerVisible = shown

    headerVisible = _stored(bool, "header_visible", True)
    visibilityColumnVisible = _stored(bool, "visibility_column", True)
    colorColumnVisible = _stored(bool, "color_column", True)
    opacityColumnVisible = _stored(bool, "opacity_column", True)
    statusColumnVisible = _stored(bool, "status_column", False)
    filterBarVisible = _stored(bool, "filter_bar", False)
    readOnly = _stored(bool, "read_only", False)
    selectionMode = _stored(int, "selection_mode", 3)


class qMRMLSegmentationShow3DButton(QtWidgets.QPushButton):
    """Shows or hides the closed surfaces."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node = None
        self.setCheckable(True)
        self.toggled.connect(self._show)

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node):
        self._node = node
        self.setEnabled(node is not None)
        self.blockSignals(True)
        self.setChecked(bool(node and node.GetSegmentation().ContainsRepresentation("Closed surface")))
        self.blockSignals(False)

    def _show(self, shown):
        if self._node is not None:
            (self._node.CreateClosedSurfaceRepresentation if shown else self._node.RemoveClosedSurfaceRepresentation)()


class qMRMLSliderWidget(ctkSliderWidget):
    quantity = _stored(str, "quantity", "")

    def setMRMLScene(self, scene):
        self._scene = scene


class qMRMLCollapsibleButton(ctkCollapsibleButton):
    def setMRMLScene(self, scene):
        self._scene = scene


WIDGETS = {cls.__name__: cls for cls in (
    qMRMLWidget, qSlicerWidget, qMRMLNodeComboBox, qMRMLTableView, qMRMLSegmentsTableView, qMRMLSegmentationShow3DButton, qMRMLSliderWidget,
    qMRMLCollapsibleButton)}