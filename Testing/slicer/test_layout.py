"""Rules of the Slicer side that a reader relies on."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "BrainTumorSeg"
FILES = sorted([*MODULE.glob("*.py"), *(MODULE / "BrainTumorSegLib").glob("*.py")])
BUNDLED = {"slicer", "qt", "ctk", "vtk", "numpy", "BrainTumorSegLib", "SampleData", "DICOMLib"}


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
    """And nothing slow: SimpleITK, scipy and pydicom, which Slicer has too, only where they are used."""
    found = set(imports(ast.parse(file.read_text(encoding="utf-8")).body)) - set(sys.stdlib_module_names)
    assert found <= BUNDLED | {"braintumorseg"}


def engine_files_of_the_panel():
    """Modules of the engine that run in Slicer's own Python, with those that they import at file scope."""
    engine, found = MODULE / "braintumorseg", {}
    queue = [module for file in FILES for module in engine_modules(ast.walk(ast.parse(file.read_text(encoding="utf-8"))), ())]
    while queue:
        file = engine.joinpath(*queue[-1]).with_suffix(".py")
        here = queue.pop()
        if file.is_file() and here not in found:
            found[here] = file
            queue += engine_modules(ast.parse(file.read_text(encoding="utf-8")).body, here[:-1])
    return sorted(found.values())


def engine_modules(nodes, package):
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("braintumorseg.")):
            parts = tuple(part for part in (node.module or "").removeprefix("braintumorseg").split(".") if part)
            base = package[:len(package) - node.level + 1] if node.level else ()
            yield (*base, *parts)
            yield from ((*base, *parts, alias.name) for alias in node.names)


@pytest.mark.parametrize("file", engine_files_of_the_panel(), ids=lambda file: file.name)
def test_what_the_panel_uses_of_the_engine_also_runs_in_slicers_python(file):
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))
    found = set(imports(tree.body)) - set(sys.stdlib_module_names)
    assert found <= {"numpy", "braintumorseg"}, "Slicer's own Python need not have these"


# What parses in 3.9 and fails there when it runs.
NEWER_KEYWORDS = {("zip", "strict"), ("dataclass", "slots"), ("dataclass", "kw_only"), ("write_text", "newline")}
NEWER_NAMES = {"pairwise", "bit_count", "UTC", "StrEnum", "ExceptionGroup", "batched", "TaskGroup", "aiter", "anext", "tomllib"}


@pytest.mark.parametrize("file", [*FILES, *engine_files_of_the_panel()], ids=lambda file: file.name)
def test_it_calls_nothing_that_slicer_5_8s_python_lacks(file):
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    keywords = {(ast.unparse(node.func).rpartition(".")[2], keyword.arg) for node in nodes if isinstance(node, ast.Call) for keyword in node.keywords}
    names = {name for node in nodes for name in (getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "name", None))}
    assert not keywords & NEWER_KEYWORDS
    assert not names & NEWER_NAMES


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
