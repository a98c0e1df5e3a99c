"""A folder of tiny wheels with the names of the engine's packages: pip installs them as it would the real ones."""

import os
import zipfile
from pathlib import Path

__all__ = ["make_wheelhouse", "probe"]

MODULES = {"numpy": "numpy", "scipy": "scipy", "SimpleITK": "SimpleITK", "nibabel": "nibabel", "pydicom": "pydicom", "python_gdcm": "gdcm",
           "highdicom": "highdicom", "pillow": "PIL", "psutil": "psutil", "onnxruntime": "onnxruntime",
           "openvino": "openvino"}
_ONLY_IN_SILENCE = "import os\nif os.environ.get('ORT_DISABLE_TELEMETRY') != '1': raise ImportError('it would report')\n"


def make_wheelhouse(folder: Path, leave_out: tuple = (), broken: tuple = ()) -> Path:
    """`leave_out`: packages that are missing; `broken`: packages that cannot be imported."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in MODULES.items():
        if name in leave_out:
            continue
        info = f"{name}-9999.0.dist-info"
        watched = _ONLY_IN_SILENCE if name == "onnxruntime" else ""
        files = {f"{module}/__init__.py": "raise ImportError('damaged')" if name in broken else watched + "__version__ = '9999.0'",
                 f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 9999.0\n",
                 f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
        with zipfile.ZipFile(folder / f"{name}-9999.0-py3-none-any.whl", "w") as wheel:
            for path, text in files.items():
                wheel.writestr(path, text)
            wheel.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in files) + f"{info}/RECORD,,\n")
    return folder


def probe(installation, folder: Path, package: str) -> tuple[list, dict]:
    """(command, environment) of a child that starts as the engine does and tells the version of a package that it sees."""
    (folder / "probe.py").write_text(f"import json, {package}; print(json.dumps({{'result': {package}.__version__}}))")
    environment = installation.environment()
    environment["BRAINTUMORSEG_PATH"] += os.pathsep + str(folder)
    return [part.replace("'braintumorseg'", "'probe'") for part in installation.command()], environment
