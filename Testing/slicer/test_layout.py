"""Rules of the Slicer side that a reader relies on."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "BrainTumorSeg"
FILES = sorted([*MODULE.glob("*.py"), *(MODULE / "BrainTumorSegLib").glob("*.py")])
BUNDLED = {"slicer", "qt", "ctk", "vtk", "numpy", "SimpleITK", "scipy", "BrainTumorSegLib", "SampleData", "DICOMLib", "pydicom"}


def imports(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_parses_in_the_python_of_slicer_5_8(file):
    ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_at_file_scope_it_imports_only_what_slicer_bundles(file):
    found = set(imports(ast.parse(file.read_text(encoding="utf-8")).body)) - set(sys.stdlib_module_names)
    assert found <= BUNDLED - {"SimpleITK", "scipy", "pydicom"}, "these are slow to import, or absent from some Slicers"


def test_only_the_adapter_of_the_process_code_imports_qt():
    for name in ("process", "run_queue", "private_folder", "install", "install_child", "manifest", "runtime_choice"):
        tree = ast.parse((MODULE / "BrainTumorSegLib" / f"{name}.py").read_text(encoding="utf-8"))
        assert not {"qt", "ctk", "slicer", "vtk"} & set(imports(ast.walk(tree))), name


def test_the_process_code_is_imported_without_slicer_and_does_nothing():
    program = ("import sys; before = set(sys.modules); import BrainTumorSegLib.install, BrainTumorSegLib.run_queue, BrainTumorSegLib.private_folder;"
               "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=MODULE)
    assert not {"qt", "slicer", "numpy", "onnxruntime", "braintumorseg", "pip"} & set(ast.literal_eval(done.stdout))
    assert done.stderr == ""
