"""`slicer.app`, the scene with its module logics, `slicer.modules`, layout and module managers: the application around the panel."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

__all__ = ["Application", "Module", "load_ui", "make_scene"]

_LAYOUT_NODES = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


def make_scene(application) -> None:
    """`slicer.mrmlScene` with the nodes that Slicer's layout brings, and the logics that real modules would register."""
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    application._logic = logic
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)  # logics complain that the wheel has no share folder
    for name, cls in (("Colors", slicer.vtkSlicerColorLogic), ("SubjectHierarchy", slicer.vtkSlicerSubjectHierarchyModuleLogic),
                      ("Terminologies", slicer.vtkSlicerTerminologiesModuleLogic), ("Segmentations", slicer.vtkSlicerSegmentationsModuleLogic),
                      ("Volumes", slicer.vtkSlicerVolumesLogic), ("Tables", slicer.vtkSlicerTablesLogic),
                      ("Transforms", slicer.vtkSlicerTransformLogic)):
        module_logic = cls()
        if hasattr(module_logic, "SetMRMLApplicationLogic"):
            module_logic.SetMRMLApplicationLogic(logic)
        logic.SetModuleLogic(name, module_logic)  # before the scene: volumes ask the Colors logic for their colour tables
        module_logic.SetMRMLScene(scene)
        setattr(slicer.modules, name.lower(), Module(name, logic=module_logic))
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_ERROR)
    application._layout._fill(scene, logic)


class Module:
    """What `slicer.modules.NAME` and the `parent` of a scripted module are."""

    def __init__(self, name: str, path: Path | str = "", logic=None, widget=None):
        self.name, self.path = name, str(path)
        self._logic, self._widget = logic, widget

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        return self._widget


class _SliceWidget:
    def __init__(self, logic):
        self._slice_logic = logic

    def sliceLogic(self):
        return self._slice_logic

    def mrmlSliceNode(self):
        return self._slice_logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._slice_logic.GetSliceCompositeNode()

    def fitSliceToBackground(self):
        self._slice_logic.FitSliceToAll()


class _ThreeDView:
    def resetFocalPoint(self):
        pass

    def resetCamera(self):
        pass

    def forceRender(self):
        pass


class _ThreeDWidget:
    def __init__(self):
        self._view = _ThreeDView()

    def threeDView(self):
        return self._view


class LayoutManager(QtCore.QObject):
    """Three slice views and one 3-D view that draw nothing."""

    layoutChanged = Signal(int)

    def __init__(self):
        super().__init__()
        self._slices, self._logics, self._layout_number, self._three_d = {}, None, 3, _ThreeDWidget()

    def _fill(self, scene, application_logic):
        self._logics = vtk.vtkCollection()
        for name, orientation in _LAYOUT_NODES.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLScene(scene)
            node = logic.AddSliceNode(name) if hasattr(logic, "AddSliceNode") else None
            if node is not None:
                node.SetOrientation(orientation)
            self._logics.AddItem(logic)
            self._slices[name] = _SliceWidget(logic)

    def sliceViewNames(self):
        return tuple(self._slices)

    def sliceWidget(self, name):
        return self._slices.get(name)

    def mrmlSliceLogics(self):
        return self._logics

    def threeDWidget(self, index):
        return self._three_d if index == 0 else None

    def resetSliceViews(self):
        pass

    def resetThreeDViews(self):
        pass

    def setLayout(self, number):
        if number != self._layout_number:
            self._layout_number = number
            self.layoutChanged.emit(number)

    threeDViewCount = Property(int, lambda self: 1)
    tableViewCount = Property(int, lambda self: 0)
    layout = Property(int, lambda self: self._layout_number, setLayout)


class ModuleManager(QtCore.QObject):
    moduleAboutToBeUnloaded = Signal(str)
    moduleLoaded = Signal(str)

    def module(self, name):
        return getattr(slicer.modules, name.lower(), None)

    def modulesNames(self):
        return tuple(module.name for module in vars(slicer.modules).values() if isinstance(module, Module))


