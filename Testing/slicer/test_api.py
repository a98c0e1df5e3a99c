"""The panel's code and the host, held against the names of a real Slicer 5.8.1: a name that is not there does not exist there.

The list (slicer-5.8.1-api.json.gz, made inside a running Slicer) lies beside the data folder; without it these tests are skipped.
"""

import ast
import gzip
import json
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "BrainTumorSeg"
FILES = sorted([*MODULE.glob("*.py"), *(MODULE / "BrainTumorSegLib").glob("*.py")])
# The list holds no members of VTK and MRML classes, slicer.app and slicer.util; inside a real Slicer, in_slicer_checks.py looks them up.
OBJECTS = {"mrmlScene": "vtkMRMLScene", "dicomDatabase": "ctkDICOMDatabase"}


@pytest.fixture(scope="module")
def api():
    data = Path(os.environ.get("BRAINTUMORSEG_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    file = data.parent / "slicer-api" / "slicer-5.8.1-api.json.gz"
    if not file.is_file():
        pytest.skip(f"the list of Slicer's names is absent: {file} (set BRAINTUMORSEG_DATA)")
    with gzip.open(file) as stream:
        return json.load(stream)


def dotted(node) -> list[str] | None:
    """['qt', 'QProcess', 'NotRunning'] for the expression qt.QProcess.NotRunning."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else None


def uses(file: Path) -> dict:
    """(module, class, name) of every qt.X.y, ctk.X.y, slicer.X.y in a file, with its line."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        chain = dotted(node) if isinstance(node, ast.Attribute) else None
        if chain and chain[0] in ("qt", "ctk", "slicer"):
            found[(chain[0], chain[1], chain[2] if len(chain) > 2 else "")] = node.lineno
    return found


def unknown_names(api: dict, file: Path) -> list[str]:
    unknown = []
    for (module, name, member), line in uses(file).items():
        if name not in api[module]:
            unknown.append(f"line {line}: {module}.{name}")
            continue
        known = api[module].get(OBJECTS.get(name, name))
        if member and isinstance(known, list) and member not in known:
            unknown.append(f"line {line}: {module}.{name}.{member}")
    return unknown


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_panel_uses_only_names_of_a_real_slicer(api, file):
    assert unknown_names(api, file) == []


def test_the_check_finds_what_does_not_exist(api, tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("import qt, slicer\nqt.QProcess.NotRunning\nqt.QNonsense()\nqt.QProcess.nonsense()\nslicer.qMRMLNodeComboBox.nonsense\n")
    assert sorted(unknown_names(api, file)) == ["line 3: qt.QNonsense", "line 4: qt.QProcess.nonsense", "line 5: slicer.qMRMLNodeComboBox.nonsense"]


def public(cls) -> set[str]:
    """The names that a stand-in adds to PySide6's own."""
    names = set()
    for base in cls.__mro__:
        if base.__module__.startswith("host."):
            names |= {name for name in vars(base) if not name.startswith("_") and name != "staticMetaObject"}
    return names - {"host_signals", "childEvent", "resizeEvent"}


def test_the_stand_ins_have_no_name_that_the_real_widgets_lack(api, host):
    from host.ctk_widgets import WIDGETS as ctk
    from host.qmrml_widgets import WIDGETS as qmrml

    unknown = {}
    for module, widgets in (("ctk", ctk), ("slicer", qmrml)):
        for name, cls in widgets.items():
            assert name in api[module], f"{module}.{name} does not exist"
            missing = public(cls) - set(api[module][name])
            if missing:
                unknown[name] = missing
    assert unknown == {}




def test_the_applications_stand_ins_have_no_name_that_the_real_ones_lack(api, host):
    from host.application import LayoutManager, ModuleManager
    from host.dicom import DicomDatabase

    for cls, name, module in ((LayoutManager, "qSlicerLayoutManager", "slicer"), (ModuleManager, "qSlicerModuleManager", "slicer"),
                              (DicomDatabase, "ctkDICOMDatabase", "ctk")):
        assert public(cls) - set(api[module][name]) - set(api["qt"]["QObject"]) == set(), name


@pytest.mark.parametrize("file", sorted((MODULE / "Resources" / "UI").glob("*.ui")), ids=lambda file: file.name)
def test_the_designer_file_names_only_classes_and_properties_of_a_real_slicer(api, file):
    unknown = []
    for widget in ElementTree.parse(file).iter("widget"):
        name = widget.get("class")
        module = "qt" if name.startswith("Q") and not name.startswith("QVTK") else "ctk" if name.startswith("ctk") else "slicer"
        if name not in api[module]:
            unknown.append(name)
            continue
        unknown += [f"{widget.get('name')}: {name}.{one.get('name')}" for one in widget.findall("property")
                    if one.get("stdset") != "0" and one.get("name") not in api[module][name]]
    assert unknown == []


@pytest.mark.parametrize("file", sorted((MODULE / "Resources" / "UI").glob("*.ui")), ids=lambda file: file.name)
def test_every_widget_of_the_designer_file_that_needs_the_scene_gets_it(file):
    tree = ElementTree.parse(file)
    connected = {one.findtext("receiver") for one in tree.iter("connection") if one.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"}
    top = tree.getroot().find("widget").get("name")
    needy = {widget.get("name") for widget in tree.iter("widget") if widget.get("class").startswith("qMRML") and widget.get("name") != top}
    assert needy - connected == set()
