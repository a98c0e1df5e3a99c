"""Where this Slicer keeps the engine, and which Python runs it: the part of the installation that asks Slicer itself."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from .install import Installation

__all__ = ["engine_folder", "find_python", "installation_of_slicer"]

SETTING = "BrainTumorSeg/Python"  # a site's own Python for the engine; the environment variable goes before it
VARIABLE = "BRAINTUMORSEG_PYTHON"


def installation_of_slicer() -> Installation:
    """The engine of the running Slicer, or the Python that the site chose."""
    import slicer

    module_folder = Path(__file__).resolve().parents[1]
    folder = engine_folder(Path(slicer.app.slicerUserSettingsFilePath).parent, f"{slicer.app.majorVersion}.{slicer.app.minorVersion}")
    chosen = os.environ.get(VARIABLE) or slicer.util.settingsValue(SETTING, "")
    if chosen:
        return Installation(folder, module_folder, chosen, chosen=True, environment=slicer.util.startupEnvironment())
    return Installation(folder, module_folder, find_python(slicer.app.slicerHome))


def engine_folder(settings_folder: Path, slicer_version: str, environment: Mapping[str, str] = os.environ) -> Path:
    """One folder for each version of Slicer and of Python, and each platform. On Windows it does not roam with the user's profile."""
    if sys.platform == "win32" and environment.get("LOCALAPPDATA"):
        settings_folder = Path(environment["LOCALAPPDATA"]) / settings_folder.name
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return settings_folder / "BrainTumorSeg" / f"slicer-{slicer_version}-{python}-{platform.system()}-{platform.machine()}".lower()


def find_python(slicer_home: str, which: Callable[[str], str | None] = shutil.which) -> str:
    """Slicer's Python as a program. Slicer puts its launcher on PATH; a build against the system's Python has none and uses that one.

    The process's own executable is Slicer, so sys.executable is only trusted when it is called python.
    """
    suffix = ".exe" if sys.platform == "win32" else ""
    candidates = [which("PythonSlicer"), os.path.join(slicer_home, "bin", f"PythonSlicer{suffix}"), sys.executable,
                  os.path.join(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"),
                  os.path.join(sys.base_prefix, "python.exe")]
    for candidate in candidates:
        if candidate and "python" in os.path.basename(candidate).lower() and os.path.isfile(candidate):
            return candidate
    return os.path.join(slicer_home, "bin", f"PythonSlicer{suffix}")  # not there: starting it says so
