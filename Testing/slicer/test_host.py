"""The host itself: a small scripted module with a Designer file runs on it as it would in Slicer."""

import numpy as np
import pytest

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Tiny</class>
<widget class="qMRMLWidget" name="Tiny"><layout class="QVBoxLayout" name="box">
<item><widget class="ctkCollapsibleButton" name="inputs"><property name="text"><string>Inputs</string></property>
<layout class="QFormLayout" name="form">
<item row="0" column="0"><widget class="QLabel" name="word"><property name="text"><string>Volume</string></property></widget></item>
<item row="0" column="1"><widget class="qMRMLNodeComboBox" name="selector">
<property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
<property name="noneEnabled"><bool>true</bool></property>
<property name="SlicerParameterName" stdset="0"><string>volume</string></property></widget></item>
<item row="1" column="1"><widget class="QCheckBox" name="flag"><property name="SlicerParameterName" stdset="0"><string>wanted</string></property>
</widget></item></layout></widget></item>
<item><widget class="QPushButton" name="applyButton"><property name="text"><string>Apply</string></property></widget></item>
</layout></widget>
<customwidgets>
<customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>qMRMLWidget.h</header><container>1</container></customwidget>
<customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><header>ctkCollapsibleButton.h</header><container>1</container></customwidget>
<customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends><header>qMRMLNodeComboBox.h</header></customwidget>
</customwidgets>
<connections>CONNECTION</connections></ui>"""

CONNECTION = """<connection><sender>Tiny</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal><receiver>selector</receiver>
<slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"""

SCRIPT = '''
import slicer
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

class NAME(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Tiny"

@parameterNodeWrapper
class Parameters:
    volume: slicer.vtkMRMLScalarVolumeNode
    wanted: bool = True

class NAMEWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        ui = slicer.util.loadUI(self.resourcePath("UI/Tiny.ui"))
        self.layout.addWidget(ui)
        self.ui = slicer.util.childWidgetVariables(ui)
        ui.setMRMLScene(slicer.mrmlScene)
        self.parameters = Parameters(ScriptedLoadableModuleLogic.getParameterNode(ScriptedLoadableModuleLogic()))
        self.parameters.connectGui(self.ui)
        self.applied = []
        self.ui.applyButton.connect("clicked(bool)", self.apply)

    def apply(self):
        self.applied.append(self.parameters.volume)
'''


def write_module(folder, name, connection=CONNECTION):
    (folder / "Resources" / "UI").mkdir(parents=True)
    (folder / "Resources" / "UI" / "Tiny.ui").write_text(UI.replace("CONNECTION", connection))
    script = folder / f"{name}.py"
    script.write_text(SCRIPT.replace("NAME", name))
    return script


def a_volume(name):
    import slicer

    return slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.float32), name=name)


def test_a_modules_panel_runs_and_its_button_is_clicked(host, tmp_path):
    widget = host.panel(write_module(tmp_path, "TinyOne"))
    volume = a_volume("brain")
    widget.ui.selector.setCurrentNode(volume)
    widget.ui.flag.checked = False
    widget.ui.applyButton.click()
    assert widget.applied == [volume]
    assert widget.parameters.wanted is False


def test_the_panel_follows_its_parameter_node(host, tmp_path):
    widget = host.panel(write_module(tmp_path, "TinyTwo"))
    widget.parameters.volume = a_volume("brain")
    assert widget.ui.selector.currentNode().GetName() == "brain"


def test_a_forgotten_scene_connection_leaves_the_selector_empty(host, tmp_path):
    widget = host.panel(write_module(tmp_path, "TinyThree", connection=""))
    a_volume("brain")
    assert widget.ui.selector.mrmlScene() is None
    assert widget.ui.selector.nodeCount() == 0


def test_a_picture_of_the_panel_shows_its_texts(host, tmp_path):
    from PySide6 import QtGui

    widget = host.panel(write_module(tmp_path, "TinyFour"))
    host.picture(widget, tmp_path / "panel.png")
    picture = QtGui.QImage(str(tmp_path / "panel.png"))
    assert picture.width() == 420
    assert len({picture.pixel(x, y) for x in range(0, 420, 3) for y in range(0, picture.height(), 3)}) > 5


def test_unknown_attributes_and_signals_fail_as_in_slicer(host):
    import qt

    button = qt.QPushButton("x")
    with pytest.raises(AttributeError, match="enabeld"):
        button.enabeld = False
    with pytest.raises(AttributeError, match="pushed"):
        button.connect("pushed()", lambda: None)


def test_a_slot_gets_as_many_arguments_as_it_takes_and_can_be_disconnected(host):
    import qt

    button, heard = qt.QPushButton("x"), []

    def one(checked):
        heard.append(checked)

    button.connect("clicked(bool)", one)
    button.connect("clicked(bool)", lambda: heard.append("none"))
    button.click()
    assert heard == [False, "none"]
    button.disconnect("clicked(bool)", one)
    button.click()
    assert heard == [False, "none", "none"]


def test_a_closed_scene_empties_the_selectors(host, tmp_path):
    widget = host.panel(write_module(tmp_path, "TinyFive"))
    widget.ui.selector.setCurrentNode(a_volume("brain"))
    host.new_scene()
    assert widget.ui.selector.currentNode() is None


def test_message_boxes_are_answered_by_the_test(host):
    import qt
    import slicer

    host.dialogs.expect("sure", qt.QMessageBox.Yes)
    assert slicer.util.confirmYesNoDisplay("Are you sure?")
    host.dialogs.expect("sure", qt.QMessageBox.No)
    assert not slicer.util.confirmYesNoDisplay("Are you sure?")


def test_newer_names_of_slicer_util_are_gone(host):
    import slicer

    assert not hasattr(slicer.util, "executePythonModule")
    with pytest.raises(AssertionError, match="installed"):
        slicer.util.pip_install("anything")


def test_a_selector_whose_node_is_removed_moves_to_the_one_before_it(host, tmp_path):
    """Qt's way with the current row of a list; a module that does not mind finds another volume chosen."""
    import slicer

    widget = host.panel(write_module(tmp_path, "TinySix"))
    first, second, _ = a_volume("first"), a_volume("second"), a_volume("third")
    widget.ui.selector.setCurrentNode(second)
    slicer.mrmlScene.RemoveNode(second)
    assert widget.parameters.volume is first
    slicer.mrmlScene.RemoveNode(first)
    assert widget.parameters.volume is None


def test_a_node_that_an_import_brings_into_the_parameter_node_is_not_told(host, tmp_path):
    widget = host.panel(write_module(tmp_path, "TinySeven"))
    widget.parameters.volume = a_volume("brain")
    saved = host.saved_scene()
    host.new_scene()
    host.load_scene(saved)
    node = widget.parameters.parameterNode
    assert node.GetNodeReference("volume").GetName() == "brain"
    assert widget.parameters.volume is None
    node.Modified()
    assert widget.parameters.volume.GetName() == "brain"
