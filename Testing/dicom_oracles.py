"""Independent tools that judge our DICOM objects; a test that needs one that is not there skips by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from braintumorseg.io.nrrd import read_nrrd
from braintumorseg.volume import Volume

__all__ = ["by_dcmqi", "dciodvfy_errors", "dcmqi_tool", "debian_tool", "no_dciodvfy_error"]


def debian_tool(name: str, package: str) -> str:
    """The path of a tool of a Debian package."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return found


def dcmqi_tool(name: str) -> str:
    pytest.importorskip("dcmqi", reason="dcmqi is not installed (pip install dcmqi)")
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def by_dcmqi(path: Path, folder: Path) -> dict[int, Volume]:
    """Segment number -> what dcmqi's segimage2itkimage makes of it; meta.json stays in `folder`."""
    subprocess.run([dcmqi_tool("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", folder, "-t", "nrrd"],
                   check=True, capture_output=True)
    return {int(file.stem): read_nrrd(file) for file in folder.glob("*.nrrd")}


def dciodvfy_errors(path: Path) -> list[str]:
    """The lines in which dciodvfy (dicom3tools) names an error; it must have recognised the object."""
    said = subprocess.run([debian_tool("dciodvfy", "dicom3tools"), path], capture_output=True, check=False).stderr.decode("utf-8", "replace")
    lines = said.splitlines()
    assert len([line for line in lines if line and not line.startswith(("Error", "Warning", "("))]) > 0, said  # the name of the object's definition
    return [line for line in lines if "Error" in line]


def no_dciodvfy_error(path: Path) -> bool:
    assert dciodvfy_errors(path) == []
    return True