class Application(QtWidgets.QApplication):
    """`slicer.app`. Settings, temporary files and home are folders of its own: nothing of the user's is read or written."""

    startupCompleted = Signal()
    urlReceived = Signal(str)

    def __init__(self):
        super().__init__(["host"])
        self._home = Path(tempfile.mkdtemp(prefix="slicer-host-"))
        atexit.register(shutil.rmtree, self._home, True)
        self._temporary = self._home / "tmp"
        self._temporary.mkdir()
        self._layout, self._modules, self._logic, self._testing = LayoutManager(), ModuleManager(), None, False
        self._settings = QtCore.QSettings(str(self._home / "Slicer.ini"), QtCore.QSettings.IniFormat)
        self.applicationName, self.organizationName = "Slicer", "slicer.org"

    def mrmlScene(self):
        return slicer.mrmlScene

    def applicationLogic(self):
        return self._logic

    def layoutManager(self):
        return self._layout

    def moduleManager(self):
        return self._modules

    def moduleLogic(self, name):
        return self._logic.GetModuleLogic(name)

    def settings(self):
        return self._settings

    userSettings = revisionUserSettings = settings

    def testingEnabled(self):
        return self._testing

    def startupEnvironment(self):
        return QtCore.QProcessEnvironment.systemEnvironment()

    def pauseRender(self):
        pass

    resumeRender = pauseRender

    def setRenderPaused(self, paused):
        pass

    def translate(self, context, text):
        return text

    def dicomDatabase(self):
        return slicer.dicomDatabase

    def moduleDocumentationUrl(self, name):
        return ""

    slicerHome = Property(str, lambda self: str(self._home))
    temporaryPath = Property(str, lambda self: str(self._temporary))
    slicerUserSettingsFilePath = Property(str, lambda self: str(self._home / "Slicer.ini"))
    revision = Property(str, lambda self: "33241")
    majorVersion = Property(int, lambda self: 5)
    minorVersion = Property(int, lambda self: 8)
    applicationVersion = Property(str, lambda self: "5.8.1")
    os = Property(str, lambda self: {"darwin": "macosx", "win32": "win"}.get(sys.platform, "linux"))
    arch = Property(str, lambda self: "amd64")
    isInstalled = Property(bool, lambda self: True)


def load_ui(path):
    """`slicer.util.loadUI`. Connections of the file that carry a scene are made here, and only those that the file has."""
    import xml.etree.ElementTree as ElementTree

    import qt

    from .ctk_widgets import WIDGETS as ctk_widgets
    from .qmrml_widgets import WIDGETS as qmrml_widgets

    if not os.path.isfile(path):
        raise RuntimeError(f"Could not load UI file: file not found {path}")
    tree = ElementTree.parse(path)
    known = {**ctk_widgets, **qmrml_widgets}
    _check(tree, known)
    scene_connections = []
    for connections in tree.iter("connections"):
        for connection in list(connections):
            if connection.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)":
                scene_connections.append((connection.findtext("sender"), connection.findtext("receiver"), connection.findtext("slot")))
                connections.remove(connection)
    loader = qt.QUiLoader()
    for cls in known.values():
        loader.registerCustomWidget(cls)
    buffer = QtCore.QBuffer()
    buffer.setData(ElementTree.tostring(tree.getroot()))
    widget = loader.load(buffer)
    if widget is None:
        raise RuntimeError(f"Could not load UI file: {path}: {loader.errorString()}")
    named = {child.name: child for child in (widget, *widget.findChildren(qt.QWidget))}
    for sender, receiver, slot in scene_connections:
        assert slot == "setMRMLScene(vtkMRMLScene*)", slot
        named[sender].connect("mrmlSceneChanged(vtkMRMLScene*)", named[receiver].setMRMLScene)
    return widget


def _check(tree, known) -> None:
    """Fail on what Qt's loader would pass over in silence: a custom widget that the host lacks, a property that its class lacks."""
    for widget in tree.iter("widget"):
        name = widget.get("class")
        if not name.startswith("Q") and name not in known:
            raise RuntimeError(f"The host has no stand-in for {name} yet.")
        cls = known.get(name)
        for one in widget.findall("property") if cls else ():
            if one.get("stdset") != "0" and cls.staticMetaObject.indexOfProperty(one.get("name")) < 0:
                raise RuntimeError(f"{widget.get('name')}: {name} has no property {one.get('name')} in the host.")
