"""The command that makes research copies, and what it made."""

import pydicom

from braintumorseg.cli import main

__all__ = ["copies", "run"]


def run(capsys, *arguments):
    """(exit code, stdout, stderr) of 'braintumorseg anonymise'."""
    code = main(["anonymise", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def copies(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
