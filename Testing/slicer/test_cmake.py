"""What Slicer's build installs is what the folder holds, and the catalogue's metadata are true."""

import json
import re
import struct
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "BrainTumorSeg"
TOP = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
ENTRY = json.loads((ROOT / "Testing" / "ExtensionsIndex" / "BrainTumorSeg.json").read_text(encoding="utf-8"))
RAW = "https://raw.githubusercontent.com/BrainTumorSeg/SlicerBrainTumorSeg/main/"


def listed(variable: str) -> list[str]:
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    return re.search(rf"set\({variable}\s(.*?)\)", text, re.S).group(1).split()


def metadata(name: str) -> str:
    return re.search(rf'set\(EXTENSION_{name} "(.*?)"\)', TOP, re.S).group(1)


def in_folder() -> set[str]:
    files = (path for path in MODULE.rglob("*") if path.is_file() and "__pycache__" not in path.parts and path.name != "CMakeLists.txt")
    return {path.relative_to(MODULE).as_posix() for path in files if path.suffix != ".pyc"}


def test_every_file_of_the_module_is_installed_and_nothing_else():
    named = listed("MODULE_PYTHON_SCRIPTS") + listed("MODULE_PYTHON_RESOURCES")
    assert sorted(in_folder() - set(named)) == [], "add these to BrainTumorSeg/CMakeLists.txt"
    assert sorted(set(named) - in_folder()) == [], "take these out of BrainTumorSeg/CMakeLists.txt"
    assert len(named) == len(set(named))


def test_scripts_are_python_and_the_networks_are_resources():
    assert all(name.endswith(".py") for name in listed("MODULE_PYTHON_SCRIPTS"))
    assert "braintumorseg/models/glioma.onnx" in listed("MODULE_PYTHON_RESOURCES")


def test_the_lists_are_in_order():
    for variable in ("MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"):
        names = [name for name in listed(variable) if name != "BrainTumorSeg.py"]
        assert names == sorted(names, key=lambda name: (name.split("/")[:-1], name)), variable


def test_the_build_asks_for_slicer_and_for_no_cmake_that_slicer_lacks():
    assert re.search(r"cmake_minimum_required\(VERSION 3\.28\)", TOP)
    for words in ("find_package(Slicer REQUIRED)", "${Slicer_USE_FILE}", "${Slicer_EXTENSION_GENERATE_CONFIG}", "${Slicer_EXTENSION_CPACK}"):
        assert words in TOP
    assert "EXTENSION_CATEGORY" not in TOP, "the catalogue takes it from its own entry"


def test_the_extension_is_named_the_same_everywhere():
    name = re.search(r"project\((\w+)\)", TOP).group(1)
    assert (ROOT / "Testing" / "ExtensionsIndex" / f"{name}.json").is_file()
    assert re.fullmatch(rf"https://github\.com/[\w-]+/Slicer{name}(\.git)?", ENTRY["scm_url"])
    assert metadata("HOMEPAGE") == ENTRY["scm_url"].removesuffix(".git")
    assert not name.startswith("Slicer")


def test_the_catalogue_entry_has_what_its_schema_requires_and_nothing_unknown():
    assert {"$schema", "category", "scm_url"} <= set(ENTRY)
    assert set(ENTRY) <= {"$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies", "dicom_support_rule",
                          "build_subdirectory", "enabled", "tier"}
    assert re.fullmatch(r"https://raw\.githubusercontent\.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1\.\d+\.\d+\.json#",
                        ENTRY["$schema"])
    assert ENTRY["category"] == "Segmentation"
    assert ENTRY["tier"] in (1, 3, 5)
    assert ENTRY["build_dependencies"] == []
    assert metadata("DEPENDS") == "NA"
    assert ENTRY["scm_type"] == "git"


def test_the_description_is_short_and_says_what_it_is_not():
    description = metadata("DESCRIPTION")
    assert description.count(". ") + 1 <= 2
    assert len(description) < 400
    assert "not a medical device" in description
    assert metadata("CONTRIBUTORS")


@pytest.mark.parametrize("name", ["ICONURL", "SCREENSHOTURLS"])
def test_pictures_of_the_catalogue_are_in_the_repository(name):
    urls = metadata(name).split()
    assert urls
    for url in urls:
        assert url.startswith(RAW)
        assert (ROOT / url.removeprefix(RAW)).is_file(), url


def test_the_icon_is_128_by_128_with_transparency():
    data = (MODULE / "Resources" / "Icons" / "BrainTumorSeg.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (128, 128)
    assert data[25] == 6, "RGBA"


def test_a_licence_is_at_the_root():
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_the_files_of_a_clone_are_far_below_the_catalogues_100_mb():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    assert sum((ROOT / name).stat().st_size for name in done.stdout.split("\0") if name and (ROOT / name).is_file()) < 60e6


def test_the_tests_in_slicer_are_registered():
    text = (ROOT / "Testing" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert text.count("slicer_add_python_unittest(") == 2
    assert "add_subdirectory(Testing)" in TOP
    assert "WITH_GENERIC_TESTS" in (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
