"""Folders of made-up studies, and the command that segments them."""

import json
import shutil

from braintumorseg.cli import main
from braintumorseg.io.nifti import write_nifti

__all__ = ["command", "lines_of", "make_studies", "run"]


def make_studies(folder, toy_study, names):
    """A folder for each of `names` with the toy study's images."""
    first = folder / names[0]
    first.mkdir(parents=True)
    for role, volume in toy_study.volumes.items():
        write_nifti(volume, first / f"case_{role}.nii.gz")
    for name in names[1:]:
        shutil.copytree(first, folder / name)
    return folder


def command(folder, out, model, *more):
    return ["cohort", str(folder), "--out", str(out), "--model", str(model.weights), "--registered", "--stripped", *map(str, more)]


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def lines_of(out, state=""):
    """Every line of a cohort's manifests that tells of a study, of one state or of all."""
    lines = [json.loads(line) for path in sorted(out.glob("manifest*.jsonl")) for line in path.read_text().splitlines()[1:]]
    return [line for line in lines if "state" in line and state in ("", line["state"])]
