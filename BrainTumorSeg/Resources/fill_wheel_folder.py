"""Fills a folder with the engine's wheels, for a computer without a network: the module's 'Install from folder' takes it.

    python fill_wheel_folder.py --out wheels --python 3.12 --system windows
    python fill_wheel_folder.py --out wheels --python 3.12 --system linux --runtime cuda13

Run it with any Python that has pip, on a computer with a network; --python is the version in Slicer (Help > About: 3.12 in 5.10 and 5.12).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from BrainTumorSegLib.runtime_choice import RUNTIMES, read_requirements

_MAC = [f"macosx_{version}_{kind}" for kind in ("x86_64", "universal2") for version in ("14_0", "13_0", "12_0", "11_0", "10_15", "10_9")]
PLATFORMS = {
    "linux": ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_12_x86_64",
              "manylinux2010_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64"],
    "windows": ["win_amd64"],
    "macos": _MAC,
}


def pip_command(out: Path, python: str, system: str, runtime: str) -> list[str]:
    """pip's command that downloads wheels only, for that system's and that version's Python."""
    # pip would hold the conditions behind a ';' against the computer it runs on; those of the runtime hold for every system it is offered for.
    requirements = [line.split(";")[0].strip() for line in read_requirements(Path(__file__).with_name("requirements.txt"))
                    + RUNTIMES[runtime].requirements]
    platforms = [word for tag in PLATFORMS[system] for word in ("--platform", tag)]
    return [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--disable-pip-version-check", "--dest", str(out),
            "--python-version", python, "--implementation", "cp", *platforms, *requirements]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Downloads the wheels of BrainTumorSeg's engine into a folder.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the wheels")
    parser.add_argument("--python", default="3.12", help="version of the Python in Slicer (default 3.12)")
    parser.add_argument("--system", choices=tuple(PLATFORMS), required=True, help="system of the computer without a network")
    parser.add_argument("--runtime", choices=("cpu", "cuda12", "cuda13"), default="cpu", help="cuda13 for an NVIDIA driver of CUDA 13 (default cpu)")
    args = parser.parse_args(arguments)
    if args.system == "macos" and args.runtime != "cpu":
        parser.error("there is no GPU runtime for macOS")
    runtime = "cpu-macos" if args.system == "macos" else args.runtime
    return subprocess.run(pip_command(args.out, args.python, args.system, runtime)).returncode


if __name__ == "__main__":
    sys.exit(main())
