"""The architecture as tests: imports run one way, and the tree is what design says."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import braintumorseg

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "BrainTumorSeg" / "braintumorseg"
TRAINING = ROOT / "Training" / "braintumorseg_training"


def imported(folder: Path) -> dict[str, set[str]]:
    """File -> the top names of everything it imports, at any depth of its code."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split(".")[0])
        found[str(path.relative_to(ROOT))] = names
    return found


def test_the_engine_imports_neither_torch_nor_slicer_nor_training():
    forbidden = {"torch", "monai", "onnx", "slicer", "qt", "ctk", "vtk", "braintumorseg_training", "BrainTumorSegLib"}
    files = imported(ENGINE)
    assert len(files) > 30
    assert {file: names & forbidden for file, names in files.items() if names & forbidden} == {}


def test_training_imports_no_slicer():
    files = imported(TRAINING)
    assert len(files) > 8
    assert {file: names & {"slicer", "qt", "ctk", "vtk"} for file, names in files.items() if names & {"slicer", "qt", "ctk", "vtk"}} == {}


def test_the_top_level_holds_only_what_the_design_names():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\n")
    if not any(tracked):
        pytest.skip("not a git checkout")
    tops = {name.split("/")[0].strip('"') for name in tracked if name}
    allowed = {"BrainTumorSeg", "Training", "Testing", "CMakeLists.txt", "README.md", "LICENSE", "pyproject.toml", "Makefile", "CHANGELOG.md"}
    assert {name for name in tops if not name.startswith(".")} - allowed == set()


def test_importing_the_engine_does_nothing():
    program = "import sys; before = set(sys.modules); import braintumorseg; print(sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"numpy", "scipy", "SimpleITK", "onnxruntime", "openvino"} & set(ast.literal_eval(done.stdout)) == set()
    assert done.stderr == ""


def test_every_public_name_exists_and_every_module_keeps_its_list_true():
    for name in braintumorseg.__all__:
        assert getattr(braintumorseg, name) is not None
    for path in sorted(ENGINE.rglob("*.py")):
        if path.name in ("__init__.py", "__main__.py"):
            continue
        module = importlib.import_module(".".join(path.relative_to(ENGINE.parent).with_suffix("").parts))
        assert hasattr(module, "__all__"), path.name
        assert [name for name in module.__all__ if not hasattr(module, name)] == [], path.name


def test_versions_agree():
    import tomllib

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == braintumorseg.__version__


def test_no_file_of_the_repository_is_too_large():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\0")
    large = [name for name in tracked if name and (ROOT / name).is_file() and (ROOT / name).stat().st_size > 12 * 2**20]
    assert large == []
