"""The file of the panel: what Qt passes over in silence when it is wrong."""

import ast
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "BrainTumorSeg"
TREE = ElementTree.parse(MODULE / "Resources" / "UI" / "BrainTumorSeg.ui")
WIDGETS = {widget.get("name"): widget for widget in TREE.iter("widget")}
FOCUSABLE = ("QPushButton", "QCheckBox", "QComboBox", "QTextBrowser", "ctkSliderWidget", "qMRMLNodeComboBox", "qMRMLTableView",
             "ctkCollapsibleButton", "ctkCollapsibleGroupBox")


def prop(widget, name):
    found = next((one for one in widget.findall("property") if one.get("name") == name), None)
    return None if found is None else "".join(found.itertext()).strip()


def test_every_widget_that_needs_the_scene_gets_it():
    wanted = {name for name, widget in WIDGETS.items() if widget.get("class").startswith("qMRML")} - {"BrainTumorSeg"}
    connected = {one.findtext("receiver") for one in TREE.iter("connection") if one.findtext("sender") == "BrainTumorSeg"
                 and one.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)" and one.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"}
    assert connected == wanted
    assert len(wanted) > 6


def test_every_bound_name_is_a_parameter_and_every_parameter_is_shown():
    tree = ast.parse((MODULE / "BrainTumorSegLib" / "parameters.py").read_text(encoding="utf-8"))
    parameters = {node.target.id for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)}
    bound = {prop(widget, "SlicerParameterName") for widget in WIDGETS.values()} - {None}
    assert bound <= parameters
    assert parameters - bound == {"model", "device"}  # their choices are found at run time, which a Choice of the wrapper cannot be


@pytest.mark.parametrize("name", [name for name, widget in WIDGETS.items() if widget.get("class") in FOCUSABLE])
def test_what_can_be_operated_has_a_tool_tip_and_a_name_for_a_screen_reader(name):
    widget = WIDGETS[name]
    assert prop(widget, "toolTip")
    assert prop(widget, "text") or prop(widget, "title") or prop(widget, "accessibleName")


def test_tab_goes_through_everything_that_can_be_operated_from_top_to_bottom():
    stops = [stop.text for stop in TREE.iter("tabstop")]
    assert sorted(stops) == sorted(name for name, widget in WIDGETS.items() if widget.get("class") in FOCUSABLE)
    places = list(WIDGETS)  # the order of the file is that of the layout
    assert stops == sorted(stops, key=places.index)


@pytest.mark.parametrize("name", [name for name, widget in WIDGETS.items() if widget.get("class") == "qMRMLTableView"])
def test_tab_leaves_a_table(name):
    """Else it goes from cell to cell, and round again at the end."""
    assert prop(WIDGETS[name], "tabKeyNavigation") == "false"


def test_no_row_of_buttons_makes_the_panel_wide():
    """The narrowest panel is as wide as its widest row, and Slicer widens the dock when a section with a wider one opens."""
    for row in (layout for layout in TREE.iter("layout") if layout.get("class") in ("QHBoxLayout", "QGridLayout")):
        texts: dict = {}
        for item in row.findall("item"):
            widget = item.find("widget")
            if widget is not None and widget.get("class") == "QPushButton":
                texts.setdefault(item.get("row"), []).append(prop(widget, "text"))
        assert all(len("".join(one)) <= 40 for one in texts.values()), row.get("name")


def test_labels_lead_to_their_fields():
    for name, widget in WIDGETS.items():
        if widget.get("class") == "QLabel" and (prop(widget, "text") or "").endswith(":"):
            assert prop(widget, "buddy") in WIDGETS, name


def test_no_colour_is_fixed():
    text = (MODULE / "Resources" / "UI" / "BrainTumorSeg.ui").read_text(encoding="utf-8")
    assert not re.search(r"styleSheet|palette|<color|#[0-9a-fA-F]{6}", text)
    for file in (MODULE / "BrainTumorSegLib").glob("*.py"):
        assert not re.search(r"setStyleSheet|styleSheet\s*=|QColor|color:", file.read_text(encoding="utf-8")), file.name


def test_it_says_that_it_is_no_medical_device():
    assert "Not a medical device" in prop(WIDGETS["researchLabel"], "text")


def test_every_message_goes_through_translation():
    """A literal sentence that is shown is wrapped in _()."""
    for file in sorted((MODULE / "BrainTumorSegLib").glob("panel_*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "show"):
            literals = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str) and " " in one.value]
            assert literals == [], f"{file.name}:{call.lineno}"
